#!/usr/bin/env node
// The resources and the cost of a rate of orders in AWS: node scripts/cost-calculator.ts --rate 500 --region eu-central-1
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { eventsPerEntry, messagesOfAnOrder, ordersPerSecondAt, requestsPerMessage, type Bundles } from './cost-calculator/bundles.ts';
import { breakEven, month, table } from './cost-calculator/month.ts';
import { PRICES } from './cost-calculator/prices.ts';

const HELP = `Computes the resources that a rate of orders needs in AWS, and the cost of a million orders.

Usage: npx node reference-app/scripts/cost-calculator.ts [options]

  --rate R               orders per second, steady                                            [100]
  --peak R               orders per second that must be taken in; sizes quota and pods        [the rate]
  --region REGION        for the quotas of EventBridge                                        [us-east-1]
  --deliveries N         queues that each order's events reach, all events together           [10: the reference app]
  --events N             events published per order                                           [5: the reference app]
  --bundle-kb KB         the most that a bundle of the relay holds; 0 for an entry per event  [60]
  --linger-ms MS         the longest time in which the relay lets events gather                [40]
  --batch N              messages per receive and delete at this load, 1 to 10                [10]
  --read-replicas N      readers beside the writer                                            [1]
  --measured FILE        results of npm run bench -- --record for the processor time          [bench/results/performance.json]
  --month                a month of the reference app instead, idle and at the rate, as a table of Markdown
  --json                 everything as one JSON object, with every price and its source
  --help

Prices are list prices of us-east-1 without free tiers, and quotas are those before an increase. The processor time is that of the machine
that ran the bench, so capacity is an estimate to begin a load test with, not a promise.
`;

/** Targets invoked per second, over all buses of an account; throttled ones are delayed, not lost. */
const INVOCATIONS = {
  url: 'https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html',
  asOf: '2026-11',
  perSecond: {
    'us-east-1': 18_750,
    'us-west-2': 18_750,
    'eu-west-1': 18_750,
    'us-east-2': 4_500,
    'eu-central-1': 4_500,
    'us-west-1': 2_250,
    'ap-northeast-1': 2_250,
    'ap-southeast-1': 2_250,
    'ap-southeast-2': 2_250,
    'eu-west-2': 2_250,
    'af-south-1': 750,
    'ap-northeast-3': 750,
    'ap-southeast-3': 750,
    'eu-south-1': 750,
  } as Readonly<Record<string, number>>,
  elsewhere: 1_100,
};

/**
 * An ACU is about 2 GiB of memory with processor and network in proportion; instances of Aurora's memory-optimized classes have 8 GiB
 * per vCPU, so four ACUs stand for one.
 */
const ACUS_PER_VCPU = 4;
const ACU = { url: 'https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html', asOf: '2026-11' };
/** Aurora bills writes to storage in units of 4 KiB of log. */
const BYTES_PER_IO = 4_096;
/** Above this, waiting in line grows faster than throughput. */
const TARGET_UTILIZATION = 0.6;
const MIN_REPLICAS = 2;
const MIN_ACU = 0.5;

/** Microseconds of processor time and bytes of log per order; the ones of the last bench are read from its results. */
export interface Measured {
  readonly from: string;
  readonly databaseMicros: number;
  readonly walBytes: number;
  /** Microseconds of Node.js per order, by workload. */
  readonly nodeMicros: Readonly<Record<string, number>>;
}

/** The figures without results of the bench: its first run, 21 November 2026, rounded up. */
const DEFAULTS: Measured = {
  from: 'defaults',
  databaseMicros: 900,
  walBytes: 12_500,
  nodeMicros: {
    'api-write-service': 250,
    'outbox-relay': 50,
    'stock-service': 25,
    'inventory-service': 60,
    'order-status': 25,
    'analytics-service': 40,
    'notification-service': 30,
  },
};

