import type { calculate, Input } from '../cost-calculator.ts';
import { PRICES } from './prices.ts';
import { defaultSettings } from '../../lib/settings.ts';
import { DETAIL_TYPES } from '../../services/shared/events/index.ts';

// A month of the reference app with its default settings.

/** The prices in dollars. */
const $ = Object.fromEntries(Object.entries(PRICES).map(([name, { dollars }]) => [name, dollars])) as Record<keyof typeof PRICES, number>;

const HOURS = 730;
const ZONES = 2;
const APIS = 2;
const GB = 1e9;

/** Bytes of a published event and of a message that is received and deleted, with their requests: samples of events have 600 to 900. */
const BYTES = { publish: 1_200, delivery: 2_500 };

/** vCPU that a pod requests, and its share above which an API gets another one. */
const POD = { vcpu: 0.25, busy: 0.7 };
/** vCPU that KEDA, the metrics server and the add-on's manager request, and that the agents on each of two nodes do. */
const SYSTEM_VCPU = 0.3 + 0.2 + 0.1 + 2 * 0.3;

/** Requests of KEDA to a queue in a minute, and of the four receivers of a pod, which wait for 20 seconds. */
const POLLS = { keda: 12, pod: 4 * 3 };

/** Keys of the cluster's secrets and of the topic; secrets of the two roles and of the administrator. */
const [KEYS, SECRETS] = [2, 3];
/** Three for a consumer, one for the replicas of each program, eight for the relay, five for the database. */
const ALARMS = { consumer: 3, program: 1, others: 13 };
/** Metrics of the relay: of the alarms, and one for each type of events. Each of two relays sends them once a minute. */
const RELAY_METRICS = 8 + Object.keys(DETAIL_TYPES).length;
const RELAY_REPORTS = 2 * 60 * HOURS / 1e3;
/** The days for which the archive of the bus keeps events. */
const ARCHIVE_DAYS = 30;

interface Item {
  readonly item: string;
  readonly calculation: string;
  readonly idle: number;
  readonly atRate: number;
}

/** Gigabytes of an order that pods exchange with a service. */
function gigabytesPerOrder({ events, deliveries }: Pick<Input, 'events' | 'deliveries'>) {
  return { sqs: deliveries * BYTES.delivery / GB, eventbridge: events * BYTES.publish / GB };
}

const ENDPOINT_MONTH = ZONES * HOURS * $.endpointHour;

/** The rate from which an interface endpoint costs less than the NAT gateways that it relieves. */
export function breakEven(input: Pick<Input, 'events' | 'deliveries'>): { service: string; ordersPerSecond: number }[] {
  const gigabytes = ENDPOINT_MONTH / ($.natGb - $.endpointGb);
  const ordersPerSecond = (perOrder: number) => gigabytes / perOrder / HOURS / 3600;
  return Object.entries(gigabytesPerOrder(input)).map(([service, perOrder]) => ({ service, ordersPerSecond: ordersPerSecond(perOrder) }));
}

