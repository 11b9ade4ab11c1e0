import type { Message } from '@aws-sdk/client-sqs';
import { isTimeout, isUnavailable } from '../database-errors.ts';
import type { Pool } from '../database.ts';
import { EventRefusedError, parseMessage, type EventEnvelope, type EventType } from '../events/index.ts';
import { Gather } from '../gather.ts';
import type { Readiness } from '../http/health.ts';
import { backOffOf, pause, runLoop, type Loop } from '../run-loop.ts';
import { Slots } from '../slots.ts';
import type { Logger } from '../telemetry.ts';
import { Batch, countEvents, hold, isHopeless, takeEvents, type FailedMessage } from './batch.ts';
import { FailureReports } from './failure-reports.ts';
import type { Handler } from './handler.ts';
import { handleIsolating } from './inbox.ts';
import { createQueueClient, InputQueue, MAX_BATCH, type Held } from './input-queue.ts';
import { keepParked } from './keep-parked.ts';
import { batchSize, endToEndLatency, eventsConsumed, inHand, messagesConsumed, overLimit } from './metrics.ts';
import type { ConsumerOptions, KeySource } from './options.ts';

export interface Consumer {
  /** The queue and the database answer, and the consumer is not stopping. */
  ready(): Readiness;
  /** Takes no more messages, finishes the batches in work, gives the rest back to the queue. */
  stop(): Promise<void>;
}

/** Fewer events are not worth a second transaction at the same time. */
const MIN_SHARE = 100;
const RECEIVE_GRACE_MS = 1_000;
/** A receive call that brings this number of messages, of ten, means that more are waiting. */
const PLENTY = 8;
/** A receive call that brings this number of events, in bundles, is worth its price: they need not wait for company. */
const MANY_EVENTS = 50;
/** A call costs about as much as handling an event, and nobody waits for a delete: it is with others, if they come within this time. */
const DELETE_MS = 200;
const OVER_LIMIT_REPORT_MS = 60_000;
const MAX_VISIBILITY_SECONDS = 43_200;
/** The most messages of unknown keys that wait for another reading; more come again later, so that their author can stop nobody. */
const MOST_STRANGE = 100;
/** The number of times that an event may take too long before it counts as its own fault: ten minutes, with statements of 30 s. */
const PATIENCE = 20;
/** The first start of a consumer is remembered; later ones only probe the database. */
const BEGIN = { name: 'inbox-begin', text: 'SELECT messaging.begin_consumer($1)' };
const backOff = backOffOf({ firstMs: 100, maxMs: 1_000 });

/** Consumes a queue with a handler until it is stopped. Never gives up: it waits for a queue or database that is away. */
export function runConsumer<T extends EventType>(options: ConsumerOptions<T>): Consumer {
  return new QueueConsumer(options);
}

class QueueConsumer<T extends EventType> implements Consumer {
  readonly #handler: Handler<T>;
  readonly #queue: InputQueue;
  readonly #pool: Pool;
  readonly #keys: KeySource | undefined;
  readonly #log: Logger;
  readonly #failures: FailureReports;
  readonly #mostReceivers: number;
  readonly #lingerMs: number;
  readonly #batchSize: number;
  readonly #concurrency: number;
  readonly #slots: Slots;
  readonly #waitTimeSeconds: number;
  readonly #parkedHours: number;
  readonly #backOff: { first: number; max: number };

  readonly #stopping = new AbortController();
  /** Ends a little later: an answer on its way holds messages that nobody else gets before their visibility timeout. */
  readonly #receiving = new AbortController();
  /** Ends later than the receiving: until then what is in hand must stay ours. */
  readonly #finished = new AbortController();
  readonly #loop: Promise<void>;
  /** Received, not yet in a batch. */
  #waiting: Held[] = [];
  /** Events of `#waiting` and of the batches in work. */
  #unhandled = 0;
  /** Messages of unknown keys that wait. */
  #strange = 0;
  /** Everything whose visibility must be kept. */
  readonly #held = new Set<Held>();
  readonly #batches = new Set<Promise<void>>();
  readonly #settling = new Set<Promise<void>>();
  readonly #deletes = new Gather<Held>({ enough: MAX_BATCH, ms: DELETE_MS, send: (ten) => this.#settle(this.#queue.delete(ten), ten) });
  #receivers: Loop[] = [];
  #overLimitUntil = 0;
  /** The receivers that may ask now; the others rest. */
  #busyReceivers = 1;

