/**
 * One service of the chain in a thread or process of its own, as it runs in a pod: its consumer, its handler, its pool. Only
 * the queue belongs to the bench. Started by start-services.ts and rows/stall.ts.
 */
import { createSecretKey } from 'node:crypto';
import { isMainThread, parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { eventBridgeOf, remoteQueues, serveQueues, sqsOf, type Channel } from './broker-clients.ts';
import { MemoryBroker } from './broker.ts';
import type { Bundles } from './bundles.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { orderStatusHandler } from '../../services/order-service/order-status/handler.ts';
import type { Retention } from '../../services/outbox-relay/maintenance.ts';
import { runRelay } from '../../services/outbox-relay/relay.ts';
import type { Pool } from '../../services/shared/database.ts';
import { keyIdOf, type EventEnvelope, type SigningKey } from '../../services/shared/events/index.ts';
import { runConsumer } from '../../services/shared/messaging/consumer.ts';
import type { Handler } from '../../services/shared/messaging/handler.ts';
import type { KeySource } from '../../services/shared/messaging/options.ts';
import { createStockHandler } from '../../services/stock-service/handler.ts';
import { commandPool, silent, type DatabaseLocation } from '../database/server.ts';

export type ServiceName = 'stock-service' | 'inventory-service' | 'order-status';

export interface ConsumerSettings {
  readonly receivers?: number;
  readonly batchSize?: number;
  readonly concurrency?: number;
}

/** The key of all runs. */
const KEY: SigningKey = { id: keyIdOf('benchmark'), secret: createSecretKey(Buffer.alloc(64, 'key')) };
const KEYS: KeySource = { accepted: new Map([[KEY.id, [KEY.secret]]]), ready: () => true, known: async () => {}, renewed: async () => {} };

export interface RelayData {
  readonly role: 'relay';
  readonly signed: boolean;
  readonly location: DatabaseLocation;
  /** Ports to the consumers, which receive from the queues of this thread. */
  readonly ports: readonly MessagePort[];
  readonly bundles: Bundles;
  /** @default - everything is kept */
  readonly retention?: Retention;
}

export interface ConsumerData {
  readonly role: 'consumer';
  readonly signed: boolean;
  readonly service: ServiceName;
  readonly location: DatabaseLocation;
  readonly settings: ConsumerSettings;
  /** Port to the queues. @default - the channel to the parent process */
  readonly port?: MessagePort;
}

export type HostData = RelayData | ConsumerData;

/** The effect of a transaction on its orders. */
export type Step = 'validated' | 'reserved' | 'settled' | 'deducted';

/** A message of a host to its parent. `at` is in milliseconds since the epoch, so that threads can be compared. */
export type HostMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly step: Step; readonly orderIds: string[]; readonly at: number }
  | { readonly kind: 'stopped'; readonly calls?: MemoryBroker['calls'] };

/** Milliseconds since the epoch, finer than Date.now(). */
export function clock(): number {
  return performance.timeOrigin + performance.now();
}

function portChannel(port: MessagePort): Channel {
  return {
    post: (message) => port.postMessage(message),
    onMessage: (listener) => port.on('message', listener as (message: unknown) => void),
  };
}

const STEPS: Partial<Record<EventEnvelope['type'], Step>> = {
  'order.created': 'validated', 'inventory.validated': 'reserved', 'inventory.updated': 'settled', 'order.confirmed': 'deducted',
};

/** The orders of the events that took effect, by step. */
function stepsOf(
  events: readonly EventEnvelope[], outcomes: readonly { readonly eventId: string; readonly result: string }[],
): Map<Step, string[]> {
  const byId = new Map(events.map((event) => [event.id, event]));
  const steps = new Map<Step, string[]>();
  for (const { eventId, result } of outcomes) {
    const event = byId.get(eventId)!;
    const step = STEPS[event.type];
    if (result !== 'ok' || !step) continue;
    const orderIds = steps.get(step);
    if (orderIds) orderIds.push(event.subject);
    else steps.set(step, [event.subject]);
  }
  return steps;
}

