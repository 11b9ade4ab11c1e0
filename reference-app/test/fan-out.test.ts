import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DescribeArchiveCommand, EventBridgeClient, ListArchivesCommand, PutEventsCommand, StartReplayCommand } from '@aws-sdk/client-eventbridge';
import { startLocal } from 'cdk-local-run';
import type { LocalRun } from 'cdk-local-run';
import pg from 'pg';
import { scratch, until } from './system.ts';
import type { FanOutCheck } from '../profiles/fan-out/checks.ts';
import { openFanOut } from '../profiles/fan-out/fan-out.ts';
import type { FanOut } from '../profiles/fan-out/fan-out.ts';
import type { FanOutSummary } from '../profiles/fan-out/summary.ts';

const CLI = fileURLToPath(new URL('../start/start.ts', import.meta.url));
const CONSUMERS = ['order-consumer', 'analytics-consumer', 'notification-consumer'];
const CHECKS = ['I1', 'I7', 'orders', 'analytics', 'notifications', 'dead'];

let folder: Awaited<ReturnType<typeof scratch>>;
before(async () => { folder = await scratch(); });
after(() => folder.remove());

function start(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env: { ...process.env, NODE_OPTIONS: '' } }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
  });
}

test('npm start -- --profile fan-out: the stack as it is synthesized, every event handled by every consumer', { timeout: 300_000 }, async () => {
  const { code, out, err } = await start('--profile', 'fan-out', '--data', join(folder.path, 'data'), '--orders', '30', '--rate', '15', '--exit', '--json');
  assert.equal(code, 0, err);
  const summary = JSON.parse(out) as FanOutSummary;
  const { published, duplicates: copies } = summary.publisher!;
  assert.deepEqual(published, { OrderCreated: 30, OrderUpdated: 30, OrderCancelled: 30 });
  assert.ok(copies > 0);
  const queues = ['OrderProcessingQueue', 'AnalyticsQueue', 'NotificationQueue'];
  assert.deepEqual(summary.consumers.map(({ name, queue }) => [name, queue]), CONSUMERS.map((name, i) => [name, queues[i]]));
  for (const { received, expected, handled, duplicates, deadLetters } of summary.consumers) {
    assert.deepEqual({ received, expected, handled, duplicates, deadLetters }, {
      received: 90 + copies, expected: 90, handled: 90, duplicates: copies, deadLetters: 0,
    });
  }
  assert.deepEqual(summary.checks.map(({ id, ok }) => [id, ok]), CHECKS.map((id) => [id, true]));
  assert.equal(summary.ok, true);
  assert.doesNotMatch(err, /warning/);
  for (const words of ['Start the workloads', 'order-consumer', '✓ I7', 'Stop PostgreSQL']) assert.ok(err.includes(words), words);
});

test('an assembly that is not there is refused in one sentence', { timeout: 60_000 }, async () => {
  const { code, err } = await start('--profile', 'fan-out', '--app', join(folder.path, 'nowhere'), '--data', join(folder.path, 'none'), '--exit', '--json');
  assert.equal(code, 1);
  assert.match(err, /^There is no cloud assembly in/m);
});

test('killed consumers, poison, a replay of everything: nothing is lost and nothing happens twice', { timeout: 300_000 }, async (t) => {
  const run = await startLocal({ assemblyDir: join(folder.path, 'data/assembly'), dataDir: join(folder.path, 'faults') });
  const ends: (() => unknown)[] = [() => run.stop()];
  // The clients of the run end before it.
  t.after(async () => { for (const end of ends.reverse()) await end(); });
  assert.deepEqual(run.warnings, []);
  const fanOut = await openFanOut(run);
  assert.ok(fanOut);
  const client = new EventBridgeClient({ endpoint: run.endpoints.eventbridge, region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } });
  const database = new pg.Pool({ ...run.database!.writer, max: 1 });
  ends.push(() => fanOut.close(), () => client.destroy(), () => database.end());

  let published = 0;
  const feed = await fanOut.feed({
    orders: 60,
    rate: 60,
    seed: 3,
    pauseMs: 500,
    onPublished: () => {
      // Each once, in the middle of it.
      if (++published % 50 === 0) run.kill(CONSUMERS[published / 50 - 1]!);
    },
  });
  assert.equal(feed.events.length, 180);
  await client.send(new PutEventsCommand({ Entries: [{ EventBusName: fanOut.busName, Source: 'com.example.orders', DetailType: 'OrderCreated', Detail: '{"orderId":"?"}' }] }));
  // The bus and a killed consumer's messages: these come again after their visibility timeout.
  assert.equal(await fanOut.settle(), true);
  const summary = await fanOut.summarize(feed, true);
  assert.equal(summary.restarts >= 3, true);
  assert.deepEqual(summary.checks.filter(({ ok }) => !ok).map(({ id, violations }) => [id, violations.length]), [['dead', 3]]);
  assert.deepEqual(summary.consumers.map(({ handled, deadLetters }) => [handled, deadLetters]), CONSUMERS.map(() => [180, 1]));
  assert.equal(summary.ok, false);

  assert.deepEqual(failedIds((await fanOut.summarize(undefined, true)).checks), ['dead'], 'without the feed, the data of the consumers agree');

  await replayEverything(run, fanOut, client, database);
  await plantedLoss(fanOut, feed, database);
});

