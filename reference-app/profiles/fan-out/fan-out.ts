import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import pg from 'pg';
import { defaultSettings } from '../../lib/settings.ts';
import type { LifeEvent } from './publisher/life.ts';
import { publishOrders } from './publisher/publish.ts';
import type { PublisherReport } from './publisher/publish.ts';
import { detailTypeOf } from '../../services/shared/events/index.ts';
import { LocalRunError } from 'cdk-local-run/errors';
import { identify } from '../../invariants/invariants.ts';
import type { LocalRun, LocalWorkload } from 'cdk-local-run';
import { deadLetters, inspectQueues, messagesWaiting, routesOf } from '../order-pipeline/subscriptions.ts';

/** A message that a killed consumer had in hand comes again only after its visibility timeout. */
const DEFAULT_STALL_MS = 90_000;
const POLL_MS = 100;
/** A few, so that the summary shows that they change nothing. */
const DUPLICATES = 0.1;

export interface FanOutFeed {
  readonly events: readonly LifeEvent[];
  readonly report: PublisherReport;
}

export interface FanOutFeedOptions {
  readonly orders: number;
  readonly rate: number;
  readonly seed: number;
  /** @default 2000, as of the publisher */
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

/** A local run of the fan-out stack: what can be fed, watched and checked. */
export interface FanOut {
  readonly busName: string;
  feed(options: FanOutFeedOptions): Promise<FanOutFeed>;
  settle(options?: { stallMs?: number; signal?: AbortSignal; onProgress?: (progress: FanOutProgress) => void }): Promise<boolean>;
  summarize(feed: FanOutFeed, settled: boolean): Promise<FanOutSummary>;
  close(): Promise<void>;
}

export interface ConsumerSummary {
  readonly name: string;
  readonly queue: string;
  /** What the bus delivered since the start, copies and strangers too. */
  readonly received: number;
  /** Of the published events, those that its rules say are for it. */
  readonly expected: number;
  /** Of those, how many it has applied. */
  readonly handled: number;
  /** Copies that changed nothing, since the process started. */
  readonly duplicates: number;
  /** Of the orders' events, how many came before their turn. */
  readonly early: number;
  readonly deadLetters: number;
}

export interface FanOutCheck {
  readonly id: string;
  readonly title: string;
  readonly ok: boolean;
  readonly checked: number;
  readonly violations: readonly string[];
}

export interface FanOutSummary {
  readonly publisher: PublisherReport;
  readonly consumers: readonly ConsumerSummary[];
  readonly restarts: number;
  readonly settled: boolean;
  readonly checks: readonly FanOutCheck[];
  readonly ok: boolean;
}

interface Analytics { readonly created: number; readonly updated: number; readonly cancelled: number; readonly units: number }

const ANALYTICS = `SELECT coalesce(sum(created), 0)::int AS created, coalesce(sum(updated), 0)::int AS updated, coalesce(sum(cancelled), 0)::int AS cancelled,
  coalesce(sum(units), 0)::int AS units FROM fan_out.order_minute`;
const OPEN = `SELECT (SELECT count(*) FROM fan_out.notification WHERE sent_at IS NULL)::int AS unsent,
  (SELECT count(*) FROM messaging.parked WHERE applied_at IS NULL AND parked_at > $1)::int AS parked`;
const HANDLED = `SELECT i.event_id::text AS id FROM messaging.inbox i WHERE i.consumer = $1 AND i.event_id = ANY ($2::uuid[])`;
const PROGRESS = 'SELECT order_id::text AS "orderId", version::int FROM fan_out.progress WHERE consumer = $1 AND order_id = ANY ($2::uuid[])';
const EARLY = 'SELECT count(*)::int AS early FROM messaging.parked WHERE consumer = $1 AND order_id = ANY ($2::uuid[])';
const ORDERS = 'SELECT order_id::text AS "orderId", version::int, status, items FROM fan_out.orders WHERE order_id = ANY ($1::uuid[])';
const SENT = 'SELECT order_id::text AS "orderId", version::int, attempts FROM fan_out.notification WHERE order_id = ANY ($1::uuid[]) AND sent_at IS NOT NULL';

export async function openFanOut(run: LocalRun): Promise<FanOut> {
  const routes = routesOf(run);
  const bus = run.buses.find(({ name }) => run.rules.some(({ busName, name: rule }) => busName === name && routes.some((route) => route.rule === rule)));
  const database = run.database && new pg.Pool({ ...run.database.writer, max: 4, application_name: 'local-run' });
  // A broken idle connection is replaced by the next query.
  database?.on('error', () => undefined);
  const { rows: [schema] } = await database?.query<{ ours: boolean }>(`SELECT to_regclass('fan_out.progress') IS NOT NULL AS ours`) ?? { rows: [] };
  if (!database || !bus || !schema?.ours) {
    await database?.end();
    throw new LocalRunError('--profile fan-out needs a run of the fan-out stack: leave --app out, or give it an assembly with that stack.');
  }
  const before = (await database.query<Analytics>(ANALYTICS)).rows[0]!;
  // What waits from earlier runs is not this one's fault.
  const { rows: [{ opened } = {}] } = await database.query<{ opened?: Date }>('SELECT now() AS opened');
  const deadBefore = new Set(deadLetters(run));

  return {
    busName: bus.name,
    async feed({ orders, rate, seed, pauseMs = 2_000, signal, onPublished }) {
      const events: LifeEvent[] = [];
      const client = new EventBridgeClient({
        endpoint: run.endpoints.eventbridge, region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
      });
      try {
        const report = await publishOrders({
          client, busName: bus.name, source: defaultSettings.eventSource, orders, rate, seed, pauseMs, duplicates: DUPLICATES, patienceMs: 30_000,
          ...(signal && { signal }),
          onPublished: (event) => {
            events.push(event);
            onPublished?.(event);
          },
        });
        return { events, report };
      } finally {
        client.destroy();
      }
    },

    /** Waits until nothing is on its way any more; resolves to whether that came to be. */
    async settle({ stallMs = DEFAULT_STALL_MS, signal, onProgress } = {}) {
      let deadline = performance.now() + stallMs;
      let last = '';
      let quiet = 0;
      while (!signal?.aborted) {
        // Queues first: a consumer writes what is to be sent before its message is gone.
        const waiting = messagesWaiting(run);
        const { parked, unsent } = (await database.query<{ parked: number; unsent: number }>(OPEN, [opened])).rows[0]!;
        onProgress?.({ waiting, parked, unsent });
        quiet = waiting + parked + unsent === 0 ? quiet + 1 : 0;
        if (quiet === 2) return true;
        const now = JSON.stringify([waiting, parked, unsent, deadLetters(run).length]);
        if (now !== last) deadline = performance.now() + stallMs;
        last = now;
        if (performance.now() > deadline) return false;
        await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
      }
      return false;
    },

    async summarize({ events, report }, settled) {
      const { queued, dead } = inspectQueues(run);
      const orderIds = [...new Set(events.map(({ subject }) => subject))];
      const consumers: ConsumerSummary[] = [];
      const missing: string[] = [];
      const gaps: string[] = [];
      for (const { consumer, queue, matches } of routes) {
        const expected = events.filter((event) => matches(detailTypeOf(event), event));
        const handled = new Set((await database.query<{ id: string }>(HANDLED, [consumer, expected.map(({ id }) => id)])).rows.map(({ id }) => id));
        const elsewhere = new Set([...queued.get(queue) ?? [], ...dead.get(queue) ?? []].flatMap((body) => identify(body).event ?? []));
        for (const { id, type, subject } of expected) {
          if (!handled.has(id) && !elsewhere.has(id)) missing.push(`${type} of order ${subject}: not handled by ${consumer}, nor in its queues`);
        }
        const progress = (await database.query<{ orderId: string; version: number }>(PROGRESS, [consumer, orderIds])).rows;
        const versions = new Map(progress.map(({ orderId, version }) => [orderId, version]));
        for (const [orderId, own] of Map.groupBy(expected, ({ subject }) => subject)) {
          if (versions.get(orderId) !== own.length) gaps.push(`order ${orderId}: ${own.length} versions published, ${consumer} is at ${versions.get(orderId) ?? 0}`);
        }
        consumers.push({
          name: consumer,
          queue,
          received: run.eventBridge.deliveries().filter(({ targetArn }) => run.queues.some(({ arn, name }) => arn === targetArn && name === queue)).reduce((sum, { delivered }) => sum + delivered, 0),
          expected: expected.length,
          handled: handled.size,
          duplicates: await duplicatesOf(run.workloads.find(({ name }) => name === consumer)),
          early: (await database.query<{ early: number }>(EARLY, [consumer, orderIds])).rows[0]!.early,
          deadLetters: dead.get(queue)?.length ?? 0,
        });
      }

      const orders = new Map((await database.query<{ orderId: string; version: number; status: string; items: unknown }>(ORDERS, [orderIds])).rows.map((row) => [row.orderId, row]));
      const wrongOrders = orderIds.flatMap((orderId) => {
        const wanted = stateAfter(events.filter(({ subject }) => subject === orderId));
        const { status, items } = orders.get(orderId) ?? {};
        return status === wanted.status && sameItems(items, wanted.items) ? [] : [`order ${orderId}: ${status ?? 'unknown'} ${JSON.stringify(items)}, not ${wanted.status} ${JSON.stringify(wanted.items)}`];
      });

      const after = (await database.query<Analytics>(ANALYTICS)).rows[0]!;
      const counted = { created: after.created - before.created, updated: after.updated - before.updated, cancelled: after.cancelled - before.cancelled, units: after.units - before.units };
      const wanted: Analytics = {
        created: report.published.OrderCreated, updated: report.published.OrderUpdated, cancelled: report.published.OrderCancelled,
        units: events.reduce((sum, event) => sum + unitsOf(event), 0),
      };
      const miscounted = (Object.keys(wanted) as (keyof Analytics)[]).flatMap((key) => (counted[key] === wanted[key] ? [] : [`${counted[key]} ${key} counted, ${wanted[key]} published`]));

      const sent = new Map((await database.query<{ orderId: string; version: number; attempts: number }>(SENT, [orderIds])).rows.map(({ orderId, version, attempts }) => [`${orderId} ${version}`, attempts]));
      const unsent = events.flatMap(({ subject, sequence, type }) => (sent.has(`${subject} ${sequence}`) ? [] : [`${type} of order ${subject}: the customer was not notified`]));
      const died = deadLetters(run).filter((body) => !deadBefore.has(body));

      const check = (id: string, title: string, checked: number, violations: readonly string[]): FanOutCheck => ({ id, title, ok: violations.length === 0, checked, violations });
      const pairs = consumers.reduce((sum, { expected }) => sum + expected, 0);
      const checks = [
        check('I1', 'every consumer has what its rules say, or it is dead', pairs, missing),
        check('I7', 'every consumer applied versions 1, 2, 3 of each order', orderIds.length * consumers.length, gaps),
        check('orders', 'every order is what its last event made of it', orderIds.length, wrongOrders),
        check('analytics', 'every event is counted once', events.length, miscounted),
        check('notifications', 'the customer is notified of every event, once', events.length, unsent),
        check('dead', 'no dead letters', pairs, died.map((body) => body.slice(0, 200))),
      ];
      return {
        publisher: report,
        consumers,
        restarts: run.workloads.reduce((sum, service) => sum + service.restarts(), 0),
        settled,
        checks,
        ok: settled && report.failed.length === 0 && report.interrupted === 0 && checks.every(({ ok }) => ok),
      };
    },

    close: () => database.end(),
  };
}

function stateAfter(events: readonly LifeEvent[]): { status: string; items: readonly unknown[] } {
  const items = events.reduce<readonly unknown[]>((before, event) => (event.type === 'order.created' ? event.data.items : event.type === 'order.updated' ? event.data.new : before), []);
  return { status: events.some(({ type }) => type === 'order.cancelled') ? 'CANCELLED' : 'PENDING', items };
}

/** jsonb gives the fields of an object in an order of its own. */
function sameItems(items: unknown, wanted: readonly unknown[]): boolean {
  const text = (list: unknown) => JSON.stringify((list as { sku: string; quantity: number }[] | undefined)?.map(({ sku, quantity }) => [sku, quantity]));
  return text(items) === text(wanted);
}

function unitsOf(event: LifeEvent): number {
  switch (event.type) {
    case 'order.created': return event.data.items.reduce((sum, { quantity }) => sum + quantity, 0);
    case 'order.updated': return event.data.changed.reduce((sum, { from, to }) => sum + to - from, 0);
    case 'order.cancelled': return 0;
  }
}

/** By the metrics of its processes, whose addresses stand in their logs. */
async function duplicatesOf(service: LocalWorkload | undefined): Promise<number> {
  const counts = await Promise.all((service?.logFiles ?? []).filter((file) => existsSync(file)).map(async (file) => {
    const url = readFileSync(file, 'utf8').split('\n').findLast((line) => line.includes('"health endpoints"'));
    if (url === undefined) return 0;
    const metrics = await fetch(`${(JSON.parse(url) as { url: string }).url}/metrics`).then((answer) => answer.text(), () => '');
    return [...metrics.matchAll(/^events_consumed_total\{[^}]*result="duplicate"[^}]*\} (\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}
