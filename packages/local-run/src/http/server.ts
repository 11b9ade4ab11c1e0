import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Log } from '../log.ts';
import { refusal } from './guard.ts';
import type { Protocol } from './guard.ts';
import { xmlError } from './query-protocol.ts';
import { LOOPBACK } from '../processes/ports.ts';

/** A request that the guard has let pass, with its whole body. */
export interface LocalRequest {
  readonly method: string;
  /** The path of the request line, with its query string. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly protocol: Protocol;
  readonly body: string;
  /** The connection, to see whether the client is still there. */
  readonly socket: Socket;
}

export interface LocalAnswer {
  readonly status: number;
  readonly body: string | Uint8Array;
  /** Among them `content-type`; the length and the request id are added. */
  readonly headers: OutgoingHttpHeaders;
}

/** An answer that is a text. */
export interface TextAnswer extends LocalAnswer {
  readonly body: string;
}

export interface LocalServerOptions {
  /** The name of the service in logs and errors. */
  readonly service: string;
  readonly protocols: readonly Protocol[];
  readonly log: Log;
  /** Answers a request. An error that it throws is an error of the endpoint itself: it is logged and answered with 500. */
  readonly handle: (request: LocalRequest, requestId: string) => LocalAnswer | Promise<LocalAnswer>;
  /** @default 0, the system picks one */
  readonly port?: number;
  /** A larger request is refused. @default 4 MiB */
  readonly maxBodyBytes?: number;
  /** A request has to be complete within this time. @default 30 seconds */
  readonly requestTimeoutMs?: number;
}

export interface LocalServer {
  readonly url: string;
  readonly port: number;
  /** Answers what has come in and then closes. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** A body that is too large is read up to this multiple of the limit, so that its client sees the answer and not a broken connection. */
const READ_TO_REFUSE = 4;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;

/**
 * The HTTP server of every local endpoint of AWS: it listens on 127.0.0.1 only, and `refusal` keeps web pages out. Signatures are not
 * checked.
 *
 * @throws if the port is taken; its `code` is `EADDRINUSE`.
 */
export async function serveLocally(options: LocalServerOptions): Promise<LocalServer> {
  const { port = 0, requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  const timeouts = { requestTimeout: requestTimeoutMs, headersTimeout: Math.min(10_000, requestTimeoutMs) };
  const server = createServer({ ...timeouts, connectionsCheckingInterval: Math.min(5_000, requestTimeoutMs) }, (request, response) => {
    // A connection that is kept alive would hold up close().
    response.once('finish', () => {
      if (!server.listening) request.socket.end();
    });
    receive(request, response, options, bound);
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: LOOPBACK, port }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${LOOPBACK}:${bound}`,
    port: bound,
    close: () =>
      new Promise((resolve, reject) => {
        server.close(error => (error === undefined ? resolve() : reject(error)));
        server.closeIdleConnections();
      }),
  };
}

function receive(request: IncomingMessage, response: ServerResponse, options: LocalServerOptions, port: number): void {
  const { headers } = request;
  const requestId = randomUUID();
  const refuse = (status: number, code: string, message: string) => {
    send(response, requestId, refused(headers, { status, code, message }, requestId));
  };
  const anyMethod = request.method === 'POST' || options.protocols.includes('any') || options.protocols.includes('plain');
  const reason = anyMethod ? refusal(headers, port, options.protocols) : hostOrMethod(request, port, options);
  if (reason !== undefined) {
    refuse(403, 'AccessDeniedException', reason);
    request.resume();
    return;
  }
  const { maxBodyBytes = MAX_BODY_BYTES } = options;
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxBodyBytes) chunks.push(chunk);
    else if (size > maxBodyBytes * READ_TO_REFUSE) request.destroy();
  });
  request.on('end', () => {
    if (size > maxBodyBytes) {
      refuse(413, 'RequestEntityTooLargeException', `The request has ${size} bytes, more than the ${maxBodyBytes} that ${options.service} takes.`);
      return;
    }
    const body = chunks.length === 1 ? chunks[0]!.toString('utf8') : Buffer.concat(chunks).toString('utf8');
    const protocol = headers['x-amz-target'] !== undefined && options.protocols.includes('json') ? 'json' : 'query';
    void answer({ method: request.method ?? 'POST', path: request.url ?? '/', headers, protocol, body, socket: request.socket }, requestId, response, options);
  });
}

/** In the format that the client reads, if it is one of AWS. The connection ends, since there may be more to come on it. */
function refused(headers: IncomingHttpHeaders, error: { status: number; code: string; message: string }, requestId: string): LocalAnswer {
  const type = headers['content-type'] ?? '';
  const connection = { connection: 'close' };
  if (type.startsWith('application/x-www-form-urlencoded')) {
    const inXml = xmlError('', error, requestId);
    return { ...inXml, headers: { ...inXml.headers, ...connection } };
  }
  const body = JSON.stringify({ __type: error.code, message: error.message });
  return { status: error.status, headers: { 'content-type': /^application\/x-amz-json-1\.[01]$/.exec(type)?.[0] ?? 'application/x-amz-json-1.0', ...connection }, body };
}

/** No SDK sends anything but POST, so the rest of the guard would only give a second reason. */
function hostOrMethod(request: IncomingMessage, port: number, { service, protocols }: LocalServerOptions): string {
  const browser = refusal({ ...request.headers, 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'none' }, port, [...protocols, 'json']);
  return browser ?? `${service} takes POST requests of AWS SDKs and of the AWS CLI only, not ${request.method ?? 'this'}.`;
}

async function answer(request: LocalRequest, requestId: string, response: ServerResponse, options: LocalServerOptions): Promise<void> {
  const { handle, log, service } = options;
  try {
    send(response, requestId, await handle(request, requestId));
  } catch (error) {
    log('error', `${service}: ${error instanceof Error ? error.stack : String(error)}`);
    const body = JSON.stringify({ __type: 'InternalFailure', message: 'The local endpoint failed; see its log.' });
    send(response, requestId, { status: 500, headers: { 'content-type': 'application/x-amz-json-1.0' }, body });
  }
}

function send(response: ServerResponse, requestId: string, { status, body, headers }: LocalAnswer): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body), 'x-amzn-requestid': requestId });
  response.end(body);
}
