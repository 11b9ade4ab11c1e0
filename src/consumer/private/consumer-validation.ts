import { Annotations, Duration, Stack, Token } from 'aws-cdk-lib';
import type * as events from 'aws-cdk-lib/aws-events';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { differ, invalid, refuseBoth, refuseWith, refuseWithout, requireDuration, requireInteger, requireSeconds } from '../../private/validation';
import type { BufferedEventConsumerProps } from '../buffered-event-consumer';

/** The longest visibility timeout and retention period of Amazon SQS. */
const MAX_VISIBILITY = Duration.hours(12);
const MAX_RETENTION = Duration.days(14);

/** Refuses inputs that can't work, and warns of inputs that lead to failures. */
export function validateConsumer(
  scope: Construct, props: BufferedEventConsumerProps, patterns: events.EventPattern[], processingTime: Duration,
): void {
  validatePatterns(scope, props, patterns);
  requireInteger(scope, 'maxReceiveCount', props.maxReceiveCount, 1, 1000);
  requireDuration(scope, 'retentionPeriod', props.retentionPeriod, Duration.minutes(1), MAX_RETENTION);
  requireDuration(scope, 'target.processingTime', processingTime, Duration.millis(1), MAX_VISIBILITY);
  requireDuration(scope, 'visibilityTimeout', props.visibilityTimeout, Duration.seconds(0), MAX_VISIBILITY);
  requireSeconds(scope, { retentionPeriod: props.retentionPeriod, visibilityTimeout: props.visibilityTimeout });
  validateVisibility(scope, 'visibilityTimeout', props.visibilityTimeout, processingTime, props.target.maxBatchingWindow);
  if (props.encryptionKey) { validateKey(scope, props.encryptionKey); }
  if (props.environment?.QUEUE_URL !== undefined) {
    throw ownQueueUrl(scope);
  }

  const { queue, deadLetterQueue, ruleDeadLetterQueue } = props;
  if (queue) {
    const { maxReceiveCount, retentionPeriod, visibilityTimeout, encryptionKey } = props;
    refuseWith(scope, 'queue', { maxReceiveCount, retentionPeriod, visibilityTimeout, encryptionKey });
  }
  const own = queue instanceof sqs.Queue ? queue.deadLetterQueue?.queue : undefined;
  const dead = deadLetterQueue ?? own;
  if (queue && dead && (ruleDeadLetterQueue || !dead.fifo || patterns.length === 0)) {
    // They configure a new queue, and no queue is made.
    refuseWith(scope, 'queue', { removalPolicy: props.removalPolicy });
  }
  for (const [name, existing] of Object.entries({ deadLetterQueue, queue, ruleDeadLetterQueue, 'the deadLetterQueue of queue': own })) {
    if (existing) { validateQueue(scope, name, existing, patterns.length > 0); }
  }
  for (const [name, existing] of Object.entries({ deadLetterQueue, ruleDeadLetterQueue })) {
    if (queue && existing && isSame(queue, existing)) {
      throw invalid(scope, `${name} is queue itself, so a failed message would be received again forever: give another queue, or leave ${name} out`);
    }
  }
  validateTypes(scope, props);
  warnOfRetention(scope, props);
  if (queue instanceof sqs.Queue) { validateOwnQueue(scope, queue, props, patterns.length > 0, processingTime); }
  if (!queue && deadLetterQueue instanceof sqs.Queue) { validateOwnDeadLetterQueue(scope, deadLetterQueue); }
}

/** The target would consume another queue than the one that is watched. */
export function ownQueueUrl(scope: Construct): Error {
  return invalid(scope, 'environment.QUEUE_URL is the queue of this consumer, which it sets itself: give another queue another name');
}

/** Returns six times the processing time plus the batching window, as AWS advises for Lambda. */
export function adviseVisibilityTimeout(scope: Construct, processingTime: Duration, maxBatchingWindow?: Duration): Duration {
  const advised = advisedVisibility(processingTime, maxBatchingWindow);
  if (advised === undefined) {
    throw invalid(scope, 'visibilityTimeout must be given, as the processing time or the batching window of target is a token');
  }
  return Duration.seconds(advised);
}

function advisedVisibility(processingTime: Duration, maxBatchingWindow: Duration = Duration.seconds(0)): number | undefined {
  if (processingTime.isUnresolved() || maxBatchingWindow.isUnresolved()) { return undefined; }
  const advised = Math.ceil((6 * processingTime.toMilliseconds() + maxBatchingWindow.toMilliseconds()) / 1000);
  return Math.min(advised, MAX_VISIBILITY.toSeconds());
}

