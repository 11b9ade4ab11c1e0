import { isIPv4 } from 'node:net';
import { Token } from 'aws-cdk-lib';
import type { EventPattern } from 'aws-cdk-lib/aws-events';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IConstruct } from 'constructs';
import { DETAIL_TYPES, type EventType } from '../services/shared/events/schemas.ts';

/** Services that pods call. */
const INTERFACE_ENDPOINTS = ['sqs', 'eventbridge', 'monitoring', 'logs', 'secretsmanager', 'sts', 'eks-auth', 'ecr'] as const;
export type InterfaceEndpoint = typeof INTERFACE_ENDPOINTS[number];

/** At least, at most. */
export interface Replicas {
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

/** Replicas by the length of a queue: each has at most as many messages before it as it does in the acceptable latency. */
export interface QueueReplicas extends Replicas {
  /** The time that a message may take from the queue to the end of its processing. */
  readonly acceptableLatencySeconds: number;
  /** The time of a batch divided by its messages, in milliseconds. */
  readonly millisecondsPerMessage: number;
  /** The replicas that run while the length of the queue cannot be read. */
  readonly fallbackReplicas: number;
  /** The share of them that may go within a minute, once they are not needed for five minutes: bursts often come in a row. */
  readonly scaleDownPercentPerMinute: number;
  /** The CPU use, in percent of what a pod requests, above which there are more replicas, too; only the queue counts without it. */
  readonly targetCpuPercent?: number;
}

export interface ConsumerSettings {
  readonly replicas: QueueReplicas;
  /** The events of the pipeline that the consumer gets: their types, or a pattern of EventBridge if their content counts. */
  readonly events: EventType[] | EventPattern;
  /** The number of tries before a message goes to the dead-letter queue. */
  readonly maxReceiveCount: number;
  /**
   * The time that a batch may take. After six times as long, the queue hands out the messages of a killed consumer again;
   * a living one keeps those that take longer.
   */
  readonly processingSeconds: number;
}

/** The limits of one process of an API; 0 is no limit. Without a number, the services have one of their own. */
export interface ApiLimits {
  /** Requests per second of one subject that is no operator. */
  readonly subjectRequestsPerSecond?: number;
  /** Requests per second from one address. */
  readonly addressRequestsPerSecond?: number;
  /** Open connections. */
  readonly maxConnections?: number;
}

/** An issuer that nobody has: the local run stands in for it. */
export const EXAMPLE_ISSUER = 'https://login.example.com/';

export interface Settings {
  readonly eventSource: string;
  readonly namespace: string;
  /** The issuer of the tokens of callers: their `iss` to the letter. Its discovery document names its keys. */
  readonly issuer: string;
  /** The accepted `aud` of the tokens. */
  readonly audience: readonly string[];
  /** The claim of the tokens with the id of the customer. */
  readonly customerClaim: string;
  /**
   * A certificate of AWS Certificate Manager in the region of the stack, with which the APIs take TLS on port 443. Without one, they take
   * plain HTTP, and everybody on the way can read tokens and orders.
   */
  readonly certificateArn?: string;
  readonly limits: ApiLimits;
  /**
   * The consumers refuse events without a right signature. Publishers sign anyway. False is for the first of two deployments of a stack
   * that runs without signatures, and for the way back: see docs/deploy.md.
   */
  readonly verifyEvents: boolean;
  /** A topic of Amazon SNS that gets a message when an alarm goes off and when it is over; without one the stack makes one. */
  readonly alarmTopicArn?: string;
  /** A role that may use kubectl in the namespace; without one, only the deployment can. */
  readonly operatorRoleArn?: string;
  /** Blocks of addresses from which the API server of the cluster is reachable over the internet; without one, it is from the VPC only. */
  readonly publicAccessCidrs?: readonly string[];
  /** Logs and metrics of the cluster go to CloudWatch. */
  readonly observability: boolean;
  /** The days after which a line of a log is deleted. */
  readonly logRetentionDays: number;
  /** NAT gateways, through which pods reach AWS and registries of images; without a number, one in each zone. */
  readonly natGateways?: number;
  /**
   * Services of AWS that pods reach by an interface endpoint in each zone instead of the NAT gateways. An endpoint pays from 417 GB a
   * month; `node scripts/cost-calculator.ts` has the orders per second for it. S3 always has a gateway endpoint, which is free.
   */
  readonly interfaceEndpoints: readonly InterfaceEndpoint[];
  readonly database: {
    readonly name: string;
    readonly readers: number;
    /** In Aurora capacity units, for each instance. */
    readonly minCapacity: number;
    readonly maxCapacity: number;
    /** The snapshot from which the database is made. It has to stay set afterwards: see docs/deploy.md. */
    readonly snapshotIdentifier?: string;
  };
  /**
   * The inventory decides on OrderCreated itself instead of the advice about it, StockValidated, which is given anyway: a decision
   * is one event and one queue sooner. See docs/order-lifecycle.md.
   */
  readonly direct: boolean;
  /** Replicas by CPU. */
  readonly commandApi: Replicas;
  readonly queryApi: Replicas;
  readonly outboxRelay: Replicas;
  /** The consumers by the name of the service, which is the name of its program too. */
  readonly consumers: { readonly [serviceName: string]: ConsumerSettings };
}

/** The detail types of a consumer's events on EventBridge. */
export function detailTypesOf({ events }: ConsumerSettings): string[] {
  return Array.isArray(events) ? events.map((type) => DETAIL_TYPES[type]) : events.detailType ?? [];
}

const replicas: Replicas = { minReplicas: 2, maxReplicas: 10 };

/**
 * A message takes 0.2 ms of a processor (inventory-service in docs/local-run.md), so a pod with its quarter of a vCPU does 1,250 a second.
 * Calls in AWS take longer: 500 a second are assumed, and 10,000 messages for each replica are a backlog then.
 */
const queueReplicas: QueueReplicas = {
  ...replicas, acceptableLatencySeconds: 20, millisecondsPerMessage: 2, fallbackReplicas: 4, scaleDownPercentPerMinute: 50,
};

/** The events of an order after its creation. */
const CHANGES: EventType[] = [
  'order.confirmed', 'order.rejected', 'order.update-requested', 'order.updated', 'order.update-rejected', 'order.update-expired',
  'order.cancel-requested', 'order.cancelled', 'order.expired',
];

/** The settings that you may change, here or, where they belong to an account, by the context. */
export const defaultSettings: Settings = {
  eventSource: 'com.example.orders',
  namespace: 'orders',
  issuer: EXAMPLE_ISSUER,
  audience: ['orders'],
  customerClaim: 'sub',
  limits: {},
  verifyEvents: true,
  observability: true,
  direct: false,
  logRetentionDays: 30,
  // They pay from 6 and 26 orders a second.
  interfaceEndpoints: ['sqs', 'eventbridge'],
  database: { name: 'orders', readers: 1, minCapacity: 0.5, maxCapacity: 16 },
  commandApi: replicas,
  queryApi: replicas,
  // One relay works and the others wait for it to fail.
  outboxRelay: { minReplicas: 2, maxReplicas: 3 },
  consumers: {
    'stock-service': {
      replicas: queueReplicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      events: ['order.created'],
    },
    'inventory-service': {
      replicas: queueReplicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      // One event of each version of an order, up to the last that can concern stock.
      events: [
        'inventory.validated', 'order.confirmed', 'order.update-requested', 'order.updated', 'order.update-rejected', 'order.update-expired',
        'order.cancel-requested', 'order.expired',
      ],
    },
    'order-status': {
      replicas: queueReplicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      events: { detailType: ['InventoryUpdated'], detail: { data: { outcome: ['RESERVED', 'REJECTED', 'RELEASED', 'RETURNED'] } } },
    },
    'notification-service': {
      replicas: queueReplicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      events: {
        // All versions of an order but the first.
        detailType: [...CHANGES.map((type) => DETAIL_TYPES[type]), 'InventoryUpdated'],
        // Events of the order have no outcome; of the inventory's only the deduction is worth a notice.
        detail: { data: { outcome: ['DEDUCTED', { exists: false }] } },
      },
    },
    'analytics-service': {
      // It gets four of the ten messages of an order, so its processor is busy first.
      replicas: { ...queueReplicas, targetCpuPercent: 80 },
      maxReceiveCount: 5,
      processingSeconds: 5,
      events: ['order.created', ...CHANGES, 'inventory.updated'],
    },
  },
};

/** A text that says one of the two, for the setting of this name. */
const yesOrNo = (name: string) => (text: string): boolean => {
  if (text !== 'true' && text !== 'false') throw new Error(`The setting ${name} must be true or false, not '${text}'.`);
  return text === 'true';
};

/** The settings that belong to an account and not into a repository. Each is a context key, too: `cdk deploy -c operatorRoleArn=…`. */
const CONTEXT: { readonly [Name in keyof Settings]?: (text: string) => Settings[Name] } = {
  issuer: (text) => text,
  audience: list,
  customerClaim: (text) => text,
  certificateArn: (text) => text,
  operatorRoleArn: (text) => text,
  alarmTopicArn: (text) => text,
  publicAccessCidrs: list,
  verifyEvents: yesOrNo('verifyEvents'),
  observability: yesOrNo('observability'),
  direct: yesOrNo('direct'),
  logRetentionDays: Number,
  natGateways: Number,
  interfaceEndpoints: (text) => list(text) as InterfaceEndpoint[],
};

/** The keys of the app itself, and those of the CDK, which have other characters than letters. */
const OTHER_CONTEXT = /^profiles?$|[^A-Za-z]/;

/**
 * Returns the default settings with those of the context.
 *
 * @throws Error for a context key without a setting, such as a misspelled one
 */
export function settingsFrom({ node }: IConstruct): Settings {
  const unknown = Object.keys(node.getAllContext() as object).find((name) => !(name in CONTEXT || OTHER_CONTEXT.test(name)));
  if (unknown !== undefined) throw new Error(`There is no setting ${unknown}: choose ${Object.keys(CONTEXT).join(', ')}.`);
  const given = Object.entries(CONTEXT).flatMap(([name, read]) => {
    const value: unknown = node.tryGetContext(name);
    return value === undefined ? [] : [[name, read(String(value))]];
  });
  const settings = { ...defaultSettings, ...Object.fromEntries(given) as Partial<Settings> };
  return settings.direct ? { ...settings, consumers: { ...settings.consumers, ...directInventory(settings) } } : settings;
}

function directInventory({ consumers: { 'inventory-service': inventory } }: Settings): Settings['consumers'] {
  if (!Array.isArray(inventory?.events)) return {};
  return { 'inventory-service': { ...inventory, events: inventory.events.map((type) => (type === 'inventory.validated' ? 'order.created' : type)) } };
}

/** `a,b`; an empty text is no element. */
function list(text: string): string[] {
  return text.split(',').map((part) => part.trim()).filter((part) => part !== '');
}

/** Returns a number of days as a retention period of CloudWatch Logs, which has only some of them. */
export function retentionOf(days: number): RetentionDays {
  if (!(days in RetentionDays)) {
    const possible = Object.values(RetentionDays).filter((value) => typeof value === 'number' && value < 9_000).join(', ');
    throw new Error(`The setting logRetentionDays must be one of ${possible}, not ${days}.`);
  }
  return days;
}

/** JSON has no NaN, which stands for a text that is no number. */
const wrong = (name: string, rule: string, value: unknown) => new Error(
  `The setting ${name} must be ${rule}, not ${typeof value === 'number' ? value : JSON.stringify(value)}.`);

/** Refuses what the APIs can't ask of their callers. */
function checkCallers({ issuer, audience, customerClaim, limits }: Settings): void {
  if (!/^https:\/\/[^\s/]/.test(issuer)) throw wrong('issuer', `an address with https, such as ${EXAMPLE_ISSUER}`, issuer);
  if (audience.length === 0 || audience.some((one) => one === '' || one.includes(','))) {
    throw wrong('audience', 'at least one name, each without a comma', audience);
  }
  if (customerClaim === '') throw wrong('customerClaim', 'the name of a claim, such as sub', customerClaim);
  for (const [name, limit] of Object.entries(limits)) {
    if (!(Number.isInteger(limit) && limit >= 0)) throw wrong(`limits.${name}`, 'a whole number, or 0 for no limit', limit);
  }
}

/** Refuses settings that the deployment would refuse, or that would do harm, with the name of the setting and the fix. */
export function checkSettings(settings: Settings): Settings {
  const { eventSource, namespace, publicAccessCidrs = [], natGateways, interfaceEndpoints, consumers } = settings;
  retentionOf(settings.logRetentionDays);
  if (!/^[\w.-]{1,256}$/.test(eventSource) || eventSource.startsWith('aws.')) {
    throw wrong('eventSource', 'letters, digits, dots and hyphens, and not begin with aws.', eventSource);
  }
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) throw wrong('namespace', 'a name of Kubernetes, such as orders', namespace);
  if (namespace === 'default' || namespace.startsWith('kube-')) throw wrong('namespace', 'one of your own, such as orders', namespace);
  checkCallers(settings);
  requireArn('certificateArn', settings.certificateArn, /^arn:[\w-]+:acm:[\w-]+:\d{12}:certificate\/.+$/,
    'arn:aws:acm:eu-west-1:111122223333:certificate/12345678');
  requireArn('operatorRoleArn', settings.operatorRoleArn, /^arn:[\w-]+:iam::\d{12}:role\/.+$/, 'arn:aws:iam::111122223333:role/on-call');
  requireArn('alarmTopicArn', settings.alarmTopicArn, /^arn:[\w-]+:sns:[\w-]+:\d{12}:[\w-]+$/, 'arn:aws:sns:eu-west-1:111122223333:on-call');
  for (const cidr of publicAccessCidrs) {
    if (!isBlock(cidr)) throw wrong('publicAccessCidrs', 'blocks of addresses such as 203.0.113.0/24', cidr);
    if (/\/0+$/.test(cidr)) throw wrong('publicAccessCidrs', 'blocks of your own addresses, since all of the internet would reach the API server', cidr);
  }
  if (natGateways !== undefined && !(Number.isInteger(natGateways) && natGateways >= 1)) {
    throw wrong('natGateways', 'a whole number from 1, since images and some services of AWS are reached through them', natGateways);
  }
  const unknown = interfaceEndpoints.filter((name) => !INTERFACE_ENDPOINTS.includes(name));
  if (unknown.length > 0) throw wrong('interfaceEndpoints', `some of ${INTERFACE_ENDPOINTS.join(', ')}`, unknown);
  const replicated: [string, Replicas][] = [
    ...(['commandApi', 'queryApi', 'outboxRelay'] as const).map((name): [string, Replicas] => [name, settings[name]]),
    ...Object.entries(consumers).map(([name, { replicas: own }]): [string, Replicas] => [`consumers.${name}.replicas`, own]),
  ];
  for (const [name, { minReplicas, maxReplicas }] of replicated) {
    if (!(minReplicas >= 1)) throw wrong(`${name}.minReplicas`, 'at least 1', minReplicas);
    if (!(maxReplicas >= minReplicas)) throw wrong(`${name}.maxReplicas`, `at least minReplicas (${minReplicas})`, maxReplicas);
  }
  return settings;
}

/** Whether the text is a block of IPv4 addresses. */
function isBlock(text: string): boolean {
  const [, address, bits] = /^(.*)\/(\d{1,2})$/.exec(text) ?? [];
  return isIPv4(address ?? '') && Number(bits) <= 32;
}

function requireArn(name: string, arn: string | undefined, pattern: RegExp, example: string): void {
  if (arn === undefined || Token.isUnresolved(arn) || pattern.test(arn)) return;
  throw new Error(`The setting ${name} must be an ARN such as ${example}, not ${JSON.stringify(arn)}.`);
}
