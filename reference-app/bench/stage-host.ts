/**
 * One service of the chain in a thread or process of its own, as it runs in a pod: its consumer, its handler, its pool. Only
 * the queue is the bench's. Started by chain.ts and the rows.
 */
import { isMainThread, parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { inventoryHandler } from '../services/inventory-service/handler.ts';
import { orderStatusHandler } from '../services/order-service/order-status/handler.ts';
import type { Retention } from '../services/outbox-relay/maintenance.ts';
import { runRelay } from '../services/outbox-relay/relay.ts';
import type { Pool } from '../services/shared/database.ts';
import type { EventEnvelope } from '../services/shared/events/index.ts';
import { runConsumer } from '../services/shared/messaging/consumer.ts';
import type { Handler } from '../services/shared/messaging/handler.ts';
import { createStockHandler } from '../services/stock-service/handler.ts';
import { eventBridgeOf, MemoryBroker, remoteQueues, serveQueues, sqsOf, type Channel } from './broker.ts';
import { commandPool, silent, type Target } from './server.ts';

export type ServiceName = 'stock-service' | 'inventory-service' | 'order-status';

export interface ConsumerSettings {
  readonly receivers?: number;
  readonly batchSize?: number;
  readonly concurrency?: number;
}

export type HostData =
  | { readonly role: 'relay'; readonly target: Target; readonly ports: readonly MessagePort[]; readonly concurrency?: number; readonly retention?: Retention }
  | { readonly role: 'consumer'; readonly service: ServiceName; readonly target: Target; readonly settings: ConsumerSettings; readonly port?: MessagePort };

/** What a host tells its parent. `at` is milliseconds since the epoch, comparable between threads. */
export type HostMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly what: 'validated' | 'reserved' | 'settled' | 'deducted'; readonly orderIds: string[]; readonly at: number }
  | { readonly kind: 'stopped'; readonly calls?: MemoryBroker['calls'] };

export function clock(): number {
  return performance.timeOrigin + performance.now();
}

function portChannel(port: MessagePort): Channel {
  return { post: (message) => port.postMessage(message), onMessage: (listener) => port.on('message', listener as (message: unknown) => void) };
}

/** Tells which orders' effects have been committed, once per transaction. */
function reporting(handler: Handler<never>, tell: (message: HostMessage) => void): Handler<never> {
  return {
    ...handler,
    async handle(events, pool) {
      const outcomes = await handler.handle(events, pool);
      const byId = new Map((events as readonly EventEnvelope[]).map((event) => [event.id, event]));
      let told = false;
      return outcomes.map((outcome) => ({
        ...outcome,
        committed() {
          outcome.committed?.();
          if (told) return;
          told = true;
          const at = clock();
          const done = new Map<(HostMessage & { kind: 'done' })['what'], string[]>();
          for (const { eventId, result } of outcomes) {
            const event = byId.get(eventId)!;
            if (result !== 'ok') continue;
            const what = WHAT[event.type];
            if (what) done.set(what, [...(done.get(what) ?? []), event.subject]);
          }
          for (const [what, orderIds] of done) tell({ kind: 'done', what, orderIds, at });
        },
      }));
    },
  };
}

const WHAT: Partial<Record<EventEnvelope['type'], (HostMessage & { kind: 'done' })['what']>> = {
  'order.created': 'validated', 'inventory.validated': 'reserved', 'inventory.updated': 'settled', 'order.confirmed': 'deducted',
};

function handlerOf(service: ServiceName, pool: Pool): Handler<never> {
  switch (service) {
    case 'stock-service': return createStockHandler({ reader: pool, writer: pool, logger: silent }) as unknown as Handler<never>;
    case 'inventory-service': return inventoryHandler as unknown as Handler<never>;
    case 'order-status': return orderStatusHandler as unknown as Handler<never>;
  }
}

export function startHost(data: HostData, tell: (message: HostMessage) => void, channel?: Channel): { stop(): Promise<void> } {
  if (data.role === 'relay') {
    const broker = new MemoryBroker();
    for (const port of data.ports) serveQueues(broker, portChannel(port));
    const pool = commandPool(data.target, 2, 'outbox-relay');
    const relay = runRelay({
      pool, client: eventBridgeOf(broker), busName: 'bench', source: 'com.example.orders', logger: silent, ...(data.concurrency && { concurrency: data.concurrency }),
      ...(data.retention && { retention: data.retention }),
    });
    void (async () => {
      while (!relay.leads()) await new Promise((resolve) => setTimeout(resolve, 5));
      tell({ kind: 'ready' });
    })();
    return {
      async stop() {
        await relay.stop();
        await pool.end();
        data.ports.forEach((port) => port.close());
        tell({ kind: 'stopped', calls: broker.calls });
      },
    };
  }
  const { service, target, settings, port } = data;
  const pool = commandPool(target, 8, service);
  const queues = remoteQueues(channel ?? portChannel(port!));
  const consumer = runConsumer({ handler: reporting(handlerOf(service, pool), tell), queueUrl: `http://bench/${service}`, pool, sqs: sqsOf(queues), logger: silent, ...settings });
  void (async () => {
    while (!consumer.ready()) await new Promise((resolve) => setTimeout(resolve, 5));
    tell({ kind: 'ready' });
  })();
  return {
    async stop() {
      await consumer.stop();
      await pool.end();
      tell({ kind: 'stopped' });
    },
  };
}

// Only as the first file of a thread or of a process that the bench forked, never by an import.
if (!isMainThread && parentPort && (workerData as { bench?: boolean } | null)?.bench) {
  const port = parentPort;
  const host = startHost(workerData as HostData, (message) => port.postMessage(message));
  port.on('message', (message: { kind: string }) => {
    if (message.kind === 'stop') void host.stop().then(() => port.close());
  });
} else if (isMainThread && process.send && process.argv[1] === import.meta.filename) {
  const send = (message: unknown) => process.send?.(message);
  const channel: Channel = { post: send, onMessage: (listener) => process.on('message', listener as (message: unknown) => void) };
  const host = startHost(JSON.parse(process.argv[2]!) as HostData, send, channel);
  // The parent is gone, and with it the queue.
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message: { kind?: string }) => {
    if (message.kind === 'stop') void host.stop().then(() => process.exit(0));
  });
}
