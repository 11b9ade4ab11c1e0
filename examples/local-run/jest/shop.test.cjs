const { EventBridgeClient, PutEventsCommand } = require('@aws-sdk/client-eventbridge');
const { GetQueueUrlCommand, ReceiveMessageCommand, SQSClient } = require('@aws-sdk/client-sqs');

const sqs = new SQSClient();

test('an order is reserved', async () => {
  await new EventBridgeClient().send(new PutEventsCommand({
    Entries: [{ EventBusName: 'shop', Source: 'web', DetailType: 'OrderCreated', Detail: JSON.stringify({ orderId: 'order-2', quantity: 3 }) }],
  }));
  const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: 'reservations' }));
  const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }));
  expect(Messages.map(({ Body }) => JSON.parse(Body))).toEqual([{ orderId: 'order-2', reserved: 3 }]);
}, 30_000);
