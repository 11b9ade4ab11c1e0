import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { GATES, passGates } from './gates.ts';
import { seeded } from '../load/random.ts';
import { startBenchServer, type BenchServer } from './database/server.ts';
import { assertInvariants, InvariantError } from './measure/assert-invariants.ts';
import { processorMeter } from './measure/processor.ts';
import { StageCosts, type StageCost } from './measure/stage-costs.ts';
import { NO_BUNDLES, type Bundles } from './pipeline/bundles.ts';
import { UNIFORM, randomOrder, storeOrders, validatedEvent } from './pipeline/orders.ts';
import type { ConsumerSettings } from './pipeline/service-host.ts';
import { inventoryHandler } from '../services/inventory-service/handler.ts';

const STAGE = 'inventory-service, reserve';
const ORDERS = 4_000;

describe('gates', () => {
  let server: BenchServer;
  before(async () => {
    server = await startBenchServer();
  });
  after(() => server.stop());

  async function costOf(
    name: string, handler: typeof inventoryHandler, settings?: ConsumerSettings, bundles?: Bundles,
  ): Promise<StageCost> {
    const database = await server.database(name);
    const costs = await StageCosts.create(database, 4, processorMeter(server.postmaster));
    try {
      const random = seeded(1);
      const events = Array.from({ length: ORDERS }, () => validatedEvent(randomOrder(UNIFORM, random)));
      await storeOrders(database.admin, events);
      const cost = await costs.consume(STAGE, handler, events, settings, bundles);
      await assertInvariants(database.admin, { orders: 'none', published: false }, {
        decisions: { sql: 'SELECT count(*) FROM inventory.ledger WHERE event_id IS NOT NULL AND line = 1', value: ORDERS },
      });
      return cost;
    } finally {
      await costs.close();
      await database.drop();
    }
  }

  const gatesOfStage = GATES.filter(({ stage, figure }) => stage === STAGE && figure !== 'processorShare');
  const failed = (cost: StageCost) => passGates([cost], [], gatesOfStage).filter(({ ok }) => !ok).map(({ figure }) => figure);

  test('the reserve stage keeps all of its limits of counts', async () => {
    assert.deepEqual(failed(await costOf('passes', inventoryHandler)), []);
  });

  test('one more round trip per order exceeds a limit, and so does its transaction', async () => {
    const planted: typeof inventoryHandler = {
      ...inventoryHandler,
      async handle(events, pool) {
        for (const event of events) await pool.query('SELECT version FROM orders.orders WHERE order_id = $1', [event.subject]);
        return inventoryHandler.handle(events, pool);
      },
    };
    assert.deepEqual(failed(await costOf('round_trip', planted)), ['roundTrips', 'commits']);
  });

  test('one more row per order exceeds a limit, even a small row', async () => {
    const planted: typeof inventoryHandler = {
      ...inventoryHandler,
      async handle(events, pool) {
        await pool.query('SELECT messaging.remember(\'x\', array_agg(gen_random_uuid())) FROM generate_series(1, $1)', [events.length]);
        return inventoryHandler.handle(events, pool);
      },
    };
    assert.deepEqual(failed(await costOf('wal', planted)), ['walBytes']);
  });

  test('a transaction per order exceeds a limit', async () => {
    const all = failed(await costOf('single', inventoryHandler, { batchSize: 1, concurrency: 8 }, NO_BUNDLES));
    for (const figure of ['roundTrips', 'commits', 'fsyncs'] as const) assert.ok(all.includes(figure), figure);
  });

  test('a limit whose figure was not measured does not hold', () => {
    assert.ok(passGates([], []).every(({ ok }) => !ok));
  });

  test('a broken invariant is an error, however good the figures are', async () => {
    const database = await server.database('broken');
    const costs = await StageCosts.create(database, 4, processorMeter(server.postmaster));
    try {
      await database.admin.query('UPDATE inventory.stock_level SET reserved = 1 WHERE sku = \'SKU-000000\'');
      await assert.rejects(assertInvariants(database.admin, { orders: 'none', published: false }), InvariantError);
    } finally {
      await costs.close();
      await database.drop();
    }
  });
});