  #queueAnswers = false;
  #databaseAnswers = false;
  /** Batches that wait for the database. */
  #blocked = 0;
  #visibilitySeconds = 30;
  #maxReceiveCount: number | undefined;

  constructor(options: ConsumerOptions<T>) {
    this.#handler = options.handler;
    this.#pool = options.pool;
    this.#keys = options.keys;
    this.#log = options.logger.child({ consumer: options.handler.name });
    this.#failures = new FailureReports(this.#handler.name, this.#pool, this.#log);
    this.#queue = new InputQueue(options.queueUrl, options.sqs ?? createQueueClient(), this.#log);
    this.#mostReceivers = options.receivers ?? 4;
    this.#lingerMs = options.lingerMs ?? 10;
    this.#batchSize = options.batchSize ?? 500;
    this.#concurrency = options.concurrency ?? 2;
    this.#slots = new Slots(this.#concurrency, Math.min(MIN_SHARE, this.#batchSize), () => {
      this.#notify();
      this.#startBatches();
    });
    this.#waitTimeSeconds = options.waitTimeSeconds ?? 20;
    this.#parkedHours = options.parkedHours ?? 24;
    this.#backOff = { first: options.firstBackOffSeconds ?? 1, max: Math.min(options.maxBackOffSeconds ?? 300, MAX_VISIBILITY_SECONDS) };
    this.#loop = this.#run();
  }

  ready(): Readiness {
    if (this.#isStopping) return 'The consumer is stopping.';
    if (!this.#queueAnswers) return 'The queue does not answer.';
    const keys = this.#keys?.ready() ?? true;
    if (keys !== true) return keys;
    return (this.#databaseAnswers && this.#blocked === 0) || 'The database cannot be used.';
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // Messages that are there come within moments; only a long poll of an empty queue is cut off.
    const grace = setTimeout(() => this.#receiving.abort(), RECEIVE_GRACE_MS);
    await this.#loop;
    clearTimeout(grace);
    await Promise.all(this.#batches);
    this.#deletes.flush();
    this.#finished.abort();
    const back = this.#waiting.splice(0);
    await this.#queue.changeVisibility(back, () => 0);
    back.forEach((held) => this.#held.delete(held));
    await Promise.all(this.#settling);
    this.#log.info({ givenBack: back.length }, 'consumer stopped');
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    // Without the key no message is taken: none may be refused for that.
    const { signal } = this.#stopping;
    await Promise.all([this.#readQueueAttributes(), this.#waitForDatabase(), this.#keys?.known(signal)]);
    if (this.#isStopping) return;
    this.#log.info({ visibilitySeconds: this.#visibilitySeconds, maxReceiveCount: this.#maxReceiveCount }, 'consuming');
    this.#keepHeld();
    const parked = keepParked({
      handler: this.#handler,
      pool: this.#pool,
      log: this.#log,
      signal: this.#stopping.signal,
      giveUpSeconds: this.#parkedHours * 3_600,
      isBlocked: () => this.#blocked > 0,
      answered: (yes) => { this.#databaseAnswers = yes; },
    });
    this.#receivers = Array.from({ length: this.#mostReceivers }, (_, i) => this.#receive(i));
    await Promise.all([...this.#receivers, parked].map(({ ended }) => ended));
  }

  // --- receiving -----------------------------------------------------------------------------------------------

  // With several long polls open, each message would be a call of its own. With one, and a pause after it, those that come together are
  // received together. A message after a silence waits for nothing: the poll is open.
  #receive(index: number): Loop {
    return runLoop({
      signal: this.#stopping.signal,
      round: async () => {
        if (index >= this.#busyReceivers) return Infinity;
        // While the database is away no message may be taken: each receive counts towards the dead-letter queue.
        if (this.#blocked > 0 || this.#unhandled >= this.#batchSize * (this.#concurrency + 1)) return Infinity;
        const messages = await this.#queue.receive(this.#waitTimeSeconds, this.#receiving.signal);
        if (!this.#queueAnswers) this.#log.info('the queue answers again');
        this.#queueAnswers = true;
        const events = this.#take(messages);
        if (messages.length >= PLENTY) {
          this.#busyReceivers = Math.min(this.#busyReceivers + 1, this.#mostReceivers);
          this.#receivers[this.#busyReceivers - 1]?.wake();
        } else {
          this.#busyReceivers = Math.max(1, this.#busyReceivers - 1);
          // Not as the rest of the loop: that one ends with every batch.
          if (events > 0 && events < MANY_EVENTS) await pause(this.#lingerMs, this.#stopping.signal);
        }
        return 0;
      },
      failed: (error) => {
        if (this.#isStopping) return;
        // The queue answers: 120,000 of its messages are in the hands of consumers, and no new pod would get one.
        if ((error as Error).name === 'OverLimit') return this.#reportOverLimit(error);
        if (this.#queueAnswers) this.#log.warn({ err: error }, 'the queue does not answer; waiting');
        this.#queueAnswers = false;
      },
      backOff,
    });
  }

  #reportOverLimit(error: unknown): void {
    overLimit.inc({ consumer: this.#handler.name });
    if (Date.now() < this.#overLimitUntil) return;
    this.#overLimitUntil = Date.now() + OVER_LIMIT_REPORT_MS;
    this.#log.error({ err: error }, 'the queue gives no message: too many are in flight; received messages are neither deleted nor given back, or there are too many consumers');
  }

  /** Answers how many events the messages have. */
  #take(messages: readonly Message[]): number {
    const visibleAt = Date.now() + this.#visibilitySeconds * 1000;
    const taken = messages.map((message) => hold(message, visibleAt, this.#keys?.accepted));
    for (const held of taken) this.#held.add(held);
    const strange = taken.filter(isOfUnknownKey).slice(0, Math.max(0, MOST_STRANGE - this.#strange));
    if (strange.length > 0) void this.#takeAgain(strange);
    const others = strange.length > 0 ? taken.filter((held) => !strange.includes(held)) : taken;
    this.#waiting.push(...others);
    inHand.set({ consumer: this.#handler.name }, this.#held.size);
    const events = countEvents(others);
    this.#unhandled += events;
    this.#startBatches();
    return events;
  }

  /** A key that is not known may be new: these messages wait until the secret was read once more, and others go on. */
  async #takeAgain(strange: readonly Held[]): Promise<void> {
    this.#strange += strange.length;
    await this.#keys!.renewed(this.#stopping.signal);
    this.#strange -= strange.length;
    for (const held of strange) held.events = parseMessage(held.message.Body, this.#keys!.accepted);
    this.#unhandled += countEvents(strange);
    // In the end they are given back with what waits.
    this.#waiting.push(...strange);
    this.#startBatches();
  }

  // No timer: a batch starts when a transaction slot is free, so that batches are small when idle and large under load. What
  // arrives during a transaction goes with the next one, unless it is worth one of its own.
  #startBatches(): void {
    while (this.#waiting.length > 0 && this.#slots.isFree(countEvents(this.#waiting)) && !this.#isStopping) {
      const next = takeEvents(this.#waiting, this.#batchSize);
      const work = () => this.#process(next).finally(() => { this.#unhandled -= countEvents(next); });
      const batch: Promise<void> = this.#slots.run(work).finally(() => this.#batches.delete(batch));
      this.#batches.add(batch);
    }
  }

  // --- handling ------------------------------------------------------------------------------------------------

  async #process(held: Held[]): Promise<void> {
    // Counted for the whole batch: a counter costs more than what it counts.
    const counts = new Map<string, number>();
    const batch = new Batch<T>(held, (type, result) => counts.set(`${type} ${result}`, (counts.get(`${type} ${result}`) ?? 0) + 1));
    const result = batch.events.length > 0 ? await this.#handle(batch.events) : { outcomes: [], failures: [] };
    if (!result) {
      // Stopped while the database was away.
      this.#settle(this.#queue.changeVisibility(held, () => 0), held);
      return;
    }
    const applied = batch.settle(result);
    const now = Date.now();
    const consumer = this.#handler.name;
    for (const { type, time } of applied) endToEndLatency.observe({ consumer, type }, Math.max(0, now - Date.parse(time)) / 1000);
    counts.forEach((of, key) => this.#count(...key.split(' ') as [string, string], of));
    const { done, failed } = batch.messages;
    messagesConsumed.inc({ consumer, result: 'deleted' }, done.length);
    this.#deletes.add(done);
    this.#giveBack(failed);
  }

  /** Handles the events, waiting for the database as long as it takes; undefined if stopped while waiting. */
  async #handle(events: EventEnvelope<T>[]) {
    let failures = 0;
    for (;;) {
      try {
        const result = await handleIsolating(this.#handler, events, this.#pool, (error, alone) =>
          // Somebody's lock on a table is nobody's fault either; an event that is slow by itself has to go some time.
          isUnavailable(error) || (alone && failures < PATIENCE && isTimeout(error)));
        batchSize.observe({ consumer: this.#handler.name }, events.length);
        return result;
      } catch (error) {
        if (this.#isStopping) return undefined;
        if (failures++ === 0) this.#log.warn({ err: error, events: events.length }, 'the database cannot be used; the events in hand wait for it');
        this.#blocked++;
        this.#databaseAnswers = false;
        await pause(backOff(failures), this.#stopping.signal);
        await this.#waitForDatabase();
        this.#blocked--;
        this.#notify();
        if (this.#isStopping) return undefined;
      }
    }
  }

  /** The whole message comes again, and the inbox drops those of its events that are done with. */
  #giveBack(failed: readonly FailedMessage[]): void {
    if (failed.length === 0) return;
    const seconds = new Map<Held, number>();
    const dead: FailedMessage[] = [];
    for (const one of failed) {
      const { held, events } = one;
      const last = this.#maxReceiveCount !== undefined && held.receiveCount >= this.#maxReceiveCount;
      for (const event of events) this.#failures.report(held, event, { last, repeats: this.#maxReceiveCount === undefined });
      if (last) dead.push(one);
      messagesConsumed.inc({ consumer: this.#handler.name, result: last ? 'dead' : 'returned' });
      // Without a dead-letter queue even a hopeless message must not spin.
      const hopeless = events.every(isHopeless) && this.#maxReceiveCount !== undefined;
      const doublings = hopeless ? 0 : Math.min(held.receiveCount - 1, 20);
      seconds.set(held, last ? 0 : Math.min(this.#backOff.first * 2 ** doublings, this.#backOff.max));
    }
    const held = [...seconds.keys()];
    const noted = this.#failures.noteDead(dead);
    this.#settle(Promise.all([noted, this.#queue.changeVisibility(held, (one) => seconds.get(one)!)]).then(() => undefined), held);
  }

  #count(type: string, result: string, count = 1): void {
    eventsConsumed.inc({ type, consumer: this.#handler.name, result }, count);
  }

  // --- settling with the queue ---------------------------------------------------------------------------------

  /** Batches don't wait for the queue to confirm; the stop does. */
  #settle(work: Promise<void>, held: readonly Held[]): void {
    const settled: Promise<void> = work.finally(() => {
      this.#settling.delete(settled);
      held.forEach((one) => this.#held.delete(one));
      inHand.set({ consumer: this.#handler.name }, this.#held.size);
      this.#notify();
    });
    this.#settling.add(settled);
  }

  /** Extends the visibility of what is in hand before it runs out. */
  #keepHeld(): void {
    const visibility = this.#visibilitySeconds * 1000;
    runLoop({
      signal: this.#finished.signal,
      round: async () => {
        const soon = Date.now() + visibility / 2;
        const expiring = [...this.#held].filter(({ visibleAt }) => visibleAt < soon);
        expiring.forEach((held) => {
          held.visibleAt = Date.now() + visibility;
        });
        await this.#queue.changeVisibility(expiring, () => this.#visibilitySeconds);
        return Math.max(visibility / 6, 50);
      },
    });
  }

  // --- waiting -------------------------------------------------------------------------------------------------

  async #readQueueAttributes(): Promise<void> {
    await runLoop({
      signal: this.#stopping.signal,
      round: async () => {
        const { visibilitySeconds, maxReceiveCount } = await this.#queue.settings(this.#stopping.signal);
        this.#visibilitySeconds = visibilitySeconds;
        this.#maxReceiveCount = maxReceiveCount;
        this.#queueAnswers = true;
        return 'end';
      },
      failed: (error, failures) => {
        if (failures === 1 && !this.#isStopping) this.#log.warn({ err: error }, 'the queue does not answer; waiting');
      },
      backOff,
    }).ended;
  }

  async #waitForDatabase(): Promise<void> {
    await runLoop({
      signal: this.#stopping.signal,
      round: async () => {
        await this.#pool.query({ ...BEGIN, values: [this.#handler.name] });
        this.#databaseAnswers = true;
        return 'end';
      },
      failed: (error, failures) => {
        if (failures === 1) this.#log.warn({ err: error }, 'the database cannot be used yet; waiting');
        this.#databaseAnswers = false;
      },
      recovered: () => this.#log.info('the database can be used'),
      backOff,
    }).ended;
  }

  #notify(): void {
    this.#receivers.forEach((receiver) => receiver.wake());
  }
}

function isOfUnknownKey({ events: [first] }: Held): boolean {
  return first instanceof EventRefusedError && first.cause === 'unknown-key';
}
