import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionTest } from '../../test/lambda/stack.ts';

test('a target that takes no messages here is named once, with all the rules that send to it', async (context) => {
  const stackTest = functionTest(context);
  const { stack } = stackTest;
  const partner = new events.ApiDestination(stack, 'Partner', {
    apiDestinationName: 'partner',
    endpoint: 'https://partner.example',
    connection: new events.Connection(stack, 'Connection', { authorization: events.Authorization.apiKey('key', cdk.SecretValue.unsafePlainText('x')) }),
  });
  const queue = new sqs.Queue(stack, 'Queue');
  for (const id of ['First', 'Second']) {
    const both = [new targets.ApiDestination(partner), new targets.SqsQueue(queue)];
    new events.Rule(stack, id, { eventPattern: { source: [id] }, targets: both });
  }
  const { run } = await stackTest.start();
  assert.deepEqual(run.rules.map(({ targetArns }) => targetArns.length), [1, 1]);
  const named = run.warnings.filter((warning) => warning.startsWith('Rule'));
  assert.equal(named.length, 1, named.join('\n'));
  assert.match(named[0] ?? '', /^Rules Test\/First, Test\/Second send to .*partner.*, which takes no messages in this run: events for it are not delivered\.$/i);
  assert.ok(run.warnings.some((warning) => /Test\/Partner\S* \(AWS::Events::ApiDestination\).*no event is sent to it/.test(warning)), run.warnings.join('\n'));
});
