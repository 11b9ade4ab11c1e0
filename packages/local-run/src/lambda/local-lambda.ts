import type { Model, Resource } from '../assembly/model.ts';
import { NAMED } from '../assembly/types.ts';
import type { LocalService, Receiver, RunContext } from '../service.ts';
import { DispatchThread } from './dispatch-thread.ts';
import { FunctionReader, functionNamed, readMappings, titleOf, unqualified, workloadOf } from './functions.ts';
import { invocationQueueName, makeInvocationQueue, readInvocations } from './invocations.ts';
import { loadError } from './load-error.ts';
import { FunctionSupervisor } from './supervisor.ts';
import type { QueueMapping } from './types.ts';
import type { LocalSqs } from '../sqs/local-sqs.ts';

/** AWS Lambda: the functions of the stacks that something in the run calls, each as processes of its own. */
export class LocalLambda implements LocalService {
  readonly name = 'lambda';
  readonly title = 'functions';
  readonly types = {
    'AWS::Lambda::Function': { ref: functionName, attributes: { Arn: functionArn } },
    // A version or an alias is the function itself: on this machine there is only the newest code.
    'AWS::Lambda::Version': {
      ref: (version: Resource) => qualifiedArn(version, '1'),
      attributes: { FunctionArn: (version: Resource) => qualifiedArn(version, '1'), Version: () => '1' },
    },
    'AWS::Lambda::Alias': {
      ref: (alias: Resource) => qualifiedArn(alias, alias.text('Name') ?? ''),
      attributes: { AliasArn: (alias: Resource) => qualifiedArn(alias, alias.text('Name') ?? '') },
    },
    'AWS::Lambda::LayerVersion': { ref: layerArn, attributes: { LayerVersionArn: layerArn } },
    'AWS::Lambda::EventSourceMapping': NAMED,
    'AWS::Lambda::EventInvokeConfig': NAMED,
  };
  readonly #context: RunContext;
  readonly #sqs: LocalSqs;
  readonly #receivers = new Map<Resource, Receiver>();
  /** The functions by the ARNs that were asked for: a service asks with every message. */
  readonly #byArn = new Map<string, Resource | undefined>();
  /** The functions that were read, and whether they can run here. */
  readonly #read = new Map<Resource, boolean>();
  #model: Model | undefined;
  #reader: FunctionReader | undefined;
  #mappings: ReadonlyMap<Resource, readonly QueueMapping[]> = new Map();
  #thread: DispatchThread | undefined;

  constructor(context: RunContext, sqs: LocalSqs) {
    this.#context = context;
    this.#sqs = sqs;
  }

  async start(model: Model): Promise<undefined> {
    this.#model = model;
    const left = new Set(this.#sqs.endpoint.orphans().map(({ queue }) => queue));
    // Events of an earlier run are still waiting for their function.
    for (const fn of model.ofType('AWS::Lambda::Function')) if (left.has(invocationQueueName(functionName(fn)))) this.#receiverOf(fn);
  }

  /** The services that send to functions have asked for their receivers before. */
  async make(model: Model): Promise<undefined> {
    this.#reader = new FunctionReader(model, this.#context);
    this.#mappings = readMappings(model, this.#sqs.queues, this.#context.warn);
    for (const fn of this.#mappings.keys()) this.#start(fn);
    for (const fn of this.#receivers.keys()) this.#takeInvocations(fn);
    this.#reader.removeUnused();
    const uncalled = model.ofType('AWS::Lambda::Function').filter((fn) => !this.#mappings.get(fn)?.length && !this.#receivers.has(fn)).length;
    this.#context.leaveOut('functions that nothing in this run calls: custom resources and other triggers', uncalled);
  }

  /** A function takes asynchronous invocations. It is started when somebody asks for its receiver. */
  receiver(arn: string): Receiver | undefined {
    if (!this.#model || !arn.includes(':function:')) return undefined;
    if (!this.#byArn.has(arn)) this.#byArn.set(arn, functionNamed(this.#model, arn));
    const fn = this.#byArn.get(arn);
    return fn && this.#receiverOf(fn);
  }

  /** The queues of functions that do not run here: URL → the function. Their messages wait. */
  unread(): ReadonlyMap<string, string> {
    return new Map([...this.#mappings].filter(([fn]) => this.#read.get(fn) === false)
      .flatMap(([fn, mappings]) => mappings.map(({ queueUrl }) => [queueUrl, titleOf(fn)] as const)));
  }

  /** The number of asynchronous events that wait for their function, or are with it. */
  waitingEvents(): number {
    const depths = [...this.#receivers.keys()].map((fn) => this.#sqs.endpoint.depth(invocationQueueName(functionName(fn))));
    return depths.reduce((sum, { visible, inFlight, delayed }) => sum + visible + inFlight + delayed, 0);
  }

  async stop(): Promise<void> {
    // The workloads of the run have stopped the processes.
    await this.#thread?.close();
  }

  #receiverOf(fn: Resource): Receiver {
    const known = this.#receivers.get(fn);
    if (known) return known;
    const receiver = makeInvocationQueue(fn, this.#sqs);
    this.#receivers.set(fn, receiver);
    if (this.#reader) this.#takeInvocations(fn);
    return receiver;
  }

  #takeInvocations(fn: Resource): void {
    if (!this.#model || !this.#start(fn)) return;
    this.#thread?.addSource(functionName(fn), readInvocations(fn, this.#model, this.#sqs, this.#context.warn));
  }

  /** Adds the processes of a function to the run, once. */
  #start(fn: Resource): boolean {
    const read = this.#read.get(fn);
    if (read !== undefined) return read;
    const mappings = this.#mappings.get(fn) ?? [];
    if (this.#mappings.has(fn) && mappings.length === 0 && !this.#receivers.has(fn)) return false;
    const runnable = this.#reader?.read(fn, mappings);
    this.#read.set(fn, runnable !== undefined);
    if (!runnable) return false;
    const { definition, code, runtime } = runnable;
    const thread = this.#thread ??= new DispatchThread(this.#sqs.url, this.#context);
    thread.add(definition);
    for (const mapping of mappings) thread.addSource(definition.name, mapping);
    const [program = ''] = runtime.command;
    let replicas = 0;
    const supervise = () => new FunctionSupervisor(thread, definition, replicas++, (error) =>
      loadError(definition.title, error, code, program === 'node' ? undefined : program));
    this.#context.workloads.add(workloadOf(runnable, mappings.map(({ queueUrl }) => queueUrl), supervise));
    return true;
  }
}

function functionName(fn: Resource): string {
  return fn.physicalName('FunctionName', 64);
}

function functionArn(fn: Resource): string {
  return fn.arn('lambda', `function:${functionName(fn)}`);
}

/** The function of a version or an alias is given by its name or its ARN. */
function qualifiedArn(resource: Resource, qualifier: string): string {
  const given = unqualified(resource.text('FunctionName') ?? '');
  return `${given.startsWith('arn:') ? given : resource.arn('lambda', `function:${given}`)}:${qualifier}`;
}

function layerArn(layer: Resource): string {
  return layer.arn('lambda', `layer:${layer.physicalName('LayerName', 64)}:1`);
}
