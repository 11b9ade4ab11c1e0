import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AwsError, validation } from '../eventbridge/errors.ts';
import type { Log } from '../eventbridge/types.ts';

/** An HTTP endpoint that speaks the AWS JSON 1.1 protocol, as the SDK clients do. Signatures are not checked: it listens on loopback. */
export type Input = Readonly<Record<string, unknown>>;
export type Actions = Readonly<Record<string, (input: Input) => unknown>>;

export interface AwsJsonOptions {
  readonly service: string;
  /** What stands before the dot in `X-Amz-Target`. */
  readonly targetPrefix: string;
  readonly actions: Actions;
  readonly log: Log;
  readonly host?: string;
  readonly port?: number;
}

export interface AwsJsonServer {
  readonly url: string;
  readonly port: number;
  /** Answers what has come in and then closes. */
  close(): Promise<void>;
}

// PutEvents takes 1 MiB of event data; JSON escaping may double that, and there is an envelope around it.
const MAX_BODY_BYTES = 4 * 1024 * 1024;

export async function serveAwsJson(options: AwsJsonOptions): Promise<AwsJsonServer> {
  const { host = '127.0.0.1', port = 0, log, service } = options;
  const server = createServer((request, response) => {
    // A connection that is kept alive would hold up close().
    response.once('finish', () => {
      if (!server.listening) request.socket.end();
    });
    answer(request, options).then(
      output => send(response, 200, output ?? {}),
      (error: unknown) => {
        const failure = error instanceof AwsError ? error : new AwsError('InternalFailure', 'The local endpoint failed; see its log', 500);
        if (failure !== error) log('error', `${service}: ${error instanceof Error ? error.stack : String(error)}`);
        send(response, failure.status, { __type: failure.name, message: failure.message }, failure.name);
      },
    );
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? new Error(`${service}: port ${port} is taken; give another one or 0 for a free one`) : error);
    });
    server.listen({ host, port }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host}:${bound}`,
    port: bound,
    close: () =>
      new Promise((resolve, reject) => {
        server.close(error => (error === undefined ? resolve() : reject(error)));
        server.closeIdleConnections();
      }),
  };
}

async function answer(request: IncomingMessage, { service, targetPrefix, actions }: AwsJsonOptions): Promise<unknown> {
  const body = await read(request);
  const target = request.headers['x-amz-target'];
  if (request.method !== 'POST' || typeof target !== 'string') {
    throw new AwsError(
      'UnknownOperationException',
      `${service} takes POST requests with the header X-Amz-Target: ${targetPrefix}.<Action>`,
      404,
    );
  }
  const [prefix, action = ''] = target.split('.');
  if (prefix !== targetPrefix) {
    throw new AwsError('UnknownOperationException', `X-Amz-Target ${target} is not for ${service}: it must start with ${targetPrefix}.`);
  }
  const handler = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (handler === undefined) {
    throw new AwsError(
      'UnknownOperationException',
      `${service} has no ${action} in the local run. It has: ${Object.keys(actions).join(', ')}`,
    );
  }
  let input: unknown;
  try {
    input = JSON.parse(body === '' ? '{}' : body);
  } catch {
    throw new AwsError('SerializationException', 'The request body is not valid JSON');
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new AwsError('SerializationException', 'The request body must be a JSON object');
  }
  return handler(input as Input);
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // What is too much is read to its end and thrown away, so that the client gets an answer and not a broken connection.
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES)
    throw new AwsError('RequestEntityTooLargeException', `The request is larger than ${MAX_BODY_BYTES} bytes`, 413);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, output: unknown, errorType?: string): void {
  const body = JSON.stringify(output);
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': Buffer.byteLength(body),
    'x-amzn-requestid': randomUUID(),
    ...(errorType !== undefined && { 'x-amzn-errortype': errorType }),
  });
  response.end(body);
}

// --- reading inputs: fields that the API does not know are ignored, as AWS does; wrong types are not ---

const lowerFirst = (name: string) => name[0]!.toLowerCase() + name.slice(1);

export function optionalText(input: Input, name: string): string | undefined {
  const value = input[name] ?? undefined;
  if (value !== undefined && typeof value !== 'string') throw new AwsError('SerializationException', `${name} must be a string`);
  return value;
}

export function requiredText(input: Input, name: string): string {
  const value = optionalText(input, name);
  if (value === undefined || value === '') {
    throw validation(
      `1 validation error detected: Value ${value === undefined ? 'null' : "''"} at '${lowerFirst(name)}' failed to satisfy ` +
        `constraint: ${value === undefined ? 'Member must not be null' : 'Member must have length greater than or equal to 1'}`,
    );
  }
  return value;
}

export function optionalNumber(input: Input, name: string): number | undefined {
  const value = input[name] ?? undefined;
  if (value !== undefined && (typeof value !== 'number' || !Number.isFinite(value))) {
    throw new AwsError('SerializationException', `${name} must be a number`);
  }
  return value;
}

export function optionalObject(input: Input, name: string): Input | undefined {
  const value = input[name] ?? undefined;
  if (value !== undefined && (typeof value !== 'object' || Array.isArray(value))) {
    throw new AwsError('SerializationException', `${name} must be a structure`);
  }
  return value as Input | undefined;
}

export function requiredList(input: Input, name: string): unknown[] {
  const value = input[name] ?? undefined;
  if (value === undefined) {
    throw validation(
      `1 validation error detected: Value null at '${lowerFirst(name)}' failed to satisfy constraint: Member must not be null`,
    );
  }
  if (!Array.isArray(value)) throw new AwsError('SerializationException', `${name} must be a list`);
  return value;
}

export function structures(list: unknown[], name: string): Input[] {
  return list.map(each => {
    if (typeof each !== 'object' || each === null || Array.isArray(each))
      throw new AwsError('SerializationException', `${name} must hold structures`);
    return each as Input;
  });
}

/** One page of a listing; the token is the number of what has been given out. */
export function page<T>(all: readonly T[], input: Input, limitName = 'Limit'): { items: T[]; NextToken?: string } {
  const from = Number(optionalText(input, 'NextToken') ?? '0');
  if (!Number.isInteger(from) || from < 0) throw new AwsError('InvalidNextTokenException', 'NextToken is not valid');
  const limit = optionalNumber(input, limitName) ?? 100;
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw validation(
      `1 validation error detected: Value '${limit}' at '${lowerFirst(limitName)}' failed to satisfy constraint: ` +
        'Member must be between 1 and 100',
    );
  }
  const to = from + limit;
  return { items: all.slice(from, to), ...(to < all.length && { NextToken: String(to) }) };
}
