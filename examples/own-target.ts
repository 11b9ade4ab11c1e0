import { App, Duration, Stack } from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as events from 'aws-cdk-lib/aws-events';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as sns from 'aws-cdk-lib/aws-sns';
import { BufferedEventConsumer, ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from 'cdk-order-pipeline';
import { Construct } from 'constructs';

interface FargateConsumerProps {
  readonly cluster: ecs.ICluster;
  readonly image: ecs.ContainerImage;
  readonly maxTasks: number;
}

/** A host that the library doesn't have: a service of Amazon ECS on AWS Fargate, with one more task for each 100 waiting messages. */
class FargateConsumer implements IConsumerTarget {
  /** The longest time for a batch, from which the visibility timeout of the queue is computed. */
  public readonly processingTime = Duration.minutes(1);

  constructor(private readonly props: FargateConsumerProps) {}

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    const taskDefinition = new ecs.FargateTaskDefinition(scope, 'Task', { cpu: 256, memoryLimitMiB: 512 });
    taskDefinition.addContainer('consumer', {
      image: this.props.image,
      environment: options.environment,
      readonlyRootFilesystem: true,
      // The time to finish the current batch.
      stopTimeout: this.processingTime,
      logging: ecs.LogDriver.awsLogs({
        streamPrefix: 'consumer',
        logGroup: new logs.LogGroup(scope, 'Logs', { retention: logs.RetentionDays.ONE_MONTH }),
      }),
    });
    options.queue.grantConsumeMessages(taskDefinition.taskRole);

    const service = new ecs.FargateService(scope, 'Service', {
      cluster: this.props.cluster,
      taskDefinition,
      securityGroups: [this.securityGroup(scope, options.egressPorts)],
      minHealthyPercent: 100,
      circuitBreaker: { rollback: true },
    });
    service.autoScaleTaskCount({ minCapacity: 1, maxCapacity: this.props.maxTasks }).scaleOnMetric('Backlog', {
      metric: options.queue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', period: Duration.minutes(1) }),
      scalingSteps: [{ upper: 0, change: -1 }, { lower: 100, change: 1 }, { lower: 1000, change: 5 }],
    });
    // Grants to the consumer and connections of the consumer go to these, and the service starts after the database and `dependencies`.
    return { grantee: taskDefinition.taskRole, connections: service, dependable: service };
  }

  private securityGroup(scope: Construct, egressPorts: number[] = []): ec2.SecurityGroup {
    const securityGroup = new ec2.SecurityGroup(scope, 'SecurityGroup', { vpc: this.props.cluster.vpc, allowAllOutbound: false });
    for (const port of [443, ...egressPorts]) { securityGroup.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(port)); }
    return securityGroup;
  }
}

export const app = new App();
const stack = new Stack(app, 'Shipping');
const cluster = ecs.Cluster.fromClusterAttributes(stack, 'Cluster', {
  clusterName: 'platform',
  vpc: ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0123456789abcdef0',
    availabilityZones: ['eu-west-1a', 'eu-west-1b'],
    privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef1'],
  }),
});

const labels = new BufferedEventConsumer(stack, 'Labels', {
  eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'shop'),
  eventPattern: { source: ['com.example.orders'], detailType: ['OrderConfirmed'] },
  target: new FargateConsumer({
    cluster,
    image: ecs.ContainerImage.fromRegistry('public.ecr.aws/example/labels:3.0.1'),
    maxTasks: 10,
  }),
  environment: { LABEL_FORMAT: 'A6' },
});

const printed = s3.Bucket.fromBucketName(stack, 'Printed', 'shop-labels');
printed.grantPut(labels);

const oncall = sns.Topic.fromTopicArn(stack, 'OnCall', `arn:aws:sns:${stack.region}:${stack.account}:on-call`);
labels.addAlarms({ actions: [new SnsAction(oncall)], okActions: [new SnsAction(oncall)], acceptableLatency: Duration.minutes(10) });
