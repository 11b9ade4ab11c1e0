import type { LocalRun } from 'cdk-local-run';
import type pg from 'pg';
import { identify } from '../../invariants/invariants.ts';
import type { QueueContents } from '../../invariants/invariants.ts';
import { detailTypeOf } from '../../services/shared/events/index.ts';
import { deadLetters } from '../queues.ts';
import type { Route } from '../queues.ts';
import type { FanOutFeed } from './fan-out.ts';
import type { LifeEvent } from './publisher/life.ts';
import type { PublisherReport } from './publisher/publish.ts';

export interface FanOutCheck {
  readonly id: string;
  readonly title: string;
  readonly ok: boolean;
  readonly checked: number;
  readonly violations: readonly string[];
}

/** The state when the run was opened. Earlier runs may have left it. */
export interface Before {
  readonly analytics: Analytics;
  readonly dead: ReadonlySet<string>;
}

export interface CheckInput {
  readonly run: LocalRun;
  readonly database: pg.Pool;
  readonly routes: readonly Route[];
  readonly before: Before;
}

export interface Analytics {
  readonly created: number;
  readonly updated: number;
  readonly cancelled: number;
  readonly units: number;
}

const ANALYTICS = `
  SELECT coalesce(sum(created), 0)::int AS created, coalesce(sum(updated), 0)::int AS updated, coalesce(sum(cancelled), 0)::int AS cancelled,
         coalesce(sum(units), 0)::int AS units
    FROM fan_out.order_minute`;
const HANDLED = 'SELECT event_id::text AS id FROM messaging.inbox WHERE consumer = $1 AND event_id = ANY ($2::uuid[])';
const PROGRESS = 'SELECT order_id::text AS "orderId", version::int FROM fan_out.progress WHERE consumer = $1 AND order_id = ANY ($2::uuid[])';
const ORDERS = 'SELECT order_id::text AS "orderId", status, items FROM fan_out.orders WHERE order_id = ANY ($1::uuid[])';
const SENT = 'SELECT order_id::text AS "orderId", version::int FROM fan_out.notification WHERE order_id = ANY ($1::uuid[]) AND sent_at IS NOT NULL';

export async function countAnalytics(database: pg.Pool): Promise<Analytics> {
  return (await database.query<Analytics>(ANALYTICS)).rows[0]!;
}

/** The events that are for a consumer, by its rule. */
export function expectedOf({ matches }: Route, events: readonly LifeEvent[]): LifeEvent[] {
  return events.filter((event) => matches(detailTypeOf(event), event));
}

export function orderIdsOf(events: readonly LifeEvent[]): string[] {
  return [...new Set(events.map(({ subject }) => subject))];
}

/** The ids of those events that the consumer has applied. */
export async function handledBy(database: pg.Pool, consumer: string, events: readonly LifeEvent[]): Promise<Set<string>> {
  const { rows } = await database.query<{ id: string }>(HANDLED, [consumer, events.map(({ id }) => id)]);
  return new Set(rows.map(({ id }) => id));
}

/** Compares the published events with the state of every consumer. */
export async function checkFed(input: CheckInput, { events, report }: FanOutFeed, contents: QueueContents): Promise<FanOutCheck[]> {
  const { run, database, routes, before } = input;
  const orders = orderIdsOf(events).length;
  const pairs = routes.reduce((sum, route) => sum + expectedOf(route, events).length, 0);
  const died = deadLetters(run).filter((body) => !before.dead.has(body));
  return [
    check('I1', 'every consumer has the events of its rules, or they are dead', pairs, await missing(database, routes, events, contents)),
    check('I7', 'every consumer applied versions 1, 2, 3 of each order', orders * routes.length, await gaps(database, routes, events)),
    check('orders', 'every order has the state of its last event', orders, await wrongOrders(database, events)),
    check('analytics', 'every event is counted once', events.length, miscounted(before.analytics, await countAnalytics(database), events, report)),
    check('notifications', 'the customer is notified of every event, once', events.length, await notNotified(database, events)),
    deadCheck(died, pairs),
  ];
}

export function check(id: string, title: string, checked: number, violations: readonly string[]): FanOutCheck {
  return { id, title, ok: violations.length === 0, checked, violations };
}

export function deadCheck(bodies: readonly string[], checked: number): FanOutCheck {
  return check('dead', 'no dead letters', checked, bodies.map((body) => body.slice(0, 200)));
}

