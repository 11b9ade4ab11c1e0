import type pg from 'pg';
import { analyticsHandler } from '../services/analytics-service/handler.ts';
import { inventoryHandler } from '../services/inventory-service/handler.ts';
import { createNotificationHandler } from '../services/notification-service/handler.ts';
import { orderStatusHandler } from '../services/order-service/order-status/handler.ts';
import type { Pool } from '../services/shared/database.ts';
import type { EventEnvelope, EventType } from '../services/shared/events/index.ts';
import { runConsumer } from '../services/shared/messaging/consumer.ts';
import type { Handler } from '../services/shared/messaging/handler.ts';
import { createStockHandler } from '../services/stock-service/handler.ts';
import { localQueues, MemoryBroker, sqsOf } from './broker.ts';
import { countRoundTrips, countWork, type Counts } from './counts.ts';
import { intakeOf } from './intake.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from './load.ts';
import * as naive from './naive.ts';
import type { Meter } from './slices.ts';
import { commandPool, silent, warm, type BenchDatabase, type Target } from './server.ts';
import { work } from './stages.ts';
import { relayFor } from './rows/relay.ts';
import type { ConsumerSettings } from './stage-host.ts';

/** What one order costs at one stage. */
export interface StageCost extends Counts {
  readonly stage: string;
  /** Orders, or events for the relay. */
  readonly count: number;
  /** Microseconds of the database's processes and of Node.js, and both; missing where the system does not tell. */
  readonly database?: number;
  readonly node?: number;
  readonly processor?: number;
  readonly queueCalls: number;
}

/** What the stages cost per order: the services' own code on queues that are full when it starts. */
export class StageCosts {
  readonly costs: StageCost[] = [];
  readonly #database: BenchDatabase;
  readonly #pool: Pool;
  readonly #connections: number;
  readonly #roundTrips: () => number;
  readonly #meter: Meter;

  private constructor(database: BenchDatabase, pool: Pool, connections: number, roundTrips: () => number, meter: Meter) {
    this.#database = database;
    this.#pool = pool;
    this.#connections = connections;
    this.#roundTrips = roundTrips;
    this.#meter = meter;
  }

  static async create(database: BenchDatabase, connections: number, meter: Meter): Promise<StageCosts> {
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    const pool = commandPool(database.target, connections);
    const roundTrips = countRoundTrips(pool);
    await warm(pool, connections);
    return new StageCosts(database, pool, connections, roundTrips, meter);
  }

  get pool(): Pool {
    return this.#pool;
  }

  get target(): Target {
    return this.#database.target;
  }

  get admin(): pg.Pool {
    return this.#database.admin;
  }

