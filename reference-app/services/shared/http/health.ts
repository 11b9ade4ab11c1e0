import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

/** True, or the reason why the process cannot do its work now, in one sentence. */
export type Readiness = true | string;

/** Says whether the process can do its work now; throwing means no. */
export type ReadyCheck = () => Readiness | Promise<Readiness>;

export interface HealthOptions {
  readonly ready: ReadyCheck;
  readonly registry: Registry;
}

export interface HealthAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

const HEALTH_PATHS = ['/livez', '/readyz', '/metrics'] as const;

/** A check that hangs is answered before the prober gives up (our pods give it 2 s). */
const READY_TIMEOUT_MS = 1_500;

/** Answers the three operational addresses, for workers and APIs alike. */
async function healthAnswer(path: string, { ready, registry }: HealthOptions): Promise<HealthAnswer | undefined> {
  switch (path) {
    case '/livez':
      return text(200, 'ok\n');
    case '/readyz':
      return readyAnswer(await readinessOf(ready));
    case '/metrics':
      return { status: 200, contentType: registry.contentType, body: await registry.metrics() };
    default:
      return undefined;
  }
}

export interface HealthServer {
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

/** The small HTTP server of a process that has no API of its own. */
export async function startHealthServer(options: HealthOptions & { port: number; host: string }): Promise<HealthServer> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    request.resume();
    const reply = (answer: HealthAnswer, headers: Record<string, string> = {}) => {
      response.writeHead(answer.status, { 'content-type': answer.contentType, 'cache-control': 'no-store', ...headers });
      response.end(request.method === 'HEAD' ? undefined : answer.body);
    };
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    healthAnswer(path, options).then(
      (answer) => {
        if (!answer) {
          reply(text(404, `Nothing here; try ${HEALTH_PATHS.join(', ')}.\n`));
        } else if (request.method !== 'GET' && request.method !== 'HEAD') {
          reply(text(405, 'Use GET.\n'), { allow: 'GET, HEAD' });
        } else {
          reply(answer);
        }
      },
      () => reply(text(500, 'The metrics could not be collected.\n')),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve());
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    stop: () => new Promise((resolve) => {
      server.close(() => resolve());
      // A scraper's keep-alive connection would hold the process until the scraper goes.
      server.closeAllConnections();
    }),
  };
}

async function readinessOf(ready: ReadyCheck): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<Readiness>((resolve) => {
    timer = setTimeout(resolve, READY_TIMEOUT_MS, 'The check takes too long.');
  });
  try {
    return await Promise.race([(async () => ready())(), timeout]);
  } catch {
    return 'The check failed.';
  } finally {
    clearTimeout(timer);
  }
}

function readyAnswer(readiness: Readiness): HealthAnswer {
  return readiness === true ? text(200, 'ready\n') : text(503, `not ready: ${readiness}\n`);
}

function text(status: number, body: string): HealthAnswer {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}
