import assert from 'node:assert/strict';
import { cpSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { startLocal } from 'cdk-local-run';
import type { LocalRun, LocalWorkload } from 'cdk-local-run';
import { synthesize } from 'cdk-local-run/cli/synthesize';
import pg from 'pg';
import { get, post, scratch, until } from './system.ts';
import { detailTypeOf, parseEnvelope } from '../services/shared/events/index.ts';

// The starter as a copy of its folder: nothing of it is edited, and the assembly of its `cdk synth` runs.

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

describe('a copy of the starter', { timeout: 120_000 }, () => {
  let folder: Awaited<ReturnType<typeof scratch>>;
  let run: LocalRun;
  let database: pg.Pool;
  let writeUrl: string;
  let readUrl: string;

  before(async () => {
    folder = await scratch();
    const shop = join(folder.path, 'shop');
    cpSync(join(REPOSITORY, 'starter'), shop, { recursive: true, filter: (path) => !/node_modules|cdk\.out/.test(path) });
    // The packages that `npm install` would have brought.
    symlinkSync(join(REPOSITORY, 'node_modules'), join(shop, 'node_modules'));
    const assemblyDir = join(shop, 'cdk.out');
    // test/starter/starter.test.ts checks the template by the rules of CloudFormation, which take the most of the time.
    process.env.CDK_VALIDATION = 'false';
    await synthesize(shop, assemblyDir, new AbortController().signal);
    run = await startLocal({ assemblyDir, dataDir: join(folder.path, 'data'), maxReplicas: 1 });

    database = new pg.Pool({ ...run.database!.writer, max: 2 });
    database.on('error', () => undefined);
    // Rows of the outbox are gone when they are published.
    await database.query(`
      CREATE TABLE seen (event jsonb, detail_type text);
      CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO seen VALUES (new.event, new.detail_type); RETURN NULL; END $$;
      CREATE TRIGGER see AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION see()`);
    [writeUrl, readUrl] = [service('commandapi').urls[0]!, service('queryapi').urls[0]!];
  });
  after(async () => {
    await database?.end();
    await run?.stop();
    await folder.remove();
  });

  function service(name: string): LocalWorkload {
    return run.workloads.find((candidate) => candidate.name.includes(name))!;
  }

  async function order(sku: string, quantity: number): Promise<string> {
    const answer = await post(`${writeUrl}/orders`, { customerId: 'cust-1', items: [{ sku, quantity }] });
    assert.equal(answer.status, 202);
    assert.equal(answer.json.status, 'PENDING');
    return answer.json.orderId;
  }

  async function decided(orderId: string) {
    const read = () => get(`${readUrl}/orders/${orderId}`);
    const { json } = await until(`order ${orderId} is decided`, read, (answer) => answer.status === 200 && answer.json.status !== 'PENDING');
    return json;
  }

  async function reserved(sku: string): Promise<number> {
    const { rows } = await database.query<{ reserved: number }>('SELECT reserved FROM stock WHERE sku = $1', [sku]);
    return rows[0]!.reserved;
  }

  test('an order is confirmed, can be read, and has its stock', async () => {
    const { status, items } = await decided(await order('SKU-1', 2));
    assert.equal(status, 'CONFIRMED');
    assert.deepEqual(items, [{ sku: 'SKU-1', quantity: 2 }]);
    assert.equal(await reserved('SKU-1'), 2);
    assert.deepEqual((await get(`${readUrl}/stock/SKU-1`)).json, { sku: 'SKU-1', onHand: 100, reserved: 2 });
  });

  test('of more orders than there is stock for, some are rejected, and none is sold twice', async () => {
    const orders = await Promise.all(Array.from({ length: 25 }, () => order('SKU-2', 1)));
    const all = await Promise.all(orders.map(decided));
    assert.equal(all.filter(({ status }) => status === 'CONFIRMED').length, 10);
    assert.equal(all.filter(({ status }) => status === 'REJECTED').length, 15);
    assert.equal(await reserved('SKU-2'), 10);
  });

  test('its events are those of the contracts', async () => {
    const published = await database.query<{ event: object; detail_type: string }>('SELECT event, detail_type FROM seen');
    for (const { event, detail_type } of published.rows) assert.equal(detailTypeOf(parseEnvelope(event)), detail_type);
    assert.deepEqual(new Set(published.rows.map(({ detail_type }) => detail_type)), new Set(['OrderCreated', 'OrderConfirmed', 'OrderRejected']));
  });

  test('the same event once more has no effect; an event that it cannot handle stays in the queue alone', async () => {
    const orderId = await order('SKU-1', 3);
    await decided(orderId);
    const before = await reserved('SKU-1');
    const { rows: [created] } = await database.query('SELECT event FROM seen WHERE event->>\'subject\' = $1 AND event->>\'type\' = \'order.created\'', [orderId]);
    const queue = run.queues.find(({ consumer }) => consumer?.includes('inventory'))!;
    const sqs = new SQSClient({ endpoint: run.endpoints.sqs, region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } });
    const send = async (event: object) => {
      await sqs.send(new SendMessageCommand({ QueueUrl: queue.url, MessageBody: JSON.stringify({ detail: event }) }));
    };
    await send(created.event);
    await send({ ...created.event, id: '00000000-0000-4000-8000-000000000000', type: 'order.unheard-of' });
    sqs.destroy();
    const log = () => readFileSync(service('inventory').logFiles[0]!, 'utf8');
    await until('the one that it does not know fails', log, (text) => text.includes('order.unheard-of'));
    await until('the other is gone', () => queue.depth(), ({ visible, inFlight }) => visible + inFlight === 1);
    assert.ok(queue.messages()[0]!.includes('order.unheard-of'));
    assert.equal(await reserved('SKU-1'), before);
  });

  test('wrong requests are reported by 4xx', async () => {
    for (const body of ['not json', 'null', { customerId: 'cust-1', items: [] }, { customerId: 'cust-1', items: [{ sku: 'SKU-1', quantity: 0 }] }]) {
      assert.equal((await post(`${writeUrl}/orders`, body)).status, 400);
    }
    assert.equal((await get(`${readUrl}/orders/no-uuid`)).status, 404);
    assert.equal((await get(`${readUrl}/orders/00000000-0000-4000-8000-000000000000`)).status, 404);
  });

  test('each of its programs ends in order on SIGTERM', async () => {
    for (const { name, logFiles, restarts } of run.workloads) {
      run.kill(name, 'SIGTERM');
      await until(`${name} is started again`, restarts, (count) => count > 0);
      const last = readFileSync(logFiles[0]!, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line).message).filter((message) => message !== 'started').at(-1);
      assert.equal(last, 'stopped', name);
    }
    assert.equal((await decided(await order('SKU-1', 1))).status, 'CONFIRMED');
  });
});
