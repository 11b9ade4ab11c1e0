import { join } from 'node:path';
import { FunctionCode } from './code.ts';
import type { Runtime } from './runtimes.ts';
import { findRuntime } from './runtimes.ts';
import { sdkFolders } from './sdk.ts';
import type { FunctionDefinition, QueueMapping } from './types.ts';
import { UnresolvedError } from '../assembly/intrinsics.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { LocalRunError } from '../errors.ts';
import { compilePattern } from '../eventbridge/pattern.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Supervisor, WorkloadSpec } from '../processes/specs.ts';
import type { RunContext } from '../service.ts';
import type { MadeQueue } from '../sqs/queues.ts';

/** The most invocations of one function at a time, so that one machine has room for the others. */
const MOST_CONCURRENT = 2;

/** A function as it can run here. */
export interface RunnableFunction {
  /** The path of its construct. */
  readonly path: string;
  readonly definition: FunctionDefinition;
  readonly runtime: Runtime;
  readonly code: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Without the qualifier of a version or an alias: on this machine there is only the newest code. */
export function unqualified(nameOrArn: string): string {
  const parts = nameOrArn.split(':');
  return parts[0] === 'arn' ? parts.slice(0, 7).join(':') : parts[0] ?? '';
}

/** The function with this name or ARN, qualified or not. */
export function functionNamed(model: Model, nameOrArn: string): Resource | undefined {
  const wanted = unqualified(nameOrArn);
  return model.byAttribute(['AWS::Lambda::Function'], wanted.startsWith('arn:') ? 'Arn' : 'Ref', wanted);
}

export function titleOf(fn: Resource): string {
  return `Function ${fn.constructPath}`;
}

/** The queues that call functions, by function. What cannot be read is left out with a warning. */
export function readMappings(
  model: Model, queues: readonly MadeQueue[], warn: (sentence: string) => void,
): ReadonlyMap<Resource, QueueMapping[]> {
  const mappings = new Map<Resource, QueueMapping[]>();
  for (const resource of model.ofType('AWS::Lambda::EventSourceMapping')) {
    const what = `The event source mapping ${resource.constructPath}`;
    try {
      const source = resource.text('EventSourceArn') ?? '';
      const queue = queues.find(({ arn }) => arn === source);
      const target = resource.text('FunctionName') ?? '';
      const fn = functionNamed(model, target);
      if (!queue) {
        warn(`${what} reads from ${source || 'a source other than SQS'}, which is no queue of this run: its function is not started by it.`);
      } else if (!fn) {
        warn(`${what} calls ${target}, which is no function of this run.`);
      } else {
        const enabled = resource.text('Enabled') !== 'false';
        mappings.set(fn, [...mappings.get(fn) ?? [], ...(enabled ? [readMapping(resource, queue)] : [])]);
      }
    } catch (error) {
      if (!(error instanceof UnresolvedError) && !(error instanceof AwsError)) throw error;
      warn(`${what} is left out: ${error.message}`);
    }
  }
  return mappings;
}

function readMapping(mapping: Resource, queue: MadeQueue): QueueMapping {
  const scaling = mapping.get('ScalingConfig') as { MaximumConcurrency?: unknown } | undefined;
  const filters = (mapping.get('FilterCriteria') as { Filters?: { Pattern: string }[] } | undefined)?.Filters;
  // Here, and not first in the thread of the functions, which an error would end.
  for (const { Pattern } of filters ?? []) compilePattern(Pattern);
  const responseTypes = (mapping.get('FunctionResponseTypes') ?? []) as string[];
  return {
    kind: 'queue',
    queueUrl: queue.url,
    queueArn: queue.arn,
    region: mapping.world.region,
    batchSize: number(mapping.get('BatchSize'), 10),
    batchWindowSeconds: number(mapping.get('MaximumBatchingWindowInSeconds'), 0),
    reportBatchItemFailures: responseTypes.includes('ReportBatchItemFailures'),
    maximumConcurrency: number(scaling?.MaximumConcurrency, MOST_CONCURRENT),
    // No filters at all let everything through.
    ...(filters && filters.length > 0 && { filters: filters.map(({ Pattern }) => Pattern) }),
  };
}

/** Reads functions with their code, their layers and the programs that run them. */
export class FunctionReader {
  readonly #context: RunContext;
  readonly #code: FunctionCode;
  readonly #folder: string;
  #sdk: readonly string[] | undefined;

