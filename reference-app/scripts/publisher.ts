#!/usr/bin/env node
// Order events on an event bus, local or deployed: npm run publisher -- --help
import { parseArgs } from 'node:util';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { publishOrders, type PublisherOptions, type PublisherReport } from '../profiles/fan-out/publisher/publish.ts';
import { PublisherError } from '../profiles/fan-out/publisher/put.ts';
import { isLoopback } from '../services/shared/database.ts';
import { EventKeys } from '../services/shared/event-keys.ts';
import { detailTypeOf } from '../services/shared/events/index.ts';
import type { Logger } from '../services/shared/telemetry.ts';

const HELP = `Creates, updates and cancels orders: publishes their events to an event bus of Amazon EventBridge.

Usage: npm run publisher -- --bus NAME [options]

  --bus NAME           name or ARN of the event bus                                    [EVENT_BUS_NAME]
  --orders N           how many orders                                                 [1]
  --rate R             orders created per second                                       [10]
  --pause SECONDS      between the events of an order                                  [2]
  --endpoint URL       of EventBridge, such as the one that the local run prints       [AWS_ENDPOINT_URL_EVENTBRIDGE, or AWS]
  --signing-secret ARN of the secret that signs the events                             [EVENT_SIGNING_SECRET_ARN; else they are not signed]
  --secrets-endpoint URL  of Secrets Manager, such as the one that the local run prints [AWS_ENDPOINT_URL_SECRETS_MANAGER, or AWS]
  --region REGION      of the bus                                                      [AWS_REGION; us-east-1 with --endpoint]
  --source NAME        source of the events, which rules look at                       [com.example.orders]
  --seed S             the same seed gives the same customers, products and quantities [1]
  --duplicates SHARE   share of the events that are published twice, 0 to 1            [0]
  --patience SECONDS   how long an event is tried again after failures                 [30]
  --json               the report as one JSON object on standard output; progress goes to standard error
  --help

The events of one order are published one after the other: OrderCreated, OrderUpdated, OrderCancelled, versions 1 to 3. Their contracts
are those of reference-app/services/shared/events. Entries that EventBridge does not take are tried again, each alone; an event
that is lost for good ends its order. Credentials are those of the AWS SDK; a local endpoint gets none of them.

Consumers that verify signatures refuse events without one. The publisher needs secretsmanager:GetSecretValue and DescribeSecret of the secret.

Exit codes: 0 every event is published; 1 some are not, or none could be; 2 wrong usage; 130 interrupted.

Examples
  npm run publisher -- --bus FanOut-BusEventBus-1a2b3c4d --endpoint http://127.0.0.1:35863
  AWS_REGION=eu-west-1 npm run publisher -- --bus <output EventBusName of the stack> --orders 1000 --rate 50
`;

const INTERRUPTED = 130;

class UsageError extends Error {}

interface Options extends Omit<PublisherOptions, 'client' | 'signingKey'> {
  readonly endpoint: string | undefined;
  readonly signingSecret: string | undefined;
  readonly secretsEndpoint: string | undefined;
  readonly region: string;
  readonly json: boolean;
}

function checkUrl(option: string, url: string | undefined): void {
  if (url === undefined || /^https?:$/.test(URL.parse(url)?.protocol ?? '')) return;
  throw new UsageError(`--${option} expects an http or https address, not '${url}'.`);
}

function readOptions(args: string[], env: NodeJS.ProcessEnv): Options | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        'bus': { type: 'string' },
        'orders': { type: 'string' },
        'rate': { type: 'string' },
        'pause': { type: 'string' },
        'endpoint': { type: 'string' },
        'signing-secret': { type: 'string' },
        'secrets-endpoint': { type: 'string' },
        'region': { type: 'string' },
        'source': { type: 'string' },
        'seed': { type: 'string' },
        'duplicates': { type: 'string' },
        'patience': { type: 'string' },
        'json': { type: 'boolean' },
        'help': { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  const number = (name: 'orders' | 'rate' | 'pause' | 'seed' | 'duplicates' | 'patience', fallback: number, min: number, max: number, whole = false) => {
    const text = values[name];
    const value = text === undefined ? fallback : Number(text);
    if (text?.trim() === '' || !(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
      throw new UsageError(`--${name} expects a ${whole ? 'whole ' : ''}number from ${min} to ${max}, not '${text}'.`);
    }
    return value;
  };
  const busName = values.bus || env.EVENT_BUS_NAME;
  if (!busName) throw new UsageError('There is no bus to publish to: name it with --bus or EVENT_BUS_NAME.');
  const endpoint = values.endpoint || env.AWS_ENDPOINT_URL_EVENTBRIDGE || env.AWS_ENDPOINT_URL || undefined;
  const secretsEndpoint = values['secrets-endpoint'] || env.AWS_ENDPOINT_URL_SECRETS_MANAGER || env.AWS_ENDPOINT_URL || undefined;
  checkUrl('endpoint', endpoint);
  checkUrl('secrets-endpoint', secretsEndpoint);
  const region = values.region || env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint === undefined ? undefined : 'us-east-1');
  if (region === undefined) throw new UsageError('The region is not known: give --region or AWS_REGION, or the --endpoint of a local run.');
  return {
    busName,
    endpoint,
    signingSecret: values['signing-secret'] || env.EVENT_SIGNING_SECRET_ARN || undefined,
    secretsEndpoint,
    region,
    orders: number('orders', 1, 1, 100_000_000, true),
    rate: number('rate', 10, 0.001, 10_000),
    pauseMs: number('pause', 2, 0, 86_400) * 1000,
    source: values.source || 'com.example.orders',
    seed: number('seed', 1, 0, 2 ** 32 - 1, true),
    duplicates: number('duplicates', 0, 0, 1),
    patienceMs: number('patience', 30, 0, 86_400) * 1000,
    json: values.json ?? false,
  };
}

