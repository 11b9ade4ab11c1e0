import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import * as cdk from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sources from 'aws-cdk-lib/aws-lambda-event-sources';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import type { LocalQueue, LocalRun, LocalRunOptions } from '../../src/local-run.ts';
import { startLocal } from '../../src/run.ts';
import { atEnd, temporaryFolder } from '../temporary.ts';

process.env.CDK_VALIDATION = 'false';

/** A stack of a test, and the run that is made of it. */
export interface FunctionTest {
  readonly folder: string;
  readonly stack: cdk.Stack;
  /** A folder with these files. */
  code(files: Readonly<Record<string, string>>): string;
  function(id: string, files: Readonly<Record<string, string>>, props?: Partial<lambda.FunctionProps>): lambda.Function;
  /** A queue with this name, for a function that reads it. */
  queue(fn: lambda.Function, name: string, mapping?: sources.SqsEventSourceProps, queue?: sqs.QueueProps): sqs.Queue;
  /** The folder of the assembly. */
  synthesize(): string;
  start(options?: Partial<LocalRunOptions>): Promise<StartedTest>;
}

export interface StartedTest {
  readonly run: LocalRun;
  queue(name: string): LocalQueue;
  send(queue: string, ...bodies: string[]): Promise<void>;
  /** No message is left, not even one in flight. */
  empty(queue: string): boolean;
  /** The text of the log files of the functions. */
  log(): string;
  /** The lines that handlers have written, see `RECORD`. */
  seen<T>(): T[];
}

/** JavaScript of a function `record(value)`, which writes for `seen`. Works in both kinds of modules. */
export const RECORD = 'const record = (value) => process.getBuiltinModule("node:fs").appendFileSync(process.env.SEEN, JSON.stringify(value) + "\\n");\n'
  + 'const bodies = (event) => event.Records.map((message) => message.body);\n';

export function functionTest(context: TestContext): FunctionTest {
  const folder = temporaryFolder(context);
  const app = new cdk.App({ outdir: join(folder, 'cdk.out'), analyticsReporting: false });
  const stack = new cdk.Stack(app, 'Test');
  const seenFile = join(folder, 'seen');
  let folders = 0;
  const code = (files: Readonly<Record<string, string>>) => {
    const path = join(folder, `code-${folders++}`);
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), content, { mode: 0o755 });
    }
    return path;
  };
  return {
    folder,
    stack,
    code,
    function: (id, files, props = {}) => new lambda.Function(stack, id, {
      runtime: lambda.Runtime.NODEJS_24_X,
      handler: 'index.handler',
      code: lambda.Code.fromAsset(code(files)),
      timeout: cdk.Duration.seconds(10),
      ...props,
      environment: { SEEN: seenFile, ...props.environment },
    }),
    queue: (fn, name, mapping = {}, props = {}) => {
      const queue = new sqs.Queue(stack, `${name}Queue`, { queueName: name, visibilityTimeout: fn.timeout, ...props });
      fn.addEventSource(new sources.SqsEventSource(queue, mapping));
      return queue;
    },
    synthesize: () => app.synth().directory,
    start: async (options = {}) => {
      const run = await startLocal({ assemblyDir: app.synth().directory, dataDir: join(folder, 'data'), ...options });
      atEnd(context, () => run.stop());
      return started(context, run, seenFile);
    },
  };
}

function started(context: TestContext, run: LocalRun, seenFile: string): StartedTest {
  const client = new SQSClient({ region: 'us-east-1', endpoint: run.endpoints.sqs, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } });
  atEnd(context, () => client.destroy());
  const queue = (name: string) => run.queues.find((each) => each.name === name) ?? fail(`There is no queue ${name}.`);
  const read = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  return {
    run,
    queue,
    send: async (name, ...bodies) => {
      for (const body of bodies) await client.send(new SendMessageCommand({ QueueUrl: queue(name).url, MessageBody: body }));
    },
    empty: (name) => Object.values(queue(name).depth()).every((count) => count === 0),
    log: () => run.workloads.flatMap(({ logFiles }) => logFiles).map(read).join(''),
    seen: <T>() => read(seenFile).split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as T),
  };
}

function fail(message: string): never {
  throw new Error(message);
}
