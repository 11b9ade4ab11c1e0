import type { Message } from './message.ts';

/** The messages of a queue that wait to be received. */
export interface Line {
  /** All that wait. */
  readonly size: number;
  /** Those that can be received now. */
  readonly available: number;
  /** A new message, or one that comes back. */
  add(message: Message): void;
  /** Takes up to `most`; a message that `accept` refuses is taken out and does not count. */
  take(most: number, accept: (message: Message) => boolean): Message[];
  /** The next that can be received, which stays. */
  first(): Message | undefined;
  /** Takes out a message that waits. */
  remove(message: Message): void;
  /** A message that was taken has been deleted or has come back. */
  released(message: Message): void;
  clear(): void;
  messages(): Iterable<Message>;
}

const TO_COMPACT = 1024;

/** The line of a standard queue: who comes first is first. What comes back stands at the end. */
export class StandardLine implements Line {
  #messages: Message[] = [];
  /** All before it are taken. */
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get available(): number {
    return this.#size;
  }

  add(message: Message): void {
    this.#messages.push(message);
    this.#size++;
  }

  take(most: number, accept: (message: Message) => boolean): Message[] {
    const taken: Message[] = [];
    while (taken.length < most) {
      const message = this.first();
      if (!message) break;
      this.#takeFirst();
      if (accept(message)) taken.push(message);
    }
    return taken;
  }

  first(): Message | undefined {
    while (this.#messages[this.#head]?.gone === true) this.#head++;
    return this.#messages[this.#head];
  }

  #takeFirst(): void {
    this.#head++;
    this.#size--;
    if (this.#head < TO_COMPACT || this.#head * 2 < this.#messages.length) return;
    this.#messages = this.#messages.slice(this.#head);
    this.#head = 0;
  }

  remove(message: Message): void {
    if (message === this.first()) return this.#takeFirst();
    message.gone = true;
    this.#size--;
  }

  released(): void { /* no message holds up another */ }

  clear(): void {
    this.#messages = [];
    this.#head = 0;
    this.#size = 0;
  }

  * messages(): Generator<Message, void> {
    for (let index = this.#head; index < this.#messages.length; index++) {
      const message = this.#messages[index]!;
      if (message.gone !== true) yield message;
    }
  }
}
