import { randomUUID } from 'node:crypto';
import { RetryJournal } from './retries.ts';
import type { Delivery } from './retries.ts';
import { count } from '../count.ts';
import type { Log } from '../log.ts';
import type { Deliver, DeliveryCounters, DeliveryObservation, DeliveryOutcome, EventBridgeOptions } from './types.ts';

/** AWS sends these to the dead-letter queue at once: another attempt would end the same way. */
export const NOT_RETRIED: ReadonlySet<string> = new Set([
  'NO_PERMISSIONS',
  'NO_RESOURCE',
  'INVALID_JSON',
  'INVALID_PARAMETER',
  'FAILED_TO_ASSUME_ROLE',
  'THIRD_ACCOUNT_HOP_DETECTED',
  'THIRD_REGION_HOP_DETECTED',
]);

/** A dead letter is the last form of an event, so a passing fault of its queue gets a few more attempts than AWS makes. */
const DEAD_LETTER_ATTEMPTS = 10;

export type NewDelivery = Omit<Delivery, 'id' | 'acceptedAt' | 'attempts' | 'deadLetter'>;

type Subscription = DeliveryCounters & Pick<Delivery, 'busName' | 'ruleName' | 'targetId' | 'targetArn'>;

/** Brings events to targets: attempts, waits, dead letters, counts. */
export class Deliverer {
  readonly #deliver: Deliver;
  readonly #log: Log;
  readonly #clock: () => number;
  readonly #backoff: { readonly baseMs: number; readonly maxMs: number };
  readonly #timeoutMs: number;
  readonly #observe: (observation: DeliveryObservation) => void;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #waiting = new Map<Delivery, NodeJS.Timeout>();
  readonly #inHand = new Set<Promise<void>>();
  #journal: RetryJournal | undefined;
  #stopped = false;

  constructor(options: EventBridgeOptions & { log: Log; clock: () => number }, observe: (observation: DeliveryObservation) => void) {
    this.#deliver = options.deliver;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#backoff = options.backoff ?? { baseMs: 50, maxMs: 2000 };
    this.#timeoutMs = options.deliveryTimeoutMs ?? 30_000;
    this.#observe = observe;
  }

