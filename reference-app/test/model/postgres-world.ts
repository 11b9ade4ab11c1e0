import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { CONSUMERS, Queues, STOCK, SUBSCRIPTIONS, type Look, type Plant, type Reached, type World } from './world.ts';
import { CHECKS } from '../../invariants/sql.ts';
import { analyticsHandler } from '../../services/analytics-service/handler.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { createNotificationHandler } from '../../services/notification-service/handler.ts';
import { createWriteApi } from '../../services/order-service/api-write-service/api.ts';
import { decideAnswer, decideExpiry, type Items } from '../../services/order-service/lifecycle/decide.ts';
import { readForCommand, readStates, settle } from '../../services/order-service/lifecycle/statements.ts';
import { STATUSES, type Command } from '../../services/order-service/lifecycle/transitions.ts';
import { orderStatusHandler } from '../../services/order-service/order-status/handler.ts';
import { newId, type EventEnvelope } from '../../services/shared/events/index.ts';
import { withoutAuthorization } from '../../services/shared/http/caller.ts';
import type { Handler, Outcome } from '../../services/shared/messaging/handler.ts';
import { handleOnce, handleOverdue } from '../../services/shared/messaging/inbox.ts';
import { silentLogger, type TestDatabase } from '../../services/shared/testing.ts';
import { createStockHandler } from '../../services/stock-service/handler.ts';

/** Adds stock to a database. The sequences share it, so that they also compete for it. */
export async function stockUp(db: TestDatabase): Promise<void> {
  await db.admin.query('INSERT INTO inventory.product SELECT DISTINCT s, s FROM unnest($1::text[]) s', [STOCK.map(({ sku }) => sku)]);
  for (const { sku, location, onHand } of STOCK) {
    await db.admin.query('INSERT INTO inventory.stock_level (sku, location, on_hand) VALUES ($1, $2, $3)', [sku, location, onHand]);
    await db.admin.query('INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ($1, $2, \'RECEIPT\', $3, 0)', [sku, location, onHand]);
  }
}

/**
 * Takes out a part whose absence the test must notice. The inbox and the guard of the database are taken out of the database, which is of
 * no use for anything else then.
 */
export async function plantIn(db: TestDatabase, plant: Plant): Promise<void> {
  if (plant.inbox === false) {
    await db.admin.query(`CREATE OR REPLACE FUNCTION messaging.handled(p_consumer text, p_event_ids uuid[]) RETURNS uuid[] LANGUAGE sql STABLE AS $$ SELECT '{}'::uuid[] $$;
      CREATE OR REPLACE FUNCTION messaging.remember(p_consumer text, p_event_ids uuid[]) RETURNS void LANGUAGE sql AS $$
        INSERT INTO messaging.inbox (consumer, event_id) SELECT p_consumer, e FROM unnest(p_event_ids) e ON CONFLICT DO NOTHING $$`);
  }
  if (plant.guard === false) {
    await db.admin.query('ALTER TABLE orders.orders DISABLE TRIGGER orders_transition');
    await db.admin.query('ALTER TABLE orders.status_change DROP CONSTRAINT status_change_transition');
  }
}

/** The services themselves on PostgreSQL; only the bus and the queues between them are the test's. */
export class PostgresWorld implements World {
  static api(db: TestDatabase) {
    return createWriteApi({ authentication: withoutAuthorization, pool: db.command, logger: silentLogger(), registry: new Registry() });
  }

  readonly #db: TestDatabase;
  readonly #app: ReturnType<typeof createWriteApi>;
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #reached: Reached;
  readonly #ids: string[] = [];
  #published = '0';
  readonly #events = new Map<string, EventEnvelope>();
  readonly #queues = new Queues((consumer, batch) => this.#handle(consumer, batch));