export function month(input: Input, { aurora, eventBridge, sqs }: Pick<ReturnType<typeof calculate>, 'aurora' | 'eventBridge' | 'sqs'>): { rate: number; items: Item[] } {
  const { rate, events, measured, readReplicas } = input;
  const { consumers, interfaceEndpoints } = defaultSettings;
  const orders = rate * 3600 * HOURS;
  const entries = events / eventBridge.eventsPerEntry;
  const queues = Object.keys(consumers).length;
  const programs = queues + APIS + 1;
  const endpoints = interfaceEndpoints.length;
  const gigabytes = gigabytesPerOrder(input);
  const throughEndpoints = orders * (gigabytes.sqs + gigabytes.eventbridge);
  const requested = (perSecond: number) => SYSTEM_VCPU + POD.vcpu * podsAt(perSecond, measured.nodeMicros, programs);
  const polls = 60 * HOURS * queues * (POLLS.keda + 2 * POLLS.pod) / 1e6;
  const archived = orders * events * BYTES.publish / GB;
  const { minCapacity } = defaultSettings.database;
  const instances = 1 + readReplicas;
  const watched = alarms(queues, programs);
  const item = (name: string, calculation: string, idle: number, more = 0): Item =>
    ({ item: name, calculation, idle, atRate: idle + more });
  return {
    rate,
    items: [
      item('EKS cluster', `${HOURS} h × $${$.clusterHour}`, HOURS * $.clusterHour),
      item('nodes', `${requested(0).toFixed(2)} vCPU requested × ${HOURS} h × $${$.nodeVcpuHour}`,
        requested(0) * HOURS * $.nodeVcpuHour, (requested(rate) - requested(0)) * HOURS * $.nodeVcpuHour),
      item('NAT gateways', `${ZONES} × ${HOURS} h × $${$.natHour}, and $${$.natGb} a GB`, ZONES * HOURS * $.natHour),
      item('interface endpoints', `${endpoints} × ${ZONES} zones × ${HOURS} h × $${$.endpointHour}, and $${$.endpointGb} a GB`,
        endpoints * ENDPOINT_MONTH, throughEndpoints * $.endpointGb),
      item('load balancers', `${APIS} × ${HOURS} h × $${$.loadBalancerHour}`, APIS * HOURS * $.loadBalancerHour),
      item('Aurora, capacity', `${instances} × ${aurora.acusAtRate} ACU × ${HOURS} h × $${$.acuHour}`,
        instances * minCapacity * HOURS * $.acuHour, instances * (aurora.acusAtRate - minCapacity) * HOURS * $.acuHour),
      item('Aurora, I/O', `${aurora.ioPerOrder.toFixed(2)} requests an order × $${$.auroraIo} a million`,
        0, orders / 1e6 * aurora.ioPerOrder * $.auroraIo),
      item('EventBridge', `${entries.toFixed(1)} entries an order × $${$.eventBridgeEvent} a million`, 0, orders / 1e6 * entries * $.eventBridgeEvent),
      item('archive of the events', `$${$.archivedGb} a GB, and $${$.archiveGbMonth} for each GB of ${ARCHIVE_DAYS} days`,
        0, archived * ($.archivedGb + $.archiveGbMonth * ARCHIVE_DAYS * 24 / HOURS)),
      item('SQS', `${polls.toFixed(1)} million polls, and ${sqs.requestsPerOrder.toFixed(1)} requests an order, × $${$.sqsRequest} a million`,
        polls * $.sqsRequest, orders / 1e6 * sqs.requestsPerOrder * $.sqsRequest),
      item('alarms, metrics of the relay, dashboard',
        `${watched} × $${$.alarmMonth}, ${RELAY_METRICS} × $${$.metricMonth}, ${RELAY_REPORTS.toFixed(1)} thousand calls × $${$.metricRequest}, and $${$.dashboardMonth}`,
        watched * $.alarmMonth + RELAY_METRICS * $.metricMonth + RELAY_REPORTS * $.metricRequest + $.dashboardMonth),
      item('keys and secrets', `${KEYS} × $${$.keyMonth}, and ${SECRETS} × $${$.secretMonth}`, KEYS * $.keyMonth + SECRETS * $.secretMonth),
    ],
  };
}

function alarms(queues: number, programs: number): number {
  return queues * ALARMS.consumer + programs * ALARMS.program + ALARMS.others;
}

/** Two pods of each program, or more of the busy ones. */
function podsAt(perSecond: number, nodeMicros: Input['measured']['nodeMicros'], programs: number): number {
  const busy = Object.values(nodeMicros).map((micros) => Math.ceil((perSecond * micros) / 1e6 / POD.vcpu / POD.busy));
  return 2 * programs + busy.reduce((sum, pods) => sum + Math.max(0, pods - 2), 0);
}

export function table({ rate, items }: { rate: number; items: readonly Item[] }): string {
  const dollars = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
  const total = (column: 'idle' | 'atRate') => dollars(items.reduce((sum, item) => sum + item[column], 0));
  return [
    `| item | calculation | idle, $ | ${rate} orders/s, $ |`,
    '|---|---|---|---|',
    ...items.map(({ item, calculation, idle, atRate }) => `| ${item} | ${calculation} | ${dollars(idle)} | ${dollars(atRate)} |`),
    `| **sum** | | **${total('idle')}** | **${total('atRate')}** |`,
  ].join('\n');
}
