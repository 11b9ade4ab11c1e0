import { invalidValue } from './errors.ts';
import type { Message } from './message.ts';

interface Attempt {
  readonly at: number;
  readonly messages: readonly Message[];
  readonly handles: readonly string[];
}

const ATTEMPT_MS = 5 * 60_000;

/** The receives of a FIFO queue that can be repeated with their `ReceiveRequestAttemptId`. */
export class Attempts {
  readonly #attempts = new Map<string, Attempt>();

  remember(id: string, messages: readonly Message[], now: number): void {
    if (messages.length > 0) this.#attempts.set(id, { at: now, messages, handles: messages.map(({ receiptHandle = '' }) => receiptHandle) });
  }

  /**
   * The messages that the receive brought, if it can be repeated.
   *
   * @throws SqsError if one of them was deleted or its visibility was changed
   */
  find(id: string, now: number): readonly Message[] | undefined {
    for (const [old, { at }] of this.#attempts) if (at <= now - ATTEMPT_MS) this.#attempts.delete(old);
    const { messages, handles } = this.#attempts.get(id) ?? {};
    // When the visibility timeout is over, it is a receive like any other.
    if (!messages?.some(({ visibilityDeadline, gone }) => visibilityDeadline !== undefined || gone === true)) return undefined;
    const isModified = ({ gone, touched, receiptHandle }: Message, index: number) =>
      gone === true || touched === true || receiptHandle !== handles![index];
    if (messages.some(isModified)) {
      throw invalidValue(id, 'ReceiveRequestAttemptId', 'Messages of this attempt were deleted or had their visibility changed.');
    }
    return messages;
  }

  clear(): void {
    this.#attempts.clear();
  }
}