function validatePatterns(scope: Construct, props: BufferedEventConsumerProps, patterns: events.EventPattern[]): void {
  const { eventPattern, eventPatterns, eventBus, ruleInput, ruleDeadLetterQueue, queue } = props;
  refuseBoth(scope, { eventPattern, eventPatterns });
  if (patterns.length === 0) {
    if (!queue) {
      throw invalid(scope, 'eventPattern is missing: give it, or eventPatterns, or give a queue that something else sends to');
    }
    refuseWithout(scope, 'eventPattern', { eventBus, ruleInput, ruleDeadLetterQueue });
  }
  const texts = patterns.map((pattern) => JSON.stringify(pattern));
  texts.forEach((text, index) => {
    const name = eventPattern ? 'eventPattern' : `eventPatterns[${index}]`;
    if (text === '{}') { throw invalid(scope, `${name} is empty: name at least one field, such as detailType`); }
    const empty = emptyField(patterns[index], name);
    if (empty) { throw invalid(scope, `${empty} is empty, which EventBridge refuses: give the values that it has to match, or leave it out`); }
    const first = texts.indexOf(text);
    if (first !== index) {
      throw invalid(scope, `${name} is the same as eventPatterns[${first}], so each of its events would be delivered twice: leave one out`);
    }
  });
  const { region: own } = Stack.of(scope);
  if (eventBus && differ(eventBus.env.region, own)) {
    throw invalid(scope, `eventBus is in ${eventBus.env.region}, but the rule and its queue are in ${own}: send the events to a bus of ${own} first`);
  }
}

/** Returns the first field of a pattern that has no condition. */
function emptyField(value: unknown, path: string): string | undefined {
  if (typeof value !== 'object' || value === null || Token.isUnresolved(value)) { return undefined; }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  if (fields.length === 0) { return path; }
  for (const [name, field] of fields) {
    const empty = emptyField(field, Array.isArray(value) ? `${path}[${name}]` : `${path}.${name}`);
    if (empty) { return empty; }
  }
  return undefined;
}

function validateVisibility(
  scope: Construct, name: string, visibilityTimeout: Duration | undefined, processingTime: Duration, maxBatchingWindow?: Duration,
): void {
  if (!visibilityTimeout || visibilityTimeout.isUnresolved() || processingTime.isUnresolved()) { return; }
  if (visibilityTimeout.toMilliseconds() < processingTime.toMilliseconds()) {
    throw invalid(scope, `${name} (${visibilityTimeout.toHumanString()}) is less than the processing time of target ` +
      `(${processingTime.toHumanString()}), so a message would be processed twice at a time: make it six times as long`);
  }
  const advised = advisedVisibility(processingTime, maxBatchingWindow);
  if (advised !== undefined && visibilityTimeout.toMilliseconds() < advised * 1000) {
    Annotations.of(scope).addWarningV2('cdk-order-pipeline:visibilityTimeoutBelowAdvised',
      `${name} (${visibilityTimeout.toHumanString()}) is less than AWS advises (${Duration.seconds(advised).toHumanString()}: six times the `
      + 'processing time, and the batching window): a batch that waits for its turn or is tried again may be received twice');
  }
}

/** A property injector may have given a new queue a key that EventBridge cannot use. */
export function validateMadeQueue(scope: Construct, queue: sqs.Queue): void {
  if (queue.encryptionType === sqs.QueueEncryption.KMS_MANAGED || queue.encryptionMasterKey && isAwsManaged(queue.encryptionMasterKey)) {
    throw awsManagedKey(scope, `the new queue '${queue.node.id}'`);
  }
}

function validateQueue(scope: Construct, name: string, queue: sqs.IQueue, delivered: boolean): void {
  if (queue.encryptionType === sqs.QueueEncryption.KMS_MANAGED || queue.encryptionMasterKey && isAwsManaged(queue.encryptionMasterKey)) {
    if (delivered) { throw awsManagedKey(scope, name); }
  }
  if (!delivered) { return; }
  const { region, account } = Stack.of(scope);
  if (differ(queue.env.region, region)) {
    throw invalid(scope, `${name} is in ${queue.env.region}, but EventBridge delivers to queues of its own region only, which is ${region}`);
  }
  if (differ(queue.env.account, account)) {
    throw invalid(scope, `${name} is of account ${queue.env.account}, to which EventBridge delivers only with a role of the bus's account: `
      + `make the consumer in a stack of account ${queue.env.account}; its eventBus may be of another account`);
  }
}

/** A queue and its dead-letter queue must have the same type. EventBridge accepts only standard dead-letter queues. */
function validateTypes(scope: Construct, { queue, queueType, deadLetterQueue, ruleDeadLetterQueue }: BufferedEventConsumerProps): void {
  const typeOf = (fifo: boolean) => fifo ? 'FIFO' : 'standard';
  if (queue && queueType && queueType._fifo !== queue.fifo) {
    throw invalid(scope, `queueType is ${typeOf(queueType._fifo)}, but queue is ${typeOf(queue.fifo)}: give the type of queue, or leave queueType out`);
  }
  const fifo = queue?.fifo ?? queueType?._fifo ?? false;
  if (deadLetterQueue && deadLetterQueue.fifo !== fifo) {
    throw invalid(scope, `deadLetterQueue is ${typeOf(deadLetterQueue.fifo)}, but the queue is ${typeOf(fifo)}, and SQS requires the same type for both`);
  }
  if (ruleDeadLetterQueue?.fifo) {
    throw invalid(scope, 'ruleDeadLetterQueue is FIFO, but EventBridge accepts only standard queues for events that it can\'t deliver');
  }
}

