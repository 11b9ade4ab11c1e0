import { App, CfnOutput, Duration, RemovalPolicy, Stack, aws_ec2 as ec2, aws_kms as kms, aws_lambda as lambda, aws_s3 as s3 } from 'aws-cdk-lib';
import * as orders from 'cdk-order-pipeline';

const app = new App();
const stack = new Stack(app, 'Orders');
const vpc = new ec2.Vpc(stack, 'Vpc');
const podSecurityGroup = new ec2.SecurityGroup(stack, 'Pods', { vpc });
const kubernetes = orders.KubernetesAccess.manifestsOnly({ clusterName: 'platform', podSecurityGroup, loadBalancerClass: 'service.k8s.aws/nlb' });
const services = orders.ServiceHost.kubernetesServices(kubernetes, orders.WorkloadImage.fromRegistry('public.ecr.aws/example/orders:1.4.0'));

const database = new orders.CqrsAuroraCluster(stack, 'Database', { vpc, instances: orders.CqrsInstances.serverless({ readers: 2 }) });
const pipeline = new orders.EventDrivenOrderPipeline(stack, 'Pipeline', {
  database,
  transport: orders.EventTransport.eventBridge({ archive: orders.EventArchive.retain(Duration.days(90)) }),
  eventSource: 'com.example.shop',
  eventSigning: orders.EventSigning.generated({ removalPolicy: RemovalPolicy.RETAIN }),
  databaseLogins: orders.DatabaseLogins.perWorkload(),
  authorizer: orders.ApiAuthorizer.jwt('https://login.example.com/', ['orders'], { customerClaim: 'customer' }),
  encryptionKey: new kms.Key(stack, 'Key'),
  migration: services.job(['node', 'migrate.js']),
  commandApi: services.run(['node', 'api-write-service.js']),
  queryApi: services.run(['node', 'api-read-service.js'], { exposure: orders.ServiceExposure.clusterInternal() }),
  outboxRelay: services.run(['node', 'outbox-relay.js']),
});
pipeline.addService('Reports', services.run(['node', 'reports.js']), { database: orders.DatabaseSide.QUERY });
const inventory = services.consume(['node', 'inventory-service.js'], { scaling: orders.QueueScaling.fixed(2) });
pipeline.addConsumer('Inventory', {
  events: ['order.created'], database: orders.DatabaseSide.COMMAND, workload: 'inventory-service', target: inventory,
});

const code = lambda.Code.fromInline('exports.handler = async () => ({})');
const fn = new lambda.Function(stack, 'Invoices', { runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code });
pipeline.allowPublish(fn);
const consumer = new orders.BufferedEventConsumer(stack, 'InvoiceEvents', {
  eventBus: pipeline.eventBus,
  eventPattern: { source: [pipeline.eventSource], detailType: ['OrderConfirmed'] },
  target: orders.ConsumerTarget.lambdaFunction(fn),
});
new s3.Bucket(stack, 'Letterheads').grantRead(consumer);
new CfnOutput(stack, 'Manifests', { value: stack.toJsonString(kubernetes.manifests) });
app.synth();
