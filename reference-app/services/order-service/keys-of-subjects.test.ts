import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Registry } from 'prom-client';
import { createWriteApi } from './api-write-service/api.ts';
import { fingerprint } from './api-write-service/order-request.ts';
import { readSchemas } from '../migrate/files.ts';
import { migrate } from '../migrate/migrate.ts';
import { applyFunctions, applyTables } from '../migrate/migrations.ts';
import type { Pool } from '../shared/database.ts';
import { newId } from '../shared/events/index.ts';
import type { Authentication, Caller } from '../shared/http/caller.ts';
import { eventually, silentLogger, SQL_ROOT, startTestServer, type TestServer } from '../shared/testing.ts';

// The version before knows no subjects. Its programs run beside these ones during a deployment, and again after a rollback.

let server: TestServer;
before(async () => {
  server = await startTestServer();
});
after(() => server.stop());

const ANN: Caller = { subject: 'ann-1', customerId: 'ann' };
const BEN: Caller = { subject: 'ben-1', customerId: 'ben' };
const CALLERS = new Map([ANN, BEN].map((caller) => [caller.subject, caller]));
const authentication: Authentication = { ready: () => true, authenticate: (header) => CALLERS.get(header!)! };
const items = [{ sku: 'A', quantity: 1 }];

/** An order as the version before takes it, by the text of its statement. */
const FORMER_ACCEPT = {
  name: 'accept-orders',
  text: `SELECT accepted, unknown_skus, taken_keys, taken_by, taken_hashes, stored
    FROM orders.accept($1::text::uuid[], $2::text::text[], $3::text::timestamptz[], $4::text::text[], $5::text::text[], $6, $7::text::uuid[], $8,
      $9::text::text[], $10::text::int[], $11::text::text[], $12::text::bytea[])`,
};
const FORMER_FOR_COMMAND = { name: 'orders-for-command', text: 'SELECT * FROM orders.for_command($1, $2, $3::text::text[])' };
const FORMER_REQUEST = {
  name: 'orders-request',
  text: `SELECT orders.request($1, $2, $3, $4::text::int[], $5::text::text[], $6::text::text[], $7, $8, $9::text::text[], $10, $11,
    $12::text::text[], $13::text::uuid[], $14::text::text[], $15)`,
};

function programOfBefore(pool: Pool) {
  const accept = async (customerId: string, key: string) => {
    const orderId = newId();
    const hash = `\\x${fingerprint({ style: 'camel', customerId, items }).toString('hex')}`;
    const { rows: [answer] } = await pool.query<{ accepted: boolean; taken_by: string[] | null; taken_hashes: Buffer[] }>({
      ...FORMER_ACCEPT,
      values: [
        `{${orderId}}`, `{${customerId}}`, `{${new Date().toISOString()}}`, '{t}', '{c}', JSON.stringify(items), `{${newId()}}`, '{}', '{A}',
        '{1}', `{${key}}`, `{"\\${hash}"}`,
      ],
    });
    if (answer!.accepted) return orderId;
    // The later of several wins, as in its map by the key.
    const last = answer!.taken_by!.length - 1;
    return `\\x${answer!.taken_hashes[last]!.toString('hex')}` === hash ? answer!.taken_by![last]! : 'mismatch';
  };
  const cancel = async (orderId: string, key: string) => {
    const { rows: [known] } = await pool.query<{ status: string; version: number; key_version: number | null }>({ ...FORMER_FOR_COMMAND, values: [orderId, key, '{}'] });
    assert.deepEqual(Object.keys(known!).join(), 'status,version,customer_id,created_at,items,last_event_id,key_order_id,key_version,key_hash,unknown_skus');
    if (known!.key_version !== null) return `replayed ${known!.key_version}`;
    await pool.query({
      ...FORMER_REQUEST,
      values: [
        key, Buffer.alloc(1), `{${orderId}}`, `{${known!.version}}`, `{${known!.status}}`, '{CANCEL_PENDING}', '', '', '{why}', '', new Date(), '{c}',
        `{${newId()}}`, '{OrderCancelRequested}', '{}',
      ],
    });
    return `made ${known!.version + 1}`;
  };
  return { accept, cancel };
}

