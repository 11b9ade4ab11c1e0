import * as naive from './naive.ts';
import type { Chain, DoneListener } from './start-services.ts';
import type { EventEnvelope } from '../../services/shared/events/index.ts';
import { commandPool, warm, type DatabaseLocation } from '../database/server.ts';

/** The last event of an order is visible a moment after its commit. */
const REST_MS = 100;

/**
 * Starts the naive services: `ways` workers per stage, each with one message and one transaction at a time. A relay of single events
 * would limit several workers, so theirs reads a hundred rows at once.
 */
export async function startNaiveChain(location: DatabaseLocation, ways: number): Promise<Chain> {
  const listeners: DoneListener[] = [];
  const pool = commandPool(location, ways * 5 + 1, 'naive');
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
    return {
      push(event: EventEnvelope) {
        items.push(event);
        wake();
      },
      wakeAll: () => idle.splice(0).forEach((one) => one()),
    };
  };
  const report = (step: 'settled' | 'deducted', orderId: string) => {
    const at = performance.timeOrigin + performance.now();
    for (const listener of listeners) listener(step, [orderId], at);
  };
  const stock = queue((event: EventEnvelope<'order.created'>) => naive.validate(pool, event));
  const inventory = queue(async (event: EventEnvelope<'inventory.validated' | 'order.confirmed'>) => {
    if (event.type === 'inventory.validated') {
      await naive.reserve(pool, event);
    } else {
      await naive.deduct(pool, event);
      open--;
      report('deducted', event.subject);
    }
  });
  const status = queue(async (event: EventEnvelope<'inventory.updated'>) => {
    await naive.settle(pool, event);
    report('settled', event.subject);
  });
  // Orders on their way. A chain that rests must not poll: its queries would be counted for the chain that is measured meanwhile.
  let open = 0;
  let wakeRelay = () => {};
  const route = (envelope: string, detailType: string) => {
    const event = JSON.parse(envelope) as EventEnvelope;
    if (detailType === 'OrderCreated') stock.push(event);
    else if (detailType === 'StockValidated' || detailType === 'OrderConfirmed') inventory.push(event);
    else if (event.type === 'inventory.updated' && event.data.outcome !== 'DEDUCTED') status.push(event);
  };
  loops.push((async () => {
    let last = 0;
    while (!stopping) {
      const count = await naive.relaySome(pool, ways === 1 ? 1 : 100, route);
      if (count > 0 || open > 0) last = performance.now();
      if (count > 0) continue;
      if (performance.now() - last < REST_MS) await new Promise((resolve) => setTimeout(resolve, 1));
      else await new Promise<void>((resolve) => (wakeRelay = resolve));
    }
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
      open++;
      wakeRelay();
      intake.push(() => naive.takeOrder(pool, order).then(resolve, reject));
      void take();
    }),
    onDone: (listener) => listeners.push(listener),
    async stop() {
      stopping = true;
      for (const one of [stock, inventory, status]) one.wakeAll();
      wakeRelay();
      await Promise.all(loops);
      await pool.end();
      return {};
    },
  };
}