  constructor(model: Model, context: RunContext) {
    this.#context = context;
    this.#folder = join(context.dataDir, 'functions');
    this.#code = new FunctionCode(model, context.assembly, this.#folder, context.warn);
  }

  /** Removes the code of earlier runs. One that is read later is made again. */
  removeUnused(): void {
    this.#code.removeUnused();
  }

  /** Undefined, after a warning that says why, if this machine cannot run the function. */
  read(fn: Resource, mappings: readonly QueueMapping[]): RunnableFunction | undefined {
    const problem = (text: string) => void this.#context.warn(`${titleOf(fn)} is not started, and its messages wait: ${text}.`);
    try {
      const runtime = fn.text('PackageType') === 'Image' ? undefined : fn.text('Runtime');
      const code = runtime === undefined ? '' : this.#code.folder(fn);
      if (code === undefined) return problem('its code is not in this assembly');
      const layers = runtime === undefined ? undefined : this.#code.layers(fn);
      this.#sdk ??= sdkFolders(this.#context.assembly.directory, join(this.#folder, 'sdk'));
      const found = findRuntime(runtime, { code, layers, sdk: this.#sdk, own: this.#folder });
      if ('problem' in found) return problem(found.problem);
      const definition = define(fn, mappings);
      return { path: fn.constructPath, definition, runtime: found, code, environment: environmentOf(fn, code, found) };
    } catch (error) {
      if (!(error instanceof UnresolvedError) && !(error instanceof LocalRunError)) throw error;
      return problem(error.message.replace(/\.$/, ''));
    }
  }
}

function define(fn: Resource, mappings: readonly QueueMapping[]): FunctionDefinition {
  const limits = [Math.max(1, number(fn.get('ReservedConcurrentExecutions'), MOST_CONCURRENT)), MOST_CONCURRENT];
  if (mappings.length > 0) limits.push(Math.max(...mappings.map(({ maximumConcurrency }) => maximumConcurrency)));
  return {
    name: String(fn.ref()),
    arn: String(fn.attribute('Arn', fn.path)),
    title: titleOf(fn),
    timeoutSeconds: number(fn.get('Timeout'), 3),
    concurrency: Math.min(...limits),
  };
}

function environmentOf(fn: Resource, code: string, runtime: Runtime): Record<string, string> {
  const variables = (fn.get('Environment') as { Variables?: Record<string, unknown> } | undefined)?.Variables ?? {};
  const name = String(fn.ref());
  return {
    ...runtime.environment,
    ...Object.fromEntries(Object.entries(variables).map(([key, value]) => [key, String(value)])),
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(number(fn.get('MemorySize'), 128)),
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: 'local',
    AWS_EXECUTION_ENV: `AWS_Lambda_${fn.text('Runtime')}`,
    LAMBDA_TASK_ROOT: code,
    _HANDLER: fn.text('Handler') ?? 'index.handler',
  };
}

/** The processes of a function. */
export function workloadOf(
  { path, definition, runtime, code, environment }: RunnableFunction, reads: readonly string[], supervise: () => Supervisor,
): WorkloadSpec {
  return {
    kind: 'Function',
    name: definition.name,
    path,
    replicas: definition.concurrency,
    reads,
    pod: {
      initContainers: [],
      containers: [{ name: 'function', command: runtime.command, folder: code, environment, ports: [], supervise }],
      // What is in hand may take its whole time.
      terminationGracePeriodSeconds: definition.timeoutSeconds + 5,
      labels: {},
    },
  };
}

function number(value: unknown, otherwise: number): number {
  return value === undefined ? otherwise : Number(value);
}
