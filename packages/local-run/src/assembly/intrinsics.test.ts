import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Template } from './assembly.ts';
import { Evaluator, UnresolvedError } from './intrinsics.ts';

const template: Template = {
  Parameters: {
    Stage: { Type: 'String', Default: 'prod' },
    Empty: { Type: 'String' },
    Zones: { Type: 'CommaDelimitedList', Default: 'a, b,c' },
    Version: { Type: 'AWS::SSM::Parameter::Value<String>', Default: '/cdk-bootstrap/x/version' },
  },
  Mappings: { Sizes: { prod: { memory: '512', list: ['x'] } } },
  Conditions: {
    IsProd: { 'Fn::Equals': [{ Ref: 'Stage' }, 'prod'] },
    NotProd: { 'Fn::Not': [{ Condition: 'IsProd' }] },
    Both: { 'Fn::And': [{ Condition: 'IsProd' }, { 'Fn::Not': [{ Condition: 'NotProd' }] }] },
    Either: { 'Fn::Or': [{ Condition: 'NotProd' }, { 'Fn::Equals': ['1', 1] }] },
  },
};

function evaluator(): Evaluator {
  return new Evaluator(template, {
    stackName: 'Shop',
    account: '111122223333',
    region: 'eu-west-1',
    ref: (id, at) => {
      if (id === 'Unknown') throw new UnresolvedError(`${at}: ${id} is not known.`);
      return `${id}-ref`;
    },
    getAtt: (id, attribute) => `${id}/${attribute}`,
    importValue: (name) => `imported ${name}`,
    stackOutput: (stack, output) => `${stack}.${output}`,
    ssmParameter: (name) => `ssm(${name})`,
    secretValue: (id) => (id === 'Plain' ? 'hunter2' : JSON.stringify({ password: 'p@ss', id })),
  });
}

const cases: [what: string, value: unknown, expected: unknown][] = [
  ['a plain object', { a: [1, true, 'x', null] }, { a: [1, true, 'x', null] }],
  ['Ref of a resource', { Ref: 'Queue' }, 'Queue-ref'],
  ['Ref of a parameter', { Ref: 'Stage' }, 'prod'],
  ['Ref of a list parameter', { Ref: 'Zones' }, ['a', 'b', 'c']],
  ['Ref of an SSM parameter', { Ref: 'Version' }, 'ssm(/cdk-bootstrap/x/version)'],
  ['pseudo parameters', [{ Ref: 'AWS::AccountId' }, { Ref: 'AWS::Region' }, { Ref: 'AWS::Partition' }, { Ref: 'AWS::StackName' }, { Ref: 'AWS::URLSuffix' }],
    ['111122223333', 'eu-west-1', 'aws', 'Shop', 'amazonaws.com']],
  ['AWS::NoValue in an object', { a: 1, b: { Ref: 'AWS::NoValue' } }, { a: 1 }],
  ['AWS::NoValue in a list', [1, { Ref: 'AWS::NoValue' }, 2], [1, 2]],
  ['GetAtt as a list', { 'Fn::GetAtt': ['Queue', 'Arn'] }, 'Queue/Arn'],
  ['GetAtt as a text', { 'Fn::GetAtt': 'Db.Endpoint.Address' }, 'Db/Endpoint.Address'],
  ['Join', { 'Fn::Join': ['-', ['a', { Ref: 'Queue' }, 3]] }, 'a-Queue-ref-3'],
  ['Join of a list parameter', { 'Fn::Join': ['+', { Ref: 'Zones' }] }, 'a+b+c'],
  ['Sub', { 'Fn::Sub': '${Queue} ${Queue.Arn} ${AWS::Region} ${!Kept}' }, 'Queue-ref Queue/Arn eu-west-1 ${Kept}'],
  ['Sub with variables', { 'Fn::Sub': ['${A}/${Stage}', { A: { 'Fn::Join': ['', ['x', 'y']] } }] }, 'xy/prod'],
  ['Select and Split', { 'Fn::Select': ['1', { 'Fn::Split': [':', 'a:b:c'] }] }, 'b'],
  ['FindInMap', { 'Fn::FindInMap': ['Sizes', { Ref: 'Stage' }, 'memory'] }, '512'],
  ['FindInMap with a default', { 'Fn::FindInMap': ['Sizes', 'dev', 'memory', { DefaultValue: '128' }] }, '128'],
  ['If, taken', { 'Fn::If': ['IsProd', 'yes', { Ref: 'Unknown' }] }, 'yes'],
  ['If, not taken', { 'Fn::If': ['NotProd', { Ref: 'Unknown' }, 'no'] }, 'no'],
  ['If to no value', { a: { 'Fn::If': ['NotProd', 1, { Ref: 'AWS::NoValue' }] } }, {}],
  ['And, Or', [{ 'Fn::If': ['Both', 1, 2] }, { 'Fn::If': ['Either', 1, 2] }], [1, 1]],
  ['ImportValue', { 'Fn::ImportValue': { 'Fn::Sub': 'Other:${Stage}' } }, 'imported Other:prod'],
  ['GetStackOutput', { 'Fn::GetStackOutput': { StackName: 'Other', OutputName: 'Queue' } }, 'Other.Queue'],
  ['Base64', { 'Fn::Base64': 'hello' }, 'aGVsbG8='],
  ['GetAZs', { 'Fn::Select': [1, { 'Fn::GetAZs': '' }] }, 'eu-west-1b'],
  ['Cidr', { 'Fn::Cidr': ['10.0.0.0/16', 3, 8] }, ['10.0.0.0/24', '10.0.1.0/24', '10.0.2.0/24']],
  ['Cidr, IPv6', { 'Fn::Select': [1, { 'Fn::Cidr': ['2600:1f18::/56', 2, 64] }] }, '2600:1f18:0:1::/64'],
  ['Length', { 'Fn::Length': { Ref: 'Zones' } }, 3],
  ['ToJsonString', { 'Fn::ToJsonString': { a: { Ref: 'Stage' } } }, '{"a":"prod"}'],
  ['a secret in a text', 'pw={{resolve:secretsmanager:Db:SecretString:password::}}!', 'pw=p@ss!'],
  ['a secret by a joined reference', { 'Fn::Join': ['', ['{{resolve:secretsmanager:', { Ref: 'Secret' }, ':SecretString:id::}}']] }, 'Secret-ref'],
  ['an SSM parameter in a text', '{{resolve:ssm:/a/b:3}}', 'ssm(/a/b)'],
  ['a policy statement with only a condition', [{ Condition: { StringEquals: { a: { Ref: 'Stage' } } } }], [{ Condition: { StringEquals: { a: 'prod' } } }]],
];

