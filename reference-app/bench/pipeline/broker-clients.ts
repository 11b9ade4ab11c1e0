/** The memory broker behind the clients of the AWS SDK, in the same thread or across threads and processes. */
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand, GetQueueAttributesCommand, ReceiveMessageCommand, type SQSClient,
} from '@aws-sdk/client-sqs';
import type { MemoryBroker, ReceivedMessage } from './broker.ts';

/** The client that the relay gets instead of EventBridge's. */
export function eventBridgeOf(broker: Pick<MemoryBroker, 'put' | 'calls'>): EventBridgeClient {
  return {
    async send({ input }: PutEventsCommand) {
      broker.calls.putEvents++;
      return {
        FailedEntryCount: 0,
        Entries: input.Entries!.map((entry) => {
          broker.put(entry.DetailType!, entry.Source!, entry.Detail!);
          return { EventId: '0' };
        }),
      };
    },
    destroy() {},
  } as unknown as EventBridgeClient;
}

/** The queue operations behind an SQS client: in this thread, or behind a port. */
export interface QueuePort {
  receive(queue: string, answer: (messages: ReceivedMessage[]) => void): () => void;
  delete(queue: string, receipts: string[]): void;
  changeVisibility(queue: string, entries: { receipt: string; seconds: number }[]): void;
}

export function localQueues(broker: MemoryBroker, owner: unknown = {}): QueuePort {
  return {
    receive: (queue, answer) => broker.receive(queue, owner, answer),
    delete: (queue, receipts) => broker.delete(queue, receipts),
    changeVisibility: (queue, entries) => broker.changeVisibility(queue, entries),
  };
}

/** The client that consumers get instead of that of SQS. */
export function sqsOf(queues: QueuePort): SQSClient {
  const nameOf = (url: string | undefined) => url!.slice(url!.lastIndexOf('/') + 1);
  return {
    async send(command: unknown, options?: { abortSignal?: AbortSignal }) {
      if (command instanceof ReceiveMessageCommand) {
        const messages = await new Promise<ReceivedMessage[]>((resolve) => {
          // It may answer before it returns.
          let cancel: (() => void) | undefined;
          cancel = queues.receive(nameOf(command.input.QueueUrl), (answer) => {
            if (cancel) options?.abortSignal?.removeEventListener('abort', cancel);
            resolve(answer);
          });
          options?.abortSignal?.addEventListener('abort', cancel);
        });
        return {
          Messages: messages.map(({ body, receipt, receives }) => ({
            MessageId: receipt, ReceiptHandle: receipt, Body: body, Attributes: { ApproximateReceiveCount: String(receives) },
          })),
        };
      }
      if (command instanceof DeleteMessageBatchCommand) {
        queues.delete(nameOf(command.input.QueueUrl), command.input.Entries!.map(({ ReceiptHandle }) => ReceiptHandle!));
        return {};
      }
      if (command instanceof ChangeMessageVisibilityBatchCommand) {
        const entries = command.input.Entries!.map((entry) => ({ receipt: entry.ReceiptHandle!, seconds: entry.VisibilityTimeout! }));
        queues.changeVisibility(nameOf(command.input.QueueUrl), entries);
        return {};
      }
      // Long, since nothing times out here; a large maxReceiveCount, since a killed worker's messages come again often.
      if (command instanceof GetQueueAttributesCommand) {
        return { Attributes: { VisibilityTimeout: '3600', RedrivePolicy: '{"maxReceiveCount":1000}' } };
      }
      throw new Error(`The memory broker does not know ${(command as object).constructor.name}.`);
    },
    destroy() {},
  } as unknown as SQSClient;
}

// --- across threads and processes ------------------------------------------------------------------------------------

/** A MessagePort, or a child process and its parent. */
export interface Channel {
  post(message: unknown): void;
  onMessage(listener: (message: never) => void): void;
}

type Request =
  | { readonly op: 'receive'; readonly id: number; readonly queue: string }
  | { readonly op: 'cancel'; readonly id: number }
  | { readonly op: 'delete'; readonly queue: string; readonly receipts: string[] }
  | { readonly op: 'visibility'; readonly queue: string; readonly entries: { receipt: string; seconds: number }[] };

interface Answer { readonly op: 'received'; readonly id: number; readonly messages: ReceivedMessage[] }

/** Serves the broker's queues to the other end of the channel. */
export function serveQueues(broker: MemoryBroker, channel: Channel, owner: unknown = channel): void {
  const cancels = new Map<number, () => void>();
  channel.onMessage((request: Request) => {
    switch (request.op) {
      case 'receive': {
        const { id, queue } = request;
        cancels.set(id, () => {});
        const cancel = broker.receive(queue, owner, (messages) => {
          cancels.delete(id);
          channel.post({ op: 'received', id, messages } satisfies Answer);
        });
        if (cancels.has(id)) cancels.set(id, cancel);
        break;
      }
      case 'cancel': cancels.get(request.id)?.(); break;
      case 'delete': broker.delete(request.queue, request.receipts); break;
      case 'visibility': broker.changeVisibility(request.queue, request.entries); break;
    }
  });
}

export function remoteQueues(channel: Channel): QueuePort {
  const open = new Map<number, (messages: ReceivedMessage[]) => void>();
  let ids = 0;
  channel.onMessage((answer: Answer) => {
    if (answer.op !== 'received') return;
    open.get(answer.id)?.(answer.messages);
    open.delete(answer.id);
  });
  const post = (request: Request) => channel.post(request);
  return {
    receive(queue, answer) {
      const id = ++ids;
      open.set(id, answer);
      post({ op: 'receive', id, queue });
      return () => post({ op: 'cancel', id });
    },
    delete: (queue, receipts) => post({ op: 'delete', queue, receipts }),
    changeVisibility: (queue, entries) => post({ op: 'visibility', queue, entries }),
  };
}
