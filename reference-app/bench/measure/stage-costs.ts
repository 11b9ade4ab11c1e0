import type pg from 'pg';
import { countRoundTrips, countWork, type Counts } from './counts.ts';
import type { Meter, Reading } from './slices.ts';
import { work } from './work.ts';
import { analyticsHandler } from '../../services/analytics-service/handler.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { createNotificationHandler } from '../../services/notification-service/handler.ts';
import { orderStatusHandler } from '../../services/order-service/order-status/handler.ts';
import type { Pool } from '../../services/shared/database.ts';
import type { EventEnvelope, EventType } from '../../services/shared/events/index.ts';
import { runConsumer } from '../../services/shared/messaging/consumer.ts';
import type { Handler } from '../../services/shared/messaging/handler.ts';
import { createStockHandler } from '../../services/stock-service/handler.ts';
import { commandPool, silent, warm, type BenchDatabase, type DatabaseLocation } from '../database/server.ts';
import { acceptBy } from '../pipeline/accept.ts';
import { localQueues, sqsOf } from '../pipeline/broker-clients.ts';
import { MemoryBroker } from '../pipeline/broker.ts';
import { BUNDLES, messagesOf, type Bundles } from '../pipeline/bundles.ts';
import * as naive from '../pipeline/naive.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { relayUntil } from '../pipeline/relay-run.ts';
import type { ConsumerSettings } from '../pipeline/service-host.ts';

/** The cost of one order at one stage. */
export interface StageCost extends Counts {
  readonly stage: string;
  /** Number of measured orders, or of events where the stage says so. */
  readonly count: number;
  /** Microseconds of PostgreSQL's processes; missing where the system does not report them, like the next two. */
  readonly database?: number;
  /** Microseconds of Node.js. */
  readonly node?: number;
  /** Microseconds of both. */
  readonly processor?: number;
  /** Calls of the queue or of the bus. */
  readonly queueCalls: number;
}

/** Measures the cost of an order at each stage: the services' own code on queues that are full when it starts. */
export class StageCosts {
  static async create(database: BenchDatabase, connections: number, meter: Meter): Promise<StageCosts> {
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    const pool = commandPool(database.location, connections);
    const roundTrips = countRoundTrips(pool);
    await warm(pool, connections);
    return new StageCosts(database, pool, connections, roundTrips, meter);
  }

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

  get pool(): Pool {
    return this.#pool;
  }

  get location(): DatabaseLocation {
    return this.#database.location;
  }

  get admin(): pg.Pool {
    return this.#database.admin;
  }

  /** @param run reports its queue calls, and the round trips of connections that are not in the pool */
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
      stage,
      count,
      roundTrips: (counts.roundTrips + (elsewhere ?? 0)) / count,
      commits: counts.commits / count,
      fsyncs: counts.fsyncs / count,
      walBytes: counts.walBytes / count,
      queueCalls: queueCalls / count,
      ...(before && after && microseconds(before, after, count)),
    };
    this.costs.push(cost);
    return cost;
  }

  /** Takes orders in with 256 clients. */
  async intake(orders: number, random: () => number): Promise<StageCost> {
    const accept = acceptBy(this.#pool);
    const made = Array.from({ length: orders }, () => newOrder(randomOrder(UNIFORM, random)));
    return this.measure('intake', orders, async () => {
      await work(made, { workers: 256 }, async (order) => {
        await accept(order);
        return 1;
      });
      return { queueCalls: 0 };
    });
  }

  /** Publishes the next events. */
  async relay(events: number): Promise<StageCost> {
    return this.measure('relay (per event)', events, async () => {
      const { calls, roundTrips } = await relayUntil(this.#database.location, (count) => count >= events);
      return { queueCalls: calls, roundTrips };
    });
  }

  /** Handles the events by the service's own consumer; they are in the queue, in bundles, when it starts. */
  async consume<T extends EventType>(
    stage: string, handler: Handler<T>, events: readonly EventEnvelope[], settings: ConsumerSettings = {}, bundles: Bundles = BUNDLES,
  ): Promise<StageCost> {
    const broker = new MemoryBroker([{ queue: handler.name, matches: () => true }]);
    for (const message of messagesOf(events, bundles)) broker.enqueue(handler.name, message);
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
      const sqs = sqsOf(localQueues(broker));
      const consumer = runConsumer({ handler: counted, queueUrl: `http://bench/${handler.name}`, pool: this.#pool, sqs, logger: silent, ...settings });
      await all.promise;
      await consumer.stop();
      return { queueCalls: broker.calls.receive + broker.calls.delete + broker.calls.changeVisibility };
    });
  }

  /** Envelopes of the outbox, in the order of their commits. */
  async events<T extends EventType>(detailType: string, outcome?: string): Promise<EventEnvelope<T>[]> {
    const { rows } = await this.#database.admin.query<{ envelope: string }>(
      `SELECT o.envelope FROM messaging.outbox o
       WHERE o.detail_type = $1 AND ($2::text IS NULL OR o.envelope::jsonb #>> '{data,outcome}' = $2) ORDER BY o.xid, o.id`,
      [detailType, outcome ?? null]);
    return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>);
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

function microseconds(before: Reading, after: Reading, count: number) {
  const database = ((after.database - before.database) * 1e6) / count;
  const node = ((after.node - before.node) * 1e6) / count;
  return { database, node, processor: database + node };
}

/** Measures every stage, one after the other, up to the deduction; then the services that only listen. */
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
  await relayUntil(costs.location, (count) => count >= orders * 4);
}

/** Measures the naive functions in the same way, one message at a time. */
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
  await one('inventory-service, reserve', await costs.events<'inventory.validated'>('StockValidated'),
    (event) => naive.reserve(pool, event));
  await one('order-status', await costs.events<'inventory.updated'>('InventoryUpdated', 'RESERVED'),
    (event) => naive.settle(pool, event));
  await one('inventory-service, deduct', await costs.events<'order.confirmed'>('OrderConfirmed'),
    (event) => naive.deduct(pool, event));
  while (await naive.relayOne(pool, () => undefined));
}
