import type { Source } from './source.ts';
import type { Message, SqsClient } from './sqs-client.ts';
import type { Invocation, Outcome, QueueMapping } from './types.ts';
import { compilePattern, matchesPattern } from '../eventbridge/pattern.ts';

const LONGEST_POLL_SECONDS = 20;

/** An event source mapping: batches of a queue, with a filter, a window and partial failures. */
export class QueueBatches implements Source<readonly Message[]> {
  readonly concurrency: number;
  readonly #mapping: QueueMapping;
  readonly #sqs: SqsClient;
  readonly #wanted: (message: Message) => boolean;

  constructor(mapping: QueueMapping, sqs: SqsClient) {
    this.concurrency = mapping.maximumConcurrency;
    this.#mapping = mapping;
    this.#sqs = sqs;
    const filters = mapping.filters?.map((pattern) => compilePattern(pattern));
    this.#wanted = (message) => !filters || filters.some((pattern) => matchesPattern(pattern, filtered(message, mapping)));
  }

  /** A batch is full, or its window is over; without a window it is the result of one receive. */
  async receive(signal: AbortSignal): Promise<readonly Message[] | undefined> {
    const { batchSize, batchWindowSeconds } = this.#mapping;
    const batch = await this.#receive(batchSize, LONGEST_POLL_SECONDS, signal);
    const end = Date.now() + batchWindowSeconds * 1000;
    while (batch.length > 0 && batch.length < batchSize && Date.now() < end && !signal.aborted) {
      const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      // What is there already is not lost because of an error.
      batch.push(...await this.#receive(batchSize - batch.length, Math.min(LONGEST_POLL_SECONDS, seconds), signal).catch(() => []));
    }
    return batch.length > 0 ? batch : undefined;
  }

  invocation(batch: readonly Message[]): Invocation {
    const traceHeader = batch[0]?.Attributes?.AWSTraceHeader;
    return {
      event: JSON.stringify({ Records: batch.map((message) => toRecord(message, this.#mapping)) }),
      ...(traceHeader !== undefined && { traceHeader }),
    };
  }

  /** Deletes the messages that were handled. The others come back after their visibility timeout. */
  async settle(batch: readonly Message[], outcome: Outcome, log: (line: object) => void): Promise<void> {
    if ('error' in outcome) return;
    const failed = failures(outcome.answer, batch, this.#mapping.reportBatchItemFailures);
    await this.#sqs.remove(this.#mapping.queueUrl, batch.filter(({ MessageId }) => !failed.has(MessageId)));
    if (failed.size > 0) log({ level: 'warn', msg: 'messages failed', messageIds: [...failed] });
  }

  async #receive(most: number, waitSeconds: number, signal: AbortSignal): Promise<Message[]> {
    const messages = await this.#sqs.receive(this.#mapping.queueUrl, most, waitSeconds, signal);
    // A message that no filter wants is done.
    const unwanted = messages.filter((message) => !this.#wanted(message));
    if (unwanted.length > 0) await this.#sqs.remove(this.#mapping.queueUrl, unwanted);
    return unwanted.length > 0 ? messages.filter((message) => !unwanted.includes(message)) : messages;
  }
}

function toRecord(message: Message, { queueArn, region }: QueueMapping): object {
  const attributes = Object.entries(message.MessageAttributes ?? {}).map(([name, { StringValue, BinaryValue, DataType }]) => [name, {
    ...(StringValue !== undefined && { stringValue: StringValue }),
    ...(BinaryValue !== undefined && { binaryValue: BinaryValue }),
    stringListValues: [],
    binaryListValues: [],
    dataType: DataType,
  }]);
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes ?? {},
    messageAttributes: Object.fromEntries(attributes),
    ...(message.MD5OfMessageAttributes !== undefined && { md5OfMessageAttributes: message.MD5OfMessageAttributes }),
    md5OfBody: message.MD5OfBody,
    eventSource: 'aws:sqs',
    eventSourceARN: queueArn,
    awsRegion: region,
  };
}

/** A message as a filter sees it: the body is its JSON, if it is any. */
function filtered(message: Message, mapping: QueueMapping): object {
  try {
    return { ...toRecord(message, mapping), body: JSON.parse(message.Body) as unknown };
  } catch {
    return toRecord(message, mapping);
  }
}

/** Ids of the messages that failed. As in Lambda, an answer that makes no sense fails all of them. */
function failures(answer: string, messages: readonly Message[], report: boolean): ReadonlySet<string> {
  if (!report) return new Set();
  const all = new Set(messages.map(({ MessageId }) => MessageId));
  let items: unknown;
  try {
    items = (JSON.parse(answer === '' ? 'null' : answer) as { batchItemFailures?: unknown } | null)?.batchItemFailures;
  } catch {
    return all;
  }
  if (items === undefined || items === null) return new Set();
  if (!Array.isArray(items)) return all;
  const ids = items.map((item: { itemIdentifier?: unknown } | null) => item?.itemIdentifier);
  return ids.every((id) => typeof id === 'string' && all.has(id)) ? new Set(ids as string[]) : all;
}
