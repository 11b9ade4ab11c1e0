import { App, Duration, Stack } from 'aws-cdk-lib';
import * as cloudwatch_actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  BufferedEventConsumer, ConsumerTarget, CqrsAuroraCluster, CqrsCredentials, CqrsInstances, DatabaseAccess, DatabaseLogins, DatabaseSide,
  EventArchive, EventDrivenOrderPipeline, EventTransport, IConsumerTarget, KubernetesAccess, KubernetesJob, KubernetesManifestFiles,
  KubernetesPrerequisites, KubernetesWorkload, OrderEventBus, PipelineAlarmsOptions, QueueScaling, QueueType, ServiceHost, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
const latency = { acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(1) };

/**
 * A stack with every construct of the library, as it is by default and with a customer managed key. What the constructs are given
 * stands under `Brought`.
 */
export function allConstructs(app = new App()): Stack {
  const stack = new Stack(app, 'All', { env: { account: '111122223333', region: 'eu-west-1' } });
  const brought = new Construct(stack, 'Brought');
  const kubernetes = testKubernetes(stack, { namespace: 'orders' });
  const key = new kms.Key(brought, 'Key');
  const alarms = { actions: [new cloudwatch_actions.SnsAction(new sns.Topic(brought, 'Topic'))] };
  const role = (id: string) => new iam.Role(brought, id, { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  const targets: { [name: string]: () => IConsumerTarget } = {
    Lambda: () => ConsumerTarget.lambdaFunction(lambdaFunction(brought)),
    Kubernetes: () => ConsumerTarget.kubernetes(kubernetes, { image, scaling: QueueScaling.cpu() }),
    ExternalMetric: () => ConsumerTarget.kubernetes(kubernetes, {
      image, scaling: QueueScaling.externalMetric({ ...latency, metricName: 'sqs_messages', adapterRole: role('Adapter') }),
    }),
    External: () => ConsumerTarget.external(role('Elsewhere'), { processingTime: Duration.seconds(10) }),
  };

  new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, operators: [role('OnCall')] });
  const eventPattern = { detailType: ['OrderCreated'] };
  for (const [name, target] of Object.entries(targets)) {
    new BufferedEventConsumer(stack, name, { eventPattern, target: target() }).addAlarms(alarms);
  }
  new BufferedEventConsumer(stack, 'OwnKey', {
    eventPattern, encryptionKey: key, target: ConsumerTarget.external(role('Other'), { processingTime: Duration.seconds(10) }),
  }).addAlarms(alarms);

  const target = (name: string) => ConsumerTarget.external(role(`${name}Role`), { processingTime: Duration.seconds(10) });
  new BufferedEventConsumer(stack, 'Fifo', { eventPattern, queueType: QueueType.fifo(), target: target('Fifo') }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'Fair', {
    eventPatterns: [eventPattern, { detailType: ['OrderConfirmed'] }], queueType: QueueType.fair(), target: target('Fair'),
  }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'BroughtQueue', { queue: new sqs.Queue(brought, 'Queue'), target: target('BroughtQueue') }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'Relayed', {
    eventPattern,
    eventBus: events.EventBus.fromEventBusArn(brought, 'Bus', 'arn:aws:events:eu-west-1:999999999999:event-bus/shop'),
    target: target('Relayed'),
  }).addAlarms(alarms);

  new OrderEventBus(stack, 'Bus');
  new OrderEventBus(stack, 'BusOwnKey', { encryptionKey: key });
  new KubernetesWorkload(stack, 'Workload', { kubernetes, image });
  new KubernetesJob(stack, 'Job', { kubernetes, image, command: ['node', 'job.js'] });
  const vpc = ec2.Vpc.fromVpcAttributes(brought, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
  new CqrsAuroraCluster(stack, 'Database', { vpc });
  // Everything that a database can have, and workloads that use each side of it.
  const operated = new CqrsAuroraCluster(stack, 'Operated', {
    vpc,
    encryptionKey: key,
    proxy: {},
    credentials: CqrsCredentials.rotatedPasswords({ vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS } }),
    instances: CqrsInstances.serverless({ readers: 1 }),
    monitoringInterval: Duration.minutes(1),
  });
  operated.addAlarms(alarms);
  const tokens = new CqrsAuroraCluster(stack, 'Tokens', { vpc, credentials: CqrsCredentials.iam() });
  for (const [name, database] of Object.entries({ Direct: operated, Proxied: operated.proxy!, Token: tokens })) {
    for (const [side, access] of Object.entries({ Command: DatabaseAccess.command(database), Query: DatabaseAccess.query(database) })) {
      const workload = new KubernetesWorkload(stack, `${name}${side}`, { kubernetes, image, environment: access.environment });
      access.connect(workload, workload);
    }
  }
  const files = KubernetesAccess.manifestsOnly({ clusterName: 'platform', namespace: 'reports' });
  new KubernetesWorkload(stack, 'Written', { kubernetes: files, image });
  new KubernetesManifestFiles(stack, 'Files', { kubernetes: files, bucket: new s3.Bucket(brought, 'Bucket') });
  addPipeline(stack, kubernetes, vpc, alarms);
  return stack;
}

/** A pipeline with all that it can have, each from the factories of its own. */
function addPipeline(stack: Stack, kubernetes: KubernetesAccess, vpc: ec2.IVpc, alarms: PipelineAlarmsOptions): void {
  const services = ServiceHost.kubernetesServices(kubernetes, image);
  const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
    vpc,
    encryptionKey: new kms.Key(stack.node.findChild('Brought') as Construct, 'PipelineKey'),
    transport: EventTransport.eventBridge({ archive: EventArchive.retain(Duration.days(90)) }),
    migration: ServiceHost.kubernetesJob(kubernetes, { image, command: ['node', 'migrate.js'] }),
    commandApi: services.run(['node', 'write.js']),
    queryApi: services.run(['node', 'read.js']),
    outboxRelay: ServiceHost.kubernetes(kubernetes, { image, command: ['node', 'relay.js'] }),
    databaseLogins: DatabaseLogins.perWorkload(),
  });
  pipeline.allowPublish(new iam.Role(stack.node.findChild('Brought') as Construct, 'Publisher', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') }));
  pipeline.addService('Report', services.run(['node', 'report.js']), { database: DatabaseSide.COMMAND, publishes: true });
  pipeline.addConsumer('Stock', {
    events: ['order.created'],
    database: DatabaseSide.COMMAND,
    // Scaled by KEDA, with the operator of the prerequisites.
    target: services.consume(['node', 'stock.js']),
  });
  pipeline.addAlarms(alarms);
  pipeline.addDashboard();
}

function lambdaFunction(scope: Construct): lambda.Function {
  return new lambda.Function(scope, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
  });
}