describe('intrinsic functions', () => {
  for (const [what, value, expected] of cases) test(what, () => assert.deepEqual(evaluator().resolve(value, 'Shop.R.P'), expected));
});

describe('what cannot be known', () => {
  const failures: [what: string, value: unknown, message: RegExp][] = [
    ['names the place', { Env: [{ Ref: 'Unknown' }] }, /^Shop\.R\.P\.Env\[0\]: Unknown is not known/],
    ['a parameter without default', { Ref: 'Empty' }, /parameter Empty of stack Shop has no value: give one with --parameter Empty=VALUE\.$/],
    ['a function of a later day', { 'Fn::Tomorrow': 1 }, /does not know the function Fn::Tomorrow/],
    ['a missing element', { 'Fn::Select': [5, ['a']] }, /element 5 of a list of 1/],
    ['a missing mapping', { 'Fn::FindInMap': ['Sizes', 'dev', 'memory'] }, /mapping Sizes has no dev, memory/],
    ['a field of a secret that is no JSON, without the secret', '{{resolve:secretsmanager:Plain:SecretString:password::}}',
      /^((?!hunter2).)*the secret Plain has no field password\.$/],
    ['a condition that is not there', { 'Fn::If': ['Nope', 1, 2] }, /no condition Nope/],
  ];
  for (const [what, value, message] of failures) {
    test(what, () => assert.throws(() => evaluator().resolve(value, 'Shop.R.P'), (error) => error instanceof UnresolvedError && message.test(error.message)));
  }

  test('is only a hole when it is asked for leniently, and the rest is there', () => {
    const seen: string[] = [];
    const value = evaluator().resolveLeniently({ 'Fn::Join': ['', ['a=', { Ref: 'Unknown' }, ' b=', { Ref: 'Queue' }]] }, 'Shop.R.P', (error) => {
      seen.push(error.message);
      return '?';
    });
    assert.equal(value, 'a=? b=Queue-ref');
    assert.deepEqual(seen, ['Shop.R.P[1]: Unknown is not known.']);
    assert.throws(() => evaluator().resolve({ Ref: 'Unknown' }, 'later'));
  });
});
