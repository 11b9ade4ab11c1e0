import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { count } from '../count.ts';
import { LocalRunError } from '../errors.ts';
import { BalancerThread } from './balancer-thread.ts';
import type { RemoteBalancer } from './balancer-thread.ts';
import { LOOPBACK } from './ports.ts';
import { canShare, SharedProgram } from './shared-program.ts';
import type { JobSpec, PodSpec, ServiceSpec, WorkloadSpec } from './specs.ts';
import { runJob, Workload } from './workload.ts';
import type { Host } from './workload.ts';

const READY_DEADLINE_MS = 120_000;

export interface WorkloadsOptions extends Host {
  /** The most processes of each workload. */
  readonly maxReplicas: number;
  /** The file that hosts several programs in one process. @default - each has its own */
  readonly sharedProcess?: string | undefined;
  /** The names of workloads and jobs that do not run. */
  readonly without: readonly string[];
  port(name: string): Promise<number>;
  /** Called when a workload cannot run, or is in a crash loop. */
  onFailure(sentence: string): void;
  /** Called when such a workload runs again. */
  onRecovery(sentence: string): void;
}

/** All programs of a run: jobs, which end, workloads, which stay, and the ports before them. */
export class Workloads {
  readonly jobs: JobSpec[] = [];
  /** The workloads as their templates describe them. */
  readonly specs: WorkloadSpec[] = [];
  readonly running: Workload[] = [];
  readonly #options: WorkloadsOptions;
  readonly #left: string[] = [];
  readonly #balancers: RemoteBalancer[] = [];
  #balancerThread: BalancerThread | undefined;
  readonly #urls = new Map<Workload, string[]>();
  readonly #troubled = new Set<string>();
  #started = false;
  /** The workloads that have one process together. */
  #sharing: readonly Workload[] = [];

  constructor(options: WorkloadsOptions) {
    this.#options = options;
  }

