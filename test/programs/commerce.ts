// The Kafka commerce system (seed 4) as its user writes it. It has to compile today; the parts that are not built yet throw.
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import {
  CqrsAuroraCluster, DatabaseAccess, EventDrivenOrderPipeline, EventTransport, KafkaRetry, MskEventCluster, ServiceExposure, ServiceHost,
  WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

export function commerce(): Stack {
  const stack = new Stack(new App(), 'Commerce');
  const vpc = new ec2.Vpc(stack, 'Vpc');
  const kubernetes = testKubernetes(stack);
  const image = WorkloadImage.fromRegistry('public.ecr.aws/team/shop:1.0.0');
  const services = ServiceHost.kubernetesServices(kubernetes, image);
  const service = (name: string, exposure = ServiceExposure.clusterInternal()) =>
    ServiceHost.kubernetes(kubernetes, { image, serviceName: name, command: ['node', `${name}.js`], exposure });
  const worker = (name: string) => services.consume(['node', `${name}.js`], { serviceName: name });
  const databaseOf = (databaseName: string) => new CqrsAuroraCluster(stack, databaseName, { vpc, databaseName });

  const kafka = new MskEventCluster(stack, 'Kafka', {
    vpc,
    topics: { orders: { partitions: 12 }, inventory: { partitions: 12 }, payments: { partitions: 12 }, shipments: { partitions: 6 } },
  });
  const shop = new EventDrivenOrderPipeline(stack, 'Shop', {
    transport: EventTransport.kafka(kafka, KafkaRetry.topics(Duration.seconds(10), Duration.minutes(1), Duration.minutes(10))),
    database: databaseOf('orders'),
    commandApi: service('order-api', ServiceExposure.internalNetworkLoadBalancer()),
    queryApi: service('order-read'),
    outboxRelay: service('outbox-relay', ServiceExposure.none()),
  });
  const access = (name: string) => ({ databaseAccess: DatabaseAccess.command(databaseOf(name)) });
  shop.addService('Catalog', service('catalog'), access('catalog'));
  shop.addService('Cart', service('cart'), access('cart'));
  const own = (name: string) => ({ ...access(name), target: worker(name) });
  shop.addConsumer('Payment', { events: ['inventory.reserved', 'order.cancelled'], ...own('payment') });
  shop.addConsumer('Inventory', { events: ['order.created', 'order.cancelled', 'payment.declined'], ...own('inventory') });
  shop.addConsumer('Shipping', { events: ['payment.authorized'], ...own('shipping') });
  shop.addConsumer('Notification', { events: ['order.confirmed', 'shipment.dispatched'], target: worker('notification') });
  return stack;
}