/** A dead letter of a standard queue is as old as the message was. */
function warnOfRetention(scope: Construct, { queue, queueType, deadLetterQueue, retentionPeriod }: BufferedEventConsumerProps): void {
  if (queue?.fifo ?? queueType?._fifo) { return; }
  const kept = queue ? retentionOf(queue) : retentionPeriod ?? Duration.days(4);
  const dead = deadLetterQueue ?? (queue instanceof sqs.Queue ? queue.deadLetterQueue?.queue : undefined);
  const deadKept = dead ? retentionOf(dead) : MAX_RETENTION;
  if (!kept || !deadKept || kept.isUnresolved() || deadKept.isUnresolved() || kept.toSeconds() < deadKept.toSeconds()) { return; }
  Annotations.of(scope).addWarningV2('cdk-order-pipeline:noTimeForDeadLetters',
    `the retentionPeriod is ${kept.toHumanString()}, but the dead-letter queue has ${deadKept.toHumanString()} from when a message was sent: a message that fails `
    + 'after a long wait is lost soon after it became a dead letter. Let the dead-letter queue keep messages longer than the queue');
}

/** Returns how long a queue keeps messages, if it is made in this app. */
function retentionOf(queue: sqs.IQueue): Duration | undefined {
  if (!(queue instanceof sqs.Queue)) { return undefined; }
  const { messageRetentionPeriod } = queue.node.defaultChild as sqs.CfnQueue;
  return Token.isUnresolved(messageRetentionPeriod) ? undefined : Duration.seconds(messageRetentionPeriod ?? 4 * 86_400);
}

/** Checks an existing queue, as far as it is known: if it is made in this app. */
function validateOwnQueue(
  scope: Construct, queue: sqs.Queue, { deadLetterQueue, target }: BufferedEventConsumerProps, delivered: boolean, processingTime: Duration,
): void {
  const { visibilityTimeout, contentBasedDeduplication } = queue.node.defaultChild as sqs.CfnQueue;
  if (!Token.isUnresolved(visibilityTimeout)) {
    validateVisibility(scope, 'the visibilityTimeout of queue', Duration.seconds(visibilityTimeout ?? 30), processingTime, target.maxBatchingWindow);
  }
  if (delivered && queue.fifo && !Token.isUnresolved(contentBasedDeduplication) && !contentBasedDeduplication) {
    throw invalid(scope, 'queue has no contentBasedDeduplication, without which EventBridge can\'t send to a FIFO queue: set it where queue is defined');
  }
  const own = queue.deadLetterQueue?.queue;
  if (!own) {
    Annotations.of(scope).addWarningV2('cdk-order-pipeline:queueWithoutDeadLetterQueue',
      `queue '${queue.node.path}' has no deadLetterQueue: a message that always fails is received again until it expires. Set it where queue is `
      + `defined${deadLetterQueue ? '; the deadLetterQueue given here only gets events that EventBridge can\'t deliver' : ''}`);
  } else if (deadLetterQueue && deadLetterQueue !== own) {
    throw invalid(scope, 'deadLetterQueue is not the one of queue: leave it out, or give queue the same one');
  }
}

function validateOwnDeadLetterQueue(scope: Construct, deadLetterQueue: sqs.Queue): void {
  const { redriveAllowPolicy } = deadLetterQueue.node.defaultChild as sqs.CfnQueue;
  if (redriveAllowPolicy?.redrivePermission === sqs.RedrivePermission.DENY_ALL) {
    throw invalid(scope, 'the redriveAllowPolicy of deadLetterQueue lets no queue use it: allow the queue of this consumer, or all');
  }
}

function validateKey(scope: Construct, key: kms.IKey): void {
  if (isAwsManaged(key)) { throw awsManagedKey(scope, 'encryptionKey'); }
  const { region } = Stack.of(scope);
  if (differ(key.env.region, region)) {
    throw invalid(scope, `encryptionKey is in ${key.env.region}, but Amazon SQS accepts only keys of its own region, which is ${region}`);
  }
}

function isSame(one: sqs.IQueue, other: sqs.IQueue): boolean {
  // An imported queue may be two constructs.
  return one === other || !Token.isUnresolved(one.queueArn) && one.queueArn === other.queueArn;
}

function isAwsManaged(key: kms.IKey): boolean {
  const alias = 'aliasName' in key ? String(key.aliasName) : '';
  return [alias, key.keyArn].some((name) => /(^|:)alias\/aws\//.test(name));
}

function awsManagedKey(scope: Construct, name: string): Error {
  const what = name === 'encryptionKey' ? 'is a key that AWS manages' : 'is encrypted with the key alias/aws/sqs';
  return invalid(scope, `${name} ${what}, which EventBridge can't use, as its policy can't be changed: `
    + (name === 'encryptionKey' ? 'give a customer managed key, or none for SSE-SQS' : 'encrypt it with QueueEncryption.SQS_MANAGED or with a customer managed key'));
}
