import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { Counter, Gauge, Registry } from 'prom-client';
import { reportMetrics, type ReporterOptions } from './cloudwatch.ts';
import { eventually, silentLogger } from './testing.ts';

interface Datum { MetricName: string; Value: number; Unit: string; Dimensions: { Name: string; Value: string }[] }

/** An endpoint that speaks PutMetricData, and refuses as long as the test says. */
let server: Server;
let refuses: boolean;
let calls: number;
let reports: { Namespace: string; MetricData: Datum[] }[];
let client: CloudWatchClient;

before(async () => {
  server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      calls++;
      assert.equal(request.headers['x-amz-target'], 'GraniteServiceVersion20100801.PutMetricData');
      if (refuses) return response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify({ __type: 'AccessDenied', message: 'no' }));
      reports.push(JSON.parse(Buffer.concat(chunks).toString()) as (typeof reports)[0]);
      return response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' }).end('{}');
    })();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  client = new CloudWatchClient({
    region: 'eu-west-1', endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, credentials: { accessKeyId: 'x', secretAccessKey: 'x' }, maxAttempts: 1,
  });
});

after(() => {
  client.destroy();
  server.closeAllConnections();
  server.close();
});

let registry: Registry;
let age: Gauge<'shard'>;
let published: Counter<'type'>;
const stops: (() => Promise<void>)[] = [];

beforeEach(() => {
  [refuses, calls, reports] = [false, 0, []];
  registry = new Registry();
  age = new Gauge({ name: 'age', help: 'age', labelNames: ['shard'], registers: [registry] });
  published = new Counter({ name: 'published', help: 'published', labelNames: ['type'], registers: [registry] });
});

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

function start(options: Partial<ReporterOptions> = {}) {
  const reporter = reportMetrics({
    client,
    registry,
    namespace: 'Shop',
    dimensions: { Pipeline: 'one' },
    everyMs: 3_600_000,
    logger: silentLogger(),
    metrics: [
      { name: 'Age', source: 'age', unit: 'Seconds' },
      { name: 'Published', source: 'published', unit: 'Count', countedBy: { label: 'type', dimension: 'EventType' } },
      { name: 'Unknown', source: 'nobody_has_it', unit: 'None' },
    ],
    ...options,
  });
  const stop = () => reporter.stop();
  stops.push(stop);
  return stop;
}

const shown = ({ MetricData }: { MetricData: Datum[] }) => MetricData
  .map(({ MetricName, Value, Unit, Dimensions }) => [MetricName, Value, Unit, ...Dimensions.map(({ Name, Value: value }) => `${Name}=${value}`)].join(' '));
const report = (index: number) => eventually(() => reports.length, (length) => length > index).then(() => shown(reports[index]!));

test('a gauge is reported with its greatest value, and a counter with its increase by label', async () => {
  age.set({ shard: 0 }, 3);
  age.set({ shard: 1 }, 7.5);
  published.inc({ type: 'order.created' }, 4);
  published.inc({ type: 'order.confirmed' }, 1);
  const stop = start();
  assert.deepEqual(await report(0), [
    'Age 7.5 Seconds Pipeline=one', 'Published 4 Count Pipeline=one EventType=order.created', 'Published 1 Count Pipeline=one EventType=order.confirmed',
  ]);
  assert.equal(reports[0]!.Namespace, 'Shop');

  published.inc({ type: 'order.created' }, 2);
  age.set({ shard: 1 }, 0);
  await stop();
  // The last values are sent at the end, without the rest of an hour.
  assert.deepEqual(await report(1), ['Age 3 Seconds Pipeline=one', 'Published 2 Count Pipeline=one EventType=order.created']);
});

test('a metric without a value is left out, and nothing is sent if none has one', async () => {
  let rounds = 0;
  const stop = start({ everyMs: 1, measure: () => Promise.resolve(void rounds++) });
  await eventually(() => rounds, (count) => count > 2);
  await stop();
  assert.equal(calls, 0);
});

test('a call that fails is tried again, and its increase is not lost', async () => {
  refuses = true;
  published.inc({ type: 'order.created' }, 5);
  const problems: string[] = [];
  const logger = {
    debug: () => undefined,
    warn: (_: unknown, message: string) => problems.push(message),
    info: (message: string) => problems.push(message),
  };
  const stop = start({ everyMs: 40, logger: logger as unknown as ReporterOptions['logger'] });
  await eventually(() => calls, (count) => count > 2);
  published.inc({ type: 'order.created' }, 1);
  refuses = false;
  assert.deepEqual(await report(0), ['Published 6 Count Pipeline=one EventType=order.created']);
  await stop();
  assert.equal(reports.length, 1);
  assert.deepEqual(problems.slice(0, 2), ['CloudWatch did not take the metrics; they are sent again', 'CloudWatch takes the metrics']);
});

test('an endpoint that never answers does not hold up the end', async () => {
  const silent = createServer(() => undefined);
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const slow = new CloudWatchClient({ region: 'eu-west-1', endpoint, credentials: { accessKeyId: 'x', secretAccessKey: 'x' }, maxAttempts: 1 });
  try {
    age.set({ shard: 0 }, 1);
    const stop = start({ client: slow });
    await once(silent, 'request');
    await stop();
  } finally {
    stops.splice(0);
    slow.destroy();
    silent.closeAllConnections();
    silent.close();
  }
});

test('a measurement that never ends does not hold up the end', async () => {
  let measures = false;
  const stop = start({
    measure: () => {
      measures = true;
      return new Promise(() => undefined);
    },
  });
  await eventually(() => measures, Boolean);
  await stop();
});

test('a measurement that fails leaves the other values', async () => {
  age.set({ shard: 0 }, 2);
  start({ measure: () => Promise.reject(new Error('no database')) });
  assert.deepEqual(await report(0), ['Age 2 Seconds Pipeline=one']);
});
