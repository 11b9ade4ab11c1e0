import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { FunctionError, Invocation } from './types.ts';
import { LOOPBACK } from '../processes/ports.ts';

const PREFIX = '/2018-06-01/runtime/';

export interface EnvironmentOptions {
  readonly functionArn: string;
  readonly timeoutSeconds: number;
  /** The process has loaded its handler. */
  onReady(): void;
  /** The process waits for an event. */
  onIdle(): void;
  /** The handler cannot be loaded. */
  onInitError(error: FunctionError): void;
  /** The time of an invocation is over: the process has to end. */
  onTimeout(): void;
}

/** The invocation did not end with an answer of the handler. */
export class InvocationError extends Error {
  readonly given: FunctionError;

  constructor(given: FunctionError) {
    super(given.errorMessage);
    this.given = given;
  }
}

/**
 * One execution environment of a function: the Runtime API of Lambda on a port of its own, for one process at a time. The process asks
 * for its next event and answers it; events come one after the other.
 */
export class Environment {
  static async open(options: EnvironmentOptions): Promise<Environment> {
    const environment = new Environment(options);
    await new Promise<void>((resolve, reject) => {
      environment.#server.once('error', reject);
      environment.#server.listen({ host: LOOPBACK, port: 0 }, resolve);
    });
    return environment;
  }

  readonly #options: EnvironmentOptions;
  readonly #server: Server;
  /** The request for the next event, while the process waits for one. */
  #next: ServerResponse | undefined;
  #current: { readonly id: string; readonly timer: NodeJS.Timeout; readonly answer: PromiseWithResolvers<string> } | undefined;
  #alive = false;

  private constructor(options: EnvironmentOptions) {
    this.#options = options;
    // A request for the next event waits as long as it takes.
    this.#server = createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, (request, response) => void this.#serve(request, response));
  }

  get port(): number { return (this.#server.address() as AddressInfo).port; }
  /** A process with a loaded handler is there. */
  get alive(): boolean { return this.#alive; }
  get idle(): boolean { return this.#next !== undefined; }

  /**
   * Gives an event to the process, which has to be idle. Resolves with the JSON text of the answer, or rejects with an
   * `InvocationError`.
   */
  async invoke({ event, traceHeader }: Invocation): Promise<string> {
    const response = this.#next;
    if (!response) throw new Error('The environment is not idle.');
    this.#next = undefined;
    const { functionArn, timeoutSeconds } = this.#options;
    const id = randomUUID();
    const result = Promise.withResolvers<string>();
    const timer = setTimeout(() => this.#timeOut(), timeoutSeconds * 1000);
    this.#current = { id, timer, answer: result };
    response.writeHead(200, {
      'content-type': 'application/json',
      'lambda-runtime-aws-request-id': id,
      'lambda-runtime-deadline-ms': String(Date.now() + timeoutSeconds * 1000),
      'lambda-runtime-invoked-function-arn': functionArn,
      ...(traceHeader !== undefined && { 'lambda-runtime-trace-id': traceHeader }),
    });
    response.end(event);
    return result.promise;
  }

  /** The process has ended. */
  ended(): void {
    this.#alive = false;
    this.#next = undefined;
    this.#fail({ errorType: 'Runtime.ExitError', errorMessage: 'The process of the function ended during the invocation.' });
  }

  #timeOut(): void {
    this.#fail({ errorType: 'Sandbox.Timedout', errorMessage: `Task timed out after ${this.#options.timeoutSeconds.toFixed(2)} seconds` });
    this.#options.onTimeout();
  }

  #fail(error: FunctionError): void {
    this.#take()?.reject(new InvocationError(error));
  }

  /** Ends the invocation in hand, if it has this id. */
  #take(id = this.#current?.id): PromiseWithResolvers<string> | undefined {
    const current = this.#current;
    if (!current || current.id !== id) return undefined;
    clearTimeout(current.timer);
    this.#current = undefined;
    return current.answer;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, origin, 'sec-fetch-site': site } = request.headers;
    // A web page must not take events away; see http/guard.ts. A page that only reads sends no Origin.
    if (host !== `${LOOPBACK}:${this.port}` || origin !== undefined || site !== undefined) return answer(response, 403, 'Forbidden');
    const path = request.url?.startsWith(PREFIX) ? request.url.slice(PREFIX.length) : '';
    if (request.method === 'GET') return path === 'invocation/next' ? this.#waitForNext(response) : answer(response, 404, 'NotFound');
    const body = await text(request).catch(() => undefined);
    if (body === undefined) return;
    if (path === 'init/error') {
      this.#options.onInitError(readError(body));
      return answer(response, 202);
    }
    const [, id, kind] = /^invocation\/([^/]+)\/(response|error)$/.exec(path) ?? [];
    if (id === undefined) return answer(response, 404, 'NotFound');
    const current = this.#take(id);
    if (!current) return answer(response, 400, 'InvalidRequestID');
    if (kind === 'response') current.resolve(body);
    else current.reject(new InvocationError(readError(body)));
    answer(response, 202);
  }

  #waitForNext(response: ServerResponse): void {
    if (!this.#alive) this.#options.onReady();
    this.#alive = true;
    this.#next = response;
    response.once('close', () => {
      if (this.#next === response) this.#next = undefined;
    });
    this.#options.onIdle();
  }
}

function answer(response: ServerResponse, status: number, errorType?: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(errorType === undefined ? { status: 'OK' } : { errorType, errorMessage: errorType }));
}

/** Runtimes should send JSON, and some send nothing. */
function readError(body: string): FunctionError {
  try {
    const { errorType = 'Error', errorMessage = '', stackTrace } = JSON.parse(body) as Partial<FunctionError>;
    const frames = Array.isArray(stackTrace) ? stackTrace.map(String) : [];
    return { errorType: String(errorType), errorMessage: String(errorMessage), stackTrace: frames };
  } catch {
    return { errorType: 'Error', errorMessage: body };
  }
}
