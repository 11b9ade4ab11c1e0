// The same system with the constructs of cdk-order-pipeline: `cdk-local-run` runs it, too.
import { App, Stack } from 'aws-cdk-lib';
import { EventBus } from 'aws-cdk-lib/aws-events';
import { Code, Function, Runtime } from 'aws-cdk-lib/aws-lambda';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, ConsumerTarget } from 'cdk-order-pipeline';

const app = new App();
const stack = new Stack(app, 'Pipeline');
const reservations = new Queue(stack, 'Reservations', { queueName: 'reservations' });
const reserve = new Function(stack, 'Reserve', {
  runtime: Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: Code.fromAsset(new URL('handler', import.meta.url).pathname),
  environment: { RESERVATIONS_URL: reservations.queueUrl },
});
reservations.grantSendMessages(reserve);
new BufferedEventConsumer(stack, 'Stock', {
  eventBus: new EventBus(stack, 'Bus', { eventBusName: 'shop' }),
  eventPattern: { detailType: ['OrderCreated'] },
  target: ConsumerTarget.lambdaFunction(reserve),
});
app.synth();
