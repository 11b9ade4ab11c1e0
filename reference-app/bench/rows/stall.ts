import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { MemoryBroker, serveQueues, type Channel } from '../broker.ts';
import type { Context, Row } from '../context.ts';
import { PLENTY, randomOrder, stockUp, UNIFORM, validatedEvent } from '../load.ts';
import { number } from '../report.ts';
import type { Target } from '../server.ts';
import type { HostData, HostMessage } from '../stage-host.ts';
import { median } from '../statistics.ts';
import { assertReserved } from './reserve.ts';

const RATE = 5_000;

/** Workers of the reserve stage as processes; one that dies is started again at once, as Kubernetes does at its first restart. */
class Workers {
  readonly broker = new MemoryBroker([{ queue: inventoryHandler.name, matches: () => true }]);
  readonly #target: Target;
  readonly #children = new Set<ChildProcess>();
  #stopping = false;
  /** Time of each commit, in milliseconds since the epoch. */
  commits: number[] = [];
  reserved = 0;

  constructor(target: Target) {
    this.#target = target;
  }

  async start(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#startOne()));
  }

  #startOne(): Promise<void> {
    const data: HostData = { role: 'consumer', service: 'inventory-service', target: this.#target, settings: {} };
    const child = fork(fileURLToPath(new URL('../stage-host.ts', import.meta.url)), [JSON.stringify(data)], { serialization: 'advanced' });
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

/** Feeds at a steady rate, does harm, and measures the longest time without a commit around it. */
async function stallAfter(context: Context, workers: Workers, harm: () => void, feed: () => void): Promise<number> {
  const timer = setInterval(feed, 10);
  try {
    await until(() => workers.commits.length > 20);
    workers.commits = [];
    await until(() => workers.commits.length > 20);
    const at = performance.timeOrigin + performance.now();
    harm();
    await until(() => workers.commits.filter((commit) => commit > at + 50).length > 20);
    // Until everything that was fed meanwhile is on its way again.
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
        const workers = new Workers(database.target);
        // One worker for the kill: with two, the other goes on and there is nothing to see.
        await workers.start(kind === 'worker' ? 1 : 2);
        const feed = () => {
          for (let i = 0; i < RATE / 100; i++, fed++) workers.broker.enqueue(inventoryHandler.name, JSON.stringify(validatedEvent(randomOrder(UNIFORM, context.random))));
        };
        for (let round = 0; round < rounds; round++) {
          context.progress(`stall after a ${kind === 'worker' ? 'killed worker' : 'crashed database'}: ${round + 1} of ${rounds}`);
          stalls[kind].push(await stallAfter(context, workers, () => {
            if (kind === 'worker') workers.killAll();
            // The postmaster itself: its children end, and the local run's supervisor starts it again with crash recovery.
            else process.kill(server.postmaster()!, 'SIGKILL');
          }, feed));
        }
        await until(() => workers.broker.depth === 0);
        await workers.stop();
      }
      await assertReserved(database.admin, fed);
    } finally {
      await database.drop();
    }
    const figure = (id: string, name: string, values: number[], must: number, stretch: number) => ({
      id, name, naive: '–', value: median(values) / 1000, text: `${number(median(values) / 1000)} s (longest ${number(Math.max(...values) / 1000)} s of ${values.length})`,
      must: { at: must, better: 'less' as const, text: `≤ ${must} s` }, stretch: { at: stretch, better: 'less' as const, text: `≤ ${stretch} s` },
    });
    return {
      figures: [
        figure('stall-worker', 'stall after a killed worker (the only one)', stalls.worker, 1, 0.2),
        figure('stall-database', 'stall after a crashed and restarted database', stalls.database, 2, 1),
      ],
      raw: { stalls },
    };
  },
};
