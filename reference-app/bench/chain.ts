import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import type { Retention } from '../services/outbox-relay/maintenance.ts';
import type { EventEnvelope } from '../services/shared/events/index.ts';
import type { MemoryBroker } from './broker.ts';
import * as naive from './naive.ts';
import { intakeOf, type Accept } from './intake.ts';
import { commandPool, warm, type Target } from './server.ts';
import type { ConsumerSettings, HostData, HostMessage, ServiceName } from './stage-host.ts';

type Listener = (what: 'settled' | 'deducted', orderIds: readonly string[], at: number) => void;

/** All stages of an order, started and connected. */
export interface Chain {
  readonly accept: Accept;
  /** Called for each commit of order status and of the deduction; `at` in milliseconds since the epoch. */
  onDone(listener: Listener): void;
  stop(): Promise<{ calls?: MemoryBroker['calls'] }>;
}

export interface ChainOptions {
  readonly settings?: Partial<Record<ServiceName, ConsumerSettings>>;
  /** Connections of the intake. */
  readonly intakeConnections?: number;
  /** @default - everything is kept */
  readonly retention?: Retention;
}

/** One batch at a time: here the processor is what bounds, so a second one would only make both smaller. */
const SETTINGS: ConsumerSettings = { concurrency: 1 };

const SERVICES: readonly ServiceName[] = ['stock-service', 'inventory-service', 'order-status'];

/**
 * The services' own code, a thread each, as they run in a pod each: intake here, the relay with bus and queues in memory in one
 * thread, each consumer in another.
 */
export async function startChain(target: Target, { settings = {}, intakeConnections = 2, retention }: ChainOptions = {}): Promise<Chain> {
  const listeners: Listener[] = [];
  const threads: { worker: Worker; stopped: Promise<HostMessage & { kind: 'stopped' }> }[] = [];
  const start = async (data: HostData, transfer: MessagePort[]) => {
    const worker = new Worker(new URL('./stage-host.ts', import.meta.url), { workerData: { bench: true, ...data }, transferList: transfer, resourceLimits: { maxYoungGenerationSizeMb: 64 } });
    const ready = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<HostMessage & { kind: 'stopped' }>();
    stopped.promise.catch(() => undefined);
    worker.on('message', (message: HostMessage) => {
      switch (message.kind) {
        case 'ready': return ready.resolve();
        case 'stopped': return stopped.resolve(message);
        case 'done':
          if (message.what === 'settled' || message.what === 'deducted') for (const listener of listeners) listener(message.what, message.orderIds, message.at);
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
  await start({ role: 'relay', target, ports, ...(retention && { retention }) }, ports);
  for (const [i, service] of SERVICES.entries()) {
    const port = channels[i]!.port2;
    await start({ role: 'consumer', service, target, settings: { ...SETTINGS, ...settings[service] }, port }, [port]);
  }
  const pool = commandPool(target, intakeConnections, 'intake');
  await warm(pool, intakeConnections);
  return {
    accept: intakeOf(pool),
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

/**
 * The naive services: `ways` workers per stage, one message and one transaction at a time each. A serial relay would bound
 * several workers, so theirs reads a hundred rows at once.
 */
export async function startNaiveChain(target: Target, ways: number): Promise<Chain> {
  const listeners: Listener[] = [];
  const pool = commandPool(target, ways * 5 + 1, 'naive');
  await warm(pool, ways * 5 + 1);
  let stopping = false;
  const loops: Promise<void>[] = [];
  const queue = <E extends EventEnvelope>(work: (event: E) => Promise<unknown>) => {
    const items: EventEnvelope[] = [];
    const idle: (() => void)[] = [];
    for (let i = 0; i < ways; i++) {
      loops.push((async () => {
        while (!stopping) {
          const event = items.shift();
          if (event) await work(event as E);
          else await new Promise<void>((resolve) => idle.push(resolve));
        }
      })());
    }
    const wake = () => idle.shift()?.();
    return { push: (event: EventEnvelope) => { items.push(event); wake(); }, wakeAll: () => idle.splice(0).forEach((one) => one()) };
  };
  const tell = (what: 'settled' | 'deducted', orderId: string) => {
    const at = performance.timeOrigin + performance.now();
    for (const listener of listeners) listener(what, [orderId], at);
  };
  const stock = queue((event: EventEnvelope<'order.created'>) => naive.validate(pool, event));
  const inventory = queue(async (event: EventEnvelope<'inventory.validated' | 'order.confirmed'>) => {
    if (event.type === 'inventory.validated') {
      await naive.reserve(pool, event);
    } else {
      await naive.deduct(pool, event);
      tell('deducted', event.subject);
    }
  });
  const status = queue(async (event: EventEnvelope<'inventory.updated'>) => {
    await naive.settle(pool, event);
    tell('settled', event.subject);
  });
  const route = (envelope: string, detailType: string) => {
    const event = JSON.parse(envelope) as EventEnvelope;
    if (detailType === 'OrderCreated') stock.push(event);
    else if (detailType === 'StockValidated' || detailType === 'OrderConfirmed') inventory.push(event);
    else if (event.type === 'inventory.updated' && event.data.outcome !== 'DEDUCTED') status.push(event);
  };
  loops.push((async () => {
    while (!stopping) if (await naive.relaySome(pool, ways === 1 ? 1 : 100, route) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  })());
  const intake: (() => Promise<void>)[] = [];
  let taking = 0;
  const take = async () => {
    if (taking >= ways) return;
    taking++;
    for (let next = intake.shift(); next; next = intake.shift()) await next();
    taking--;
  };
  return {
    accept: (order) => new Promise((resolve, reject) => {
      intake.push(() => naive.takeOrder(pool, order).then(resolve, reject));
      void take();
    }),
    onDone: (listener) => listeners.push(listener),
    async stop() {
      stopping = true;
      for (const one of [stock, inventory, status]) one.wakeAll();
      await Promise.all(loops);
      await pool.end();
      return {};
    },
  };
}