/** A local run knows no accounts, and real keys are not for it. */
function settingsOf(region: string, endpoint: string | undefined) {
  const local = endpoint !== undefined && isLoopback(new URL(endpoint).hostname);
  return {
    region,
    ...(endpoint !== undefined && { endpoint }),
    ...(local && { credentials: { accessKeyId: 'local', secretAccessKey: 'local' } }),
    requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000 },
  };
}

/** Nothing is published without a signature that consumers ask for. */
async function keysOf({ signingSecret, secretsEndpoint, region }: Options): Promise<EventKeys | undefined> {
  if (signingSecret === undefined) return undefined;
  const failed = Promise.withResolvers<never>();
  const warn = ({ err, version }: { err: Error; version?: string }) => {
    // Of a version that does not sign.
    if (version !== undefined) return;
    failed.reject(new PublisherError(`The signing secret ${signingSecret} can't be read: ${err.message}`));
  };
  const logger = { info: () => undefined, warn } as unknown as Logger;
  const keys = new EventKeys(signingSecret, { secrets: new SecretsManagerClient(settingsOf(region, secretsEndpoint)), logger });
  try {
    await Promise.race([keys.known(new AbortController().signal), failed.promise]);
    return keys;
  } catch (error) {
    await keys.stop();
    throw error;
  }
}

const PROGRESS_MS = 5_000;
/** Up to this number of orders, every event has a line. */
const FEW = 10;

async function run(options: Options, signal: AbortSignal): Promise<PublisherReport> {
  const { orders, json } = options;
  const report = (text: string) => void (json ? process.stderr : process.stdout).write(`${text}\n`);
  let published = 0;
  let failures = 0;
  let retry: string | undefined;
  const client = new EventBridgeClient(settingsOf(options.region, options.endpoint));
  const keys = await keysOf(options);
  const progress = setInterval(() => {
    report(`${published} of ${3 * orders} events published${failures > 0 ? `, ${failures} failed` : ''}${retry === undefined ? '' : `, trying again after ${retry}`}`);
    retry = undefined;
  }, PROGRESS_MS);
  try {
    return await publishOrders({
      ...options,
      ...(keys && { signingKey: () => keys.current! }),
      client,
      signal,
      onPublished: (event) => {
        published++;
        if (orders <= FEW) report(`${event.time}  ${detailTypeOf(event).padEnd(14)}  order ${event.subject}, version ${event.sequence}`);
      },
      onFailed: ({ orderId, detailType, error }) => {
        if (failures++ < FEW) report(`${detailType} of order ${orderId} is not published: ${error}`);
      },
      onRetry: (error) => { retry = error; },
    });
  } finally {
    clearInterval(progress);
    client.destroy();
    await keys?.stop();
  }
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), process.env);
  if (!options) {
    process.stdout.write(HELP);
    return 0;
  }
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const report = await run(options, stop.signal);
  if (options.json) {
    console.log(JSON.stringify(report));
  } else {
    const { published, duplicates, retries, failed, interrupted, seconds } = report;
    console.log(`published  ${Object.entries(published).map(([type, count]) => `${count} ${type}`).join(', ')} in ${seconds} s`);
    if (duplicates > 0) console.log(`twice      ${duplicates} of them`);
    if (retries > 0) console.log(`retries    ${retries}`);
    if (failed.length > 0) console.log(`failed     ${failed.length} orders, the first: ${failed[0]!.detailType}: ${failed[0]!.error}`);
    if (interrupted > 0) console.log(`open       ${interrupted} orders, interrupted`);
  }
  if (stop.signal.aborted && report.interrupted > 0) return INTERRUPTED;
  return report.failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof PublisherError)) throw error;
  console.error(`publisher: ${error.message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
