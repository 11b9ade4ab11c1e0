import * as cdk from 'aws-cdk-lib';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import { type BufferedEventConsumer, DatabaseSide, EventDrivenOrderPipeline, ServiceHost } from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from '../../lib/acknowledgements.ts';
import {
  alarmActions, kubernetesAccess, kubernetesCluster, network, orderDatabase, program, type ServicesStackProps,
} from '../../lib/platform.ts';
import { defaultSettings } from '../../lib/settings.ts';

/** The consumers by the name of the queue: the program, and the variable by which it finds the queue. */
const CONSUMERS = {
  OrderProcessing: { serviceName: 'order-consumer', variable: 'ORDER_PROCESSING_QUEUE_URL' },
  Analytics: { serviceName: 'analytics-consumer', variable: 'ANALYTICS_QUEUE_URL' },
  Notification: { serviceName: 'notification-consumer', variable: 'NOTIFICATION_QUEUE_URL' },
};

/** Every order event to each of three consumers, with a queue, dead letters and alarms of its own. */
export class FanOutStack extends cdk.Stack {
  readonly cluster: eks.Cluster;

  constructor(scope: Construct, id: string, { image, settings = defaultSettings, ...props }: ServicesStackProps) {
    super(scope, id, props);
    const vpc = network(this);
    this.cluster = kubernetesCluster(this, vpc);
    const services = ServiceHost.kubernetesServices(kubernetesAccess(this, this.cluster, settings), image);
    const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
      database: orderDatabase(this, vpc, settings), eventSource: settings.eventSource, migration: services.job(...program('migrate')),
    });
    new cdk.CfnOutput(this, 'EventBusName', { value: pipeline.eventBus!.eventBusName, description: 'EVENT_BUS_NAME of the publisher' });
    const actions = alarmActions(this, settings);
    for (const [name, { serviceName, variable }] of Object.entries(CONSUMERS)) {
      // Kubernetes puts in the variable that the library gives every consumer.
      const environment = { [variable]: '$(QUEUE_URL)' };
      const consumer = pipeline.addConsumer(name, {
        eventPattern: {},
        database: DatabaseSide.COMMAND,
        target: services.consume(...program(serviceName, { processingTime: cdk.Duration.seconds(5), environment })),
      }) as BufferedEventConsumer;
      (consumer.queue.node.defaultChild as sqs.CfnQueue).queueName = `${name}Queue`;
      consumer.addAlarms(actions);
      new cdk.CfnOutput(this, `${name}QueueUrl`, { value: consumer.queue.queueUrl, description: `${variable} of ${serviceName}` });
    }
    acknowledgeFindings(this);
  }
}
