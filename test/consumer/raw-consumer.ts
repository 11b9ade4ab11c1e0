import { Duration } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

/** What `BufferedEventConsumer` with a Lambda target makes, by the constructs of aws-cdk-lib: for comparisons. */
export function rawConsumer(scope: Construct, id: string, fn: lambda.IFunction): void {
  const parent = new Construct(scope, id);
  const deadLetterQueue = new sqs.Queue(parent, 'DeadLetterQueue', {
    encryption: sqs.QueueEncryption.SQS_MANAGED, enforceSSL: true, retentionPeriod: Duration.days(14),
  });
  const queue = new sqs.Queue(parent, 'Queue', {
    encryption: sqs.QueueEncryption.SQS_MANAGED,
    enforceSSL: true,
    retentionPeriod: Duration.days(4),
    visibilityTimeout: Duration.seconds(18),
    deadLetterQueue: { queue: deadLetterQueue, maxReceiveCount: 5 },
  });
  new events.Rule(parent, 'Rule', {
    eventPattern: { detailType: ['OrderCreated'] },
    targets: [new targets.SqsQueue(queue, { deadLetterQueue })],
  });
  fn.addEventSource(new SqsEventSource(queue, { reportBatchItemFailures: true }));
}
