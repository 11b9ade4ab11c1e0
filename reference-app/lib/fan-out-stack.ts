import * as cdk from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as sns from 'aws-cdk-lib/aws-sns';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, ConsumerTarget, CqrsAuroraCluster, KubernetesJob, OrderEventBus } from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from './acknowledgements.ts';
import type { OrderPipelineStackProps } from './order-pipeline-stack.ts';
import { kubernetesAccess, kubernetesCluster, network, program } from './platform.ts';
import { defaultSettings } from './settings.ts';

/** By the name of the queue: the program that consumes it, and the variable that tells it where the queue is. */
const CONSUMERS = {
  OrderProcessing: { serviceName: 'order-consumer', variable: 'ORDER_PROCESSING_QUEUE_URL' },
  Analytics: { serviceName: 'analytics-consumer', variable: 'ANALYTICS_QUEUE_URL' },
  Notification: { serviceName: 'notification-consumer', variable: 'NOTIFICATION_QUEUE_URL' },
};

/** Every order event to each of three consumers, with a queue, dead letters and alarms of its own. */
export class FanOutStack extends cdk.Stack {
  readonly cluster: eks.Cluster;

  constructor(scope: Construct, id: string, { image, settings = defaultSettings, ...props }: OrderPipelineStackProps) {
    super(scope, id, props);
    const vpc = network(this);
    this.cluster = kubernetesCluster(this, vpc, settings);
    const kubernetes = kubernetesAccess(this, this.cluster, settings);
    const database = new CqrsAuroraCluster(this, 'Database', { vpc, databaseName: settings.database.name });
    const egressPorts = [database.writerEndpoint.port];
    const migration = new KubernetesJob(this, 'Migration', { kubernetes, image, ...program('migrate'), environment: database.adminEnvironment, egressPorts });
    database.grants.admin(migration);
    database.connections.allowDefaultPortFrom(migration);
    kubernetes.addDependency(migration.manifest);

    const { eventBus } = new OrderEventBus(this, 'Bus');
    new cdk.CfnOutput(this, 'EventBusName', { value: eventBus.eventBusName, description: 'EVENT_BUS_NAME of the publisher' });
    const told = settings.alarmTopicArn ? [new SnsAction(sns.Topic.fromTopicArn(this, 'AlarmTopic', settings.alarmTopicArn))] : [];
    for (const [name, { serviceName, variable }] of Object.entries(CONSUMERS)) {
      const consumer: BufferedEventConsumer = new BufferedEventConsumer(this, name, {
        eventBus,
        eventPattern: { source: [settings.eventSource] },
        target: ConsumerTarget.kubernetes(kubernetes, { image, ...program(serviceName), processingTime: cdk.Duration.seconds(5) }),
        environment: { ...database.commandEnvironment, [variable]: cdk.Lazy.string({ produce: () => consumer.queue.queueUrl }) },
        egressPorts,
      });
      (consumer.queue.node.defaultChild as sqs.CfnQueue).queueName = `${name}Queue`;
      database.grants.command(consumer.targetConfig.grantee!);
      database.connections.allowDefaultPortFrom(consumer.targetConfig.connections!);
      consumer.addAlarms({ actions: told, okActions: told });
      new cdk.CfnOutput(this, `${name}QueueUrl`, { value: consumer.queue.queueUrl, description: `${variable} of ${serviceName}` });
    }
    acknowledgeFindings(this);
  }
}
