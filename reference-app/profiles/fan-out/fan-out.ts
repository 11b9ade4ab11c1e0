import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { LocalRun } from 'cdk-local-run';
import pg from 'pg';
import { defaultSettings } from '../../lib/settings.ts';
import { EventKeys } from '../../services/shared/event-keys.ts';
import { createLogger } from '../../services/shared/telemetry.ts';
import { deadLetters, messagesWaiting, routesOf } from '../queues.ts';
import type { Route } from '../queues.ts';
import { settle } from '../settle.ts';
import type { Look, SettleOptions } from '../settle.ts';
import { countAnalytics } from './checks.ts';
import type { LifeEvent } from './publisher/life.ts';
import { publishOrders } from './publisher/publish.ts';
import type { PublisherReport } from './publisher/publish.ts';
import { summarize } from './summary.ts';
import type { FanOutSummary } from './summary.ts';

/** A few, so that the summary shows that they change nothing. */
const DUPLICATES = 0.1;
const PAUSE_MS = 2_000;
const PATIENCE_MS = 30_000;

export interface FanOutFeed {
  readonly events: readonly LifeEvent[];
  readonly report: PublisherReport;
}

export interface FanOutFeedOptions {
  readonly orders: number;
  readonly rate: number;
  readonly seed: number;
  /** The time between the events of an order. @default 2000, as of the publisher */
  readonly pauseMs?: number;
  readonly signal?: AbortSignal;
  readonly onPublished?: (event: LifeEvent) => void;
}

export interface FanOutProgress {
  /** Messages waiting, delayed or in flight, dead letters left out. */
  readonly waiting: number;
  /** Events that wait for an earlier version of their order. */
  readonly parked: number;
  /** Notifications still to be sent. */
  readonly unsent: number;
}

/** A local run of the fan-out stack. */
export interface FanOut {
  readonly busName: string;
  /** The ARN of the secret that signs events. */
  readonly signingSecret: string | undefined;
  feed(options: FanOutFeedOptions): Promise<FanOutFeed>;
  /** Waits until nothing is on its way any more. Returns false when nothing has moved for a while. */
  settle(options?: SettleOptions<FanOutProgress>): Promise<boolean>;
  /** Without fed orders it checks the data that are there. */
  summarize(feed: FanOutFeed | undefined, settled: boolean): Promise<FanOutSummary>;
  close(): Promise<void>;
}

const OPEN = `SELECT (SELECT count(*) FROM fan_out.notification WHERE sent_at IS NULL)::int AS unsent,
  (SELECT count(*) FROM messaging.parked WHERE applied_at IS NULL AND parked_at > $1)::int AS parked`;

/** Returns undefined when the run is one of other stacks. */
export async function openFanOut(run: LocalRun): Promise<FanOut | undefined> {
  const routes = routesOf(run);
  const bus = busOf(run, routes);
  if (!run.database || !bus) return undefined;
  const database = new pg.Pool({ ...run.database.writer, max: 4, application_name: 'local-run' });
  // A broken idle connection is replaced by the next query.
  database.on('error', () => undefined);
  const { rows: [schema] } = await database.query<{ ours: boolean; now: Date }>('SELECT to_regclass(\'fan_out.progress\') IS NOT NULL AS ours, now()');
  if (!schema?.ours) {
    await database.end();
    return undefined;
  }
  const before = { analytics: await countAnalytics(database), dead: new Set(deadLetters(run)) };
  const signingSecret = run.workloads.map(({ environment }) => environment.EVENT_SIGNING_SECRET_ARN).find((arn) => arn !== undefined);
  return {
    busName: bus.name,
    signingSecret,
    feed: async (options) => publish(run, bus.name, signingSecret, options),
    // Events that wait from earlier runs are not this one's fault.
    settle: (options = {}) => settle(() => look(run, database, schema.now), options),
    summarize: (feed, settled) => summarize({ run, database, routes, before, feed, settled }),
    close: () => database.end(),
  };
}

function busOf(run: LocalRun, routes: readonly Route[]) {
  const rule = run.rules.find(({ name }) => routes.some((route) => route.rule === name));
  return run.buses.find(({ name }) => name === rule?.busName);
}

async function publish(
  run: LocalRun, busName: string, signingSecret: string | undefined, feedOptions: FanOutFeedOptions,
): Promise<FanOutFeed> {
  const { onPublished, pauseMs = PAUSE_MS, ...options } = feedOptions;
  const events: LifeEvent[] = [];
  const local = { region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  const client = new EventBridgeClient({ ...local, endpoint: run.endpoints.eventbridge });
  const keys = signingSecret === undefined ? undefined : new EventKeys(signingSecret, {
    secrets: new SecretsManagerClient({ ...local, endpoint: run.endpoints.secretsmanager }), logger: createLogger({ service: 'publisher', level: 'silent' }),
  });
  try {
    await keys?.known(options.signal ?? new AbortController().signal);
    const report = await publishOrders({
      ...options,
      ...(keys && { signingKey: () => keys.current! }),
      client,
      busName,
      pauseMs,
      source: defaultSettings.eventSource,
      duplicates: DUPLICATES,
      patienceMs: PATIENCE_MS,
      onPublished: (event) => {
        events.push(event);
        onPublished?.(event);
      },
    });
    return { events, report };
  } finally {
    client.destroy();
    await keys?.stop();
  }
}

/** Looks at the queues first: a consumer writes a notification before its message is gone. */
async function look(run: LocalRun, database: pg.Pool, opened: Date): Promise<Look<FanOutProgress>> {
  const waiting = messagesWaiting(run);
  const { rows: [open] } = await database.query<{ parked: number; unsent: number }>(OPEN, [opened]);
  const { parked, unsent } = open!;
  return {
    progress: { waiting, parked, unsent },
    quiet: waiting + parked + unsent === 0 ? 'quiet' : undefined,
    moving: [waiting, parked, unsent, deadLetters(run).length],
  };
}
