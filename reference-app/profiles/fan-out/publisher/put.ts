import { setTimeout as sleep } from 'node:timers/promises';
import { DescribeEventBusCommand, type EventBridgeClient } from '@aws-sdk/client-eventbridge';
import type { LifeEvent } from './life.ts';
import { MAX_ENTRIES, publish, type PublishResult } from '../../../services/outbox-relay/publisher.ts';
import { detailTypeOf, withSignature, type SigningKey } from '../../../services/shared/events/index.ts';

/** Nothing can be published. The message has the reason and the way out. */
export class PublisherError extends Error {
  override readonly name = 'PublisherError';
}

/** PutEvents takes events for a bus that does not exist, and drops them without an error. */
export async function requireBus(client: EventBridgeClient, busName: string): Promise<void> {
  try {
    await client.send(new DescribeEventBusCommand({ Name: busName }));
  } catch (error) {
    const { name, message } = error as Error;
    // Who may publish need not be allowed to look.
    if (name === 'AccessDeniedException') return;
    if (name === 'ResourceNotFoundException') {
      throw new PublisherError(`There is no event bus ${busName}: the output EventBusName of the stack, or the local run, says how it is called.`);
    }
    throw new PublisherError(`EventBridge can't be used: ${name}: ${message || (error as { code?: string }).code}`);
  }
}

/** Errors that the next try would meet again, with any event. */
const HOPELESS = new RegExp(`^(${[
  'AccessDenied', 'CredentialsProviderError', 'UnrecognizedClient', 'ExpiredToken', 'InvalidSignature', 'IncompleteSignature',
  'InvalidClientTokenId', 'NotAuthorized',
].join('|')})`);
const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;

export interface PutOptions {
  readonly client: EventBridgeClient;
  readonly busName: string;
  /** The source of the entries, which rules look at. */
  readonly source: string;
  /** The time for which an event is tried again after failures. */
  readonly patienceMs: number;
  /** PutEvents calls at once. @default 4 */
  readonly concurrency?: number;
  readonly onRetry?: (error: string) => void;
  /** The key that signs events now. @default - they are not signed */
  readonly signingKey?: () => SigningKey;
}

interface Waiting {
  readonly event: LifeEvent;
  readonly done: (result: PublishResult) => void;
}

/** Puts events of many orders together into PutEvents calls, and tries again, each alone, those that a call did not take. */
export class Putter {
  readonly #options: PutOptions;
  readonly #waiting: Waiting[] = [];
  #calls = 0;

  constructor(options: PutOptions) {
    this.#options = options;
  }

  /** Undefined when the bus has the event; otherwise why it does not, for good. */
  async put(event: LifeEvent): Promise<string | undefined> {
    const deadline = performance.now() + this.#options.patienceMs;
    for (let attempt = 0; ; attempt++) {
      const result = await this.#next(event);
      if (result.result === 'ok') return undefined;
      if (result.result === 'refused' || HOPELESS.test(result.error)) return result.error;
      const wait = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
      if (performance.now() + wait > deadline) return `given up after ${attempt + 1} tries: ${result.error}`;
      this.#options.onRetry?.(result.error);
      await sleep(wait);
    }
  }

  #next(event: LifeEvent): Promise<PublishResult> {
    return new Promise((done) => {
      this.#waiting.push({ event, done });
      // Orders whose turn is in the same moment share a call.
      setImmediate(() => void this.#send());
    });
  }

  async #send(): Promise<void> {
    if (this.#waiting.length === 0 || this.#calls >= (this.#options.concurrency ?? 4)) return;
    const batch = this.#waiting.splice(0, MAX_ENTRIES);
    this.#calls++;
    const key = this.#options.signingKey?.();
    const results = await publish(batch.map(({ event }) => {
      const text = JSON.stringify(event);
      const detail = key ? withSignature(text, text, key) : text;
      return { detailType: detailTypeOf(event), detail, time: new Date(event.time), events: 1 };
    }), this.#options);
    this.#calls--;
    batch.forEach(({ done }, i) => done(results[i]!));
    void this.#send();
  }
}
