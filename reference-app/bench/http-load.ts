/** Closed-loop HTTP clients in a thread: keep-alive connections that send ready-made requests and count the answers. Started by rows/http.ts. */
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { seeded } from '../load/random.ts';
import { randomOrder, UNIFORM } from './load.ts';

export interface LoadData { readonly port: number; readonly connections: number; readonly seed: number }
export interface LoadRequest { readonly ms: number }
export interface LoadResult { readonly count: number; readonly seconds: number; readonly refused: number; readonly p50: number; readonly p99: number }

const HEADER_END = Buffer.from('\r\n\r\n');

function main(port: number, connections: number, seed: number): void {
  const random = seeded(seed);
  const requests = Array.from({ length: 5_000 }, () => {
    const { customerId, items } = randomOrder(UNIFORM, random);
    const body = JSON.stringify({ customerId, items });
    return Buffer.from(`POST /orders HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  });
  let next = 0;
  let until = 0;
  let count = 0;
  let refused = 0;
  let end = 0;
  let busy = 0;
  let latencies: number[] = [];
  let finished: () => void = () => {};

  const clients = Array.from({ length: connections }, () => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    let pending: Buffer = Buffer.alloc(0);
    let sent = 0;
    const send = () => {
      sent = performance.now();
      socket.write(requests[next++ % requests.length]!);
    };
    socket.on('error', (error) => { throw error; });
    socket.on('data', (chunk) => {
      pending = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
      const headerEnd = pending.indexOf(HEADER_END);
      if (headerEnd < 0) return;
      const header = pending.toString('latin1', 0, headerEnd);
      const length = Number(/content-length: (\d+)/i.exec(header)?.[1] ?? 0);
      if (pending.length < headerEnd + 4 + length) return;
      pending = pending.subarray(headerEnd + 4 + length);
      end = performance.now();
      if (header.startsWith('HTTP/1.1 202')) {
        count++;
        latencies.push(end - sent);
      } else {
        refused++;
      }
      if (end < until) send();
      else if (--busy === 0) finished();
    });
    return { send, ready: new Promise<void>((resolve) => socket.once('connect', resolve)) };
  });
  void Promise.all(clients.map(({ ready }) => ready)).then(() => parentPort!.postMessage('ready'));
  parentPort!.on('message', ({ ms }: LoadRequest) => {
    const start = performance.now();
    until = start + ms;
    count = 0;
    refused = 0;
    latencies = [];
    busy = clients.length;
    finished = () => {
      latencies.sort((a, b) => a - b);
      const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? NaN;
      parentPort!.postMessage({ count, seconds: (end - start) / 1000, refused, p50: at(0.5), p99: at(0.99) } satisfies LoadResult);
    };
    clients.forEach(({ send }) => send());
  });
}

const { port, connections, seed } = workerData as LoadData;
main(port, connections, seed);
