import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median } from '../../load/statistics.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import type { EventEnvelope } from '../../services/shared/events/index.ts';
import type { Row } from '../context.ts';
import type { DatabaseLocation } from '../database/server.ts';
import { assertReserved } from '../measure/assert-invariants.ts';
import { serveQueues, type Channel } from '../pipeline/broker-clients.ts';
import { MemoryBroker } from '../pipeline/broker.ts';
import { PLENTY, randomOrder, stockUp, storeOrders, UNIFORM, validatedEvent } from '../pipeline/orders.ts';
import { clock, type ConsumerData, type HostMessage } from '../pipeline/service-host.ts';
import { number, type Figure } from '../report/results.ts';

/** Orders per second that the stage is fed. */
const RATE = 5_000;
/** More than a round takes. */
const ROUND_SECONDS = 30;

/** Workers of the reserve stage as processes; one that dies is started again at once, as Kubernetes does at its first restart. */
class Workers {
  readonly broker = new MemoryBroker([{ queue: inventoryHandler.name, matches: () => true }]);
  readonly #location: DatabaseLocation;
  readonly #children = new Set<ChildProcess>();
  #stopping = false;
  /** Times of the commits, in milliseconds since the epoch. */
  commits: number[] = [];
  reserved = 0;

  constructor(location: DatabaseLocation) {
    this.#location = location;
  }

  async start(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#startOne()));
  }

  #startOne(): Promise<void> {
    const data: ConsumerData = { role: 'consumer', signed: false, service: 'inventory-service', location: this.#location, settings: {} };
    const child = fork(fileURLToPath(new URL('../pipeline/service-host.ts', import.meta.url)), [JSON.stringify(data)], { serialization: 'advanced' });
    this.#children.add(child);
    const channel: Channel = {
      post: (message) => child.connected && child.send(message as object, () => undefined),
      onMessage: (listener) => child.on('message', listener as (message: unknown) => void),
    };
    serveQueues(this.broker, channel, child);
    child.once('exit', () => {
      this.#children.delete(child);
      this.broker.abandon(child);
      if (!this.#stopping) void this.#startOne();
    });
    return new Promise((resolve) => child.on('message', (message: HostMessage) => {
      if (message.kind === 'ready') resolve();
      if (message.kind !== 'done') return;
      this.reserved += message.orderIds.length;
      this.commits.push(message.at);
    }));
  }

  killAll(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#children].map((child) => new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.send({ kind: 'stop' });
    })));
  }
}

/** Feeds at a steady rate, does harm, and returns the longest time without a commit around it, in milliseconds. */
async function stallAfter(workers: Workers, harm: () => void, feed: () => void): Promise<number> {
  const timer = setInterval(feed, 10);
  try {
    await until(() => workers.commits.length > 20);
    workers.commits = [];
    await until(() => workers.commits.length > 20);
    const at = clock();
    harm();
    await until(() => workers.commits.filter((commit) => commit > at + 50).length > 20);
    // Until the stage has caught up.
    await until(() => workers.broker.depth < RATE / 2);
    const around = workers.commits.sort((a, b) => a - b);
    let longest = 0;
    for (let i = 1; i < around.length; i++) if (around[i]! > at) longest = Math.max(longest, around[i]! - Math.max(around[i - 1]!, at));
    return longest;
  } finally {
    clearInterval(timer);
  }
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('the stage did not go on within a minute');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function figure(name: string, milliseconds: readonly number[]): Figure {
  const longest = number(Math.max(...milliseconds) / 1000);
  return { name, measured: `${number(median(milliseconds) / 1000)} s (longest ${longest} s of ${milliseconds.length})` };
}

export const stallRow: Row = {
  name: 'stall',
  title: 'Stall after a killed worker or a restarted database',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_stall');
    let fed = 0;
    const rounds = Math.max(3, Math.min(context.rounds, 10));
    const stalls: { worker: number[]; database: number[] } = { worker: [], database: [] };
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      for (const kind of ['worker', 'database'] as const) {
        const workers = new Workers(database.location);
        // One worker for the kill: with two, the other goes on and there is nothing to see.
        await workers.start(kind === 'worker' ? 1 : 2);
        // Stored before, since the database is away at times.
        const stored: EventEnvelope<'inventory.validated'>[] = [];
        const feed = () => {
          for (const event of stored.splice(0, RATE / 100)) {
            workers.broker.enqueue(inventoryHandler.name, JSON.stringify(event));
            fed++;
          }
        };
        const harm = () => {
          if (kind === 'worker') workers.killAll();
          // The postmaster itself: its children end, and the supervisor starts it again with crash recovery.
          else process.kill(server.postmaster()!, 'SIGKILL');
        };
        for (let round = 1; round <= rounds; round++) {
          context.progress(`stall after a ${kind === 'worker' ? 'killed worker' : 'crashed database'}: ${round} of ${rounds}`);
          const missing = ROUND_SECONDS * RATE - stored.length;
          const made = Array.from({ length: missing }, () => validatedEvent(randomOrder(UNIFORM, context.random)));
          await storeOrders(database.admin, made);
          stored.push(...made);
          stalls[kind].push(await stallAfter(workers, harm, feed));
        }
        await until(() => workers.broker.depth === 0);
        await workers.stop();
      }
      await assertReserved(database.admin, fed);
    } finally {
      await database.drop();
    }
    return {
      figures: [
        figure('stall after the only worker was killed', stalls.worker),
        figure('stall after the database crashed and started again', stalls.database),
      ],
      raw: { stalls },
    };
  },
};
