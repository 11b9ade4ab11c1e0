import { App, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import type * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, IConsumerTarget, LambdaConsumerOptions } from '../../src';

const env = { account: '111122223333', region: 'eu-west-1' };
const created = { detailType: ['OrderCreated'] };
let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env });
});

const external = (): IConsumerTarget => ConsumerTarget.external(
  new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') }), { processingTime: Duration.seconds(30) });
const functionOf = () => new lambda.Function(stack, 'Function', {
  runtime: lambda.Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
});
const consumerOf = (props: Partial<BufferedEventConsumerProps> = {}) =>
  new BufferedEventConsumer(stack, 'Consumer', { eventPattern: created, target: props.target ?? external(), ...props });
const queueWith = (deadLetters: sqs.QueueProps) => new sqs.Queue(stack, 'Queue', {
  visibilityTimeout: Duration.minutes(3), deadLetterQueue: { queue: new sqs.Queue(stack, 'Dead', deadLetters), maxReceiveCount: 3 },
});

describe('what would only fail once it is deployed', () => {
  test('a dead-letter queue that comes with the queue, and that EventBridge can\'t use', () => {
    expect(() => consumerOf({ queue: queueWith({ encryption: sqs.QueueEncryption.KMS_MANAGED }) }))
      .toThrow('the deadLetterQueue of queue is encrypted with the key alias/aws/sqs, which EventBridge can\'t use');
  });

  test.each(['deadLetterQueue', 'ruleDeadLetterQueue'])('a %s that is the queue', (name) => {
    const imported = (id: string) => sqs.Queue.fromQueueArn(stack, id, 'arn:aws:sqs:eu-west-1:111122223333:orders');
    const made = new sqs.Queue(stack, 'Queue', { visibilityTimeout: Duration.minutes(3) });
    for (const [queue, same] of [[made, made], [imported('One'), imported('Other')]]) {
      expect(() => new BufferedEventConsumer(stack, `Consumer${queue!.node.id}`, { eventPattern: created, queue, [name]: same, target: external() }))
        .toThrow(`${name} is queue itself, so what fails would come again for ever: give another queue, or leave ${name} out`);
      stack.node.tryRemoveChild('Role');
    }
  });

  test.each<[events.EventPattern, string]>([
    [{ detailType: [] }, 'eventPattern.detailType'],
    [{ source: ['shop'], detail: {} }, 'eventPattern.detail'],
    [{ detail: { total: [{ numeric: [] }] } }, 'eventPattern.detail.total[0].numeric'],
  ])('the pattern %j', (eventPattern, field) => {
    expect(() => consumerOf({ eventPattern }))
      .toThrow(`${field} is empty, which EventBridge refuses: give what it has to match, or leave it out`);
  });

  test.each(['visibilityTimeout', 'retentionPeriod'])('a %s with a fraction of a second', (name) => {
    expect(() => consumerOf({ [name]: Duration.millis(200_500) })).toThrow(`${name} must be whole seconds, got 200.5`);
  });

  test.each<[LambdaConsumerOptions, string]>([
    [{ batchSize: 11, maxBatchingWindow: Duration.seconds(0) }, 'batchSize of more than 10 needs maxBatchingWindow of at least 1 second, got 11'],
    [{ maxBatchingWindow: Duration.millis(500) }, 'maxBatchingWindow must be whole seconds, got 0.5'],
  ])('of Lambda: %j', (options, message) => {
    expect(() => consumerOf({ target: ConsumerTarget.lambdaFunction(functionOf(), options) })).toThrow(message);
  });
});