export interface Input extends Bundles {
  readonly rate: number;
  readonly peak: number;
  readonly region: string;
  readonly deliveries: number;
  readonly batch: number;
  readonly readReplicas: number;
  readonly measured: Measured;
}

export function calculate(input: Input) {
  const { rate, peak, region, deliveries, events, batch, readReplicas, measured } = input;
  const quota = INVOCATIONS.perSecond[region] ?? INVOCATIONS.elsewhere;
  const perEntry = eventsPerEntry(rate, input);
  const invocationsPerOrder = deliveries / eventsPerEntry(peak, input);
  const sqsPerOrder = (deliveries / perEntry) * requestsPerMessage(perEntry, batch);
  const ioPerOrder = measured.walBytes / BYTES_PER_IO;
  const acus = (ordersPerSecond: number) => {
    const processors = (ordersPerSecond * measured.databaseMicros) / 1e6 / TARGET_UTILIZATION;
    return Math.max(MIN_ACU, Math.ceil(processors * ACUS_PER_VCPU * 2) / 2);
  };
  const pods = Object.fromEntries(Object.entries(measured.nodeMicros).map(([name, micros]) => [
    // The relay's replicas stand by for its leader.
    name, name === 'outbox-relay' ? MIN_REPLICAS : Math.max(MIN_REPLICAS, Math.ceil((peak * micros) / 1e6 / TARGET_UTILIZATION)),
  ]));
  const podCount = sum(pods);
  const perMillionSeconds = 1e6 / rate / 3600;
  // A reader scales with the writer when it is to take over from it.
  const acuHours = acus(rate) * (1 + readReplicas) * perMillionSeconds;
  const dollarsPerMillion = {
    ...messagingDollars(events / perEntry, sqsPerOrder),
    auroraCapacity: acuHours * PRICES.acuHour.dollars,
    auroraIo: ioPerOrder * PRICES.auroraIo.dollars,
    pods: podCount * perMillionSeconds * PRICES.vcpuHour.dollars,
  };
  return {
    eventBridge: {
      eventsPerEntry: perEntry,
      invocationsPerSecond: peak * invocationsPerOrder,
      quota,
      shareOfQuota: (peak * invocationsPerOrder) / quota,
      ordersPerSecondAtQuota: ordersPerSecondAt(quota, deliveries, input),
      ordersPerSecondWithoutBundles: quota / deliveries,
      putEventsPerSecond: (peak * events) / eventsPerEntry(peak, input) / 10,
    },
    messaging: {
      dollarsPerMillion: sum(messagingDollars(events / perEntry, sqsPerOrder)),
      oneMessagePerRequest: sum(messagingDollars(events / perEntry, (deliveries / perEntry) * requestsPerMessage(perEntry, 1))),
      withoutBundles: sum(messagingDollars(events, deliveries * requestsPerMessage(1, batch))),
    },
    sqs: { requestsPerOrder: sqsPerOrder, requestsPerSecond: peak * sqsPerOrder },
    aurora: {
      acusAtRate: acus(rate),
      acusAtPeak: acus(peak),
      instances: 1 + readReplicas,
      ioPerOrder,
      logMegabytesPerSecond: (peak * measured.walBytes) / 1e6,
    },
    pods,
    dollarsPerMillion: { ...dollarsPerMillion, total: sum(dollarsPerMillion) },
  };
}

function messagingDollars(entriesPerOrder: number, sqsPerOrder: number) {
  return { eventBridge: entriesPerOrder * PRICES.eventBridgeEvent.dollars, sqs: sqsPerOrder * PRICES.sqsRequest.dollars };
}

function sum(dollars: Readonly<Record<string, number>>): number {
  return Object.values(dollars).reduce((total, one) => total + one, 0);
}

interface StoredCost { readonly stage: string; readonly database?: number; readonly node?: number; readonly walBytes: number }

