import * as cdk from 'aws-cdk-lib';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import { type BufferedEventConsumer, DatabaseLogins, DatabaseSide, EventDrivenOrderPipeline, EventSigning } from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from '../../lib/acknowledgements.ts';
import { letPublish, makePlatform, program, type ServicesStackProps } from '../../lib/platform.ts';
import { settingsFrom } from '../../lib/settings.ts';

/** The consumers by the name of the queue: the program, and the variable by which it finds the queue. */
const CONSUMERS = {
  OrderProcessing: { serviceName: 'order-consumer', variable: 'ORDER_PROCESSING_QUEUE_URL' },
  Analytics: { serviceName: 'analytics-consumer', variable: 'ANALYTICS_QUEUE_URL' },
  Notification: { serviceName: 'notification-consumer', variable: 'NOTIFICATION_QUEUE_URL' },
};

/** Every order event to each of three consumers, with a queue, dead letters and alarms of its own. */
export class FanOutStack extends cdk.Stack {
  readonly cluster: eks.Cluster;

  constructor(scope: Construct, id: string, { images, settings = settingsFrom(scope), ...props }: ServicesStackProps) {
    super(scope, id, props);
    const { cluster, database, services, migration, alarms, watch } = makePlatform(this, images, settings);
    this.cluster = cluster;
    const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
      database,
      eventSource: settings.eventSource,
      eventSigning: EventSigning.generated({ verify: settings.verifyEvents }),
      databaseLogins: DatabaseLogins.perWorkload(),
      migration: migration.job(...program('migrate')),
    });
    letPublish(this, pipeline);
    for (const [name, { serviceName, variable }] of Object.entries(CONSUMERS)) {
      // Kubernetes puts in the variable that the library gives every consumer.
      const environment = { [variable]: '$(QUEUE_URL)' };
      const consumer = pipeline.addConsumer(name, {
        eventPattern: {},
        database: DatabaseSide.COMMAND,
        target: services.consume(...program(serviceName, { processingTime: cdk.Duration.seconds(5), environment })),
      }) as BufferedEventConsumer;
      (consumer.queue.node.defaultChild as sqs.CfnQueue).queueName = `${name}Queue`;
      new cdk.CfnOutput(this, `${name}QueueUrl`, { value: consumer.queue.queueUrl, description: `${variable} of ${serviceName}` });
    }
    pipeline.addAlarms(alarms);
    watch(Object.values(CONSUMERS).map(({ serviceName }) => serviceName));
    acknowledgeFindings(this);
  }
}
