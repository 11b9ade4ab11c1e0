import type { EventPattern } from 'aws-cdk-lib/aws-events';
import { DETAIL_TYPES, type EventType } from '../services/shared/events/schemas.ts';

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

export interface Settings {
  readonly eventSource: string;
  readonly namespace: string;
  /** A topic of Amazon SNS that gets a message when an alarm goes off and when it is over; without one the alarms are only shown. */
  readonly alarmTopicArn?: string;
  /** A role that may use kubectl in the namespace; without one, only the deployment can. */
  readonly operatorRoleArn?: string;
  readonly database: {
    readonly name: string;
    readonly readers: number;
    /** In Aurora capacity units, for each instance. */
    readonly minCapacity: number;
    readonly maxCapacity: number;
  };
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
  'order.confirmed', 'order.rejected', 'order.update-requested', 'order.updated', 'order.update-rejected', 'order.cancel-requested', 'order.cancelled',
  'order.expired',
];

/** The settings that you may change. */
export const defaultSettings: Settings = {
  eventSource: 'com.example.orders',
  namespace: 'orders',
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
        'inventory.validated', 'order.confirmed', 'order.update-requested', 'order.updated', 'order.update-rejected', 'order.cancel-requested',
        'order.expired',
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