test('a request that comes again, to the version before or after, finds its order; keys of other customers are free', async (t) => {
  const db = await server.database();
  await db.admin.query('INSERT INTO inventory.product VALUES (\'A\', \'A\')');
  const app = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: new Registry() });
  t.after(() => app.close());
  const send = (caller: Caller, url: string, key: string, payload: object = { items }) => (
    app.inject({ method: 'POST', url, payload, headers: { 'authorization': caller.subject, 'idempotency-key': key, 'if-match': '*' } }));
  const accept = async (caller: Caller, key: string) => (await send(caller, '/orders', key)).json<{ orderId: string }>().orderId;
  const before = programOfBefore(db.command);

  const early = await before.accept('ann', 'k1');
  assert.equal(await accept(ANN, 'k1'), early);
  assert.notEqual(await accept(BEN, 'k1'), early);
  const late = await accept(ANN, 'k2');
  assert.equal(await before.accept('ann', 'k2'), late);
  const bens = await before.accept('ben', 'k2');
  assert.notEqual(bens, 'mismatch');
  assert.notEqual(bens, late);
  assert.equal(await before.accept('ben', 'k2'), bens);
  assert.equal(await accept(BEN, 'k2'), bens);
  // One namespace, as it was, for those of before.
  assert.equal(await before.accept('eve', 'k2'), 'mismatch');

  assert.equal(await before.cancel(early, 'c1'), 'made 2');
  assert.equal(await before.cancel(early, 'c1'), 'replayed 2');
  assert.equal((await send(BEN, `/orders/${bens}/cancel`, 'c1', {})).statusCode, 202, 'the key is one of another customer');
  const mine = await send(ANN, `/orders/${late}/cancel`, 'c1', {});
  assert.equal(mine.statusCode, 422, 'the key is that of another request of the same customer');
  assert.equal((await send(ANN, `/orders/${late}/cancel`, 'c2', {})).statusCode, 202);
  assert.equal(await before.cancel(late, 'c2'), 'replayed 2');
  await db.drop();
});

test('the primary key changes while the version before takes orders, on connections that stay open', { timeout: 60_000 }, async () => {
  const postgres = server.pool({ database: 'postgres', max: 1 });
  await postgres.query('CREATE DATABASE growing');
  const pool = server.pool({ database: 'growing' });
  const client = await pool.connect();
  // The state of before: the first table, and a function that knows no subject.
  const former = (await readSchemas(SQL_ROOT)).map((schema) => (schema.name !== 'orders' ? schema : {
    ...schema,
    release: 2,
    numbered: schema.numbered.slice(0, 1),
    repeatable: schema.repeatable.filter(({ name }) => !NEW.has(name))
      .map((file) => (file.name === 'orders.accept' ? { ...file, sql: FORMER_FUNCTION, checksum: 'former' } : file)),
  }));
  await applyTables(client, former, { logger: silentLogger() });
  await applyFunctions(client, former, undefined, { logger: silentLogger() });
  await client.query('INSERT INTO inventory.product VALUES (\'A\', \'A\')');
  await client.query('INSERT INTO orders.idempotency_key (key, body_hash, order_id) SELECT i::text, \'\', gen_random_uuid() FROM generate_series(1, 50000) i');

  const before = programOfBefore(pool);
  const accepted: string[] = [];
  const stop = new AbortController();
  let slowest = 0;
  const load = Promise.all(Array.from({ length: 4 }, async () => {
    while (!stop.signal.aborted) {
      const start = performance.now();
      accepted.push(await before.accept('ann', newId()));
      slowest = Math.max(slowest, performance.now() - start);
    }
  }));
  await eventually(() => accepted.length, (count) => count > 20);
  await migrate(client, {
    root: SQL_ROOT, logger: silentLogger(), command: { username: 'growing_command', password: 'c' }, query: { username: 'growing_query', password: 'q' },
  });
  const migrated = accepted.length;
  await eventually(() => accepted.length, (count) => count > migrated + 20);
  stop.abort();
  await load;
  client.release();
  assert.ok(slowest < 2_000, `an order waited for ${slowest} ms`);
  assert.equal((await pool.query('SELECT FROM orders.orders')).rowCount, accepted.length);
  const { rows: [key] } = await pool.query(`SELECT pg_get_indexdef(indexrelid) AS index, indisvalid AND indisprimary AS valid,
    (SELECT count(*)::int FROM pg_index i WHERE i.indrelid = x.indrelid) AS indexes FROM pg_index x WHERE indrelid = 'orders.idempotency_key'::regclass AND indisprimary`);
  assert.deepEqual([/\(key, subject\)$/.test(key.index as string), key.valid, key.indexes], [true, true, 2], key.index);
});

const NEW = new Set(['orders.intake', 'orders.command_state', 'orders.command']);

/** The function as it was, as far as keys go. */
const FORMER_FUNCTION = `CREATE OR REPLACE FUNCTION orders.accept(
  p_order_ids uuid[], p_customer_ids text[], p_created_at timestamptz[], p_traceparents text[], p_cause_ids text[],
  p_items text, p_event_ids uuid[], p_envelopes text, p_skus text[], key_order int[], p_keys text[], p_hashes bytea[],
  OUT accepted boolean, OUT unknown_skus text[], OUT taken_keys text[], OUT taken_by uuid[], OUT taken_hashes bytea[], OUT stored uuid[])
LANGUAGE plpgsql AS $$
BEGIN
  accepted := true;
  INSERT INTO orders.idempotency_key (key, body_hash, order_id, created_at)
  SELECT k.key, k.body_hash, p_order_ids[k.o], p_created_at[k.o] FROM unnest(key_order, p_keys, p_hashes) AS k (o, key, body_hash) ORDER BY k.key;
  INSERT INTO orders.orders (order_id, customer_id, status, version) SELECT o, c, 'PENDING', 1 FROM unnest(p_order_ids, p_customer_ids) AS n (o, c);
END $$`;
