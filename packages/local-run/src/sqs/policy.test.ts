import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { allowsSend } from './policy.ts';
import { prepared } from '../../test/prepared.ts';

const queue = 'arn:aws:sqs:us-east-1:111122223333:orders';
const caller = { service: 'events.amazonaws.com', sourceArn: 'arn:aws:events:us-east-1:111122223333:rule/shop/created', sourceAccount: '111122223333' };
const allow = { Effect: 'Allow', Principal: { Service: 'events.amazonaws.com' }, Action: 'sqs:SendMessage', Resource: queue };
const denyPlain = { Effect: 'Deny', Principal: { AWS: '*' }, Action: 'sqs:*', Resource: queue, Condition: { Bool: { 'aws:SecureTransport': 'false' } } };

const cases: [what: string, statements: unknown[], allowed: boolean][] = [
  ['no policy', [], false],
  ['what CDK writes for a target', [{ ...allow, Action: ['sqs:SendMessage', 'sqs:GetQueueUrl'], Condition: { ArnEquals: { 'aws:SourceArn': caller.sourceArn } } }], true],
  ['the rule of another', [{ ...allow, Condition: { ArnEquals: { 'aws:SourceArn': `${caller.sourceArn}2` } } }], false],
  ['any rule of the bus', [{ ...allow, Condition: { ArnLike: { 'aws:SourceArn': 'arn:aws:events:*:111122223333:rule/shop/*' } } }], true],
  ['the account', [{ ...allow, Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' } } }], true],
  ['another account', [{ ...allow, Condition: { StringEquals: { 'aws:SourceAccount': '999999999999' } } }], false],
  ['both conditions, one failing', [{ ...allow, Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' }, ArnEquals: { 'aws:SourceArn': 'x' } } }], false],
  ['a key that the request does not carry', [{ ...allow, Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-1' } } }], false],
  ['the same, if it exists', [{ ...allow, Condition: { StringEqualsIfExists: { 'aws:PrincipalOrgID': 'o-1' } } }], true],
  ['another service', [{ ...allow, Principal: { Service: 'sns.amazonaws.com' } }], false],
  ['everybody', [{ ...allow, Principal: '*' }], true],
  ['another action', [{ ...allow, Action: 'sqs:ReceiveMessage' }], false],
  ['actions with a wildcard', [{ ...allow, Action: 'SQS:Send*' }], true],
  ['another queue', [{ ...allow, Resource: `${queue}-dead` }], false],
  ['TLS enforced, as enforceSSL writes it', [denyPlain, allow], true],
  ['a statement with an element that is not understood', [{ ...allow, Resource: undefined, NotResource: `${queue}-dead` }], false],
  ['a denial wins', [allow, { ...allow, Effect: 'Deny' }], false],
];

describe('who may send to a queue', () => {
  for (const [what, statements, allowed] of cases) test(what, () => assert.equal(allowsSend(statements, queue, caller), allowed));
});

test('a policy with an element that is not understood is on the screen', async (context) => {
  const statement = { Effect: 'Deny', NotPrincipal: { Service: 'events.amazonaws.com' }, Action: 'sqs:*', Resource: '*' };
  const policyOf = (...Statement: unknown[]) => ({
    Type: 'AWS::SQS::QueuePolicy', Properties: { Queues: [{ Ref: 'Orders' }], PolicyDocument: { Statement } },
  });
  const template = { Resources: { Orders: { Type: 'AWS::SQS::Queue' }, Plain: policyOf(allow), Strict: policyOf(allow, statement) } };
  const stack = { id: 'Shop', name: 'Shop', template, account: undefined, region: undefined, directory: '/' };
  const { builtIn, model, warnings } = await prepared(context, { directory: '/', stacks: [stack], images: new Map(), files: new Map() });
  await builtIn.sqs.make(model);
  assert.deepEqual(warnings, ['Shop.Strict (AWS::SQS::QueuePolicy) has statements with NotPrincipal, which are passed over here: '
    + 'AWS may refuse messages that arrive in this run, or take others.']);
});
