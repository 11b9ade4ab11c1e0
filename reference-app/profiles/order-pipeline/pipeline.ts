import type { LocalRun } from 'cdk-local-run';
import pg from 'pg';
import { checkInvariants } from '../../invariants/invariants.ts';
import type { InvariantResult, Position, Subscription } from '../../invariants/invariants.ts';
import { RELAY_CURSOR } from '../../invariants/sql.ts';
import type { FeedResult } from '../../load/feed.ts';
import { deadLetters, inspectQueues, routesOf } from '../queues.ts';
import { settle } from '../settle.ts';
import type { SettleOptions } from '../settle.ts';
import type { FailoverReport } from './failover.ts';
import { lookAtPipeline } from './settle.ts';
import type { SettleProgress } from './settle.ts';
import { rememberBeginnings } from './subscriptions.ts';
import { summarize } from './summary.ts';
import type { Summary } from './summary.ts';

/** The names of the APIs, as in `--port NAME=PORT`. */
const WRITE_API = 'api-write-service';
const READ_API = 'api-read-service';
const TOKEN_SECONDS = 30 * 24 * 60 * 60;

/** A local run of the order pipeline. */
export interface Pipeline {
  readonly run: LocalRun;
  readonly writeUrl: string;
  readonly readUrl: string;
  /** A token of an operator, for 30 days. Undefined when the APIs are open. */
  readonly token: string | undefined;
  /** Connections to the writer, as its superuser. */
  readonly database: pg.Pool;
  readonly subscriptions: readonly Subscription[];
  checkInvariants(fed?: FeedResult): Promise<InvariantResult[]>;
  /** Waits until nothing is on its way any more. Returns false when nothing has moved for a while. */
  settle(options?: SettleOptions<SettleProgress>): Promise<boolean>;
  /** Without fed orders it checks the invariants of all data that are there. */
  summarize(fed: FeedResult | undefined, settled: boolean, failover?: FailoverReport): Promise<Summary>;
  close(): Promise<void>;
}

/** Returns undefined when the run is one of other stacks: with other APIs, or with another database schema. */
export async function openPipeline(run: LocalRun, fresh: boolean): Promise<Pipeline | undefined> {
  const { issuer } = run;
  const writeUrl = run.workloads.find(({ name }) => name === WRITE_API)?.urls[0];
  const readUrl = run.workloads.find(({ name }) => name === READ_API)?.urls[0];
  if (!run.database || writeUrl === undefined || readUrl === undefined) return undefined;
  const database = new pg.Pool({ ...run.database.writer, max: 4, application_name: 'local-run' });
  // A broken idle connection is replaced by the next query.
  database.on('error', () => undefined);
  const { rows: [schema] } = await database.query<{ ours: boolean }>(
    'SELECT to_regclass(\'orders.orders\') IS NOT NULL AND to_regclass(\'messaging.outbox\') IS NOT NULL AS ours');
  if (!schema?.ours) {
    await database.end();
    return undefined;
  }
  const token = issuer.url === undefined ? undefined
    : await issuer.token({ subject: 'operator', scope: 'orders.operate', expiresInSeconds: TOKEN_SECONDS });
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
    run,
    writeUrl,
    readUrl,
    token,
    database,
    subscriptions,
    checkInvariants: check,
    settle: (options = {}) => settle(() => lookAtPipeline(run, database), options),
    summarize: async (fed, settled, failover) => summarize({
      database,
      settled,
      ...(fed && { fed }),
      deadLetters: deadLetters(run).length,
      restarts: run.workloads.reduce((sum, service) => sum + service.restarts(), 0),
      invariants: await check(fed),
      ...(failover && { failover }),
    }),
    close: () => database.end(),
  };
}
