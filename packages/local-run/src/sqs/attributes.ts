import { invalidValue, SqsError, unknownAttribute } from './errors.ts';

export type Attributes = Readonly<Record<string, string>>;

const NUMBERS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  DelaySeconds: [0, 900],
  MaximumMessageSize: [1024, 1_048_576],
  MessageRetentionPeriod: [60, 1_209_600],
  ReceiveMessageWaitTimeSeconds: [0, 20],
  VisibilityTimeout: [0, 43_200],
  KmsDataKeyReusePeriodSeconds: [60, 86_400],
};

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  FifoQueue: ['true'],
  ContentBasedDeduplication: ['true', 'false'],
  DeduplicationScope: ['queue', 'messageGroup'],
  FifoThroughputLimit: ['perQueue', 'perMessageGroupId'],
  SqsManagedSseEnabled: ['true', 'false'],
};

const FIFO_ONLY: ReadonlySet<string> = new Set(['FifoQueue', 'ContentBasedDeduplication', 'DeduplicationScope', 'FifoThroughputLimit']);
/** An empty text takes them away. */
const REMOVABLE: ReadonlySet<string> = new Set(['Policy', 'RedrivePolicy', 'RedriveAllowPolicy', 'KmsMasterKeyId']);
const SETTABLE: ReadonlySet<string> = new Set([...Object.keys(NUMBERS), ...Object.keys(CHOICES), ...REMOVABLE]);
const COUNTED = [
  'ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible', 'ApproximateNumberOfMessagesDelayed', 'CreatedTimestamp',
  'LastModifiedTimestamp', 'QueueArn',
] as const;

export type CountedAttribute = typeof COUNTED[number];

/** The names that `GetQueueAttributes` takes, besides `All`. */
export const READABLE: ReadonlySet<string> = new Set([...COUNTED, ...SETTABLE]);

const DEFAULTS: Attributes = {
  VisibilityTimeout: '30', MaximumMessageSize: '1048576', MessageRetentionPeriod: '345600', DelaySeconds: '0', ReceiveMessageWaitTimeSeconds: '0',
};
const FIFO_DEFAULTS: Attributes = { ContentBasedDeduplication: 'false', DeduplicationScope: 'queue', FifoThroughputLimit: 'perQueue' };

/** The attributes of a new queue, with the defaults of those that are not given. */
export function completed(given: Attributes): Record<string, string> {
  const fifo = given.FifoQueue === 'true';
  const all = without({ ...DEFAULTS, ...(fifo && FIFO_DEFAULTS), ...given }, ...(fifo ? [] : ['FifoQueue']));
  return withEncryption(all);
}

/** After a change: a text that is empty takes its attribute away. */
export function changed(before: Attributes, change: Attributes): Record<string, string> {
  const after = { ...before, ...change };
  if (change.KmsMasterKeyId) after.SqsManagedSseEnabled = 'false';
  if (change.SqsManagedSseEnabled === 'true') after.KmsMasterKeyId = '';
  return withEncryption(without(after, ...[...REMOVABLE].filter((name) => after[name] === '')));
}

/** A queue has one kind of encryption: by a key of KMS, or by SQS itself, which is the default. */
function withEncryption(attributes: Record<string, string>): Record<string, string> {
  if (attributes.KmsMasterKeyId) return { KmsDataKeyReusePeriodSeconds: '300', ...attributes, SqsManagedSseEnabled: 'false' };
  return { SqsManagedSseEnabled: 'true', ...without(attributes, 'KmsDataKeyReusePeriodSeconds') };
}

