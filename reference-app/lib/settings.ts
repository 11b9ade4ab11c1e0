import type { EventPattern } from 'aws-cdk-lib/aws-events';

/** Replicas by CPU: at least, at most. */
export interface Replicas {
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

export interface ConsumerSettings {
  readonly replicas: Replicas;
  /** Which events the consumer gets, of those with the pipeline's source. */
  readonly eventPattern: EventPattern;
  /** How often a message is tried before it goes to the dead-letter queue. */
  readonly maxReceiveCount: number;
  /**
   * How long a batch may take. The queue hands out again, after six times as long, what a killed consumer had in hand;
   * a living one keeps what takes longer.
   */
  readonly processingSeconds: number;
}

export interface Settings {
  readonly eventSource: string;
  readonly namespace: string;
  /** A topic of Amazon SNS that is told when an alarm goes off and when it is over; without one the alarms are only shown. */
  readonly alarmTopicArn?: string;
  /** A role that may use kubectl beside the one that deploys. */
  readonly operatorRoleArn?: string;
  readonly database: {
    readonly name: string;
    readonly readers: number;
    /** In Aurora capacity units, for each instance. */
    readonly minCapacity: number;
    readonly maxCapacity: number;
  };
  readonly commandApi: Replicas;
  readonly queryApi: Replicas;
  readonly outboxRelay: Replicas;
  /** By the name of the service, which is the name of its program too. */
  readonly consumers: { readonly [serviceName: string]: ConsumerSettings };
}

const replicas: Replicas = { minReplicas: 2, maxReplicas: 10 };

/** What an order goes through after its creation. */
const CHANGES = [
  'OrderConfirmed', 'OrderRejected', 'OrderUpdateRequested', 'OrderUpdated', 'OrderUpdateRejected', 'OrderCancelRequested', 'OrderCancelled', 'OrderExpired',
];

/** Everything that one would want to change. */
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
      replicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      eventPattern: { detailType: ['OrderCreated'] },
    },
    'inventory-service': {
      replicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      // One event of each version of an order, up to the last that can concern stock.
      eventPattern: {
        detailType: ['StockValidated', 'OrderConfirmed', 'OrderUpdateRequested', 'OrderUpdated', 'OrderUpdateRejected', 'OrderCancelRequested', 'OrderExpired'],
      },
    },
    'order-status': {
      replicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      eventPattern: { detailType: ['InventoryUpdated'], detail: { data: { outcome: ['RESERVED', 'REJECTED', 'RELEASED', 'RETURNED'] } } },
    },
    'notification-service': {
      replicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      eventPattern: {
        // All versions of an order but the first.
        detailType: [...CHANGES, 'InventoryUpdated'],
        // Events of the order have no outcome; of the inventory's only the deduction is worth a notice.
        detail: { data: { outcome: ['DEDUCTED', { exists: false }] } },
      },
    },
    'analytics-service': {
      replicas,
      maxReceiveCount: 5,
      processingSeconds: 5,
      eventPattern: { detailType: ['OrderCreated', ...CHANGES, 'InventoryUpdated'] },
    },
  },
};
