// A test of the stack with Node's own test runner: `node --test`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { startLocal } from 'cdk-local-run';
import { shop } from './shop.mjs';

let run;
before(async () => {
  run = await startLocal({ assemblyDir: shop().synth().directory });
  // From here on, the clients of the SDK call the run.
  Object.assign(process.env, run.environment);
});
after(() => run?.stop());

test('an order is reserved', async () => {
  await new EventBridgeClient().send(new PutEventsCommand({
    Entries: [{ EventBusName: 'shop', Source: 'web', DetailType: 'OrderCreated', Detail: JSON.stringify({ orderId: 'order-1', quantity: 2 }) }],
  }));
  const { url } = run.queues.find(({ name }) => name === 'reservations');
  const { Messages = [] } = await new SQSClient().send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 20 }));
  assert.deepEqual(Messages.map(({ Body }) => JSON.parse(Body)), [{ orderId: 'order-1', reserved: 2 }]);
});
