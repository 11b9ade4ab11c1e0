import { memoryUsage } from 'node:process';
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import type { Retention } from '../services/outbox-relay/maintenance.ts';
import { startChain } from './chain.ts';
import type { Context } from './context.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from './load.ts';
import { InvariantError } from './invariants.ts';
import { childrenOf } from './processor.ts';
import { assertChain, atRest, chainVariant, quantiles, type Quantiles } from './rows/chain.ts';
import { openLoop } from '../load/open-loop.ts';
import { clock } from './stage-host.ts';
import { slope } from './statistics.ts';

export interface SoakSample {
  readonly minute: number;
  readonly orders: number;
  readonly confirmed: Quantiles;
  /** MiB: this process with all its threads, and PostgreSQL's processes without the shared memory. */
  readonly nodeMemory: number;
  readonly databaseMemory: number;
  /** Share of dead rows and MiB with indexes, by table. */
  readonly tables: Readonly<Record<string, { readonly live: number; readonly dead: number; readonly mebibytes: number }>>;
}

export interface SoakResult {
  readonly rate: number;
  readonly saturation: number;
  readonly minutes: number;
  readonly orders: number;
  readonly samples: readonly SoakSample[];
  /** Change per hour over the second half, as a share of its mean. */
  readonly drift: { readonly p99: number; readonly nodeMemory: number; readonly databaseMemory: number };
  /** MiB that a table takes over the rows it holds, in the end as a multiple of the middle: bloat. */
  readonly bloat: Readonly<Record<string, number>>;
}

// Partitions count for their table: they come and go.
const TABLES = `
  SELECT t.schemaname || '.' || coalesce(p.relname, t.relname) AS name, sum(t.n_live_tup)::float8 AS live, sum(t.n_dead_tup)::float8 AS dead,
         sum(pg_total_relation_size(t.relid)) / 1048576.0::float8 AS mebibytes
  FROM pg_stat_user_tables t LEFT JOIN pg_inherits i ON i.inhrelid = t.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
  WHERE t.relid NOT IN (SELECT inhparent FROM pg_inherits)
  GROUP BY 1 ORDER BY 1`;

/** Events for three partitions' time and ids for five: all of it comes and goes many times in a soak. */
function retentionFor(minutes: number): Retention {
  const partitionHours = Math.max(10, minutes) / 3600;
  return {
    partitionHours, outboxHours: 3 * partitionHours, inboxHours: 5 * partitionHours, idempotencyKeyHours: 5 * partitionHours, notificationHours: 5 * partitionHours,
    everyMs: (partitionHours * 3_600_000) / 6,
  };
}

/** The migrations have made empty ones, which are wider than the soak is long. */
async function forgetPartitions(admin: pg.Pool): Promise<void> {
  const { rows } = await admin.query<{ name: string }>('DELETE FROM messaging.partition RETURNING name');
  for (const { name } of rows) await admin.query(`DROP TABLE IF EXISTS messaging."${name}"`);
}

/** Runs the whole chain at a steady rate for a long time and watches what may creep. */
export async function soak(context: Context, minutes: number, wanted: number | undefined, onSample: (sample: SoakSample) => void): Promise<SoakResult> {
  const server = await context.server();
  const database = await server.database('bench_soak');
  try {
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    await forgetPartitions(database.admin);
    const chain = await startChain(database.target, { retention: retentionFor(minutes) });
    let orders = 0;
    let saturation = 0;
    let published = 0;
    const samples: SoakSample[] = [];
    let rate = wanted ?? 0;
    try {
      const closed = chainVariant('saturation', chain, 2_000, context.random);
      await closed.run(2_000);
      const { count, seconds } = await closed.run(Math.min(10_000, minutes * 10_000));
      saturation = count / seconds;
      orders = closed.accepted();
      rate = wanted ?? Math.round(saturation / 2);

      const every = Math.max(5_000, (minutes * 60_000) / 120);
      const intendedAt = new Map<string, number>();
      let latencies: number[] = [];
      chain.onDone((what, orderIds, at) => {
        if (what !== 'settled') return;
        for (const orderId of orderIds) {
          const since = intendedAt.get(orderId);
          if (since === undefined) continue;
          intendedAt.delete(orderId);
          latencies.push(at - since);
        }
      });
      const offset = clock() - performance.now();
      const start = performance.now();
      let sampling: Promise<void> = Promise.resolve();
      const timer = setInterval(() => {
        const seen = latencies;
        latencies = [];
        sampling = sampling.then(async () => {
          const sample = await takeSample(database.admin, server.postmaster(), (performance.now() - start) / 60_000, orders, quantiles(seen));
          samples.push(sample);
          onSample(sample);
        });
        sampling.catch(() => undefined);
      }, every);
      const failure = new AbortController();
      try {
        await openLoop(endless(() => performance.now() - start < minutes * 60_000), rate, async (_, intended) => {
          const order = newOrder(randomOrder(UNIFORM, context.random));
          intendedAt.set(order.orderId, intended + offset);
          await chain.accept(order).then(() => orders++, (error: unknown) => failure.abort(error));
        }, failure.signal);
        failure.signal.throwIfAborted();
      } finally {
        clearInterval(timer);
      }
      await sampling;
      await atRest(database.admin, orders);
    } finally {
      published = (await chain.stop()).calls?.events ?? 0;
    }
    context.progress('soak  checking the invariants');
    const { rows: [dropped] } = await database.admin.query<{ n: number }>('SELECT count(*)::int AS n FROM messaging.forgotten');
    if (minutes >= 2 && dropped!.n < 2) throw new InvariantError('nothing was forgotten, so the soak did not see retention at work');
    await assertChain(database.admin, orders, true);
    if (published < orders * 5) throw new InvariantError(`events published: ${published} instead of ${orders * 5}`);
    return { rate, saturation, minutes, orders, samples, ...judge(samples) };
  } finally {
    await database.drop();
  }
}

function* endless(goesOn: () => boolean): Generator<undefined> {
  while (goesOn()) yield undefined;
}

async function takeSample(admin: pg.Pool, postmaster: number | undefined, minute: number, orders: number, confirmed: Quantiles): Promise<SoakSample> {
  const { rows } = await admin.query<{ name: string; live: number; dead: number; mebibytes: number }>(TABLES);
  return {
    minute, orders, confirmed,
    nodeMemory: memoryUsage().rss / 2 ** 20,
    databaseMemory: postmaster === undefined ? NaN : privateMemory([postmaster, ...childrenOf(postmaster)]),
    tables: Object.fromEntries(rows.map(({ name, live, dead, mebibytes }) => [name, { live, dead, mebibytes: Number(mebibytes) }])),
  };
}

/** MiB of anonymous memory: the shared buffers fill up and then stay. */
function privateMemory(pids: readonly number[]): number {
  let kibibytes = 0;
  for (const pid of pids) {
    try {
      kibibytes += Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      // Ended meanwhile.
    }
  }
  return kibibytes / 1024;
}

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
  return { drift: { p99: drift(({ confirmed }) => confirmed.p99), nodeMemory: drift(({ nodeMemory }) => nodeMemory), databaseMemory: drift(({ databaseMemory }) => databaseMemory) }, bloat };
}
