import { join } from 'path';
import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as events from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import {
  ApiAuthorizer, ConsumerTarget, CqrsDatabase, DatabaseLogin, EventDrivenOrderPipeline, EventTransport, KubernetesAccess, ServiceHost, WorkloadImage,
} from 'cdk-order-pipeline';

export const app = new App();
const stack = new Stack(app, 'Orders', { env: { account: '111111111111', region: 'eu-west-1' } });

// The existing resources of the platform team.
const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
  vpcId: 'vpc-0123456789abcdef0',
  availabilityZones: ['eu-west-1a', 'eu-west-1b'],
  privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
  privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef1'],
});
const cluster = eks.Cluster.fromClusterAttributes(stack, 'Cluster', {
  clusterName: 'platform',
  vpc,
  clusterSecurityGroupId: 'sg-0123456789abcdef0',
  kubectlRoleArn: 'arn:aws:iam::111111111111:role/platform-kubectl',
  kubectlLayer: new KubectlV35Layer(stack, 'KubectlLayer'),
});
const database = CqrsDatabase.fromAttributes({
  writerEndpointAddress: 'shop.cluster-example.eu-west-1.rds.amazonaws.com',
  readerEndpointAddress: 'shop.cluster-ro-example.eu-west-1.rds.amazonaws.com',
  databaseName: 'shop',
  commandLogin: DatabaseLogin.password(secretsmanager.Secret.fromSecretNameV2(stack, 'CommandSecret', 'shop/orders-command')),
  queryLogin: DatabaseLogin.password(secretsmanager.Secret.fromSecretNameV2(stack, 'QuerySecret', 'shop/orders-query')),
  securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(stack, 'DatabaseSecurityGroup', 'sg-0123456789abcdef1')],
});

const services = ServiceHost.kubernetesServices(
  KubernetesAccess.fromEks(cluster, { namespace: 'orders' }),
  WorkloadImage.fromRegistry('111111111111.dkr.ecr.eu-west-1.amazonaws.com/orders:1.4.0'),
);
const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
  transport: EventTransport.eventBridge({ eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'shop') }),
  database,
  authorizer: ApiAuthorizer.jwt('https://login.example.com/', ['orders']),
  certificate: acm.Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-west-1:111111111111:certificate/12345678'),
  encryptionKey: new kms.Key(stack, 'Key', { enableKeyRotation: true }),
  commandApi: services.run(['node', 'api-write-service.js'], { serviceName: 'order-intake' }),
  queryApi: services.run(['node', 'api-read-service.js'], { serviceName: 'order-view' }),
  outboxRelay: services.run(['node', 'outbox-relay.js']),
});

const notification = new lambda.Function(stack, 'Notification', {
  runtime: lambda.Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: lambda.Code.fromAsset(join(__dirname, 'functions', 'notification')),
  timeout: Duration.seconds(10),
});
const consumer = pipeline.addConsumer('Notification', {
  events: ['order.confirmed', 'order.rejected'],
  target: ConsumerTarget.lambdaFunction(notification),
  maxReceiveCount: 3,
});
consumer.metricDeadLetters().createAlarm(stack, 'UnsentNotifications', { threshold: 1, evaluationPeriods: 1 });
