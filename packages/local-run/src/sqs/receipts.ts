import { hash, randomUUID } from 'node:crypto';
import { SqsError } from './errors.ts';
import type { Message } from './message.ts';

const ID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const HANDLE = new RegExp(`^AQEB([0-9a-f]{16})(${ID})${ID}$`);

/** Receipt handles of one queue: they name the message, and each receive gives another. */
export class Receipts {
  readonly #tag: string;
  /** The messages that were received, and are not deleted. */
  readonly #messages = new Map<string, Message>();

  constructor(queueArn: string) {
    this.#tag = hash('sha256', queueArn).slice(0, 16);
  }

  give(message: Message): string {
    const { messageId } = message;
    this.#messages.set(messageId, message);
    return message.receiptHandle = `AQEB${this.#tag}${messageId}${randomUUID()}`;
  }

  /** A message that was received before a restart. */
  keep(message: Message): void {
    this.#messages.set(message.messageId, message);
  }

  /**
   * The message that a handle names, or undefined if it is deleted.
   *
   * @throws SqsError if it is no handle of this queue
   */
  find(handle: string): Message | undefined {
    const [, tag, id = ''] = HANDLE.exec(handle) ?? [];
    if (tag !== this.#tag) throw new SqsError('ReceiptHandleIsInvalid', `The input receipt handle "${handle}" is not a valid receipt handle.`);
    return this.#messages.get(id);
  }

  forget({ messageId }: Message): void {
    this.#messages.delete(messageId);
  }

  clear(): void {
    this.#messages.clear();
  }

  messages(): Iterable<Message> {
    return this.#messages.values();
  }
}