  async measure(stage: string, count: number, run: () => Promise<{ queueCalls: number; roundTrips?: number }>): Promise<StageCost> {
    let queueCalls = 0;
    let elsewhere: number | undefined = 0;
    let before: ReturnType<Meter['read']>;
    let after: ReturnType<Meter['read']>;
    const counts = await countWork(this.#database.admin, this.#pool, this.#roundTrips, this.#connections, async () => {
      before = this.#meter.read();
      ({ queueCalls, roundTrips: elsewhere } = await run());
      after = this.#meter.read();
    });
    const cost: StageCost = {
      stage, count,
      roundTrips: (counts.roundTrips + (elsewhere ?? 0)) / count, commits: counts.commits / count, fsyncs: counts.fsyncs / count, walBytes: counts.walBytes / count,
      queueCalls: queueCalls / count,
      ...(before && after && microseconds(before, after, count)),
    };
    this.costs.push(cost);
    return cost;
  }

  /** Takes orders in with 256 clients. */
  async intake(orders: number, random: () => number): Promise<StageCost> {
    const accept = intakeOf(this.#pool);
    const made = Array.from({ length: orders }, () => newOrder(randomOrder(UNIFORM, random)));
    return this.measure('intake', orders, async () => {
      await work(made, { workers: 256 }, async (order) => {
        await accept(order);
        return 1;
      });
      return { queueCalls: 0 };
    });
  }

  /** Publishes the next so many events; counts the calls of PutEvents. */
  async relay(events: number): Promise<StageCost> {
    return this.measure('relay (per event)', events, async () => {
      const { calls, roundTrips } = await relayFor(this.#database.target, (count) => count >= events);
      return { queueCalls: calls, roundTrips };
    });
  }

  /** The real consumer on a full queue, with its default settings if no others are given. */
  async consume<T extends EventType>(stage: string, handler: Handler<T>, events: readonly EventEnvelope[], settings: ConsumerSettings = {}): Promise<StageCost> {
    const broker = new MemoryBroker([{ queue: handler.name, matches: () => true }]);
    for (const event of events) broker.enqueue(handler.name, JSON.stringify(event));
    let done = 0;
    const all = Promise.withResolvers<void>();
    const counted: Handler<T> = {
      ...handler,
      async handle(batch, pool) {
        const outcomes = await handler.handle(batch, pool);
        return outcomes.map((outcome) => ({
          ...outcome,
          committed() {
            outcome.committed?.();
            if (++done === events.length) all.resolve();
          },
        }));
      },
    };
    return this.measure(stage, events.length, async () => {
      const consumer = runConsumer({ handler: counted, queueUrl: `http://bench/${handler.name}`, pool: this.#pool, sqs: sqsOf(localQueues(broker)), logger: silent, ...settings });
      await all.promise;
      await consumer.stop();
      return { queueCalls: broker.calls.receive + broker.calls.delete + broker.calls.changeVisibility };
    });
  }

  async events<T extends EventType>(detailType: string, outcome?: string): Promise<EventEnvelope<T>[]> {
    const { rows } = await this.#database.admin.query<{ envelope: string }>(
      `SELECT o.envelope FROM messaging.outbox o WHERE o.detail_type = $1 AND ($2::text IS NULL OR o.envelope::jsonb #>> '{data,outcome}' = $2) ORDER BY o.xid, o.id`,
      [detailType, outcome ?? null]);
    return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>);
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

function microseconds(before: Usage, after: Usage, count: number) {
  const database = ((after.database - before.database) * 1e6) / count;
  const node = ((after.node - before.node) * 1e6) / count;
  return { database, node, processor: database + node };
}

type Usage = NonNullable<ReturnType<Meter['read']>>;

/** Every stage of so many orders, one after the other, up to the deduction; then those who only listen. */
export async function measureServices(costs: StageCosts, orders: number, random: () => number): Promise<void> {
  await costs.intake(orders, random);
  await costs.relay(orders);
  const created = await costs.events<'order.created'>('OrderCreated');
  const stock = createStockHandler({ reader: costs.pool, writer: costs.pool, logger: silent });
  await costs.consume('stock-service', stock, created);
  await costs.consume('inventory-service, reserve', inventoryHandler, await costs.events('StockValidated'));
  const reserved = await costs.events<'inventory.updated'>('InventoryUpdated', 'RESERVED');
  await costs.consume('order-status', orderStatusHandler, reserved);
  const confirmed = await costs.events<'order.confirmed'>('OrderConfirmed');
  await costs.consume('inventory-service, deduct', inventoryHandler, confirmed);
  await costs.consume('analytics-service (per event)', analyticsHandler, [...created, ...reserved, ...confirmed]);
  await costs.consume('notification-service (per event)', createNotificationHandler(() => undefined), confirmed);
  await relayFor(costs.target, (count) => count >= orders * 4);
}

/** The same by the naive functions, one message at a time. */
export async function measureNaive(costs: StageCosts, orders: number, random: () => number): Promise<void> {
  const { pool } = costs;
  const one = async <T>(stage: string, items: readonly T[], run: (item: T) => Promise<unknown>) =>
    costs.measure(stage, items.length, async () => {
      for (const item of items) await run(item);
      // Each message is received and deleted by itself.
      return { queueCalls: stage === 'intake' ? 0 : stage.startsWith('relay') ? items.length : items.length * 2 };
    });
  await one('intake', Array.from({ length: orders }, () => newOrder(randomOrder(UNIFORM, random))), (order) => naive.takeOrder(pool, order));
  await one('relay (per event)', Array.from({ length: orders }), () => naive.relayOne(pool, () => undefined));
  await one('stock-service', await costs.events<'order.created'>('OrderCreated'), (event) => naive.validate(pool, event));
  await one('inventory-service, reserve', await costs.events<'inventory.validated'>('StockValidated'), (event) => naive.reserve(pool, event));
  await one('order-status', await costs.events<'inventory.updated'>('InventoryUpdated', 'RESERVED'), (event) => naive.settle(pool, event));
  await one('inventory-service, deduct', await costs.events<'order.confirmed'>('OrderConfirmed'), (event) => naive.deduct(pool, event));
  while (await naive.relayOne(pool, () => undefined));
}
