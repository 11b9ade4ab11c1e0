import { appendFileSync, existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readAssembly } from './assembly/assembly.ts';
import type { Assembly } from './assembly/assembly.ts';
import { LocalRunError, messageOf } from './errors.ts';
import { EventBridge } from './eventbridge/event-bridge.ts';
import type { LocalEventBridge, Log } from './eventbridge/types.ts';
import { takeLock } from './processes/lock.ts';
import { Model } from './assembly/model.ts';
import type { World } from './assembly/model.ts';
import { freePort, LOOPBACK } from './processes/ports.ts';
import { letPass } from './rds/postgres.ts';
import type { DatabaseAddress } from './rds/postgres.ts';
import { BalancerThread } from './processes/balancer-thread.ts';
import type { RemoteBalancer } from './processes/balancer-thread.ts';
import { Leftovers } from './processes/leftovers.ts';
import { runJob, Workload } from './processes/workload.ts';
import type { Host } from './processes/workload.ts';
import { prepareDatabase, startDatabases } from './rds/databases.ts';
import type { LocalDatabase } from './rds/databases.ts';
import { makeEvents } from './eventbridge/rules.ts';
import { readFunctions } from './lambda/functions.ts';
import { makeQueues } from './sqs/queues.ts';
import { attachSecrets, makeSecrets, managedSecretName, masterCredentials } from './secretsmanager/secrets.ts';
import { isMade, withoutCounterpart } from './assembly/types.ts';
import { SecretFile } from './secretsmanager/secret-file.ts';
import { SecretsManager } from './secretsmanager/endpoint.ts';
import { SqsEndpoint } from './sqs/endpoint.ts';
import type { QueueDepth } from './sqs/endpoint.ts';
import { localEnvironment } from './processes/environment.ts';
import type { LocalAddresses } from './processes/environment.ts';
import { KubernetesReader } from './kubernetes/kubernetes.ts';
import type { ServiceSpec, Specs, WorkloadSpec } from './processes/specs.ts';

const READY_DEADLINE_MS = 120_000;

export interface LocalRunOptions {
  /** What `cdk synth` has written. */
  readonly assemblyDir: string;
  /** Only these stacks, with those they depend on. */
  readonly stacks?: readonly string[];
  /** Databases, queues, archives, secrets and logs. */
  readonly dataDir: string;
  /** Forget what earlier runs left there. */
  readonly fresh?: boolean;
  /** At most so many processes of each workload. @default - as many as its template has at least */
  readonly maxReplicas?: number;
  /** Where Node.js processes leave a profile when they end. */
  readonly profileDir?: string;
  /** By name: writer, reader, sqs, eventbridge, secretsmanager, or a Kubernetes Service. 0 or none: the system picks. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly onProgress?: (step: ProgressStep) => void;
  readonly log?: Log;
  /** Gives up a start that is under way; what has been started is stopped. */
  readonly signal?: AbortSignal;
}

export interface ProgressStep {
  readonly name: string;
  readonly state: 'started' | 'done' | 'failed';
  /** Milliseconds that it took. */
  readonly ms?: number;
  /** What came out of it, in a few words. */
  readonly detail?: string;
}

export interface LocalService {
  readonly name: string;
  readonly workload: 'Deployment' | 'StatefulSet' | 'Function';
  readonly replicas: number;
  /** Where it takes requests, if a Kubernetes Service stands before it. */
  readonly urls: readonly string[];
  readonly logFiles: readonly string[];
  /** What the template gives its containers. */
  readonly environment: Readonly<Record<string, string>>;
  pids(): number[];
  ready(): boolean;
  restarts(): number;
}

export interface LocalQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly maxReceiveCount?: number;
  readonly deadLetterQueueUrl?: string;
  /** Names of the queues whose dead letters come here. */
  readonly deadLettersOf: readonly string[];
  /** Name of the workload that reads it. */
  readonly consumer?: string;
  /** Name of the rule that fills it. */
  readonly rule?: string;
  depth(): QueueDepth;
  /** Bodies of all its messages, those in flight too, looked at without receiving them. */
  messages(): string[];
}