function without(attributes: Attributes, ...names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

/** @throws SqsError if SQS would not take these attributes for such a queue */
export function checkAttributes(given: Attributes, { fifo, exists }: { readonly fifo: boolean; readonly exists: boolean }): void {
  for (const [name, value] of Object.entries(given)) {
    if (!SETTABLE.has(name) || (FIFO_ONLY.has(name) && !fifo) || (name === 'FifoQueue' && exists)) throw unknownAttribute(name);
    if (!isValid(name, value)) throw new SqsError('InvalidAttributeValue', `Invalid value for the parameter ${name}.`);
  }
  if (given.KmsMasterKeyId && given.SqsManagedSseEnabled === 'true') {
    throw new SqsError('InvalidAttributeValue', 'You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.');
  }
}

/** A limit per group needs ids that count per group. */
export function checkThroughput(all: Attributes): void {
  if (all.FifoThroughputLimit === 'perMessageGroupId' && all.DeduplicationScope !== 'messageGroup') {
    throw new SqsError('InvalidAttributeValue', 'The value perMessageGroupId of FifoThroughputLimit is allowed only when DeduplicationScope is messageGroup.');
  }
}

function isValid(name: string, value: string): boolean {
  const limits = NUMBERS[name];
  if (limits) return /^\d{1,9}$/.test(value) && Number(value) >= limits[0] && Number(value) <= limits[1];
  const choices = CHOICES[name];
  if (choices) return choices.includes(value);
  if (name === 'Policy' && value !== '') return json(value) !== undefined;
  return true;
}

export function json(value: string): Record<string, unknown> | undefined {
  try {
    const parsed = JSON.parse(value) as unknown;
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? parsed as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}

export interface RedrivePolicy {
  readonly deadLetterTargetArn: string;
  readonly maxReceiveCount: number;
}

/** @throws SqsError if it isn't one; whether the queue is there is not looked at */
export function readRedrivePolicy(value: string): RedrivePolicy {
  const refuse = (reason: string) => invalidValue(value, 'RedrivePolicy', reason);
  const parsed = json(value);
  if (!parsed) throw refuse('Redrive policy is not a valid JSON map.');
  for (const name of ['deadLetterTargetArn', 'maxReceiveCount']) {
    if ((parsed[name] ?? undefined) === undefined) throw refuse(`Redrive policy does not contain mandatory attribute: ${name}.`);
  }
  const { deadLetterTargetArn, maxReceiveCount: count } = parsed;
  const maxReceiveCount = Number(count);
  if (!Number.isInteger(maxReceiveCount) || maxReceiveCount < 1 || maxReceiveCount > 1000) {
    throw refuse(`Invalid value for maxReceiveCount: ${String(count)}, valid values are from 1 to 1000 both inclusive.`);
  }
  if (typeof deadLetterTargetArn !== 'string' || !/^arn:[^:]+:sqs:[^:]+:\d+:.+$/.test(deadLetterTargetArn)) throw refuse('Invalid value for deadLetterTargetArn.');
  return { deadLetterTargetArn, maxReceiveCount };
}

/** @throws SqsError if it isn't one */
export function checkRedriveAllowPolicy(value: string): void {
  const refuse = (reason: string) => invalidValue(value, 'RedriveAllowPolicy', reason);
  const parsed = json(value);
  if (!parsed) throw refuse('Amazon SQS cannot parse the redrive allow policy.');
  const { redrivePermission, sourceQueueArns } = parsed;
  if (!['allowAll', 'denyAll', 'byQueue'].includes(String(redrivePermission))) throw refuse('redrivePermission must be allowAll, denyAll or byQueue.');
  if (redrivePermission !== 'byQueue') {
    if (sourceQueueArns !== undefined) throw refuse('sourceQueueArns is allowed only with the redrivePermission byQueue.');
    return;
  }
  if (!Array.isArray(sourceQueueArns) || sourceQueueArns.length < 1 || sourceQueueArns.length > 10) {
    throw refuse('With the redrivePermission byQueue, sourceQueueArns must hold 1 to 10 ARNs.');
  }
}

/** Whether a queue may use this one for its dead letters, as its `RedriveAllowPolicy` says. */
export function letsIn(dead: { readonly attributes: Attributes }, sourceArn: string): boolean {
  const { redrivePermission = 'allowAll', sourceQueueArns = [] } = json(dead.attributes.RedriveAllowPolicy ?? '') ?? {};
  return redrivePermission === 'allowAll' || (redrivePermission === 'byQueue' && (sourceQueueArns as string[]).includes(sourceArn));
}