/** The stages of the bench, as the workloads that they run in. Per-event stages count as often as an order has such events. */
export function measuredFrom(costs: readonly StoredCost[], from: string, events: number): Measured {
  const stages: Readonly<Record<string, { readonly workload: string; readonly times: number }>> = {
    'intake': { workload: 'api-write-service', times: 1 },
    'relay (per event)': { workload: 'outbox-relay', times: events },
    'stock-service': { workload: 'stock-service', times: 1 },
    'inventory-service, reserve': { workload: 'inventory-service', times: 1 },
    'order-status': { workload: 'order-status', times: 1 },
    'inventory-service, deduct': { workload: 'inventory-service', times: 1 },
    'analytics-service (per event)': { workload: 'analytics-service', times: 4 },
    'notification-service (per event)': { workload: 'notification-service', times: 2 },
  };
  const nodeMicros: Record<string, number> = {};
  let databaseMicros = 0;
  let walBytes = 0;
  for (const { stage, database, node, walBytes: bytes } of costs) {
    const { workload, times } = stages[stage] ?? {};
    if (!workload || times === undefined) continue;
    if (database === undefined || node === undefined) throw new UsageError(`${from} holds no processor times: it was not measured on Linux.`);
    nodeMicros[workload] = (nodeMicros[workload] ?? 0) + node * times;
    databaseMicros += database * times;
    walBytes += bytes * times;
  }
  // The bench leaves out HTTP parsing, about as much again as a request's own validation and SQL.
  nodeMicros['api-write-service'] = (nodeMicros['api-write-service'] ?? 0) + HTTP_MICROS;
  return { from, databaseMicros, walBytes, nodeMicros };
}

/** The time of Node.js for a request of the write API without its database (row "http" of the bench). */
const HTTP_MICROS = 60;

class UsageError extends Error {}

function readMeasured(file: string | undefined, events: number): Measured {
  const path = file ?? new URL('../bench/results/performance.json', import.meta.url);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (file === undefined) return DEFAULTS;
    throw new UsageError(`--measured: ${(error as Error).message}`);
  }
  const results = JSON.parse(text) as { machine?: { at: string }; rows?: { stages?: { raw: { costs: StoredCost[] } } } };
  const costs = results.rows?.stages?.raw.costs;
  if (!costs) {
    if (file === undefined) return DEFAULTS;
    throw new UsageError(`--measured: ${file} has no row "stages"; measure it with npm run bench -- --only stages --record.`);
  }
  return measuredFrom(costs, `the bench of ${results.machine?.at.slice(0, 10) ?? 'an unknown day'}`, events);
}

export function readInput(args: string[]): (Input & { json: boolean; month: boolean }) | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        'rate': { type: 'string' },
        'peak': { type: 'string' },
        'region': { type: 'string' },
        'deliveries': { type: 'string' },
        'events': { type: 'string' },
        'bundle-kb': { type: 'string' },
        'linger-ms': { type: 'string' },
        'batch': { type: 'string' },
        'read-replicas': { type: 'string' },
        'measured': { type: 'string' },
        'json': { type: 'boolean' },
        'month': { type: 'boolean' },
        'help': { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  const number = (name: 'rate' | 'peak' | 'deliveries' | 'events' | 'bundle-kb' | 'linger-ms' | 'batch' | 'read-replicas', fallback: number, min: number, max = Infinity) => {
    const text = values[name];
    const value = text === undefined ? fallback : Number(text);
    if (text?.trim() === '' || !Number.isFinite(value) || value < min || value > max) {
      throw new UsageError(`--${name} expects a number from ${min}${max === Infinity ? '' : ` to ${max}`}, not '${text}'.`);
    }
    return value;
  };
  const rate = number('rate', 100, 0.001);
  const region = values.region ?? 'us-east-1';
  if (!/^[a-z]{2}(-[a-z]+)+-\d$/.test(region)) throw new UsageError(`--region expects the name of a region such as eu-central-1, not '${region}'.`);
  const order = messagesOfAnOrder();
  const events = number('events', order.events, 1);
  return {
    rate,
    peak: number('peak', rate, rate),
    region,
    events,
    deliveries: number('deliveries', order.deliveries, 1),
    // An entry of up to 64 KB is one event on the bill.
    bundleKb: number('bundle-kb', 60, 0, 64),
    lingerMs: number('linger-ms', 40, 0),
    batch: number('batch', 10, 1, 10),
    readReplicas: number('read-replicas', 1, 0, 15),
    measured: readMeasured(values.measured, events),
    json: values.json ?? false,
    month: values.month ?? false,
  };
}

