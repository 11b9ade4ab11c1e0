// The Node.js runtime of AWS Lambda on this machine: loads the handler, then asks the Runtime API for events and answers them one by one.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { importFromNodePath } from './module-paths.ts';

type Handler = (event: unknown, context: object, callback: (error: unknown, result: unknown) => void) => unknown;

const environment = (name: string) => process.env[name] ?? '';
const agent = new Agent({ keepAlive: true });

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function call(method: 'GET' | 'POST', path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const url = `http://${environment('AWS_LAMBDA_RUNTIME_API')}/2018-06-01/runtime/${path}`;
    const outgoing = request(url, { method, agent, ...(body !== undefined && { headers: { 'content-length': Buffer.byteLength(body) } }) }, (response) => {
      text(response).then((answer) => resolve({ headers: response.headers, body: answer }), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** An error as the Runtime API takes it. Anything can be thrown. */
function described(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify({ errorType: typeof error, errorMessage: String(error), stackTrace: [] });
  return JSON.stringify({ errorType: error.name, errorMessage: error.message, stackTrace: (error.stack ?? '').split('\n') });
}

async function loadHandler(handler: string): Promise<Handler> {
  const folder = join(environment('LAMBDA_TASK_ROOT'), dirname(handler));
  const [, module = '', name = ''] = /^([^.]*)\.(.*)$/.exec(basename(handler)) ?? [];
  const file = ['.mjs', '.js', '.cjs'].map((extension) => join(folder, module + extension)).find(existsSync);
  if (file === undefined) throw new Error(`there is no ${module}.js, .mjs or .cjs in ${folder} for the handler ${handler}`);
  const loaded = await load(file);
  const found = valueOf(loaded, name) ?? valueOf(loaded.default, name);
  if (typeof found !== 'function') throw new Error(`${file} exports no function ${name}, which the handler ${handler} names`);
  return found as Handler;
}

function valueOf(module: unknown, name: string): unknown {
  return name.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], module);
}

async function load(file: string): Promise<Record<string, unknown>> {
  const { stackTraceLimit } = Error;
  // The frame of the function's own file comes after those of the module loader.
  Error.stackTraceLimit = 100;
  try {
    return await import(pathToFileURL(file).href) as Record<string, unknown>;
  } catch (error) {
    // The error of an ES module does not say in which line it is.
    if (error instanceof SyntaxError && !error.stack?.includes(dirname(file))) {
      const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
      error.stack = `${stderr.split('\n', 1)[0] ?? ''}\n${error.stack ?? ''}`;
    }
    throw error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function contextOf(headers: IncomingHttpHeaders): object {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    functionName: environment('AWS_LAMBDA_FUNCTION_NAME'),
    functionVersion: environment('AWS_LAMBDA_FUNCTION_VERSION'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    memoryLimitInMB: environment('AWS_LAMBDA_FUNCTION_MEMORY_SIZE'),
    logGroupName: environment('AWS_LAMBDA_LOG_GROUP_NAME'),
    logStreamName: environment('AWS_LAMBDA_LOG_STREAM_NAME'),
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
  };
}

function invoke(handler: Handler, event: unknown, context: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const result = handler(event, context, (error, value) => (error === null || error === undefined ? resolve(value) : reject(error)));
    // A handler with a callback answers by it, any other by the value that it returns.
    if (handler.length < 3 || result instanceof Promise) Promise.resolve(result).then(resolve, reject);
  });
}

async function main(): Promise<void> {
  // Nothing is in hand any more when the run stops a function.
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => process.exit(0));
  importFromNodePath();
  let handler: Handler;
  try {
    handler = await loadHandler(environment('_HANDLER'));
  } catch (error) {
    console.error(error);
    await call('POST', 'init/error', described(error));
    process.exit(1);
  }
  for (;;) {
    const { headers, body } = await call('GET', 'invocation/next');
    const id = String(headers['lambda-runtime-aws-request-id']);
    if (headers['lambda-runtime-trace-id'] !== undefined) process.env._X_AMZN_TRACE_ID = String(headers['lambda-runtime-trace-id']);
    let end: readonly ['response' | 'error', string];
    try {
      end = ['response', JSON.stringify(await invoke(handler, JSON.parse(body), contextOf(headers))) ?? 'null'];
    } catch (error) {
      end = ['error', described(error)];
    }
    await call('POST', `invocation/${id}/${end[0]}`, end[1]);
  }
}

// Without the Runtime API there is nothing to do: the run has ended.
await main().catch(() => process.exit(1));
