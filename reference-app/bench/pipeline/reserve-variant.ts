import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import * as naive from './naive.ts';
import { batches, randomOrder, storeOrders, validatedEvent, type Shape } from './orders.ts';
import type { ReserveThreadAnswer, ReserveThreadData, ReserveThreadRequest } from './reserve-thread.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import type { Pool } from '../../services/shared/database.ts';
import type { EventEnvelope } from '../../services/shared/events/index.ts';
import type { DatabaseLocation } from '../database/server.ts';
import type { Variant } from '../measure/slices.ts';
import { handleBatch, work } from '../measure/work.ts';

type Validated = EventEnvelope<'inventory.validated'>;

/** Events per transaction. */
export const BATCH = 500;

/** The way in which a variant handles orders: in batches by the service, or one at a time by the naive design when there is no `batch`. */
export interface ReserveHow {
  /** Events per transaction. @default - naive: one event per transaction */
  readonly batch?: number;
  /** Transactions at once, each on a connection of its own. */
  readonly workers: number;
}

export interface ReserveVariant extends Variant {
  /** Orders that it has taken so far. */
  readonly taken: () => number;
  prepare(ms: number): Promise<void>;
}

/** The reserve stage by the inventory service's own handler, or by the naive one. Adds the milliseconds of each transaction to `times`. */
export function reserveVariant(
  name: string, pool: Pool, shape: Shape, random: () => number, how: ReserveHow, times?: number[],
): ReserveVariant {
  let events: Validated[] = [];
  let taken = 0;
  // The most that a slice has done so far, and some more.
  let perMs = how.batch ? 60 : 5;
  return {
    name,
    taken: () => taken,
    async prepare(ms) {
      const needed = Math.ceil(perMs * ms) + (how.batch ?? 1) * how.workers * 2;
      const made = Array.from({ length: Math.max(0, needed - events.length) }, () => validatedEvent(randomOrder(shape, random)));
      await storeOrders(pool, made);
      events.push(...made);
    },
    async run(ms) {
      const options = { workers: how.workers, ms, ...(times && { times }) };
      const pieces = how.batch ? batches(events, how.batch) : undefined;
      const done = pieces
        ? await work(pieces, options, (batch) => handleBatch(inventoryHandler, batch, pool))
        : await work(events, options, async (event) => (await naive.reserve(pool, event)).length);
      const used = pieces ? pieces.slice(0, done.taken).reduce((sum, { length }) => sum + length, 0) : done.taken;
      perMs = Math.max(perMs, (1.5 * done.count) / (done.seconds * 1000));
      taken += used;
      events = events.slice(used);
      return { count: done.count, seconds: done.seconds };
    },
  };
}

/** The batched reserve stage in several threads, each with connections of its own, as several pods compete for one queue. */
export async function threadedReserveVariant(
  name: string, location: DatabaseLocation, shape: Shape, random: () => number,
  how: Required<ReserveHow> & { readonly threads: number }, times?: number[],
): Promise<ReserveVariant & { stop(): Promise<void> }> {
  const threads = await Promise.all(Array.from({ length: how.threads }, async () => {
    const seed = Math.floor(random() * 2 ** 31);
    const workerData: ReserveThreadData = { location, shape, seed, batch: how.batch, workers: how.workers / how.threads };
    const thread = new Worker(new URL('./reserve-thread.ts', import.meta.url), { workerData });
    await once(thread, 'message');
    return { thread, taken: 0 };
  }));
  const ask = async <A>(thread: Worker, request: ReserveThreadRequest): Promise<A> => {
    thread.postMessage(request);
    return (await once(thread, 'message') as [A])[0];
  };
  return {
    name,
    taken: () => threads.reduce((sum, { taken }) => sum + taken, 0),
    async prepare(ms) {
      await Promise.all(threads.map(({ thread }) => ask(thread, { op: 'prepare', ms })));
    },
    async run(ms) {
      const answers = await Promise.all(threads.map(async (one) => {
        const answer = await ask<ReserveThreadAnswer>(one.thread, { op: 'run', ms });
        one.taken = answer.taken;
        times?.push(...answer.times);
        return answer;
      }));
      return {
        count: answers.reduce((sum, { count }) => sum + count, 0),
        seconds: (Math.max(...answers.map(({ end }) => end)) - Math.min(...answers.map(({ start }) => start))) / 1_000,
      };
    },
    async stop() {
      await Promise.all(threads.map(async ({ thread }) => {
        const ended = once(thread, 'exit');
        thread.postMessage({ op: 'stop' } satisfies ReserveThreadRequest);
        await ended;
      }));
    },
  };
}
