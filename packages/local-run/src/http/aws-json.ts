import type { Log } from '../log.ts';
import { AwsError } from './aws-error.ts';
import { serveLocally } from './server.ts';
import type { LocalAnswer, LocalRequest, LocalServer } from './server.ts';

export type Input = Readonly<Record<string, unknown>>;
export type Actions = Readonly<Record<string, (input: Input) => unknown>>;

export interface AwsJsonOptions {
  readonly service: string;
  /** The part of `X-Amz-Target` before the dot. */
  readonly targetPrefix: string;
  readonly actions: Actions;
  readonly log: Log;
  /** @default 0, the system picks one */
  readonly port?: number;
}

export type AwsJsonServer = LocalServer;

/** An HTTP endpoint that speaks the AWS JSON 1.1 protocol, as the SDK clients do. */
export async function serveAwsJson(options: AwsJsonOptions): Promise<AwsJsonServer> {
  const { log, port = 0, service } = options;
  try {
    // PutEvents takes 1 MiB of event data; JSON escaping may double that, and there is an envelope around it.
    return await serveLocally({ service, log, port, protocols: ['json'], maxBodyBytes: 4 * 1024 * 1024, handle: request => handle(request, options) });
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw taken ? new Error(`${service}: port ${port} is taken; give another one or 0 for a free one`) : error;
  }
}

async function handle(request: LocalRequest, options: AwsJsonOptions): Promise<LocalAnswer> {
  try {
    return answer(200, await act(request, options) ?? {});
  } catch (error) {
    const failure = error instanceof AwsError ? error : new AwsError('InternalFailure', 'The local endpoint failed; see its log', 500);
    if (failure !== error) options.log('error', `${options.service}: ${error instanceof Error ? error.stack : String(error)}`);
    return answer(failure.status, { __type: failure.name, message: failure.message }, failure.name);
  }
}

async function act({ headers, body }: LocalRequest, { service, targetPrefix, actions }: AwsJsonOptions): Promise<unknown> {
  const target = String(headers['x-amz-target']);
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
  return handler(readJson(body));
}

/** The JSON object of a request's body; an empty body is an empty object. */
export function readJson(body: string): Input {
  let input: unknown;
  try {
    input = JSON.parse(body === '' ? '{}' : body);
  } catch {
    throw new AwsError('SerializationException', 'The request body is not valid JSON');
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new AwsError('SerializationException', 'The request body must be a JSON object');
  }
  return input as Input;
}

function answer(status: number, output: unknown, errorType?: string): LocalAnswer {
  const headers = { 'content-type': 'application/x-amz-json-1.1', ...(errorType !== undefined && { 'x-amzn-errortype': errorType }) };
  return { status, headers, body: JSON.stringify(output) };
}

const validation = (message: string) => new AwsError('ValidationException', message);

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
    if (typeof each !== 'object' || each === null || Array.isArray(each)) {throw new AwsError('SerializationException', `${name} must hold structures`);}
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
