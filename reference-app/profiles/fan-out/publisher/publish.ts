import { setTimeout as sleep } from 'node:timers/promises';
import { lives, type Life, type LifeEvent } from './life.ts';
import { Putter, requireBus, type PutOptions } from './put.ts';
import { openLoop } from '../../../load/open-loop.ts';
import { seeded } from '../../../load/random.ts';
import { detailTypeOf, type DetailType } from '../../../services/shared/events/index.ts';

export interface PublisherOptions extends Omit<PutOptions, 'onRetry'> {
  readonly orders: number;
  /** Orders created per second. */
  readonly rate: number;
  /** Between the events of an order. */
  readonly pauseMs: number;
  readonly seed: number;
  /** Share of the events that are put twice, as after an answer that got lost. */
  readonly duplicates: number;
  /** No further event after it; an order may remain without its end. */
  readonly signal?: AbortSignal;
  readonly onPublished?: (event: LifeEvent) => void;
  readonly onFailed?: (failure: Failure) => void;
  readonly onRetry?: (error: string) => void;
}

export interface Failure {
  readonly orderId: string;
  readonly detailType: DetailType;
  readonly error: string;
}

export interface PublisherReport {
  /** Created, updated and cancelled. */
  readonly orders: number;
  readonly published: Record<'OrderCreated' | 'OrderUpdated' | 'OrderCancelled', number>;
  /** Events that were put a second time. */
  duplicates: number;
  /** Entries that had to be put again. */
  retries: number;
  readonly failed: readonly Failure[];
  /** Orders that an interruption left without their end, or without a beginning. */
  readonly interrupted: number;
  readonly seconds: number;
}

/** Creates, updates and cancels orders. Of one order the next event is put when the bus has the one before; a lost one ends it. */
export async function publishOrders(options: PublisherOptions): Promise<PublisherReport> {
  const { orders, rate, pauseMs, seed, duplicates, signal, onPublished, onFailed } = options;
  await requireBus(options.client, options.busName);
  const began = performance.now();
  const published = { OrderCreated: 0, OrderUpdated: 0, OrderCancelled: 0 };
  const failed: Failure[] = [];
  const counts = { complete: 0, duplicates: 0, retries: 0 };
  const random = seeded(seed);
  const putter = new Putter({
    ...options,
    onRetry: (error) => {
      counts.retries++;
      options.onRetry?.(error);
    },
  });

  const put = async (event: LifeEvent): Promise<LifeEvent | undefined> => {
    if (signal?.aborted) return undefined;
    const detailType = detailTypeOf(event) as keyof typeof published;
    for (let copies = random() < duplicates ? 2 : 1, copy = 1; copy <= copies; copy++) {
      const error = await putter.put(event);
      if (error === undefined && copy === 1) {
        published[detailType]++;
        onPublished?.(event);
      } else if (error === undefined) {
        counts.duplicates++;
      } else if (copy === 1) {
        const failure = { orderId: event.subject, detailType, error };
        failed.push(failure);
        onFailed?.(failure);
        return undefined;
      }
    }
    return event;
  };
  const pause = () => sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  const live = async (life: Life): Promise<void> => {
    const created = await put(life.create());
    if (!created) return;
    await pause();
    const updated = await put(life.update(created));
    if (!updated) return;
    await pause();
    if (await put(life.cancel(updated))) counts.complete++;
  };

  await openLoop(lives(orders, seed), rate, live, signal);
  return {
    orders: counts.complete,
    published,
    duplicates: counts.duplicates,
    retries: counts.retries,
    failed,
    interrupted: orders - counts.complete - failed.length,
    seconds: Math.round(performance.now() - began) / 1000,
  };
}