export interface LocalRun {
  readonly services: readonly LocalService[];
  /** Jobs that have run to their end. */
  readonly jobs: readonly string[];
  readonly endpoints: { readonly sqs: string; readonly eventbridge: string; readonly secretsManager: string };
  /** The first database of the assembly, as its superuser; undefined when it has none. */
  readonly database?: { readonly writer: DatabaseAddress; readonly reader?: DatabaseAddress; readonly passwordFile: string; pids(): number[] };
  readonly queues: readonly LocalQueue[];
  readonly buses: readonly { readonly name: string; readonly arn: string }[];
  readonly rules: readonly { readonly name: string; readonly busName: string; readonly arn: string; readonly targetArns: readonly string[] }[];
  readonly eventBridge: LocalEventBridge;
  readonly region: string;
  readonly account: string;
  readonly warnings: readonly string[];
  /** What needed nothing on this machine: how many resources and objects, by reason. */
  readonly withoutCounterpart: ReadonlyMap<string, number>;
  readonly dataDir: string;
  readonly logDir: string;
  pauseReplica(): Promise<void>;
  resumeReplica(): Promise<void>;
  /** Signals one process of a service, and returns its id. */
  kill(service: string, signal?: NodeJS.Signals, replica?: number): number;
  stop(): Promise<void>;
}