  /** Takes up what an earlier process left. */
  async start(journalFile: string | undefined): Promise<void> {
    const { journal, waiting } = await RetryJournal.open(journalFile, this.#log);
    this.#journal = journal;
    if (waiting.length > 0) this.#log('info', `EventBridge: going on with ${waiting.length} deliveries of the last run`);
    for (const delivery of waiting) {
      this.#counters(delivery).matched++;
      this.#wait(delivery, 0);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    await Promise.allSettled(this.#inHand);
    if (this.#waiting.size > 0 && this.#journal?.durable !== true) {
      this.#log(
        'warn',
        `EventBridge: ${this.#waiting.size} deliveries were waiting for another attempt and are lost: there is no folder for them`,
      );
    }
    await this.#journal?.close();
  }

  get pending(): number {
    return this.#waiting.size;
  }

  subscriptions(): (Subscription & { pending: number })[] {
    const pending = new Map<Subscription, number>();
    for (const delivery of this.#waiting.keys()) {
      const counters = this.#counters(delivery);
      pending.set(counters, (pending.get(counters) ?? 0) + 1);
    }
    return [...this.#subscriptions.values()].map(each => ({ ...each, pending: pending.get(each) ?? 0 }));
  }

  /** A subscription is listed from the moment it is there, also with nothing delivered. */
  register(subscription: Pick<Delivery, 'busName' | 'ruleName' | 'targetId' | 'targetArn'>): void {
    this.#counters(subscription);
  }

  /**
   * Makes the first attempt. Resolves when the target has the event, or the event waits for the next attempt (written down if there is a
   * folder), or it has been dead-lettered or dropped. Rejects only when a failed delivery could not be written down.
   */
  deliver(delivery: NewDelivery): Promise<void> {
    return this.#first(delivery, accepted => this.#attempt(accepted));
  }

  /** An event for which no input could be made: it goes the way of a failed delivery. */
  refuse(delivery: NewDelivery, error: unknown): Promise<void> {
    return this.#first(delivery, accepted => this.#failed({ ...accepted, attempts: 1 }, error));
  }

  async #first(delivery: NewDelivery, act: (accepted: Delivery) => Promise<void>): Promise<void> {
    const counters = this.#counters(delivery);
    counters.matched++;
    try {
      await act({ ...delivery, id: randomUUID(), acceptedAt: this.#clock(), attempts: 0 });
    } catch (error) {
      // Not written down, so not accepted: the publisher gets an error and comes again.
      counters.matched--;
      throw error;
    }
  }

  async #attempt(delivery: Delivery): Promise<void> {
    if (delivery.deadLetter !== undefined) return this.#sendDeadLetter(delivery);
    delivery.attempts++;
    try {
      const { messageGroupId, ruleArn } = delivery;
      await this.#withTimeout(
        this.#deliver(delivery.targetArn, delivery.body, { ruleArn, ...(messageGroupId !== undefined && { messageGroupId }) }),
      );
    } catch (error) {
      return this.#failed(delivery, error);
    }
    await this.#end(delivery, 'delivered');
  }

  async #failed(delivery: Delivery, error: unknown): Promise<void> {
    const { code, message } = describe(error);
    const exhausted = this.#exhausted(delivery);
    if (!NOT_RETRIED.has(code) && exhausted === undefined) {
      this.#counters(delivery).retried++;
      this.#tell(delivery, 'retrying', code, message);
      await this.#journal?.put(delivery);
      this.#wait(delivery, delivery.attempts);
      return;
    }
    delivery.deadLetter = {
      attempts: 0,
      attributes: {
        RULE_ARN: delivery.ruleArn,
        TARGET_ARN: delivery.targetArn,
        ERROR_CODE: code,
        ERROR_MESSAGE: message,
        ...(!NOT_RETRIED.has(code) && exhausted !== undefined && { EXHAUSTED_RETRY_CONDITION: exhausted }),
        RETRY_ATTEMPTS: String(delivery.attempts - 1),
      },
    };
    await this.#sendDeadLetter(delivery);
  }

