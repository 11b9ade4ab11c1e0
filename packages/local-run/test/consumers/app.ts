import { fileURLToPath } from 'node:url';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sources from 'aws-cdk-lib/aws-lambda-event-sources';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, ConsumerTarget, QueueType } from 'cdk-order-pipeline';

/** What a consumer may ask for beside a rule and a queue: filters, transformed events, FIFO queues, several rules, no bus. */
export function synthesizeConsumers({ outdir, seen }: { readonly outdir: string; readonly seen: string }): string {
  const app = new cdk.App({ outdir, analyticsReporting: false });
  const stack = new cdk.Stack(app, 'Consumers');
  const bus = new events.EventBus(stack, 'Bus', { eventBusName: 'shop' });
  const makeFunction = (id: string) => new lambda.Function(stack, id, {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    timeout: cdk.Duration.seconds(2),
    environment: { SEEN: seen },
    code: lambda.Code.fromAsset(fileURLToPath(new URL('function', import.meta.url))),
  });

  // The construct, with a content filter and every reserved variable.
  const field = events.EventField;
  const consumer = new BufferedEventConsumer(stack, 'Large', {
    eventBus: bus,
    eventPattern: { source: events.Match.prefix('com.shop'), detail: { total: [{ numeric: ['>=', 100] }], country: [{ 'anything-but': ['XX'] }] } },
    ruleInput: events.RuleTargetInput.fromObject({
      total: field.fromPath('$.detail.total'),
      id: field.fromPath('$.detail.id'),
      type: field.detailType,
      text: `order ${field.fromPath('$.detail.id')}`,
      rule: '<aws.events.rule-name>',
      ruleArn: '<aws.events.rule-arn>',
      at: '<aws.events.event.ingestion-time>',
    }),
    maxReceiveCount: 1,
    visibilityTimeout: cdk.Duration.seconds(2),
    target: ConsumerTarget.lambdaFunction(makeFunction('LargeFunction')),
  });
  new cdk.CfnOutput(stack, 'LargeRule', { value: consumer.rules[0]?.ruleArn ?? '' });

  // One part of an event; and a constant instead of one, by a second rule into the same queue.
  const plain = new sqs.Queue(stack, 'Plain', { queueName: 'plain' });
  const detailOnly = new events.Rule(stack, 'Detail', { eventBus: bus, eventPattern: { detailType: ['Detail'] } });
  detailOnly.addTarget(new targets.SqsQueue(plain, { message: events.RuleTargetInput.fromEventPath('$.detail') }));
  const constant = new events.Rule(stack, 'Constant', { eventBus: bus, eventPattern: { detailType: ['Constant'] } });
  constant.addTarget(new targets.SqsQueue(plain, { message: events.RuleTargetInput.fromObject({ id: 'constant' }) }));
  makeFunction('PlainFunction').addEventSource(new sources.SqsEventSource(plain, { reportBatchItemFailures: true }));

  // A FIFO queue of two rules with one group, with filters in front of its function. Equal messages are one: their event has no id.
  new BufferedEventConsumer(stack, 'Grouped', {
    eventBus: bus,
    eventPatterns: [{ detailType: ['Grouped'] }, { detailType: ['GroupedToo'] }],
    queueType: QueueType.fifo({ messageGroupId: 'all' }),
    ruleInput: events.RuleTargetInput.fromEventPath('$.detail'),
    maxReceiveCount: 3,
    visibilityTimeout: cdk.Duration.seconds(2),
    target: ConsumerTarget.lambdaFunction(makeFunction('FifoFunction'), {
      filters: [lambda.FilterCriteria.filter({ body: { kind: lambda.FilterRule.notEquals('noise') } })],
    }),
  });

  // A queue that no rule fills.
  const direct = new sqs.Queue(stack, 'Direct', {
    queueName: 'direct', deadLetterQueue: { queue: new sqs.Queue(stack, 'DirectDead'), maxReceiveCount: 3 },
  });
  new BufferedEventConsumer(stack, 'OnlyConsumed', { queue: direct, target: ConsumerTarget.lambdaFunction(makeFunction('DirectFunction')) });

  // A dead-letter queue that somebody else may use only.
  const reserved = new sqs.Queue(stack, 'Reserved', { redriveAllowPolicy: { redrivePermission: sqs.RedrivePermission.DENY_ALL } });
  new sqs.Queue(stack, 'Refused', { deadLetterQueue: { queue: reserved, maxReceiveCount: 1 } });
  app.synth();
  return outdir;
}
