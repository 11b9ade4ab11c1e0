import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { feed } from './feed.ts';
import type { AcceptedOrder, FeedResult } from './feed.ts';
import { httpClient } from './http-client.ts';
import { randomOrders, readSampleOrders } from './orders.ts';

/** Feeds in a thread of its own, because this one serves the queues and the bus: its work would count as the API's latency. */
export interface ThreadedFeed {
  readonly url: string;
  /** @default - none */
  readonly token?: string | undefined;
  readonly rate: number;
  /** Random orders; the sample orders of the data file without it. */
  readonly random?: { readonly count: number; readonly seed: number };
}

const REPORT_MS = 20;

type Message = { readonly accepted: readonly AcceptedOrder[] } | { readonly result: FeedResult };

export async function feedApart(plan: ThreadedFeed, signal: AbortSignal, onAccepted: (order: AcceptedOrder) => void): Promise<FeedResult> {
  const worker = new Worker(new URL(import.meta.url), { workerData: plan });
  const stop = () => worker.postMessage('stop');
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<FeedResult>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`the feeding thread ended with ${code}`)));
      worker.on('message', (message: Message) => ('result' in message ? resolve(message.result) : message.accepted.forEach(onAccepted)));
      if (signal.aborted) stop();
    });
  } finally {
    signal.removeEventListener('abort', stop);
    await worker.terminate();
  }
}

if (!isMainThread && parentPort && (workerData as Partial<ThreadedFeed> | null)?.url !== undefined) {
  const port = parentPort;
  const { url, token, rate, random } = workerData as ThreadedFeed;
  const stop = new AbortController();
  port.on('message', () => stop.abort());
  const client = httpClient(url, { token });
  const orders = random ? randomOrders(random.count, random.seed) : readSampleOrders();
  const send = (message: Message) => port.postMessage(message);
  // A message for each would cost the other thread more than the news is worth.
  let accepted: AcceptedOrder[] = [];
  const report = () => {
    if (accepted.length > 0) send({ accepted });
    accepted = [];
  };
  const reporting = setInterval(report, REPORT_MS);
  const result = await feed({ orders, rate, client, signal: stop.signal, onAccepted: (order) => accepted.push(order) });
  clearInterval(reporting);
  report();
  client.close();
  send({ result });
  port.close();
}
