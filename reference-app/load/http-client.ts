import { Agent, request } from 'node:http';
import type { IncomingHttpHeaders, RequestOptions } from 'node:http';
import { request as requestTls, Agent as AgentTls } from 'node:https';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface SendOptions {
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
}

export interface HttpClient {
  send(method: string, path: string, options?: SendOptions): Promise<HttpAnswer>;
  close(): void;
}

export interface HttpClientOptions {
  /** Sent with every request as a bearer token. @default - none */
  readonly token?: string | undefined;
  /** @default 256 */
  readonly maxConnections?: number;
}

/** HTTP over kept-alive connections. Plain node:http, since a load generator must cost less than its target. */
export function httpClient(baseUrl: string, { token, maxConnections = 256 }: HttpClientOptions = {}): HttpClient {
  const { protocol, hostname, port, pathname } = new URL(baseUrl);
  const tls = protocol === 'https:';
  const options = { keepAlive: true, maxSockets: maxConnections, scheduling: 'lifo' } as const;
  const agent = tls ? new AgentTls(options) : new Agent(options);
  const always = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const prefix = pathname.replace(/\/$/, '');
  return {
    send(method, path, { body, headers = {}, timeoutMs = 10_000 } = {}) {
      return new Promise((resolve, reject) => {
        const content = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
        const all = { ...always, ...content, ...headers };
        const target: RequestOptions = { hostname, port, method, path: prefix + path, agent, headers: all };
        const sent = (tls ? requestTls : request)(target, (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('error', reject);
          answer.on('end', () => {
            clearTimeout(timer);
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks).toString('utf8') });
          });
        });
        // Bounds the whole exchange: the socket's own timeout starts again with every byte.
        const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        sent.on('error', (error) => {
          clearTimeout(timer);
          reject(error);
        });
        sent.end(body);
      });
    },
    close: () => agent.destroy(),
  };
}
