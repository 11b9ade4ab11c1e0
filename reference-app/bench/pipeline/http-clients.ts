/**
 * HTTP clients in a thread of their own: connections that stay open, each sending the next ready-made request when the last one is
 * answered. Started by rows/http.ts.
 */
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { randomOrder, UNIFORM } from './orders.ts';
import { seeded } from '../../load/random.ts';
import { latencies } from '../../load/statistics.ts';

export interface ClientsData {
  readonly port: number;
  readonly connections: number;
  readonly seed: number;
  /** Tokens of operators, which the requests carry in turn. @default - none */
  readonly tokens?: readonly string[];
}
/** Sends requests for a number of milliseconds. */
export interface ClientsRequest { readonly ms: number }
export interface ClientsResult {
  /** Requests that were answered with 202. */
  readonly count: number;
  readonly seconds: number;
  /** Requests with any other answer. */
  readonly refused: number;
  /** Milliseconds from the request to its answer. */
  readonly p50: number;
  readonly p99: number;
}

const HEADER_END = Buffer.from('\r\n\r\n');

function main({ port, connections, seed, tokens = [] }: ClientsData): void {
  const random = seeded(seed);
  const requests = Array.from({ length: 5_000 }, (_, n) => {
    const { customerId, items } = randomOrder(UNIFORM, random);
    const body = JSON.stringify({ customerId, items });
    const length = Buffer.byteLength(body);
    const authorization = tokens.length === 0 ? '' : `authorization: Bearer ${tokens[n % tokens.length]}\r\n`;
    const headers = `host: 127.0.0.1\r\n${authorization}content-type: application/json\r\ncontent-length: ${length}\r\n`;
    return Buffer.from(`POST /orders HTTP/1.1\r\n${headers}\r\n${body}`);
  });
  let next = 0;
  let until = 0;
  let count = 0;
  let refused = 0;
  let end = 0;
  let busy = 0;
  let milliseconds: number[] = [];
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
    socket.on('close', () => { throw new Error('The API closed a connection.'); });
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
        milliseconds.push(end - sent);
      } else {
        refused++;
      }
      if (end < until) send();
      else if (--busy === 0) finished();
    });
    return { send, ready: new Promise<void>((resolve) => socket.once('connect', resolve)) };
  });
  void Promise.all(clients.map(({ ready }) => ready)).then(() => parentPort!.postMessage('ready'));
  parentPort!.on('message', ({ ms }: ClientsRequest) => {
    const start = performance.now();
    until = start + ms;
    count = 0;
    refused = 0;
    milliseconds = [];
    busy = clients.length;
    finished = () => {
      const { p50, p99 } = latencies(milliseconds);
      parentPort!.postMessage({ count, seconds: (end - start) / 1000, refused, p50, p99 } satisfies ClientsResult);
    };
    clients.forEach(({ send }) => send());
  });
}

main(workerData as ClientsData);
