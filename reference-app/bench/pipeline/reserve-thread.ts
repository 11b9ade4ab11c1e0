/** The batched reserve stage in a thread of its own, as a pod of its own runs it. Started by reserve-variant.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Shape } from './orders.ts';
import { reserveVariant } from './reserve-variant.ts';
import { seeded } from '../../load/random.ts';
import { commandPool, warm, type DatabaseLocation } from '../database/server.ts';

export interface ReserveThreadData {
  readonly location: DatabaseLocation;
  readonly shape: Shape;
  readonly seed: number;
  readonly batch: number;
  readonly workers: number;
}
export type ReserveThreadRequest = { readonly op: 'prepare' | 'run'; readonly ms: number } | { readonly op: 'stop' };
export interface ReserveThreadAnswer {
  readonly count: number;
  /** Begin and end, in milliseconds since the epoch. */
  readonly start: number;
  readonly end: number;
  /** Orders taken since the thread began. */
  readonly taken: number;
  /** Milliseconds of each transaction. */
  readonly times: readonly number[];
}

const { location, shape, seed, batch, workers } = workerData as ReserveThreadData;
const pool = commandPool(location, workers);
await warm(pool, workers);
const times: number[] = [];
const variant = reserveVariant('thread', pool, shape, seeded(seed), { batch, workers }, times);
const port = parentPort!;
port.on('message', (request: ReserveThreadRequest) => {
  void (async () => {
    if (request.op === 'stop') {
      await pool.end();
      port.close();
    } else if (request.op === 'prepare') {
      await variant.prepare(request.ms);
      port.postMessage('prepared');
    } else {
      const start = performance.timeOrigin + performance.now();
      const { count, seconds } = await variant.run(request.ms);
      const answer: ReserveThreadAnswer = { count, start, end: start + seconds * 1000, taken: variant.taken(), times: times.splice(0) };
      port.postMessage(answer);
    }
  })();
});
port.postMessage('ready');
