import { deadLetterArns } from './dead-letters.ts';
import type { LocalQueue, LocalRun, LocalSchedule, LocalWorkload } from './local-run.ts';
import type { PreparedRun } from './prepare.ts';
import { LOOPBACK } from './processes/ports.ts';
import type { Workload } from './processes/workload.ts';
import type { Workloads } from './processes/workloads.ts';
import type { builtInServices } from './services.ts';

type BuiltIn = ReturnType<typeof builtInServices>;

/** A run as its callers see it. */
export function describeRun(prepared: PreparedRun, { stop, deploy }: Pick<LocalRun, 'stop' | 'deploy'>): LocalRun {
  const { context, services, builtIn, warnings, withoutMeaning, environment } = prepared;
  const { workloads } = context;
  const queues = describeQueues(builtIn, workloads, deadLetterArns(prepared.model));
  const { sqs, eventBridge, secretsManager, rds } = builtIn;
  const addresses = services.flatMap(({ name, url }) => (url === undefined ? [] : [[name, url] as const]));
  return {
    stop,
    deploy,
    warnings,
    withoutMeaning,
    environment: environment(),
    failures: () => workloads.failures(),
    workloads: workloads.running.map((workload) => describeWorkload(workload, workloads)),
    jobs: workloads.jobs.map(({ name }) => name),
    endpoints: { ...Object.fromEntries(addresses), sqs: sqs.url, eventbridge: eventBridge.url, secretsmanager: secretsManager.url },
    ...describeDatabase(rds),
    queues,
    buses: eventBridge.events.listBuses().map(({ Name, Arn }) => ({ name: Name, arn: Arn })),
    rules: eventBridge.rules.map(({ name, busName, arn, targetArns }) => ({ name, busName, arn, targetArns })),
    schedules: describeSchedules(builtIn),
    alarms: builtIn.cloudWatch.alarms.map((alarm) => ({ name: alarm.rule.name, state: () => alarm.state })),
    eventBridge: eventBridge.events,
    issuer: describeIssuer(builtIn.issuer),
    region: context.region,
    account: context.account,
    dataDir: context.dataDir,
    logDir: context.logDir,
    pauseReplica: () => rds.pauseReplicas(),
    resumeReplica: () => rds.resumeReplicas(),
    failover: () => rds.failover(),
    idle: () => isIdle(builtIn, queues),
    kill: (workload, signal = 'SIGKILL', replica = 0) => workloads.kill(workload, signal, replica),
  };
}

function describeIssuer({ url, tokens }: BuiltIn['issuer']): LocalRun['issuer'] {
  return { url, token: (request) => tokens.token(request), rotate: async (forgetFormer) => void await tokens.keys.rotate(forgetFormer) };
}

function describeSchedules({ eventBridge, scheduler }: BuiltIn): LocalSchedule[] {
  const date = (time: number | undefined) => (time === undefined ? undefined : new Date(time));
  return [
    ...eventBridge.events.scheduledRules().map(({ rule, expression, next, fire }) => ({
      name: rule.Name, arn: rule.Arn, expression, next: () => date(next()), fire,
    })),
    ...scheduler.schedules.map((schedule) => ({
      name: schedule.name,
      arn: schedule.arn,
      expression: schedule.expression,
      next: () => date(scheduler.next(schedule)),
      fire: () => scheduler.fire(schedule),
    })),
  ];
}

function describeWorkload(workload: Workload, workloads: Workloads): LocalWorkload {
  return {
    name: workload.name,
    kind: workload.spec.kind,
    replicas: workload.spec.replicas,
    urls: workloads.urls(workload),
    processUrls: () => processUrls(workload),
    logFiles: workload.pods.flatMap((pod) => pod.logFiles),
    environment: Object.assign({}, ...workload.spec.pod.containers.map(({ environment }) => environment)) as Record<string, string>,
    pids: () => workload.pids(),
    ready: () => workload.ready,
    restarts: () => workload.restarts,
  };
}

function processUrls({ pods }: Workload): string[] {
  return pods.flatMap((pod) => pod.containers).flatMap((container) => {
    const { ports: [first], readinessProbe, startupProbe, livenessProbe } = container.spec;
    const probe = [readinessProbe, startupProbe, livenessProbe].find((one) => one?.kind === 'http');
    const port = container.port(probe?.port ?? first?.port ?? 0);
    return port === undefined ? [] : `http://${LOOPBACK}:${port}`;
  });
}

function describeDatabase({ databases: [first] }: BuiltIn['rds']): Pick<LocalRun, 'database'> {
  if (!first) return {};
  const { name, server } = first;
  return {
    database: {
      writer: { ...server.writer, database: name },
      ...(server.reader && { reader: { ...server.reader, database: name } }),
      passwordFile: server.passwordFile,
      pids: () => server.pids(),
    },
  };
}

function isIdle({ lambda, eventBridge }: BuiltIn, queues: readonly LocalQueue[]): boolean {
  const read = queues.filter(({ consumer }) => consumer !== undefined).map(({ depth }) => depth());
  return eventBridge.events.counters().pending === 0 && lambda.waitingEvents() === 0
    && read.every(({ visible, inFlight, delayed }) => visible + inFlight + delayed === 0);
}

function describeQueues({ sqs, eventBridge, lambda }: BuiltIn, { specs }: Workloads, deadLetters: ReadonlySet<string>): LocalQueue[] {
  const unread = lambda.unread();
  return sqs.queues.map((queue) => {
    const deadLetterQueue = sqs.queues.find(({ arn }) => arn === queue.deadLetterArn);
    // An event source mapping names the reader of a queue; otherwise it is the workload that has its URL.
    const consumer = specs.find(({ reads = [] }) => reads.includes(queue.url))
      ?? specs.find(({ pod }) => pod.containers.some(({ environment }) => Object.values(environment).includes(queue.url)));
    const waitsFor = unread.get(queue.url);
    const rule = eventBridge.rules.find(({ targetArns }) => targetArns.includes(queue.arn));
    return {
      name: queue.name,
      url: queue.url,
      arn: queue.arn,
      ...(queue.maxReceiveCount !== undefined && { maxReceiveCount: queue.maxReceiveCount }),
      ...(deadLetterQueue && { deadLetterQueueUrl: deadLetterQueue.url }),
      deadLettersOf: sqs.queues.filter(({ deadLetterArn }) => deadLetterArn === queue.arn).map(({ name }) => name),
      takesDeadLetters: deadLetters.has(queue.arn),
      ...(consumer && { consumer: consumer.name }),
      ...(waitsFor !== undefined && { waitsFor }),
      ...(rule && { rule: rule.name }),
      depth: () => sqs.endpoint.depth(queue.name),
      messages: () => sqs.endpoint.bodies(queue.name),
    };
  });
}
