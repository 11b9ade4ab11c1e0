// The serverless system (seed 2) as its user writes it. It has to compile today; the parts that are not built yet throw.
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import {
  ApiAuthorizer, ConsumerTarget, CqrsAuroraCluster, CqrsEngine, CqrsInstances, DatabaseSide, EventDrivenOrderPipeline, EventTransport,
  ServiceHost,
} from '../../src';

export function serverless(): Stack {
  const stack = new Stack(new App(), 'Serverless');
  const vpc = new ec2.Vpc(stack, 'Vpc');
  const fn = (id: string, handler: string, seconds = 10) => new lambda.Function(stack, id, {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler,
    code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
    timeout: Duration.seconds(seconds),
    vpc,
  });
  const database = new CqrsAuroraCluster(stack, 'Database', { vpc, engine: CqrsEngine.mysql(), instances: CqrsInstances.serverless({ readers: 0 }), proxy: {} });
  const pipeline = new EventDrivenOrderPipeline(stack, 'Orders', {
    database,
    transport: EventTransport.queues(),
    migration: ServiceHost.onDeployment(fn('Migrate', 'migrate.handler', 300)),
    commandApi: ServiceHost.httpApi(fn('CreateOrder', 'create-order.handler'), {
      routes: ['POST /api/orders'], authorizer: ApiAuthorizer.jwt('https://issuer.example', ['orders']),
    }),
    outboxRelay: ServiceHost.scheduled(fn('Relay', 'relay.handler', 60), Duration.minutes(1)),
  });
  pipeline.addConsumer('OrderProcessor', {
    events: ['order.created'],
    maxReceiveCount: 3,
    database: DatabaseSide.COMMAND,
    target: ConsumerTarget.lambdaFunction(fn('Processor', 'order-processor.handler', 30), { maxConcurrency: 20 }),
  });
  pipeline.addConsumer('NotificationSender', {
    events: ['order.processed'],
    target: ConsumerTarget.lambdaFunction(fn('Sender', 'notification-sender.handler')),
  });
  return stack;
}
