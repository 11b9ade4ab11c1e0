import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { acceptBy, type Accept } from './accept.ts';
import type { MemoryBroker } from './broker.ts';
import { BUNDLES, type Bundles } from './bundles.ts';
import type { ConsumerSettings, HostData, HostMessage, ServiceName } from './service-host.ts';
import type { Retention } from '../../services/outbox-relay/maintenance.ts';
import { commandPool, warm, type DatabaseLocation } from '../database/server.ts';

/** Called with the orders of a commit of order status or of the deduction; `at` in milliseconds since the epoch. */
export type DoneListener = (step: 'settled' | 'deducted', orderIds: readonly string[], at: number) => void;

/** All stages of an order, started and connected. */
export interface Chain {
  readonly accept: Accept;
  onDone(listener: DoneListener): void;
  stop(): Promise<{ calls?: MemoryBroker['calls'] }>;
}

export interface ChainOptions {
  /** Time after which rows are dropped. @default - everything is kept */
  readonly retention?: Retention;
  /** The bundles of the relay. @default - those of the reference app */
  readonly bundles?: Bundles;
  /** The relay signs, and consumers verify. @default true, as in the reference app */
  readonly signed?: boolean;
}

/** One batch at a time: the processor is the limit here, so a second batch would only make both smaller. */
const SETTINGS: ConsumerSettings = { concurrency: 1 };

const SERVICES: readonly ServiceName[] = ['stock-service', 'inventory-service', 'order-status'];

const INTAKE_CONNECTIONS = 2;

/**
 * Starts the services' own code in threads, as they run in pods: the intake in this one, the relay with bus and queues in memory in
 * another, and each consumer in one more.
 */
export async function startChain(
  location: DatabaseLocation, { retention, bundles = BUNDLES, signed = true }: ChainOptions = {},
): Promise<Chain> {
  const listeners: DoneListener[] = [];
  const threads: { worker: Worker; stopped: Promise<HostMessage & { kind: 'stopped' }> }[] = [];
  const start = async (data: HostData, transfer: MessagePort[]) => {
    const worker = new Worker(new URL('./service-host.ts', import.meta.url), {
      workerData: { bench: true, ...data }, transferList: transfer, resourceLimits: { maxYoungGenerationSizeMb: 64 },
    });
    const ready = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<HostMessage & { kind: 'stopped' }>();
    stopped.promise.catch(() => undefined);
    worker.on('message', (message: HostMessage) => {
      switch (message.kind) {
        case 'ready': return ready.resolve();
        case 'stopped': return stopped.resolve(message);
        case 'done': {
          const { step, orderIds, at } = message;
          if (step === 'settled' || step === 'deducted') for (const listener of listeners) listener(step, orderIds, at);
        }
      }
    });
    worker.on('error', (error) => {
      ready.reject(error);
      stopped.reject(error);
    });
    threads.push({ worker, stopped: stopped.promise });
    await ready.promise;
  };
  const channels = SERVICES.map(() => new MessageChannel());
  const ports = channels.map(({ port1 }) => port1);
  await start({ role: 'relay', signed, location, ports, bundles, ...(retention && { retention }) }, ports);
  for (const [i, service] of SERVICES.entries()) {
    const port = channels[i]!.port2;
    await start({ role: 'consumer', signed, service, location, settings: SETTINGS, port }, [port]);
  }
  const pool = commandPool(location, INTAKE_CONNECTIONS, 'intake');
  await warm(pool, INTAKE_CONNECTIONS);
  return {
    accept: acceptBy(pool),
    onDone: (listener) => listeners.push(listener),
    async stop() {
      // Consumers before the broker that they give back to.
      let calls: MemoryBroker['calls'] | undefined;
      for (const { worker, stopped } of threads.reverse()) {
        worker.postMessage({ kind: 'stop' });
        calls = (await stopped).calls ?? calls;
        await worker.terminate();
      }
      await pool.end();
      return { ...(calls && { calls }) };
    },
  };
}
