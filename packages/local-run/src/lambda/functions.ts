import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { sibling } from '../sibling.ts';
import type { Assembly } from '../assembly/assembly.ts';
import { UnresolvedError } from '../assembly/intrinsics.ts';
import type { Model, Resource } from '../assembly/model.ts';
import type { RunContext } from '../service.ts';
import type { FunctionConfig } from './function-host.ts';
import type { MadeQueue } from '../sqs/queues.ts';

/** At most so many invocations of one function at a time, so that one machine has room for the others. */
const MOST_CONCURRENT = 2;

/** Makes a workload of every Node.js function that an SQS queue is the source of. */
export function readFunctions(model: Model, queues: readonly MadeQueue[], codeDir: string, context: RunContext): ReadonlySet<Resource> {
  const called = new Set<Resource>();
  for (const mapping of model.ofType('AWS::Lambda::EventSourceMapping')) {
    const what = `The event source mapping ${mapping.constructPath}`;
    try {
      const source = mapping.text('EventSourceArn') ?? '';
      const queue = queues.find(({ arn }) => arn === source);
      if (!queue) {
        context.warn(`${what} reads from ${source || 'a source other than SQS'}, which is no queue of this run: its function is not started by it.`);
        continue;
      }
      const target = mapping.text('FunctionName') ?? '';
      const fn = model.byAttribute(['AWS::Lambda::Function'], 'Ref', target) ?? model.byAttribute(['AWS::Lambda::Function'], 'Arn', target);
      if (!fn) {
        context.warn(`${what} calls ${target}, which is no function of this run.`);
        continue;
      }
      called.add(fn);
      const enabled = mapping.text('Enabled') !== 'false';
      if (enabled) readFunction(fn, mapping, queue, codeDir, context);
    } catch (error) {
      if (!(error instanceof UnresolvedError)) throw error;
      context.warn(`${what} is left out: ${error.message}`);
    }
  }
  return called;
}

function readFunction(fn: Resource, mapping: Resource, queue: MadeQueue, codeDir: string, context: RunContext): void {
  const what = `Function ${fn.constructPath}`;
  const runtime = fn.text('Runtime');
  if (runtime === undefined || !runtime.startsWith('nodejs')) {
    context.warn(`${what} is not started: the local run has Node.js only, it needs ${runtime ?? 'a container image'}.`);
    return;
  }
  const folder = codeFolder(fn, context.assembly, codeDir);
  if (folder === undefined) {
    context.warn(`${what} is not started: its code is no folder of this assembly.`);
    return;
  }
  const name = String(fn.ref());
  const number = (value: unknown, otherwise: number) => (value === undefined ? otherwise : Number(value));
  const scaling = mapping.get('ScalingConfig') as { MaximumConcurrency?: unknown } | undefined;
  const filters = (mapping.get('FilterCriteria') as { Filters?: { Pattern: string }[] } | undefined)?.Filters;
  const responseTypes = (mapping.get('FunctionResponseTypes') ?? []) as string[];
  const config: FunctionConfig = {
    name,
    arn: String(fn.attribute('Arn', fn.path)),
    handler: fn.text('Handler') ?? 'index.handler',
    timeoutSeconds: number(fn.get('Timeout'), 3),
    memoryMegabytes: number(fn.get('MemorySize'), 128),
    queueUrl: queue.url,
    queueArn: queue.arn,
    region: fn.world.region,
    batchSize: number(mapping.get('BatchSize'), 10),
    batchWindowSeconds: number(mapping.get('MaximumBatchingWindowInSeconds'), 0),
    reportBatchItemFailures: responseTypes.includes('ReportBatchItemFailures'),
    // No filters at all let everything through.
    ...(filters && filters.length > 0 && { filters: filters.map(({ Pattern }) => Pattern) }),
  };
  const environment = (fn.get('Environment') as { Variables?: Record<string, unknown> } | undefined)?.Variables ?? {};
  context.workloads.add({
    kind: 'Function',
    name,
    replicas: Math.min(MOST_CONCURRENT, number(scaling?.MaximumConcurrency, MOST_CONCURRENT), Math.max(1, number(fn.get('ReservedConcurrentExecutions'), MOST_CONCURRENT))),
    pod: {
      initContainers: [],
      containers: [{
        name: 'function',
        command: ['node', '--disable-warning=ExperimentalWarning', sibling(import.meta.url, 'function-host'), JSON.stringify(config)],
        folder,
        environment: {
          ...Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, String(value)])),
          AWS_LAMBDA_FUNCTION_NAME: name,
          AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(config.memoryMegabytes),
          AWS_EXECUTION_ENV: `AWS_Lambda_${runtime}`,
          LAMBDA_TASK_ROOT: folder,
          _HANDLER: config.handler,
        },
        ports: [],
      }],
      // What is in hand may take its whole time.
      terminationGracePeriodSeconds: config.timeoutSeconds + 5,
      labels: {},
    },
  });
}

function codeFolder(fn: Resource, assembly: Assembly, codeDir: string): string | undefined {
  const code = fn.get('Code') as { S3Key?: string; ZipFile?: string } | undefined;
  if (code?.ZipFile !== undefined) {
    // Inline code is a file of its own, which Lambda calls index.
    const folder = join(codeDir, String(fn.ref()));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, /^\s*(import|export)\s/m.test(code.ZipFile) ? 'index.mjs' : 'index.js'), code.ZipFile);
    return folder;
  }
  const asset = assembly.files.get(code?.S3Key ?? '');
  const path = fn.source.Metadata?.['aws:asset:path'];
  const found = asset?.packaging === 'zip' ? asset.path : typeof path === 'string' ? resolve(fn.stack.artifact.directory, path) : undefined;
  return found !== undefined && existsSync(found) && !found.endsWith('.zip') ? found : undefined;
}
