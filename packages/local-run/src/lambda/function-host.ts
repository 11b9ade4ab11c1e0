// Stands for AWS Lambda with an SQS event source: polls the queue and calls the handler of the function whose folder this
// process runs in. One process handles one batch at a time, like one Lambda environment.
import { existsSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { Message } from '@aws-sdk/client-sqs';
import { compilePattern, matchesPattern } from '../eventbridge/pattern.ts';

export interface FunctionConfig {
  readonly name: string;
  readonly arn: string;
  readonly handler: string;
  readonly timeoutSeconds: number;
  readonly memoryMegabytes: number;
  readonly queueUrl: string;
  readonly queueArn: string;
  readonly region: string;
  readonly batchSize: number;
  readonly batchWindowSeconds: number;
  readonly reportBatchItemFailures: boolean;
  readonly filters?: readonly string[];
}

type Handler = (event: unknown, context: object, callback: (error: unknown, result: unknown) => void) => unknown;

async function loadHandler(folder: string, handler: string): Promise<Handler> {
  const dot = handler.lastIndexOf('.');
  const [module, name] = [handler.slice(0, dot), handler.slice(dot + 1)];
  const file = ['.mjs', '.js', '.cjs'].map((extension) => join(folder, module + extension)).find(existsSync);
  if (file === undefined) throw new Error(`Handler ${handler}: there is no ${module}.js, .mjs or .cjs in ${folder}.`);
  const loaded = await import(pathToFileURL(file).href) as Record<string, unknown> & { default?: Record<string, unknown> };
  const found = loaded[name] ?? loaded.default?.[name];
  if (typeof found !== 'function') throw new Error(`Handler ${handler}: ${file} exports no function ${name}.`);
  return found as Handler;
}

class TimeoutError extends Error {}

async function invoke(handler: Handler, event: unknown, config: FunctionConfig): Promise<unknown> {
  const deadline = Date.now() + config.timeoutSeconds * 1000;
  const context = {
    awsRequestId: randomUUID(),
    functionName: config.name,
    functionVersion: '$LATEST',
    invokedFunctionArn: config.arn,
    memoryLimitInMB: String(config.memoryMegabytes),
    logGroupName: `/aws/lambda/${config.name}`,
    logStreamName: 'local',
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
  };
  const timer = new AbortController();
  try {
    return await Promise.race([
      new Promise((resolve, reject) => {
        const result = handler(event, context, (error, value) => (error === null || error === undefined ? resolve(value) : reject(error)));
        // A handler with a callback answers by it, any other by what it returns.
        if (handler.length < 3 || result instanceof Promise) Promise.resolve(result).then(resolve, reject);
      }),
      delay(config.timeoutSeconds * 1000, undefined, { signal: timer.signal }).then(() => {
        throw new TimeoutError(`Task timed out after ${config.timeoutSeconds.toFixed(2)} seconds`);
      }),
    ]);
  } finally {
    timer.abort();
  }
}

function toRecord(message: Message, config: FunctionConfig): object {
  const attributes = Object.entries(message.MessageAttributes ?? {}).map(([name, { StringValue, BinaryValue, DataType }]) => [name, {
    ...(StringValue !== undefined && { stringValue: StringValue }),
    ...(BinaryValue !== undefined && { binaryValue: Buffer.from(BinaryValue).toString('base64') }),
    stringListValues: [], binaryListValues: [], dataType: DataType,
  }]);
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes ?? {},
    messageAttributes: Object.fromEntries(attributes),
    md5OfBody: message.MD5OfBody,
    eventSource: 'aws:sqs',
    eventSourceARN: config.queueArn,
    awsRegion: config.region,
  };
}

/** What a filter sees: the body is its JSON, if it is any. */
function filtered(message: Message, config: FunctionConfig): object {
  try {
    return { ...toRecord(message, config), body: JSON.parse(message.Body ?? '') as unknown };
  } catch {
    return toRecord(message, config);
  }
}

/** Ids of the messages that failed. As in Lambda, an answer that makes no sense fails all of them. */
function failures(result: unknown, messages: readonly Message[], report: boolean): ReadonlySet<string> {
  const all = new Set(messages.map(({ MessageId }) => MessageId ?? ''));
  const items = report && typeof result === 'object' && result !== null ? (result as { batchItemFailures?: unknown }).batchItemFailures : undefined;
  if (items === undefined || items === null) return new Set();
  if (!Array.isArray(items)) return all;
  const ids = items.map((item: { itemIdentifier?: unknown } | null) => item?.itemIdentifier);
  return ids.every((id) => typeof id === 'string' && all.has(id)) ? new Set(ids as string[]) : all;
}

async function main(): Promise<void> {
  const config = JSON.parse(process.argv[2] ?? '{}') as FunctionConfig;
  const sqs = new SQSClient({ region: config.region });
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort());
  const handler = await loadHandler(process.cwd(), config.handler);
  const filters = config.filters?.map((pattern) => compilePattern(pattern));
  const wanted = (message: Message) => !filters || filters.some((pattern) => matchesPattern(pattern, filtered(message, config)));

  const remove = async (messages: readonly Message[]) => {
    for (let start = 0; start < messages.length; start += 10) {
      await sqs.send(new DeleteMessageBatchCommand({
        QueueUrl: config.queueUrl,
        Entries: messages.slice(start, start + 10).map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
      }));
    }
  };
  const receive = async (most: number, waitSeconds: number): Promise<Message[]> => {
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({
      QueueUrl: config.queueUrl, MaxNumberOfMessages: Math.min(10, most), WaitTimeSeconds: waitSeconds,
      MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'],
    }), { abortSignal: stopping.signal });
    // A message that no filter wants is done.
    await remove(Messages.filter((message) => !wanted(message)));
    return Messages.filter(wanted);
  };

  console.log(JSON.stringify({ level: 'info', msg: 'function ready', function: config.name, handler: config.handler }));
  while (!stopping.signal.aborted) {
    const batch: Message[] = [];
    try {
      batch.push(...await receive(config.batchSize, 20));
      // A batch is full, or its window is over; without a window it is what one receive brought.
      const end = Date.now() + config.batchWindowSeconds * 1000;
      while (batch.length > 0 && batch.length < config.batchSize && Date.now() < end && !stopping.signal.aborted) {
        batch.push(...await receive(config.batchSize - batch.length, Math.min(20, Math.max(0, Math.ceil((end - Date.now()) / 1000)))));
      }
    } catch (error) {
      if (stopping.signal.aborted && batch.length === 0) break;
      if (!stopping.signal.aborted) {
        console.error(JSON.stringify({ level: 'error', msg: 'receive failed', error: String(error) }));
        await delay(500);
      }
    }
    if (batch.length === 0) continue;
    try {
      const failed = failures(await invoke(handler, { Records: batch.map((message) => toRecord(message, config)) }, config), batch, config.reportBatchItemFailures);
      await remove(batch.filter(({ MessageId }) => !failed.has(MessageId ?? '')));
      if (failed.size > 0) console.error(JSON.stringify({ level: 'warn', msg: 'messages failed', messageIds: [...failed] }));
    } catch (error) {
      // The whole batch comes back after its visibility timeout.
      console.error(JSON.stringify({ level: 'error', msg: 'invocation failed', error: error instanceof Error ? error.stack : String(error) }));
      // Lambda ends an environment that ran out of time: nothing of it may go on.
      if (error instanceof TimeoutError) process.exit(1);
    }
  }
  process.exit(0);
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    console.error(JSON.stringify({ level: 'fatal', msg: 'function failed', error: error instanceof Error ? error.stack : String(error) }));
    process.exit(1);
  });
}
