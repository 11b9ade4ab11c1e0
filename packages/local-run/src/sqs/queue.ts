import { Attempts } from './attempts.ts';
import { READABLE } from './attributes.ts';
import type { Attributes, CountedAttribute } from './attributes.ts';
import { Deadlines } from './deadlines.ts';
import { Deduplication } from './deduplication.ts';
import { invalidValue, SqsError } from './errors.ts';
import { GroupLine } from './group-line.ts';
import type { QueueJournal } from './journal.ts';
import { StandardLine } from './line.ts';
import type { Line } from './line.ts';
import { LongPolls } from './long-polls.ts';
import type { Message } from './message.ts';
import { Receipts } from './receipts.ts';
import { Settings } from './settings.ts';
import type { QueueNumbers } from './settings.ts';

export interface QueueIdentity {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly account: string;
}

/** The parts of the endpoint that a queue uses. */
export interface QueueHost {
  readonly journal: QueueJournal;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly gatheringMs: number | undefined;
  /** The most messages in flight. */
  readonly maxInFlight: number;
  /** The queue that takes the dead letters of this one; undefined if it isn't there or refuses. */
  deadLetterQueueOf(queue: Queue): Queue | undefined;
}

const MOST_VISIBILITY_SECONDS = 43_200;

/** One queue: its messages, and how they go out and come back. It asks for no permission and checks no request; its callers do. */
export class Queue implements QueueIdentity {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly account: string;
  readonly isFifo: boolean;
  readonly polls: LongPolls;
  readonly tags = new Map<string, string>();
  readonly deduplication: Deduplication | undefined;
  purgedAt = -Infinity;
  readonly #host: QueueHost;
  readonly #line: Line;
  readonly #receipts: Receipts;
  readonly #inFlight = new Deadlines<Message>(({ visibilityDeadline }) => visibilityDeadline);
  readonly #delayed = new Deadlines<Message>(({ delayUntil }) => delayUntil);
  readonly #delayedMessages = new Set<Message>();
  readonly #attempts = new Attempts();
  readonly #settings: Settings;
  #inFlightCount = 0;
  #sequence: number;

