import { App, Stack } from 'aws-cdk-lib';
import { EventBus, Rule } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { Code, Function, Runtime } from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { Queue } from 'aws-cdk-lib/aws-sqs';

/** An order on the bus goes to a queue, and its function puts a reservation into another queue. */
export function shop() {
  const app = new App();
  const stack = new Stack(app, 'Shop');
  const eventBus = new EventBus(stack, 'Bus', { eventBusName: 'shop' });
  const orders = new Queue(stack, 'Orders', { deadLetterQueue: { queue: new Queue(stack, 'DeadOrders'), maxReceiveCount: 3 } });
  new Rule(stack, 'OrderCreated', { eventBus, eventPattern: { detailType: ['OrderCreated'] }, targets: [new SqsQueue(orders)] });

  const reservations = new Queue(stack, 'Reservations', { queueName: 'reservations' });
  const reserve = new Function(stack, 'Reserve', {
    runtime: Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: Code.fromAsset(new URL('handler', import.meta.url).pathname),
    environment: { RESERVATIONS_URL: reservations.queueUrl },
  });
  reserve.addEventSource(new SqsEventSource(orders, { reportBatchItemFailures: true }));
  reservations.grantSendMessages(reserve);
  return app;
}
