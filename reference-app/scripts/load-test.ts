#!/usr/bin/env node
// Load on a write API, local or deployed: API_URL=http://… node scripts/load-test.ts
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { httpClient } from '../load/http-client.ts';
import type { HttpClient } from '../load/http-client.ts';
import { openLoop } from '../load/open-loop.ts';
import { randomOrders, readCatalog } from '../load/orders.ts';
import { percentile, sorted } from '../load/statistics.ts';

const HELP = `Sends orders to a write API at a steady rate and reports how it answers.

Usage: API_URL=http://… npx node reference-app/scripts/load-test.ts [options]

  --rate R             orders per second                                   [50]
  --duration SECONDS   how long                                            [30]
  --orders N           how many, instead of --duration
  --seed S             seed of the random orders                           [1]
  --sku SKU            order only this product; may be repeated            [the products of data/catalog.json]
  --path PATH          path of the intake                                  [/orders]
  --connections N      most connections at once                            [256]
  --timeout SECONDS    an answer that takes longer counts as failed        [10]
  --json               the report as one JSON object
  --help

Environment
  API_URL              base address of the write API, such as that of the load balancer
  API_TOKEN            sent as a bearer token if set; it needs the scope orders.operate, as the orders are of many customers.
                       npm start prints one for the local run

Over the network an API takes API_ADDRESS_REQUESTS_PER_SECOND from one address, 1,000 in each of its pods by default: more load from one
machine is answered 429 and counts as failed. On the machine itself there is no such limit.

Orders are sent on time whatever the answers take (open loop), and latency counts from the intended send time, so a system
that falls behind can't hide it. Nothing is sent twice. The exit code is 0 if every answer was 202, 1 if not, 2 for wrong usage.
`;

interface LoadOptions {
  readonly url: string;
  readonly count: number;
  readonly rate: number;
  readonly seed: number;
  readonly skus?: readonly string[];
  readonly path: string;
  readonly connections: number;
  readonly timeoutMs: number;
  readonly json: boolean;
  readonly token?: string;
}

interface Report {
  readonly sent: number;
  readonly seconds: number;
  readonly ratePerSecond: number;
  /** The answers by status code, or by the error if there was no answer. */
  readonly answers: Record<string, number>;
  readonly latencyMs: { readonly p50?: number; readonly p90?: number; readonly p99?: number; readonly max?: number };
}

class UsageError extends Error {}

function readOptions(args: string[], env: NodeJS.ProcessEnv): LoadOptions | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rate: { type: 'string' },
        duration: { type: 'string' },
        orders: { type: 'string' },
        seed: { type: 'string' },
        sku: { type: 'string', multiple: true },
        path: { type: 'string' },
        connections: { type: 'string' },
        timeout: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  const number = (name: 'rate' | 'duration' | 'orders' | 'seed' | 'connections' | 'timeout', fallback: number, whole: boolean, min = 1) => {
    const text = values[name];
    const value = text === undefined ? fallback : Number(text);
    if (!Number.isFinite(value) || text === '' || (whole ? !Number.isInteger(value) || value < min : value <= 0)) {
      throw new UsageError(`--${name} expects a ${whole ? `whole number from ${min}` : 'number above 0'}, not '${text}'.`);
    }
    return value;
  };
  const url = env.API_URL;
  if (!url) throw new UsageError('API_URL is not set: give it the base address of the write API, such as http://127.0.0.1:3000.');
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) throw new UsageError(`API_URL must be an http or https address, not '${url}'.`);
  if (values.orders !== undefined && values.duration !== undefined) throw new UsageError('--orders and --duration exclude each other.');
  const rate = number('rate', 50, false);
  return {
    url,
    rate,
    count: values.orders === undefined ? Math.max(1, Math.round(rate * number('duration', 30, false))) : number('orders', 0, true),
    seed: number('seed', 1, true, 0),
    ...(values.sku && { skus: values.sku }),
    path: values.path ?? '/orders',
    connections: number('connections', 256, true),
    timeoutMs: number('timeout', 10, false) * 1000,
    json: values.json ?? false,
    ...(env.API_TOKEN && { token: env.API_TOKEN }),
  };
}

async function load(options: LoadOptions, client: HttpClient, signal: AbortSignal): Promise<Report> {
  const catalog = options.skus?.map((sku) => ({ sku, name: sku, onHand: Infinity })) ?? readCatalog();
  const run = randomUUID();
  const answers: Record<string, number> = {};
  const latencies: number[] = [];
  const started = performance.now();
  await openLoop(randomOrders(options.count, options.seed, catalog), options.rate, async ({ body }, intended, index) => {
    const headers = { 'idempotency-key': `load-${run}-${index}` };
    const answer = await client
      .send('POST', options.path, { body: JSON.stringify(body), headers, timeoutMs: options.timeoutMs })
      .then(({ status }) => String(status), (error: Error & { code?: string }) => error.code ?? error.message);
    latencies.push(performance.now() - intended);
    answers[answer] = (answers[answer] ?? 0) + 1;
  }, signal);
  const elapsed = (performance.now() - started) / 1000;
  const ascending = sorted(latencies);
  const at = (share: number) => {
    const value = percentile(ascending, share);
    return value === undefined ? undefined : Math.round(value * 10) / 10;
  };
  return {
    sent: latencies.length,
    seconds: Math.round(elapsed * 100) / 100,
    ratePerSecond: Math.round((latencies.length / elapsed) * 10) / 10,
    answers,
    latencyMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) },
  };
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), process.env);
  if (!options) {
    process.stdout.write(HELP);
    return 0;
  }
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const client = httpClient(options.url, { token: options.token, maxConnections: options.connections });
  const report = await load(options, client, stop.signal).finally(() => client.close());
  if (options.json) {
    console.log(JSON.stringify(report));
  } else {
    const { sent, seconds, ratePerSecond, answers, latencyMs } = report;
    console.log(`sent      ${sent} orders in ${seconds} s (${ratePerSecond} per second, ${options.rate} requested)`);
    console.log(`answers   ${Object.entries(answers).map(([answer, count]) => `${answer}: ${count}`).join(', ')}`);
    console.log(`latency   p50 ${latencyMs.p50} ms, p90 ${latencyMs.p90} ms, p99 ${latencyMs.p99} ms, max ${latencyMs.max} ms, from the intended send time`);
  }
  return report.sent > 0 && report.answers['202'] === report.sent ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`load-test: ${error.message}`);
  process.exitCode = 2;
}