function main(): void {
  const input = readInput(process.argv.slice(2));
  if (!input) {
    process.stdout.write(HELP);
    return;
  }
  const { json, month: monthly, ...rest } = input;
  const result = calculate(rest);
  if (monthly) {
    console.log(table(month(rest, result)));
    return;
  }
  if (json) {
    const sources = { prices: PRICES, invocations: { url: INVOCATIONS.url, asOf: INVOCATIONS.asOf }, acu: ACU };
    console.log(JSON.stringify({ input: rest, ...result, sources }, undefined, 2));
    return;
  }
  const shown = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 });
  const { eventBridge, messaging, sqs, aurora, pods, dollarsPerMillion } = result;
  console.log(`${shown(input.rate)} orders/s, ${shown(input.peak)} at peak, in ${input.region}; processor time from ${input.measured.from}`);
  console.log(`EventBridge  ${shown(eventBridge.invocationsPerSecond)} invocations/s, ${shown(eventBridge.shareOfQuota * 100)} % of the quota of ${shown(eventBridge.quota)}/s`
    + `${eventBridge.shareOfQuota > 1 ? ': ask for an increase, events would be delayed' : ''} `
    + `(it ends at ${shown(eventBridge.ordersPerSecondAtQuota)} orders/s, without bundles at ${shown(eventBridge.ordersPerSecondWithoutBundles)}); `
    + `${shown(eventBridge.putEventsPerSecond)} PutEvents/s; ${shown(eventBridge.eventsPerEntry)} events per entry`);
  console.log(`SQS          ${shown(sqs.requestsPerSecond)} requests/s, ${shown(sqs.requestsPerOrder)} per order`);
  console.log(`Aurora       ${shown(aurora.acusAtRate)} ACU, ${shown(aurora.acusAtPeak)} at peak, for each of ${aurora.instances} instances; `
    + `${shown(aurora.logMegabytesPerSecond)} MB/s of log at peak`
    + `${aurora.acusAtPeak > 256 ? ': more than one writer can have (256)' : ''}`);
  console.log(`Pods         ${Object.entries(pods).map(([name, count]) => `${name} ${count}`).join(', ')} (1 vCPU each, ${TARGET_UTILIZATION * 100} % busy)`);
  console.log(`Endpoints    ${breakEven(rest).map(({ service, ordersPerSecond }) => `${service} pays from ${shown(ordersPerSecond)} orders/s`).join(', ')}`);
  console.log(`Messaging    $${messaging.dollarsPerMillion.toFixed(2)} per million orders with ${shown(input.batch)} messages per receive and delete, `
    + `$${messaging.oneMessagePerRequest.toFixed(2)} with one; without bundles $${messaging.withoutBundles.toFixed(2)}`);
  console.log('Dollars per million orders');
  for (const [name, dollars] of Object.entries(dollarsPerMillion)) console.log(`  ${name.padEnd(16)} ${dollars.toFixed(2).padStart(8)}`);
  console.log('Prices and quotas');
  for (const { dollars, per, url, asOf } of Object.values(PRICES)) console.log(`  $${dollars} per ${per} (${url}, ${asOf})`);
  console.log(`  invocations per second by region (${INVOCATIONS.url}, ${INVOCATIONS.asOf})`);
}

if (process.argv[1] === import.meta.filename) {
  try {
    main();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`cost-calculator: ${error.message} See --help.`);
    process.exitCode = 2;
  }
}