  #exhausted({ attempts, maximumRetryAttempts, acceptedAt, maximumEventAgeInSeconds }: Delivery): string | undefined {
    if (attempts > maximumRetryAttempts) return 'MaximumRetryAttempts';
    return this.#clock() - acceptedAt >= maximumEventAgeInSeconds * 1000 ? 'MaximumEventAgeInSeconds' : undefined;
  }

  async #sendDeadLetter(delivery: Delivery): Promise<void> {
    const { deadLetterArn, deadLetter, ruleName, targetArn } = delivery;
    const { attributes } = deadLetter!;
    const what =
      `EventBridge: rule ${ruleName} could not deliver ${delivery.detailType} ${delivery.eventId} to ${targetArn} ` +
      `after ${count(delivery.attempts, 'attempt')} (${attributes.ERROR_CODE}: ${attributes.ERROR_MESSAGE})`;
    if (deadLetterArn === undefined) {
      this.#log('error', `${what}; the target has no dead-letter queue, so the event is dropped`);
      return this.#end(delivery, 'dropped');
    }
    deadLetter!.attempts++;
    try {
      await this.#withTimeout(this.#deliver(deadLetterArn, delivery.event, { ruleArn: delivery.ruleArn, messageAttributes: attributes }));
    } catch (error) {
      const { code, message } = describe(error);
      const reason = `${deadLetterArn} did not take it (${code}: ${message})`;
      if (NOT_RETRIED.has(code) || deadLetter!.attempts >= DEAD_LETTER_ATTEMPTS) {
        this.#log('error', `${what}; ${reason}, so the event is dropped`);
        return this.#end(delivery, 'dropped');
      }
      this.#log('warn', `${what}; ${reason} yet`);
      await this.#journal?.put(delivery);
      return this.#wait(delivery, deadLetter!.attempts);
    }
    this.#log('warn', `${what}; the event is in ${deadLetterArn}`);
    await this.#end(delivery, 'dead-lettered');
  }

  async #end(delivery: Delivery, outcome: Exclude<DeliveryOutcome, 'retrying'>): Promise<void> {
    const counters = this.#counters(delivery);
    if (outcome === 'delivered') counters.delivered++;
    else if (outcome === 'dropped') counters.dropped++;
    else counters.deadLettered++;
    const attributes = delivery.deadLetter?.attributes;
    this.#tell(delivery, outcome, attributes?.ERROR_CODE, attributes?.ERROR_MESSAGE);
    try {
      await this.#journal?.done(delivery);
    } catch (error) {
      this.#log(
        'error',
        `EventBridge: could not write down that delivery ${delivery.id} ended; a restart repeats it: ${describe(error).message}`,
      );
    }
  }

  #wait(delivery: Delivery, failures: number): void {
    const { baseMs, maxMs } = this.#backoff;
    const full = failures === 0 ? 0 : Math.min(maxMs, baseMs * 2 ** (failures - 1));
    const timer = setTimeout(
      () => {
        this.#waiting.delete(delivery);
        const attempt = this.#again(delivery).finally(() => this.#inHand.delete(attempt));
        this.#inHand.add(attempt);
      },
      full * (0.5 + Math.random() / 2),
    );
    this.#waiting.set(delivery, timer);
    if (this.#stopped) clearTimeout(timer);
  }

  async #again(delivery: Delivery): Promise<void> {
    try {
      await this.#attempt(delivery);
    } catch (error) {
      // What is on disk is older then, so a restart makes some attempts again.
      this.#log('error', `EventBridge: could not write down delivery ${delivery.id}: ${describe(error).message}`);
      this.#wait(delivery, delivery.deadLetter?.attempts ?? delivery.attempts);
    }
  }

  async #withTimeout(work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(Object.assign(new Error(`no answer within ${this.#timeoutMs} ms`), { code: 'TIMEOUT' })),
        this.#timeoutMs,
      );
    });
    try {
      await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #counters({ busName, ruleName, targetId, targetArn }: Pick<Delivery, 'busName' | 'ruleName' | 'targetId' | 'targetArn'>): Subscription {
    const key = `${busName}\n${ruleName}\n${targetId}\n${targetArn}`;
    let counters = this.#subscriptions.get(key);
    if (counters === undefined) {
      counters = { busName, ruleName, targetId, targetArn, matched: 0, delivered: 0, retried: 0, deadLettered: 0, dropped: 0 };
      this.#subscriptions.set(key, counters);
    }
    return counters;
  }

  #tell(delivery: Delivery, outcome: DeliveryOutcome, errorCode?: string, errorMessage?: string): void {
    const { eventId, detailType, busName, ruleName, targetId, targetArn, attempts } = delivery;
    this.#observe({
      eventId,
      detailType,
      busName,
      ruleName,
      targetId,
      targetArn,
      outcome,
      attempts,
      ...(errorCode !== undefined && { errorCode }),
      ...(errorMessage !== undefined && { errorMessage }),
    });
  }
}

const CODES: [RegExp, string][] = [
  [/ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|SOCKET/, 'CONNECTION_FAILURE'],
  [/NonExistentQueue|QueueDoesNotExist|NotFound/, 'NO_RESOURCE'],
  [/AccessDenied|NotAuthorized/, 'NO_PERMISSIONS'],
  [/Throttl|THROTTLING|TooManyRequests|OverLimit/, 'THROTTLING'],
  [/Timeout|TIMEOUT|ETIMEDOUT/, 'TIMEOUT'],
];

/** The code as EventBridge names it in ERROR_CODE: the one that the deliver function gave, or what the kind of error says. */
function describe(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: 'SDK_CLIENT_ERROR', message: String(error) };
  const given = (error as { code?: unknown }).code;
  const code = typeof given === 'string' ? given : '';
  const known = CODES.find(([pattern]) => pattern.test(`${error.name} ${code}`))?.[1];
  const named = /^[A-Z]+(_[A-Z]+)+$/.test(code) && !/^(ERR|UND)_/.test(code) ? code : undefined;
  return { code: known ?? named ?? 'SDK_CLIENT_ERROR', message: error.message === '' ? error.name : error.message };
}