  constructor(db: TestDatabase, app: ReturnType<typeof createWriteApi>, plant: Plant, reached: Reached) {
    this.#db = db;
    this.#app = app;
    this.#reached = reached;
    const [stock, inventory, status, ...listeners] = handlersOf(db);
    const handlers = [
      stock!,
      plant.gate === false ? ungatedInventory(db) : inventory!,
      plant.guard === false ? unguardedStatus(db) : status!,
      ...(plant.gate === false ? listeners.map(ungated) : listeners),
    ];
    this.#handlers = new Map(handlers.map((handler) => [handler.name, handler]));
  }

  get orders(): number {
    return this.#ids.length;
  }

  async look(): Promise<Look[]> {
    const { rows } = await this.#db.admin.query<Look & { oversold: boolean }>(
      `SELECT o.status, o.version, EXISTS (SELECT FROM inventory.stock_level WHERE reserved > on_hand OR reserved < 0) AS oversold
         FROM unnest($1::uuid[]) WITH ORDINALITY AS i (order_id, n) JOIN orders.orders o USING (order_id) ORDER BY i.n`, [this.#ids]);
    assert.ok(rows.every(({ oversold }) => !oversold), 'I3');
    return rows.map(({ status, version }) => ({ status, version }));
  }

  async create(items: Items): Promise<void> {
    const headers = { 'idempotency-key': newId() };
    const payload = { customerId: 'c', items };
    const send = async () => {
      const answer = await this.#app.inject({ method: 'POST', url: '/orders', headers, payload });
      assert.equal(answer.statusCode, 202);
      return answer.json<{ orderId: string }>().orderId;
    };
    const [id, again] = await Promise.all([send(), send()]);
    assert.equal(again, id, 'I2: same key and body, same order');
    const other = await this.#app.inject({ method: 'POST', url: '/orders', headers, payload: { ...payload, customerId: 'd' } });
    assert.equal(other.statusCode, 422, 'I2: same key, another body');
    this.#ids.push(id);
    await this.#publish();
  }

  async command(order: number, command: Command, items: Items, version: number | '*'): Promise<number> {
    const headers = { 'if-match': version === '*' ? '*' : `"${version}"` };
    const url = `/orders/${this.#ids[order]}`;
    const answer = await (command === 'update'
      ? this.#app.inject({ method: 'PATCH', url, headers, payload: { items } })
      : this.#app.inject({ method: 'POST', url: `${url}/cancel`, headers }));
    await this.#publish();
    return answer.statusCode;
  }

  async expire(order: number): Promise<void> {
    const at = new Date();
    const { order: stored } = await readForCommand(this.#db.command, {
      orderId: this.#ids[order]!, caller: { subject: '', customerId: undefined }, key: undefined, skus: [],
    });
    const change = decideExpiry(stored!, at);
    if (change) await settle(this.#db.command, '', [], [change], at);
    await this.#publish();
  }

  deliver(consumer: string, picks: readonly number[], acknowledge: boolean): Promise<void> {
    return this.#queues.deliver(consumer, picks, acknowledge);
  }

  drain(): Promise<void> {
    return this.#queues.drain();
  }

  /** What can be said of these orders alone; `checkAll` says it of all together. */
  async checkAtRest(): Promise<void> {
    const ids = [this.#ids];
    const { rows: steps } = await this.#db.admin.query<{ from_status: string | null; to_status: string; type: string }>(
      `SELECT c.from_status, c.to_status, e.envelope::jsonb ->> 'type' AS type
         FROM orders.status_change c JOIN messaging.outbox e USING (event_id) WHERE c.order_id = ANY ($1)`, ids);
    for (const { from_status, to_status, type } of steps) this.#reached.count(`${from_status}>${to_status} ${type}`);
    const { rows: stock } = await this.#db.admin.query(
      `WITH has AS (SELECT document_id AS order_id, sku, sum(delta_reserved)::int AS held, -sum(delta_on_hand)::int AS taken FROM inventory.ledger
                     WHERE document_id = ANY ($1) AND location IS NOT NULL GROUP BY 1, 2 HAVING sum(delta_reserved) <> 0 OR sum(delta_on_hand) <> 0),
            wants AS (SELECT l.order_id, l.sku, l.quantity FROM orders.order_line l JOIN orders.orders o USING (order_id) WHERE o.order_id = ANY ($1) AND o.status = 'CONFIRMED')
       SELECT * FROM has FULL JOIN wants USING (order_id, sku) WHERE held IS DISTINCT FROM 0 OR taken IS DISTINCT FROM quantity`, ids);
    assert.deepEqual(stock, [], 'I5, I9: an order has what it says, and nothing when it came to nothing');
    const { rows: waiting } = await this.#db.admin.query('SELECT consumer, version FROM messaging.parked WHERE order_id = ANY ($1) AND applied_at IS NULL', ids);
    assert.deepEqual(waiting, [], 'I7: nothing waits any more');
    const { rows: inbox } = await this.#db.admin.query<{ event_id: string; consumer: string }>(
      'SELECT event_id, consumer FROM messaging.inbox WHERE event_id = ANY ($1)', [[...this.#events.keys()]]);
    const handled = new Set(inbox.map(({ event_id, consumer }) => `${consumer} ${event_id}`));
    for (const { id, type } of this.#events.values()) {
      const missing = CONSUMERS.filter((consumer) => SUBSCRIPTIONS[consumer]!.includes(type) && !handled.has(`${consumer} ${id}`));
      assert.deepEqual(missing, [], `I1: who has not handled ${type}`);
    }
    await this.#giveBack();
  }

  /** So that there is stock for the next sequence. */
  async #giveBack(): Promise<void> {
    for (const [order, { status }] of (await this.look()).entries()) if (status === 'CONFIRMED') assert.equal(await this.command(order, 'cancel', [], '*'), 202);
    await this.drain();
    for (const { status } of await this.look()) assert.ok(STATUSES[status] === 'final', status);
  }

  async #handle(consumer: string, batch: readonly EventEnvelope[]): Promise<Outcome[]> {
    const outcomes = await handleOnce(this.#handlers.get(consumer)!, batch, this.#db.command);
    for (const { result } of outcomes) if (result === 'parked') this.#reached.count(`parked ${consumer}`);
    await this.#publish();
    return outcomes;
  }

  /** The outbox of these orders to the queues; this test is the bus. */
  async #publish(): Promise<void> {
    const { rows } = await this.#db.admin.query<{ id: string; envelope: string }>(
      'SELECT o.id::text, o.envelope FROM messaging.outbox o WHERE o.aggregate_id = ANY ($1) AND o.id > $2 ORDER BY o.id',
      [this.#ids, this.#published]);
    for (const { id, envelope } of rows) {
      this.#published = id;
      const event = JSON.parse(envelope) as EventEnvelope;
      this.#events.set(event.id, event);
      this.#queues.publish(event);
    }
  }
}

/** The columns of analytics, with the events that they count. */
const OUTCOMES = [
  ['accepted', 'OrderCreated'], ['confirmed', 'OrderConfirmed'], ['rejected', 'OrderRejected'], ['updated', 'OrderUpdated'],
  ['cancelled', 'OrderCancelled'], ['expired', 'OrderExpired'],
] as const;

/** Everything that the database can be asked. */
export async function checkAll(db: TestDatabase): Promise<void> {
  for (const { invariant, what, sql, parameters } of CHECKS) {
    if (invariant === 'I1' || /relay_cursor/.test(sql)) continue;
    const { rows } = await db.admin.query(sql, (parameters ?? []).map(() => []));
    assert.deepEqual(rows.slice(0, 3), [], `${invariant}: ${what}`);
  }
  // What analytics counted is what happened, once.
  const { rows: [counted] } = await db.admin.query(
    `SELECT ${OUTCOMES.map(([name]) => `sum(${name})::int AS ${name}`).join(', ')} FROM analytics.order_minute`);
  const { rows: [happened] } = await db.admin.query(
    `SELECT ${OUTCOMES.map(([name, type]) => `count(*) FILTER (WHERE detail_type = '${type}')::int AS ${name}`).join(', ')} FROM messaging.outbox`);
  assert.deepEqual(counted, happened, 'I11: each event had its effect once');
}

/** A hash of each table that the services write. */
export async function hashes(db: TestDatabase): Promise<Record<string, string>> {
  const { rows: tables } = await db.admin.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('orders', 'inventory', 'messaging', 'notification', 'analytics') AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`);
  const all: Record<string, string> = {};
  for (const { name } of tables) {
    const { rows: [row] } = await db.admin.query<{ hash: string }>(
      `SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') AS hash FROM ${name} t`);
    all[name] = row!.hash;
  }
  return all;
}

/** All events that ever were, to everybody who gets them, in any order and batches. */
export async function replay(db: TestDatabase, random: () => number): Promise<number> {
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox');
  const placed = rows.map(({ envelope }) => ({ event: JSON.parse(envelope) as EventEnvelope, place: random() }));
  const events = placed.sort((a, b) => a.place - b.place).map(({ event }) => event);
  for (const handler of handlersOf(db)) {
    const wanted = events.filter(({ type }) => SUBSCRIPTIONS[handler.name]!.includes(type));
    for (let at = 0; at < wanted.length;) {
      const batch = wanted.slice(at, at += 1 + Math.floor(random() * 300));
      for (const { result } of await handleOnce(handler, batch, db.command)) assert.equal(result, 'duplicate');
    }
    await handleOverdue(handler, 0, db.command, assert.fail);
  }
  return events.length;
}

function handlersOf(db: TestDatabase): Handler[] {
  return [
    createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() }),
    inventoryHandler,
    orderStatusHandler,
    analyticsHandler,
    createNotificationHandler(() => undefined),
  ] as unknown as Handler[];
}

