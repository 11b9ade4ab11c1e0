import pg from 'pg';
import { checkInvariants } from '../../invariants/invariants.ts';
import type { InvariantResult, Position, Subscription } from '../../invariants/invariants.ts';
import { RELAY_CURSOR } from '../../invariants/sql.ts';
import type { LocalRun } from 'cdk-local-run';
import type { FeedResult } from '../../load/feed.ts';
import { READ_API, WRITE_API } from '../../start/options.ts';
import { settle } from './settle.ts';
import type { SettleProgress } from './settle.ts';
import { deadLetters, inspectQueues, rememberBeginnings, routesOf } from './subscriptions.ts';
import { summarize } from './summary.ts';
import type { Summary } from './summary.ts';

/** A message that a killed consumer had in hand comes again only after its visibility timeout. */
const DEFAULT_STALL_MS = 90_000;

/** A local run that holds our order pipeline: what can be fed, watched and checked. */
export interface Pipeline {
  readonly run: LocalRun;
  readonly writeUrl: string;
  readonly readUrl: string;
  /** To the writer, as its superuser. */
  readonly database: pg.Pool;
  readonly subscriptions: readonly Subscription[];
  checkInvariants(fed?: FeedResult): Promise<InvariantResult[]>;
  settle(options?: { stallMs?: number; signal?: AbortSignal; onProgress?: (progress: SettleProgress) => void }): Promise<boolean>;
  summarize(fed: FeedResult, settled: boolean): Promise<Summary>;
  close(): Promise<void>;
}

/** Undefined when the assembly is somebody else's: other APIs, or another schema. */
export async function openPipeline(run: LocalRun, fresh: boolean): Promise<Pipeline | undefined> {
  const writeUrl = run.workloads.find(({ name }) => name === WRITE_API)?.urls[0];
  const readUrl = run.workloads.find(({ name }) => name === READ_API)?.urls[0];
  if (!run.database || writeUrl === undefined || readUrl === undefined) return undefined;
  const database = new pg.Pool({ ...run.database.writer, max: 4, application_name: 'local-run' });
  // A broken idle connection is replaced by the next query.
  database.on('error', () => undefined);
  const { rows: [schema] } = await database.query<{ ours: boolean }>(
    `SELECT to_regclass('orders.orders') IS NOT NULL AND to_regclass('messaging.outbox') IS NOT NULL AS ours`);
  if (!schema?.ours) {
    await database.end();
    return undefined;
  }
  const cursor = (await database.query<Position>(RELAY_CURSOR)).rows[0] ?? { xid: '0', id: '0' };
  const subscriptions = rememberBeginnings(run.dataDir, routesOf(run), cursor, fresh);

  const check = async (fed?: FeedResult) => {
    const client = await database.connect();
    try {
      return await checkInvariants({ database: client, subscriptions, inspectQueues: () => inspectQueues(run), ...(fed && { feed: fed }) });
    } finally {
      client.release();
    }
  };
  return {
    run, writeUrl, readUrl, database, subscriptions,
    checkInvariants: check,
    settle: ({ stallMs = DEFAULT_STALL_MS, ...options } = {}) => settle({ run, database, stallMs, ...options }),
    summarize: async (fed, settled) => summarize({
      database,
      fed,
      settled,
      deadLetters: deadLetters(run).length,
      restarts: run.workloads.reduce((sum, service) => sum + service.restarts(), 0),
      invariants: await check(fed),
    }),
    close: () => database.end(),
  };
}
