import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

/**
 * Calls `send` for every item at its intended time, whatever the earlier ones take: a slow system gets no easier load, and a time
 * measured from the intended moment does not hide the wait (coordinated omission). Resolves when every call has; `send` does not reject.
 */
export async function openLoop<T>(
  items: Iterable<T>,
  rate: number,
  send: (item: T, intended: number, index: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const open = new Set<Promise<void>>();
  let index = 0;
  for (const item of items) {
    const intended = started + (index * 1000) / rate;
    const wait = intended - performance.now();
    // Behind its times, the loop must still let answers in.
    if (wait > 0) await sleep(wait, undefined, { signal }).catch(() => undefined);
    else if (index % 32 === 0) await turn();
    if (signal?.aborted) break;
    const call = send(item, intended, index++).finally(() => open.delete(call));
    open.add(call);
  }
  await Promise.all(open);
}