async function missing(
  database: pg.Pool, routes: readonly Route[], events: readonly LifeEvent[], { queued, dead }: QueueContents,
): Promise<string[]> {
  const found: string[] = [];
  for (const route of routes) {
    const expected = expectedOf(route, events);
    const handled = await handledBy(database, route.consumer, expected);
    const bodies = [...queued.get(route.queue) ?? [], ...dead.get(route.queue) ?? []];
    const elsewhere = new Set(bodies.flatMap((body) => identify(body).flatMap(({ event }) => event ?? [])));
    for (const { id, type, subject } of expected) {
      if (!handled.has(id) && !elsewhere.has(id)) found.push(`${type} of order ${subject}: not handled by ${route.consumer}, nor in its queues`);
    }
  }
  return found;
}

async function gaps(database: pg.Pool, routes: readonly Route[], events: readonly LifeEvent[]): Promise<string[]> {
  const found: string[] = [];
  for (const route of routes) {
    const { consumer } = route;
    const { rows } = await database.query<{ orderId: string; version: number }>(PROGRESS, [consumer, orderIdsOf(events)]);
    const versions = new Map(rows.map(({ orderId, version }) => [orderId, version]));
    for (const [orderId, own] of Map.groupBy(expectedOf(route, events), ({ subject }) => subject)) {
      const version = versions.get(orderId) ?? 0;
      if (version !== own.length) found.push(`order ${orderId}: ${own.length} versions published, ${consumer} is at ${version}`);
    }
  }
  return found;
}

async function wrongOrders(database: pg.Pool, events: readonly LifeEvent[]): Promise<string[]> {
  const { rows } = await database.query<{ orderId: string; status: string; items: unknown }>(ORDERS, [orderIdsOf(events)]);
  const orders = new Map(rows.map((row) => [row.orderId, row]));
  return [...Map.groupBy(events, ({ subject }) => subject)].flatMap(([orderId, own]) => {
    const expected = stateAfter(own);
    const { status, items } = orders.get(orderId) ?? {};
    if (status === expected.status && sameItems(items, expected.items)) return [];
    return `order ${orderId}: ${status ?? 'unknown'} ${JSON.stringify(items)}, not ${expected.status} ${JSON.stringify(expected.items)}`;
  });
}

function miscounted(before: Analytics, after: Analytics, events: readonly LifeEvent[], { published }: PublisherReport): string[] {
  const expected: Analytics = {
    created: published.OrderCreated,
    updated: published.OrderUpdated,
    cancelled: published.OrderCancelled,
    units: events.reduce((sum, event) => sum + unitsOf(event), 0),
  };
  return (Object.keys(expected) as (keyof Analytics)[]).flatMap((key) => {
    const counted = after[key] - before[key];
    return counted === expected[key] ? [] : [`${counted} ${key} counted, ${expected[key]} published`];
  });
}

async function notNotified(database: pg.Pool, events: readonly LifeEvent[]): Promise<string[]> {
  const { rows } = await database.query<{ orderId: string; version: number }>(SENT, [orderIdsOf(events)]);
  const sent = new Set(rows.map(({ orderId, version }) => `${orderId} ${version}`));
  const unsent = events.filter(({ subject, sequence }) => !sent.has(`${subject} ${sequence}`));
  return unsent.map(({ type, subject }) => `${type} of order ${subject}: the customer was not notified`);
}

function stateAfter(events: readonly LifeEvent[]): { status: string; items: readonly unknown[] } {
  const items = events.reduce<readonly unknown[]>((before, event) => {
    if (event.type === 'order.created') return event.data.items;
    return event.type === 'order.updated' ? event.data.new : before;
  }, []);
  return { status: events.some(({ type }) => type === 'order.cancelled') ? 'CANCELLED' : 'PENDING', items };
}

/** jsonb gives the fields of an object in an order of its own. */
function sameItems(items: unknown, expected: readonly unknown[]): boolean {
  const pairs = (list: unknown) => (list as { sku: string; quantity: number }[] | undefined)?.map(({ sku, quantity }) => [sku, quantity]);
  return JSON.stringify(pairs(items)) === JSON.stringify(pairs(expected));
}

function unitsOf(event: LifeEvent): number {
  switch (event.type) {
    case 'order.created': return event.data.items.reduce((sum, { quantity }) => sum + quantity, 0);
    case 'order.updated': return event.data.changed.reduce((sum, { from, to }) => sum + to - from, 0);
    case 'order.cancelled': return 0;
  }
}
