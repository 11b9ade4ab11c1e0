import { readFileSync } from 'node:fs';
import { memoryUsage } from 'node:process';
import type pg from 'pg';
import { Confirmations } from './latency.ts';
import { openLoop } from '../../load/open-loop.ts';
import { latencies, slope, type Latencies } from '../../load/statistics.ts';
import type { Retention } from '../../services/outbox-relay/maintenance.ts';
import type { Context } from '../context.ts';
import type { BenchServer } from '../database/server.ts';
import { assertDeducted, InvariantError } from '../measure/assert-invariants.ts';
import { childrenOf } from '../measure/processor.ts';
import { atRest, closedLoop } from '../pipeline/closed-loop.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { startChain, type Chain } from '../pipeline/start-services.ts';

export interface SoakSample {
  readonly minute: number;
  readonly orders: number;
  /** Latency since the last sample, from the intended time of an order to its confirmation. */
  readonly confirmed: Latencies;
  /** MiB of this process with all its threads. */
  readonly nodeMemory: number;
  /** MiB of PostgreSQL's processes without the shared memory. */
  readonly databaseMemory: number;
  /** Rows, dead rows and MiB with indexes, by table. */
  readonly tables: Readonly<Record<string, { readonly live: number; readonly dead: number; readonly mebibytes: number }>>;
}

export interface SoakResult {
  /** Orders per second. */
  readonly rate: number;
  /** Orders per second when the next order never waits. */
  readonly saturation: number;
  readonly minutes: number;
  readonly orders: number;
  readonly samples: readonly SoakSample[];
  /** Change per hour in the second half, as a share of its mean. */
  readonly drift: { readonly p99: number; readonly nodeMemory: number; readonly databaseMemory: number };
  /** MiB of a table per row at the end, as a multiple of that in the middle. */
  readonly bloat: Readonly<Record<string, number>>;
}

// Partitions count for their table: they come and go.
const TABLES = `
  SELECT t.schemaname || '.' || coalesce(p.relname, t.relname) AS name, sum(t.n_live_tup)::float8 AS live, sum(t.n_dead_tup)::float8 AS dead,
         sum(pg_total_relation_size(t.relid)) / 1048576.0::float8 AS mebibytes
  FROM pg_stat_user_tables t LEFT JOIN pg_inherits i ON i.inhrelid = t.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
  WHERE t.relid NOT IN (SELECT inhparent FROM pg_inherits)
  GROUP BY 1 ORDER BY 1`;

/** Keeps events for the time of three partitions and ids for five, so that all of it comes and goes many times in a soak. */
function retentionFor(minutes: number): Retention {
  const partitionHours = Math.max(10, minutes) / 3600;
  return {
    partitionHours,
    outboxHours: 3 * partitionHours,
    inboxHours: 5 * partitionHours,
    idempotencyKeyHours: 5 * partitionHours,
    notificationHours: 5 * partitionHours,
    everyMs: (partitionHours * 3_600_000) / 6,
  };
}

/** Drops the empty partitions of the migrations, which cover more time than the soak takes. */
async function forgetPartitions(admin: pg.Pool): Promise<void> {
  const { rows } = await admin.query<{ name: string }>('DELETE FROM messaging.partition RETURNING name');
  for (const { name } of rows) await admin.query(`DROP TABLE IF EXISTS messaging."${name}"`);
}

export interface SoakOptions {
  readonly minutes: number;
  /** Orders per second. @default - half of the rate that saturates the chain */
  readonly rate?: number | undefined;
  onSample(sample: SoakSample): void;
}

/** Runs the whole chain at a steady rate for a long time and watches whatever may grow. */
export async function soak(context: Context, options: SoakOptions): Promise<SoakResult> {
  const { minutes } = options;
  const server = await context.server();
  const database = await server.database('bench_soak');
  try {
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    await forgetPartitions(database.admin);
    const chain = await startChain(database.location, { retention: retentionFor(minutes) });
    let published = 0;
    let result: Omit<SoakResult, 'drift' | 'bloat'>;
    try {
      const closed = closedLoop('saturation', chain, 2_000, context.random);
      await closed.run(2_000);
      const { count, seconds } = await closed.run(Math.min(10_000, minutes * 10_000));
      const saturation = count / seconds;
      const rate = options.rate ?? Math.round(saturation / 2);
      const fed = await feed(context, chain, server, database.admin, { ...options, rate, before: closed.accepted() });
      await atRest(database.admin, fed.orders);
      result = { rate, saturation, minutes, ...fed };
    } finally {
      published = (await chain.stop()).calls?.events ?? 0;
    }
    context.progress('soak  checking the invariants');
    await assertForgotten(database.admin, minutes);
    await assertDeducted(database.admin, result.orders, true);
    if (published < result.orders * 5) throw new InvariantError(`events published: ${published} instead of ${result.orders * 5}`);
    return { ...result, ...judge(result.samples) };
  } finally {
    await database.drop();
  }
}

