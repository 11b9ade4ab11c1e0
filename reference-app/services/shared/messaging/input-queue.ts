import {
  ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand, GetQueueAttributesCommand, ReceiveMessageCommand, SQSClient, type Message,
} from '@aws-sdk/client-sqs';
import type { Read } from '../events/index.ts';
import type { Logger } from '../telemetry.ts';

/** A message from its receipt until it is deleted or given back. */
export interface Held {
  readonly message: Message;
  readonly receiveCount: number;
  /** Its events, or the reason why one can't be read, or is not believed. */
  events: readonly Read[];
  /** When the queue will hand it to somebody else. */
  visibleAt: number;
}

/** The messages of one call. */
export const MAX_BATCH = 10;

/** The queue of a consumer. A call for messages in hand that fails is logged only: they come again. */
export class InputQueue {
  readonly #url: string;
  readonly #sqs: SQSClient;
  readonly #log: Logger;

  constructor(url: string, sqs: SQSClient, log: Logger) {
    this.#url = url;
    this.#sqs = sqs;
    this.#log = log;
  }

  /** The visibility timeout, and the receives before a message becomes a dead letter; undefined without a dead-letter queue. */
  async settings(abortSignal: AbortSignal): Promise<{ visibilitySeconds: number; maxReceiveCount: number | undefined }> {
    const { Attributes = {} } = await this.#sqs.send(new GetQueueAttributesCommand({
      QueueUrl: this.#url, AttributeNames: ['VisibilityTimeout', 'RedrivePolicy'],
    }), { abortSignal });
    const { maxReceiveCount } = JSON.parse(Attributes.RedrivePolicy ?? '{}') as { maxReceiveCount?: number | string };
    return {
      // A queue with visibility 0 would hand everything out twice; AWS allows it, sense does not.
      visibilitySeconds: Math.max(1, Number(Attributes.VisibilityTimeout ?? 30)),
      maxReceiveCount: maxReceiveCount === undefined ? undefined : Number(maxReceiveCount),
    };
  }

  /** At most ten messages, with their receive counts. */
  async receive(waitTimeSeconds: number, abortSignal: AbortSignal): Promise<readonly Message[]> {
    const { Messages = [] } = await this.#sqs.send(new ReceiveMessageCommand({
      QueueUrl: this.#url,
      MaxNumberOfMessages: MAX_BATCH,
      WaitTimeSeconds: waitTimeSeconds,
      MessageSystemAttributeNames: ['ApproximateReceiveCount'],
    }), { abortSignal });
    return Messages;
  }

  async delete(held: readonly Held[]): Promise<void> {
    await this.#inTens(held, 'delete', async (ten) => {
      const { Failed } = await this.#sqs.send(new DeleteMessageBatchCommand({
        QueueUrl: this.#url,
        Entries: ten.map(({ message }, i) => ({ Id: String(i), ReceiptHandle: message.ReceiptHandle })),
      }));
      return Failed;
    });
  }

  async changeVisibility(held: readonly Held[], seconds: (held: Held) => number): Promise<void> {
    await this.#inTens(held, 'change the visibility of', async (ten) => {
      const { Failed } = await this.#sqs.send(new ChangeMessageVisibilityBatchCommand({
        QueueUrl: this.#url,
        Entries: ten.map((one, i) => ({
          Id: String(i), ReceiptHandle: one.message.ReceiptHandle, VisibilityTimeout: Math.round(seconds(one)),
        })),
      }));
      return Failed;
    });
  }

  async #inTens(
    held: readonly Held[], action: string, send: (ten: readonly Held[]) => Promise<readonly unknown[] | undefined>,
  ): Promise<void> {
    const tens = Array.from({ length: Math.ceil(held.length / MAX_BATCH) }, (_, i) => held.slice(i * MAX_BATCH, (i + 1) * MAX_BATCH));
    await Promise.all(tens.map(async (ten) => {
      try {
        const failed = await send(ten);
        if (failed?.length) this.#log.warn({ failed }, `could not ${action} messages`);
      } catch (error) {
        // They come again when their visibility times out, and the inbox knows the handled ones.
        this.#log.warn({ err: error, messages: ten.length }, `could not ${action} messages`);
      }
    }));
  }
}

export function createQueueClient(): SQSClient {
  return new SQSClient({
    // Longer than a long poll; more sockets than receives, so that a delete never waits for one.
    requestHandler: {
      connectionTimeout: 3_000,
      requestTimeout: 30_000,
      throwOnRequestTimeout: true,
      httpAgent: { maxSockets: 200 },
      httpsAgent: { maxSockets: 200 },
    },
  });
}
