/** The batched reserve stage in a thread of its own, as a pod of its own runs it. Started by rows/reserve.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { seeded } from '../load/random.ts';
import type { Shape } from './load.ts';
import { reserveVariant } from './reserve-variant.ts';
import { commandPool, warm, type Target } from './server.ts';

export interface ReserveThreadData { readonly target: Target; readonly shape: Shape; readonly seed: number; readonly batch: number; readonly workers: number }
export type ReserveThreadRequest = { readonly op: 'prepare' | 'run'; readonly ms: number } | { readonly op: 'stop' };
export interface ReserveThreadAnswer { readonly count: number; readonly start: number; readonly end: number; readonly taken: number; readonly times: readonly number[] }

const { target, shape, seed, batch, workers } = workerData as ReserveThreadData;
const pool = commandPool(target, workers);
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
      port.postMessage({ count, start, end: start + seconds * 1000, taken: variant.taken(), times: times.splice(0) } satisfies ReserveThreadAnswer);
    }
  })();
});
port.postMessage('ready');