interface FeedOptions extends SoakOptions {
  readonly rate: number;
  /** Orders that were accepted before. */
  readonly before: number;
}

async function feed(
  context: Context, chain: Chain, server: BenchServer, admin: pg.Pool, { minutes, rate, before, onSample }: FeedOptions,
): Promise<{ orders: number; samples: SoakSample[] }> {
  let orders = before;
  const samples: SoakSample[] = [];
  let milliseconds: number[] = [];
  const confirmations = new Confirmations(chain, (latency) => milliseconds.push(latency));
  const start = performance.now();
  let sampling: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    const confirmed = latencies(milliseconds);
    milliseconds = [];
    sampling = sampling.then(async () => {
      const sample = await takeSample(admin, server.postmaster(), (performance.now() - start) / 60_000, orders, confirmed);
      samples.push(sample);
      onSample(sample);
    });
    sampling.catch(() => undefined);
  }, Math.max(5_000, (minutes * 60_000) / 120));
  const failure = new AbortController();
  try {
    await openLoop(endless(() => performance.now() - start < minutes * 60_000), rate, async (_, intended) => {
      const order = newOrder(randomOrder(UNIFORM, context.random));
      confirmations.expect(order.orderId, intended);
      await chain.accept(order).then(() => orders++, (error: unknown) => failure.abort(error));
    }, failure.signal);
    failure.signal.throwIfAborted();
  } finally {
    clearInterval(timer);
  }
  await sampling;
  return { orders, samples };
}

async function assertForgotten(admin: pg.Pool, minutes: number): Promise<void> {
  const { rows: [dropped] } = await admin.query<{ n: number }>('SELECT count(*)::int AS n FROM messaging.forgotten');
  if (minutes >= 2 && dropped!.n < 2) throw new InvariantError('nothing was forgotten, so the soak did not see retention at work');
}

function* endless(goesOn: () => boolean): Generator<undefined> {
  while (goesOn()) yield undefined;
}

async function takeSample(
  admin: pg.Pool, postmaster: number | undefined, minute: number, orders: number, confirmed: Latencies,
): Promise<SoakSample> {
  const { rows } = await admin.query<{ name: string; live: number; dead: number; mebibytes: number }>(TABLES);
  return {
    minute,
    orders,
    confirmed,
    nodeMemory: memoryUsage().rss / 2 ** 20,
    databaseMemory: postmaster === undefined ? NaN : privateMemory([postmaster, ...childrenOf(postmaster)]),
    tables: Object.fromEntries(rows.map(({ name, live, dead, mebibytes }) => [name, { live, dead, mebibytes: Number(mebibytes) }])),
  };
}

/** MiB of anonymous memory, without the shared buffers, which fill up and then stay. */
function privateMemory(pids: readonly number[]): number {
  let kibibytes = 0;
  for (const pid of pids) {
    try {
      kibibytes += Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      // The process has ended meanwhile.
    }
  }
  return kibibytes / 1024;
}

/** Drift and bloat of the samples. */
export function judge(samples: readonly SoakSample[]): Pick<SoakResult, 'drift' | 'bloat'> {
  // The first half fills caches and brings tables to the size that autovacuum keeps them at.
  const later = samples.slice(Math.floor(samples.length / 2));
  const drift = (read: (sample: SoakSample) => number) => {
    const points = later.map((sample) => [sample.minute, read(sample)] as const);
    const mean = points.reduce((sum, [, value]) => sum + value, 0) / points.length;
    return (slope(points) * 60) / mean;
  };
  const bloat: Record<string, number> = {};
  const [middle, last] = [later[0], later.at(-1)];
  for (const name of Object.keys(last?.tables ?? {})) {
    const before = middle!.tables[name];
    const after = last!.tables[name]!;
    if (!before || before.live < 1 || after.live < 1) continue;
    bloat[name] = after.mebibytes / after.live / (before.mebibytes / before.live);
  }
  return {
    drift: {
      p99: drift(({ confirmed }) => confirmed.p99),
      nodeMemory: drift(({ nodeMemory }) => nodeMemory),
      databaseMemory: drift(({ databaseMemory }) => databaseMemory),
    },
    bloat,
  };
}
