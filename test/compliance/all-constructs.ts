import { App, Duration, Stack } from 'aws-cdk-lib';
import * as cloudwatch_actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  BufferedEventConsumer, ConsumerTarget, CqrsAuroraCluster, EventDrivenOrderPipeline, IConsumerTarget, KubernetesAccess, KubernetesJob,
  KubernetesWorkload, OrderEventBus, QueueScaling, QueueType, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
const latency = { acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(1) };

/**
 * A stack with every construct of the library, as it is by default and with a customer managed key. What the constructs are given
 * stands under `Brought`.
 */
export function allConstructs(): Stack {
  const stack = new Stack(new App(), 'All', { env: { account: '111122223333', region: 'eu-west-1' } });
  const brought = new Construct(stack, 'Brought');
  const kubernetes = testKubernetes(stack);
  const key = new kms.Key(brought, 'Key');
  const alarms = { actions: [new cloudwatch_actions.SnsAction(new sns.Topic(brought, 'Topic'))] };
  const role = (id: string) => new iam.Role(brought, id, { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  const targets: { [name: string]: () => IConsumerTarget } = {
    Lambda: () => ConsumerTarget.lambdaFunction(lambdaFunction(brought)),
    Kubernetes: () => ConsumerTarget.kubernetes(kubernetes, { image }),
    Keda: () => ConsumerTarget.kubernetes(kubernetes, { image, scaling: QueueScaling.keda({ ...latency, operatorRole: role('KedaOperator') }) }),
    ExternalMetric: () => ConsumerTarget.kubernetes(kubernetes, {
      image, scaling: QueueScaling.externalMetric({ ...latency, metricName: 'sqs_messages', adapterRole: role('Adapter') }),
    }),
    External: () => ConsumerTarget.external(role('Elsewhere'), { processingTime: Duration.seconds(10) }),
  };

  const eventPattern = { detailType: ['OrderCreated'] };
  for (const [name, target] of Object.entries(targets)) {
    new BufferedEventConsumer(stack, name, { eventPattern, target: target() }).addAlarms(alarms);
  }
  new BufferedEventConsumer(stack, 'OwnKey', {
    eventPattern, encryptionKey: key, target: ConsumerTarget.external(role('Other'), { processingTime: Duration.seconds(10) }),
  }).addAlarms(alarms);

  const target = () => ConsumerTarget.external(role(`Role${stack.node.children.length}`), { processingTime: Duration.seconds(10) });
  new BufferedEventConsumer(stack, 'Fifo', { eventPattern, queueType: QueueType.fifo(), target: target() }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'Fair', {
    eventPatterns: [eventPattern, { detailType: ['OrderConfirmed'] }], queueType: QueueType.fair(), target: target(),
  }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'BroughtQueue', { queue: new sqs.Queue(brought, 'Queue'), target: target() }).addAlarms(alarms);
  new BufferedEventConsumer(stack, 'Relayed', {
    eventPattern,
    eventBus: events.EventBus.fromEventBusArn(brought, 'Bus', 'arn:aws:events:eu-west-1:999999999999:event-bus/shop'),
    target: target(),
  }).addAlarms(alarms);

  new OrderEventBus(stack, 'Bus');
  new OrderEventBus(stack, 'BusOwnKey', { encryptionKey: key });
  new KubernetesWorkload(stack, 'Workload', { kubernetes, image });
  new KubernetesJob(stack, 'Job', { kubernetes, image, command: ['node', 'job.js'] });
  const vpc = ec2.Vpc.fromVpcAttributes(brought, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
  new CqrsAuroraCluster(stack, 'Database', { vpc });
  addPipeline(stack, kubernetes, vpc);
  return stack;
}

function addPipeline(stack: Stack, kubernetes: KubernetesAccess, vpc: ec2.IVpc): void {
  new EventDrivenOrderPipeline(stack, 'Pipeline', {
    kubernetes,
    image,
    vpc,
    encryptionKey: new kms.Key(stack.node.findChild('Brought') as Construct, 'PipelineKey'),
    migration: { command: ['node', 'migrate.js'] },
    commandApi: { command: ['node', 'write.js'] },
    queryApi: { command: ['node', 'read.js'] },
    outboxRelay: { command: ['node', 'relay.js'] },
  }).addConsumer('Stock', {
    eventPattern: { detailType: ['OrderCreated'] },
    target: ConsumerTarget.kubernetes(kubernetes, { image }),
  });
}

function lambdaFunction(scope: Construct): lambda.Function {
  return new lambda.Function(scope, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
  });
}