  constructor({ name, url, arn, account }: QueueIdentity, attributes: Attributes, host: QueueHost) {
    this.name = name;
    this.url = url;
    this.arn = arn;
    this.account = account;
    this.#host = host;
    this.isFifo = attributes.FifoQueue === 'true';
    this.#line = this.isFifo ? new GroupLine() : new StandardLine();
    this.#receipts = new Receipts(arn);
    this.polls = new LongPolls(this.#line, host.gatheringMs);
    this.deduplication = this.isFifo ? new Deduplication(name, host.journal, host.clock) : undefined;
    this.#settings = new Settings(attributes, host.clock());
    this.#sequence = host.journal.sequenceCounter(name);
    this.#load();
  }

  // --- attributes ---

  get attributes(): Attributes {
    return this.#settings.attributes;
  }

  get numbers(): QueueNumbers {
    return this.#settings.numbers;
  }

  /** The queue to which `RedrivePolicy` sends what is received too often. */
  get deadLetterArn(): string | undefined {
    return this.#settings.deadLetterArn;
  }

  setAttributes(change: Attributes): void {
    this.#settings.change(change, this.#host.clock());
  }

  /** The names and values that were asked for, of those that this queue has. */
  readAttributes(names: readonly string[]): Record<string, string> {
    const asked = names.includes('All') ? [...READABLE] : names;
    return Object.fromEntries(asked.flatMap((name) => {
      const value = this.attributes[name] ?? this.#counted(name as CountedAttribute);
      return value === undefined ? [] : [[name, String(value)]];
    }));
  }

  #counted(name: CountedAttribute): string | number | undefined {
    switch (name) {
      case 'ApproximateNumberOfMessages': return this.depth().visible;
      case 'ApproximateNumberOfMessagesNotVisible': return this.depth().inFlight;
      case 'ApproximateNumberOfMessagesDelayed': return this.depth().delayed;
      case 'CreatedTimestamp': return Math.floor(this.#settings.createdAt / 1000);
      case 'LastModifiedTimestamp': return Math.floor(this.#settings.modifiedAt / 1000);
      case 'QueueArn': return this.arn;
      default: return undefined;
    }
  }

  depth(): { readonly visible: number; readonly inFlight: number; readonly delayed: number } {
    this.tick();
    return { visible: this.#line.size, inFlight: this.#inFlightCount, delayed: this.#delayedMessages.size };
  }

  /** All messages, those in flight too. */
  * messages(): Generator<Message, void> {
    yield* this.#line.messages();
    yield* this.#delayedMessages;
    for (const message of this.#receipts.messages()) if (message.visibilityDeadline !== undefined) yield message;
  }

  // --- messages come ---

  /** Gives a message of a FIFO queue its place. */
  sequence(message: Message): void {
    message.sequenceNumber = String(++this.#sequence).padStart(20, '0');
    this.#host.journal.saveSequenceCounter(this.name, this.#sequence);
  }

  add(message: Message): void {
    this.#host.journal.add(this.name, message);
    this.#place(message);
    this.polls.notify();
  }

  #place(message: Message): void {
    const { delayUntil } = message;
    if (delayUntil === undefined || delayUntil <= this.#host.clock()) {
      message.delayUntil = undefined;
      this.#line.add(message);
    } else {
      this.#delayed.add(delayUntil, message);
      this.#delayedMessages.add(message);
    }
  }

  /** Takes over the messages of an earlier run, each in its former state. */
  #load(): void {
    const now = this.#host.clock();
    for (const message of this.#host.journal.load(this.name)) {
      if (message.receiptHandle !== undefined) this.#receipts.keep(message);
      if (message.visibilityDeadline !== undefined && message.visibilityDeadline > now) {
        // Its consumer may have survived: a message is not handed out twice before its time.
        message.receivedAt = now;
        this.#inFlight.add(message.visibilityDeadline, message);
        this.#inFlightCount++;
        if (this.#line instanceof GroupLine) this.#line.hold(message);
      } else {
        message.visibilityDeadline = undefined;
        this.#place(message);
      }
    }
  }

  // --- messages go ---

  /** Brings back what nobody has finished in time, and what was delayed long enough. */
  tick(): void {
    const now = this.#host.clock();
    if (!this.#inFlight.isDue(now) && !this.#delayed.isDue(now)) return;
    for (const message of this.#inFlight.due(now)) this.#return(message);
    for (const message of this.#delayed.due(now)) {
      this.#delayedMessages.delete(message);
      this.#place(message);
    }
    this.polls.notify();
  }

  /** @throws SqsError if too many messages of a standard queue are in flight */
  receive(most: number, visibilitySeconds = this.numbers.visibilitySeconds): readonly Message[] {
    this.tick();
    const room = this.#host.maxInFlight - this.#inFlightCount;
    if (room <= 0 && !this.isFifo) throw new SqsError('OverLimit', `The queue ${this.name} has ${this.#host.maxInFlight} messages in flight, and can have no more.`);
    const now = this.#host.clock();
    return this.#line.take(Math.min(most, room), (message) => this.#handOut(message, now, now + visibilitySeconds * 1000));
  }

  #handOut(message: Message, now: number, deadline: number): boolean {
    if ((message.enqueuedAt ?? message.sentTimestamp) + this.numbers.retentionMs <= now) {
      this.#forget(message);
      return false;
    }
    if (message.approximateReceiveCount >= this.numbers.maxReceiveCount && this.#giveUp(message, now)) return false;
    message.approximateReceiveCount++;
    message.approximateFirstReceiveTimestamp ??= now;
    message.visibilityDeadline = deadline;
    message.receivedAt = now;
    message.touched = false;
    this.#receipts.give(message);
    this.#inFlight.add(deadline, message);
    this.#inFlightCount++;
    this.#host.journal.received(message);
    return true;
  }

  /** Moves a message to the dead-letter queue, in the same transaction of the journal. */
  #giveUp(message: Message, now: number): boolean {
    const dead = this.#host.deadLetterQueueOf(this);
    if (!dead) return false;
    this.#forget(message);
    message.deadLetterSourceArn = this.arn;
    message.receiptHandle = undefined;
    if (dead.isFifo) {
      dead.sequence(message);
      message.enqueuedAt = now;
    }
    dead.add(message);
    return true;
  }

  #forget(message: Message): void {
    this.#receipts.forget(message);
    this.#host.journal.remove(message);
  }

  /**
   * A receive of a FIFO queue that was tried before with the same id brings the same messages, if nothing was done with them since.
   *
   * @throws SqsError if one of them was deleted or its visibility was changed
   */
  receiveAgain(attemptId: string, most: number, visibilitySeconds = this.numbers.visibilitySeconds): readonly Message[] {
    this.tick();
    const now = this.#host.clock();
    const before = this.#attempts.find(attemptId, now);
    for (const message of before ?? []) this.#hideUntil(message, now + visibilitySeconds * 1000);
    if (before) return before;
    const messages = this.receive(most, visibilitySeconds);
    this.#attempts.remember(attemptId, messages, now);
    return messages;
  }

  /** @throws SqsError if the handle is none of this queue, or of a FIFO queue and too late */
  delete(handle: string): void {
    this.tick();
    const message = this.#receipts.find(handle);
    if (!message) return;
    const inFlight = message.visibilityDeadline !== undefined;
    if (this.isFifo && (!inFlight || message.receiptHandle !== handle)) throw invalidValue(handle, 'ReceiptHandle', 'The receipt handle has expired.');
    // Somebody else has it now, or had it last: the handle of an earlier receive does nothing.
    if (message.receiptHandle !== handle) return;
    this.#forget(message);
    if (inFlight) this.#land(message);
    else this.#line.remove(message);
    message.gone = true;
    if (inFlight) this.#line.released(message);
    this.polls.notify();
  }

  /** @throws SqsError if the handle is none of this queue, or its message not in flight */
  changeVisibility(handle: string, seconds: number): void {
    this.tick();
    const message = this.#receipts.find(handle);
    if (!message || message.receiptHandle !== handle) {
      throw invalidValue(handle, 'ReceiptHandle', 'Message does not exist or is not available for visibility timeout change.');
    }
    if (message.visibilityDeadline === undefined) throw new SqsError('MessageNotInflight', `The message referred to by the receipt handle ${handle} is not in flight.`);
    const now = this.#host.clock();
    if (now - message.receivedAt! + seconds * 1000 > MOST_VISIBILITY_SECONDS * 1000) {
      throw invalidValue(seconds, 'VisibilityTimeout', `Total VisibilityTimeout for the message is beyond the limit [${MOST_VISIBILITY_SECONDS} seconds].`);
    }
    message.touched = true;
    if (seconds > 0) return this.#hideUntil(message, now + seconds * 1000);
    this.#inFlight.outdated();
    this.#return(message);
    this.#host.journal.returned(message);
    this.polls.notify();
  }

  #hideUntil(message: Message, deadline: number): void {
    this.#inFlight.outdated();
    message.visibilityDeadline = deadline;
    this.#inFlight.add(deadline, message);
    this.#host.journal.received(message);
  }

  /** Takes messages back that never reached their consumer, as if they had not been received. */
  giveBack(messages: readonly Message[], handles: readonly string[]): void {
    for (const [index, message] of messages.entries()) {
      if (message.visibilityDeadline === undefined || message.receiptHandle !== handles[index]) continue;
      message.approximateReceiveCount--;
      this.#inFlight.outdated();
      this.#return(message);
      this.#host.journal.returned(message);
    }
    this.polls.notify();
  }

  #return(message: Message): void {
    message.visibilityDeadline = undefined;
    this.#inFlightCount--;
    this.#line.add(message);
    this.#line.released(message);
  }

  #land(message: Message): void {
    message.visibilityDeadline = undefined;
    this.#inFlightCount--;
    this.#inFlight.outdated();
  }

  // --- dead letters are moved ---

  /** The next that nobody has in hand; of a group, nothing may overtake what somebody has. */
  first(): Message | undefined {
    return this.#line.first();
  }

  waitingMessages(): Iterable<Message> {
    return this.#line.messages();
  }

  /** Takes out a message that waits. */
  remove(message: Message): void {
    this.#line.remove(message);
    this.#forget(message);
  }

  purge(): void {
    for (const message of this.messages()) Object.assign(message, { gone: true, visibilityDeadline: undefined, delayUntil: undefined });
    this.#line.clear();
    this.#receipts.clear();
    this.#inFlight.clear();
    this.#delayed.clear();
    this.#delayedMessages.clear();
    this.#attempts.clear();
    this.#inFlightCount = 0;
    this.#host.journal.purge(this.name);
  }
}