const ROWS = `SELECT md5(concat(
  (SELECT string_agg(o::text, '|' ORDER BY order_id) FROM fan_out.orders o), (SELECT string_agg(m::text, '|' ORDER BY minute) FROM fan_out.order_minute m),
  (SELECT string_agg(n::text, '|' ORDER BY order_id, version) FROM fan_out.notification n), (SELECT string_agg(p::text, '|' ORDER BY order_id, consumer) FROM fan_out.progress p),
  (SELECT string_agg(i::text, '|' ORDER BY event_id, consumer) FROM messaging.inbox i))) AS hash`;

async function replayEverything(run: LocalRun, fanOut: FanOut, client: EventBridgeClient, database: pg.Pool): Promise<void> {
  const hash = async () => (await database.query<{ hash: string }>(ROWS)).rows[0]!.hash;
  const delivered = () => run.eventBridge.deliveries().reduce((sum, rule) => sum + rule.delivered, 0);
  const [before, deliveredBefore] = [await hash(), delivered()];
  const { Archives: [archive] = [] } = await client.send(new ListArchivesCommand({}));
  const { ArchiveArn: archiveArn } = await client.send(new DescribeArchiveCommand({ ArchiveName: archive!.ArchiveName }));
  const bus = run.buses.find(({ name }) => name === fanOut.busName)!;
  await client.send(new StartReplayCommand({
    ReplayName: 'everything', EventSourceArn: archiveArn, EventStartTime: new Date(Date.now() - 3_600_000), EventEndTime: new Date(), Destination: { Arn: bus.arn },
  }));
  // All events again, with the copies and the poison, to three consumers.
  await until('the replay is delivered', delivered, (now) => now >= deliveredBefore + 3 * 181, 60_000);
  assert.equal(await fanOut.settle(), true);
  assert.equal(await hash(), before);
}

/** The checks are worth something: one lost effect and one lost event are found. */
async function plantedLoss(fanOut: FanOut, feed: Awaited<ReturnType<FanOut['feed']>>, database: pg.Pool): Promise<void> {
  await database.query('DELETE FROM messaging.inbox WHERE consumer = \'analytics-consumer\' AND event_id = $1', [feed.events[0]!.id]);
  await database.query('DELETE FROM fan_out.notification WHERE order_id = $1 AND version = 2', [feed.events[0]!.subject]);
  await database.query('UPDATE fan_out.progress SET version = 2 WHERE order_id = $1 AND consumer = \'order-consumer\'', [feed.events[0]!.subject]);
  await database.query('UPDATE fan_out.orders SET status = \'PENDING\' WHERE order_id = $1', [feed.events[1]!.subject]);
  await database.query('UPDATE fan_out.order_minute SET created = created + 1 WHERE minute = (SELECT min(minute) FROM fan_out.order_minute)');
  const { checks } = await fanOut.summarize(feed, true);
  assert.deepEqual(failedIds(checks), CHECKS);
  assert.deepEqual(failedIds((await fanOut.summarize(undefined, true)).checks), ['I7', 'orders', 'analytics', 'notifications', 'dead']);
}

function failedIds(checks: readonly FanOutCheck[]): string[] {
  return checks.filter(({ ok }) => !ok).map(({ id }) => id);
}