/** Runs the stacks of a cloud assembly on this machine. */
export async function startLocal(options: LocalRunOptions): Promise<LocalRun> {
  const assembly = readAssembly(options.assemblyDir, options.stacks);
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  letPass(dataDir);
  const unlock = takeLock(join(dataDir, 'run.lock'), (pid) => `${dataDir} is in use by the local run with process id ${pid}: stop that one, or choose another folder with --data.`);
  const stops: { readonly name: string; stop(): unknown }[] = [{ name: 'lock', stop: unlock }];
  let stopping: Promise<void> | undefined;
  const stop = () => stopping ??= (async () => {
    // In the reverse of the order in which it came up; one that fails must not keep the others running.
    const failures: string[] = [];
    for (const step of stops.reverse()) {
      const name = `stop ${step.name}`;
      const began = performance.now();
      options.onProgress?.({ name, state: 'started' });
      try {
        await step.stop();
        options.onProgress?.({ name, state: 'done', ms: performance.now() - began });
      } catch (error) {
        options.onProgress?.({ name, state: 'failed', ms: performance.now() - began });
        failures.push(`${step.name}: ${messageOf(error)}`);
      }
    }
    if (failures.length > 0) throw new Error(`Not everything stopped well: ${failures.join('; ')}`);
  })();
  try {
    return await start(assembly, options, dataDir, stops, stop);
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

async function start(
  assembly: Assembly, options: LocalRunOptions, dataDir: string, stops: { readonly name: string; stop(): unknown }[], stop: () => Promise<void>,
): Promise<LocalRun> {
  const { ports = {}, fresh = false, maxReplicas = Infinity, profileDir, signal = new AbortController().signal } = options;
  const logDir = join(dataDir, 'logs');
  if (fresh) for (const name of ['logs', 'sqs', 'eventbridge', 'functions', 'secrets.json']) rmSync(join(dataDir, name), { recursive: true, force: true });
  mkdirSync(logDir, { recursive: true });
  const log: Log = (level, message, fields) => {
    appendFileSync(join(logDir, 'local-run.log'), `${JSON.stringify({ level, time: new Date().toISOString(), msg: message, ...fields })}\n`);
    options.log?.(level, message, fields);
  };
  const warnings: string[] = [];
  const step = async <T>(name: string, work: () => Promise<T>, detail?: (result: T) => string): Promise<T> => {
    signal.throwIfAborted();
    const began = performance.now();
    options.onProgress?.({ name, state: 'started' });
    try {
      const result = await work();
      options.onProgress?.({ name, state: 'done', ms: performance.now() - began, ...(detail && { detail: detail(result) }) });
      return result;
    } catch (error) {
      options.onProgress?.({ name, state: 'failed', ms: performance.now() - began });
      throw error;
    }
  };

  const leftovers = new Leftovers(join(dataDir, 'processes.json'));
  const left = await leftovers.clean();
  if (left > 0) log('warn', `Ended ${left} processes that an earlier run had left.`);
  stops.push({ name: 'process list', stop: () => leftovers.close() });

  const { account, region } = place(assembly, warnings);
  const databases: LocalDatabase[] = [];
  const masters = new Map<LocalDatabase, { username: string; password: string }>();
  let sqs: SqsEndpoint | undefined;
  const secretsManager = new SecretsManager({ region, accountId: account, log });
  const secrets = new SecretFile(join(dataDir, 'secrets.json'), secretsManager);
  const world: World = {
    account,
    region,
    queueUrl: (name) => sqs?.queueUrl(name, account) ?? '',
    database: (resource) => {
      const found = databases.find((database) => database.resource === resource
        || resource.source.Properties?.['DBClusterIdentifier'] !== undefined && database.resource.ref() === resource.text('DBClusterIdentifier'));
      return found && {
        host: found.server.writer.host,
        port: found.server.writer.port,
        readerPort: found.server.reader?.port,
        database: found.name,
        masterSecretArn: secrets.arn(managedSecretName(found.resource)),
      };
    },
    secretArn: (name) => secrets.arn(name),
    secretValue: (id) => secrets.value(id),
  };
  const model = new Model(assembly, world);
  const ignored = classify(model, warnings);

  // --- databases ---
  if (model.ofType('AWS::RDS::DBCluster', 'AWS::RDS::DBInstance').length > 0) {
    await step('database', async () => {
      stops.push({ name: 'database', stop: () => Promise.all(databases.map(({ server }) => server.stop())) });
      await startDatabases(model, { dataDir, logDir, fresh, ports, warnings }, databases);
    }, () => databases.map(({ server }) => `PostgreSQL on port ${server.writer.port}${server.reader ? `, replica on port ${server.reader.port}` : ''}`).join('; '));
  }

  // --- endpoints of AWS ---
  const eventBridge = new EventBridge({
    region, accountId: account, log, dataDir: join(dataDir, 'eventbridge'),
    deliver: async (arn, body, { ruleArn, ...how }) => {
      sqs?.deliver(arn, body, { service: 'events.amazonaws.com', sourceArn: ruleArn, sourceAccount: account }, how);
      await sqs?.written();
    },
  });
  const { endpoints, queues, rules } = await step('endpoints', async () => {
    const secretsUrl = await listening('secretsmanager', ports['secretsmanager'] ?? 0, (port) => secretsManager.start({ port }));
    stops.push({ name: 'secrets', stop: () => secretsManager.stop() });
    makeSecrets(model, secrets);
    for (const database of databases) masters.set(database, masterCredentials(database.resource, secrets));
    attachSecrets(model, secrets, databases);

    const running = await SqsEndpoint.start({ dataDir, region, port: ports['sqs'] ?? 0 });
    sqs = running;
    stops.push({ name: 'queues', stop: () => running.stop() });
    const made = makeQueues(model, running, warnings);
    for (const { queue, messages } of running.orphans()) {
      warnings.push(`${messages} messages of earlier runs are kept for the queue ${queue}, which no stack has any more; --fresh forgets them.`);
    }
    const madeRules = await makeEvents(model, eventBridge, made, warnings);
    const eventsUrl = await listening('eventbridge', ports['eventbridge'] ?? 0, (port) => eventBridge.start({ port }));
    stops.push({ name: 'event bus', stop: () => eventBridge.stop() });
    return { endpoints: { sqs: running.url, eventbridge: eventsUrl, secretsManager: secretsUrl }, queues: made, rules: madeRules };
  }, (made) => `${made.queues.length} queues, ${made.rules.length} rules, ${eventBridge.listBuses().length} buses`);
  for (const [database, master] of masters) await prepareDatabase(database, master);

  // --- what runs ---
  const specs: Specs = { jobs: [], workloads: [], services: [], warnings, withoutCounterpart: ignored };
  new KubernetesReader(assembly, specs).read(model);
  const called = readFunctions(model, assembly, queues, join(dataDir, 'functions'), specs);
  const uncalled = model.ofType('AWS::Lambda::Function').filter((fn) => !called.has(fn)).length;
  if (uncalled > 0) ignored.set('functions that no queue calls: custom resources and other triggers', uncalled);

  const workloads: Workload[] = [];
  const balancers: RemoteBalancer[] = [];
  const balancerThread = new BalancerThread();
  const local: LocalAddresses & { services: { name: string; ports: Map<number, number> }[] } = {
    region, endpoints, services: [], ...declaredDatabasePorts(databases),
  };
  const host: Host = {
    logDir, leftovers, log,
    environment: (spec, own) => {
      const environment = localEnvironment(spec, own, local);
      if (profileDir !== undefined) environment['NODE_OPTIONS'] = `${environment['NODE_OPTIONS'] ?? ''} --cpu-prof --cpu-prof-dir="${profileDir}"`;
      return environment;
    },
  };
  const urls = new Map<Workload, string[]>();
  for (const spec of specs.workloads) workloads.push(new Workload({ ...spec, replicas: Math.min(spec.replicas, maxReplicas) }, host));
  const exposed = (workload: Workload) => urls.has(workload);
  stops.push({
    name: 'workloads',
    stop: async () => {
      // First nobody gets in any more, then who answers requests ends, then who works on what is there.
      for (const balancer of balancers) balancer.drain();
      await Promise.all(workloads.filter(exposed).map((workload) => workload.stop()));
      await Promise.all(workloads.filter((workload) => !exposed(workload)).map((workload) => workload.stop()));
      await balancerThread.close();
    },
  });
  for (const service of specs.services) await expose(service);
  async function expose(service: ServiceSpec): Promise<void> {
    const behind = workloads.filter(({ spec }) => Object.keys(service.selector).length > 0
      && Object.entries(service.selector).every(([key, value]) => spec.pod.labels[key] === value));
    const here = new Map<number, number>();
    for (const [index, port] of service.ports.entries()) {
      const name = index === 0 ? service.name : `${service.name}:${port.name ?? port.port}`;
      const balancer = await balancerThread.start(name, ports[name] ?? 0, () => behind.flatMap((workload) => workload.ports(port.targetPort)));
      balancers.push(balancer);
      here.set(port.port, balancer.port);
      for (const workload of behind) urls.set(workload, [...urls.get(workload) ?? [], `http://${LOOPBACK}:${balancer.port}`]);
    }
    local.services.push({ name: service.name, ports: here });
  }
  const knownPorts = new Set(['writer', 'reader', 'sqs', 'eventbridge', 'secretsmanager', ...local.services.map(({ name }) => name)]);
  for (const name of Object.keys(ports)) {
    if (!knownPorts.has(name) && !name.includes(':') && !name.includes('-writer') && !name.includes('-reader')) {
      throw new LocalRunError(`--port ${name}: nothing in this run is called so; there is ${[...knownPorts].join(', ')}.`);
    }
  }

  for (const job of specs.jobs) await step(job.name, () => runJob(job, host, signal));
  if (workloads.length > 0) {
    await step('services', async () => {
      for (const workload of workloads) workload.start();
      await ready(workloads, warnings, signal);
    }, () => {
      const sum = (all: readonly WorkloadSpec[]) => all.reduce((count, { replicas }) => count + replicas, 0);
      const [here, wanted] = [sum(workloads.map(({ spec }) => spec)), sum(specs.workloads)];
      return `${here} processes of ${workloads.length} workloads${here === wanted ? '' : `, ${wanted} in the template`}`;
    });
  }
  for (const warning of warnings) log('warn', warning);
  log('info', 'Without a meaning on one machine.', Object.fromEntries(ignored));

  const [first] = databases;
  return {
    services: workloads.map((workload) => ({
      name: workload.name,
      workload: workload.spec.kind,
      replicas: workload.spec.replicas,
      urls: urls.get(workload) ?? [],
      logFiles: workload.pods.flatMap((pod) => pod.logFiles),
      environment: Object.assign({}, ...workload.spec.pod.containers.map(({ environment }) => environment)) as Record<string, string>,
      pids: () => workload.pids(),
      ready: () => workload.ready,
      restarts: () => workload.restarts,
    })),
    jobs: specs.jobs.map(({ name }) => name),
    endpoints,
    ...(first && {
      database: {
        writer: { ...first.server.writer, database: first.name },
        ...(first.server.reader && { reader: { ...first.server.reader, database: first.name } }),
        passwordFile: first.server.passwordFile,
        pids: () => first.server.pids(),
      },
    }),
    queues: queues.map((queue) => {
      const deadLetterQueue = queues.find(({ arn }) => arn === queue.deadLetterArn);
      // An event source mapping says who reads a queue; otherwise it is who was given its URL.
      const consumer = specs.workloads.find(({ pod }) => pod.containers.some(({ command }) => command.some((word) => word.includes(JSON.stringify(queue.url)))))
        ?? specs.workloads.find(({ pod }) => pod.containers.some(({ environment }) => Object.values(environment).includes(queue.url)));
      const rule = rules.find(({ targetArns }) => targetArns.includes(queue.arn));
      return {
        name: queue.name,
        url: queue.url,
        arn: queue.arn,
        ...(queue.maxReceiveCount !== undefined && { maxReceiveCount: queue.maxReceiveCount }),
        ...(deadLetterQueue && { deadLetterQueueUrl: deadLetterQueue.url }),
        deadLettersOf: queues.filter(({ deadLetterArn }) => deadLetterArn === queue.arn).map(({ name }) => name),
        ...(consumer && { consumer: consumer.name }),
        ...(rule && { rule: rule.name }),
        depth: () => sqs?.depth(queue.name) ?? { visible: 0, inFlight: 0, delayed: 0 },
        messages: () => sqs?.bodies(queue.name) ?? [],
      };
    }),
    buses: eventBridge.listBuses().map(({ Name, Arn }) => ({ name: Name, arn: Arn })),
    rules: rules.map(({ name, busName, arn, targetArns }) => ({ name, busName, arn, targetArns })),
    eventBridge,
    region,
    account,
    warnings,
    withoutCounterpart: ignored,
    dataDir,
    logDir,
    pauseReplica: async () => { for (const { server } of databases) if (server.reader) await server.pauseReplay(); },
    resumeReplica: async () => { for (const { server } of databases) if (server.reader) await server.resumeReplay(); },
    kill: (service, name = 'SIGKILL', replica = 0) => {
      const workload = workloads.find((candidate) => candidate.name === service);
      if (!workload) throw new LocalRunError(`There is no service ${service}; there is ${workloads.map((candidate) => candidate.name).join(', ')}.`);
      const pid = workload.pods[replica]?.containers.map((container) => container.kill(name)).find((killed) => killed !== undefined);
      if (pid === undefined) throw new LocalRunError(`Replica ${replica} of ${service} does not run at the moment.`);
      return pid;
    },
    stop,
  };
}

/** One machine is one account and one region: those of the first stack that says which. */
function place(assembly: Assembly, warnings: string[]): { account: string; region: string } {
  const account = assembly.stacks.find((stack) => stack.account !== undefined)?.account ?? '000000000000';
  const region = assembly.stacks.find((stack) => stack.region !== undefined)?.region ?? 'us-east-1';
  for (const stack of assembly.stacks) {
    if ((stack.account ?? account) === account && (stack.region ?? region) === region) continue;
    warnings.push(`Stack ${stack.name} is made for account ${stack.account ?? account} in ${stack.region ?? region}; the local run takes it to ${account} in ${region}, with the other stacks.`);
  }
  return { account, region };
}

/** Names what can't be made, and counts what needs nothing. */
function classify(model: Model, warnings: string[]): Map<string, number> {
  const counted = new Map<string, number>();
  for (const resource of model.resources) {
    if (isMade(resource.type)) continue;
    const reason = withoutCounterpart(resource.type, resource.source.Properties);
    if (reason !== undefined) counted.set(reason, (counted.get(reason) ?? 0) + 1);
    else warnings.push(`The local run cannot make ${resource.constructPath} (${resource.type}).`);
  }
  return counted;
}

/** The ports that the templates state, and where the servers and their replicas listen here. */
function declaredDatabasePorts(databases: readonly LocalDatabase[]): Pick<LocalAddresses, 'databasePorts' | 'readerPorts'> {
  const databasePorts = new Map<string, number>();
  const readerPorts = new Map<string, number>();
  for (const { resource, server: { writer, reader } } of databases) {
    const declared = resource.source.Properties?.['Port'];
    const stated = typeof declared === 'number' || typeof declared === 'string' ? String(declared) : undefined;
    if (stated !== undefined) databasePorts.set(stated, writer.port);
    for (const port of [stated, String(writer.port)]) if (port !== undefined && reader) readerPorts.set(port, reader.port);
  }
  return { databasePorts, readerPorts };
}

async function listening(name: string, port: number, listen: (port: number) => Promise<{ url: string }>): Promise<string> {
  // Asked for first, since the endpoint itself does not know the name of its option.
  if (port !== 0) await freePort(name, port);
  return (await listen(port)).url;
}

/** Waits until every replica is ready. A program that this machine has not is a warning; one that keeps ending is an error. */
async function ready(workloads: readonly Workload[], warnings: string[], signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + READY_DEADLINE_MS;
  const waiting = new Set(workloads);
  while (waiting.size > 0) {
    signal.throwIfAborted();
    for (const workload of waiting) {
      if (workload.hopeless) warnings.push(workload.failure ?? `${workload.name} cannot run here.`);
      else if (!workload.ready && workload.crashLooping) throw new LocalRunError(workload.failure ?? `${workload.name} keeps ending right after its start.`);
      if (workload.ready || workload.hopeless) waiting.delete(workload);
    }
    if (waiting.size === 0) return;
    if (Date.now() > deadline) {
      const [workload] = waiting;
      const words = workload?.failure ?? workload?.pods.flatMap((pod) => pod.logFiles).filter((file) => existsSync(file)).map((file) => `see ${basename(file)} in the folder logs`).at(0);
      throw new LocalRunError(`${[...waiting].map(({ name }) => name).join(', ')} did not get ready within ${READY_DEADLINE_MS / 1000} s: ${words ?? 'no log'}`);
    }
    await delay(50);
  }
}