  add(spec: WorkloadSpec): void {
    if (this.leftOut(spec.name, spec.path)) return;
    this.specs.push(spec);
    const limited = { ...spec, replicas: Math.min(spec.replicas, this.#options.maxReplicas) };
    const workload: Workload = new Workload(limited, this.#options, () => this.#troubleChanged(workload));
    this.running.push(workload);
    if (this.#started) workload.start();
  }

  addJob(spec: JobSpec): void {
    if (!this.leftOut(spec.name)) this.jobs.push(spec);
  }

  /** The workloads that cannot run at the moment, or keep ending: a sentence for each. */
  failures(): string[] {
    return this.running.map(({ trouble }) => trouble).filter((trouble) => trouble !== undefined);
  }

  #troubleChanged({ name, trouble }: Workload): void {
    if ((trouble !== undefined) === this.#troubled.has(name)) return;
    if (trouble !== undefined) {
      this.#troubled.add(name);
      this.#options.onFailure(trouble);
    } else {
      this.#troubled.delete(name);
      this.#options.onRecovery(`${name} runs again.`);
    }
  }

  /** Whether the user leaves out the workload or job with this name, or with this path of its construct. Both are known names then. */
  leftOut(name: string, path = name): boolean {
    const { without } = this.#options;
    if (!without.includes(name) && !without.includes(path)) return false;
    this.#left.push(...new Set([name, path]));
    return true;
  }

  /**
   * Opens a port of this machine for each port of a Service, before the workloads that it selects. Returns the ports of the Service with
   * those here.
   */
  async expose(service: ServiceSpec): Promise<ReadonlyMap<number, number>> {
    const selector = Object.entries(service.selector);
    const selects = ({ labels }: PodSpec) => selector.length > 0 && selector.every(([key, value]) => labels[key] === value);
    const behind = this.running.filter(({ spec }) => selects(spec.pod));
    const ports = new Map<number, number>();
    for (const [index, port] of service.ports.entries()) {
      const name = index === 0 ? service.name : `${service.name}:${port.name ?? port.port}`;
      const backends = () => behind.flatMap((workload) => workload.ports(port.targetPort));
      const balancer = await (this.#balancerThread ??= new BalancerThread()).start(name, await this.#options.port(name), backends);
      this.#balancers.push(balancer);
      ports.set(port.port, balancer.port);
      for (const workload of behind) this.#urls.set(workload, [...this.urls(workload), `http://${LOOPBACK}:${balancer.port}`]);
    }
    return ports;
  }

  /** The addresses where a workload takes requests. */
  urls(workload: Workload): readonly string[] {
    return this.#urls.get(workload) ?? [];
  }

  /** The names of all workloads and jobs, those that are left out too. A function is known by the path of its construct. */
  names(): string[] {
    return [...new Set([...this.#left, ...this.jobs.map(({ name }) => name), ...this.specs.map(({ name, path = name }) => path)])];
  }

  async runJob(job: JobSpec, signal: AbortSignal): Promise<void> {
    await runJob(job, this.#options, signal);
  }

  /** Starts every workload and waits until each is ready. Returns a few words for the screen. */
  async start(signal: AbortSignal): Promise<string> {
    this.#started = true;
    this.#share();
    for (const workload of this.running) workload.start();
    await this.#ready(signal);
    const sum = (all: readonly WorkloadSpec[]) => all.reduce((total, { replicas }) => total + replicas, 0);
    const [here, stated] = [sum(this.running.map(({ spec }) => spec)) - Math.max(0, this.#sharing.length - 1), sum(this.specs)];
    const together = this.#sharing.length > 0 ? `; ${this.#sharing.length} workloads share one process` : '';
    return `${count(here, 'process', 'processes')} of ${count(this.running.length, 'workload')}${here === stated ? '' : `, ${stated} in the template`}${together}`;
  }

  /** Gives those workloads one process that can share it. One with an address keeps its own: its users would wait for the others' work. */
  #share(): void {
    const { sharedProcess, logDir } = this.#options;
    if (sharedProcess === undefined) return;
    const able = this.running.filter((workload) => !this.#urls.has(workload) && canShare(workload.spec, sharedProcess));
    const folder = (workload: Workload) => workload.spec.pod.containers[0]?.folder;
    const sharing = able.filter((workload) => folder(workload) === folder(able[0]!));
    if (sharing.length < 2) return;
    const program = new SharedProgram(sharedProcess, sharing.length, join(logDir, 'shared-process.log'));
    for (const container of sharing.flatMap(({ pods }) => pods).flatMap(({ containers }) => containers)) container.share(program);
    this.#sharing = sharing;
  }

  /**
   * A container that keeps ending is an error. A program that is not on this machine, and a function that cannot run, are failures of
   * theirs alone: the others can run, and messages wait for a function as in AWS.
   */
  async #ready(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_DEADLINE_MS;
    const waiting = new Set(this.running);
    while (waiting.size > 0) {
      signal.throwIfAborted();
      for (const workload of waiting) {
        const { trouble, failure, hopeless, ready, crashLooping, spec } = workload;
        const alone = trouble !== undefined && (hopeless || spec.kind === 'Function');
        if (!alone && !ready && crashLooping) {
          throw new LocalRunError(`${failure ?? `${workload.name} keeps ending right after its start`} (--without ${workload.name} leaves it out).`);
        }
        if (ready || alone) waiting.delete(workload);
      }
      if (waiting.size === 0) return;
      if (Date.now() > deadline) throw notReady([...waiting]);
      await delay(50);
    }
  }

  /**
   * Replaces the programs by those of another version: runs the jobs that are not the same, then replaces the workloads that are not, one
   * after the other. Returns the names of both.
   *
   * @throws LocalRunError when a job fails, or a workload does not get ready; those before it have the new version
   */
  async replace(version: Workloads, signal: AbortSignal): Promise<{ jobs: string[]; workloads: string[] }> {
    if (this.#sharing.length > 0) throw new LocalRunError('Workloads that share a process cannot get another version one by one: start the run without sharedProcess.');
    const added = namesBeside(version.running, this.running);
    const gone = namesBeside(this.running.filter(({ spec }) => spec.kind !== 'Function'), version.running);
    if (added.length > 0) throw new LocalRunError(`The new version has ${added.join(', ')}, which this run does not have: stop it, and start one of the new version.`);
    if (gone.length > 0) throw new LocalRunError(`The new version has no ${gone.join(', ')} that can run here: the log says why, or start a run of the new version.`);
    const done = { jobs: [] as string[], workloads: [] as string[] };
    for (const job of version.jobs) {
      const index = this.jobs.findIndex(({ name }) => name === job.name);
      if (isSame(this.jobs[index], job)) continue;
      await this.runJob(job, signal);
      this.jobs.splice(index < 0 ? this.jobs.length : index, 1, job);
      done.jobs.push(job.name);
    }
    for (const workload of this.running) {
      const next = version.running.find(({ name }) => name === workload.name)?.spec;
      if (next === undefined || isSame(workload.spec.pod, next.pod)) continue;
      await workload.replace(next.pod, READY_DEADLINE_MS, signal);
      done.workloads.push(workload.name);
    }
    return done;
  }

  /** Signals one process of a workload, and returns its id. */
  kill(name: string, signal: NodeJS.Signals, replica: number): number {
    const workload = this.running.find((candidate) => candidate.name === name);
    if (!workload) throw new LocalRunError(`There is no workload ${name}; there is ${this.running.map((candidate) => candidate.name).join(', ')}.`);
    const pid = workload.pods[replica]?.containers.map((container) => container.kill(signal)).find((killed) => killed !== undefined);
    if (pid === undefined) throw new LocalRunError(`Replica ${replica} of ${name} does not run at the moment.`);
    return pid;
  }

  /** First nobody gets in any more, then those that answer requests end, then those that work on what is there. */
  async stop(): Promise<void> {
    for (const balancer of this.#balancers) balancer.drain();
    const exposed = (workload: Workload) => this.#urls.has(workload);
    await Promise.all(this.running.filter(exposed).map((workload) => workload.stop()));
    await Promise.all(this.running.filter((workload) => !exposed(workload)).map((workload) => workload.stop()));
    await this.#balancerThread?.close();
  }
}

/** The names of workloads that are not among the others. */
function namesBeside(workloads: readonly Workload[], others: readonly Workload[]): string[] {
  return workloads.map(({ name }) => name).filter((name) => others.every((other) => other.name !== name));
}

/** Whether two descriptions say the same. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function notReady(waiting: readonly Workload[]): LocalRunError {
  const [first] = waiting;
  const log = first?.pods.flatMap((pod) => pod.logFiles).find((file) => existsSync(file));
  const words = first?.failure ?? (log === undefined ? 'no log' : `see ${basename(log)} in the folder logs`);
  return new LocalRunError(`${waiting.map(({ name }) => name).join(', ')} did not get ready within ${READY_DEADLINE_MS / 1000} s: ${words}`);
}