// --- what it looks like without -----------------------------------------------------------------------------------

const ungated = (handler: Handler): Handler => ({
  ...handler,
  handle: (events, pool) => handler.handle(events.map(({ previousid: _, ...event }) => event as EventEnvelope), pool),
});

/** Takes each event for the next of its order. */
function ungatedInventory(db: TestDatabase): Handler {
  return {
    ...(inventoryHandler as unknown as Handler),
    async handle(events, pool) {
      const outcomes: Outcome[] = [];
      for (const event of events) {
        const { rows: [row] } = await db.admin.query<{ next: number }>(
          'SELECT coalesce(max(version), 0)::int + 1 AS next FROM inventory.ledger WHERE document_id = $1', [event.subject]);
        outcomes.push(...await (inventoryHandler as unknown as Handler).handle([{ ...event, sequence: String(row!.next) }], pool));
      }
      return outcomes;
    },
  };
}

/** Takes each order for one that waits for the answer. */
function unguardedStatus(db: TestDatabase): Handler {
  return {
    ...(orderStatusHandler as unknown as Handler),
    async handle(events) {
      const outcomes: Outcome[] = [];
      for (const event of events as EventEnvelope<'inventory.updated'>[]) {
        const at = new Date();
        const { handled, orders } = await readStates(db.command, 'order-status', [event]);
        const order = orders.get(event.subject)!;
        const change = decideAnswer({ ...order, status: 'PENDING', version: Number(event.sequence) }, event, at);
        const isNew = !handled.has(event.id);
        if (isNew) {
          const next = change && { ...change.event, sequence: String(order.version + 1) } as EventEnvelope;
          const said = change && next && { ...change, from: order.status, version: order.version, event: next };
          await settle(db.command, 'order-status', [event.id], said ? [said] : [], at);
        }
        outcomes.push({ eventId: event.id, result: isNew ? 'ok' : 'duplicate' });
      }
      return outcomes;
    },
  };
}