/** Reports the orders of each transaction after its commit. */
function reporting(handler: Handler<never>, report: (message: HostMessage) => void): Handler<never> {
  return {
    ...handler,
    async handle(events, pool) {
      const outcomes = await handler.handle(events, pool);
      let reported = false;
      return outcomes.map((outcome) => ({
        ...outcome,
        committed() {
          outcome.committed?.();
          if (reported) return;
          reported = true;
          const at = clock();
          for (const [step, orderIds] of stepsOf(events, outcomes)) report({ kind: 'done', step, orderIds, at });
        },
      }));
    },
  };
}

function handlerOf(service: ServiceName, pool: Pool): Handler<never> {
  switch (service) {
    case 'stock-service':
      return createStockHandler({ reader: pool, writer: pool, logger: silent }) as unknown as Handler<never>;
    case 'inventory-service':
      return inventoryHandler as unknown as Handler<never>;
    case 'order-status':
      return orderStatusHandler as unknown as Handler<never>;
  }
}

interface Host {
  stop(): Promise<void>;
}

function startRelay({ location, signed, ports, bundles, retention }: RelayData, report: (message: HostMessage) => void): Host {
  const broker = new MemoryBroker();
  for (const port of ports) serveQueues(broker, portChannel(port));
  const pool = commandPool(location, 2, 'outbox-relay');
  const relay = runRelay({
    pool,
    client: eventBridgeOf(broker),
    busName: 'bench',
    source: 'com.example.orders',
    logger: silent,
    ...bundles,
    ...(retention && { retention }),
    ...(signed && { signingKey: () => KEY }),
  });
  void reportReady(() => relay.leads(), report);
  return {
    async stop() {
      await relay.stop();
      await pool.end();
      ports.forEach((port) => port.close());
      report({ kind: 'stopped', calls: broker.calls });
    },
  };
}

function startConsumer(
  { service, location, signed, settings }: ConsumerData, channel: Channel, report: (message: HostMessage) => void,
): Host {
  const pool = commandPool(location, 8, service);
  const consumer = runConsumer({
    handler: reporting(handlerOf(service, pool), report),
    queueUrl: `http://bench/${service}`,
    pool,
    sqs: sqsOf(remoteQueues(channel)),
    logger: silent,
    ...(signed && { keys: KEYS }),
    ...settings,
  });
  void reportReady(() => consumer.ready() === true, report);
  return {
    async stop() {
      await consumer.stop();
      await pool.end();
      report({ kind: 'stopped' });
    },
  };
}

async function reportReady(ready: () => boolean, report: (message: HostMessage) => void): Promise<void> {
  while (!ready()) await new Promise((resolve) => setTimeout(resolve, 5));
  report({ kind: 'ready' });
}

// Only as the first file of a thread or of a process that the bench forked, never by an import.
if (!isMainThread && parentPort && (workerData as { bench?: boolean } | null)?.bench) {
  const port = parentPort;
  const data = workerData as HostData;
  const report = (message: HostMessage) => port.postMessage(message);
  const host = data.role === 'relay' ? startRelay(data, report) : startConsumer(data, portChannel(data.port!), report);
  port.on('message', (message: { kind: string }) => {
    if (message.kind === 'stop') void host.stop().then(() => port.close());
  });
} else if (isMainThread && process.send && process.argv[1] === import.meta.filename) {
  const send = (message: unknown) => process.send?.(message);
  const channel: Channel = {
    post: send,
    onMessage: (listener) => process.on('message', listener as (message: unknown) => void),
  };
  const host = startConsumer(JSON.parse(process.argv[2]!) as ConsumerData, channel, send);
  // The parent is gone, and with it the queue.
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message: { kind?: string }) => {
    if (message.kind === 'stop') void host.stop().then(() => process.exit(0));
  });
}
