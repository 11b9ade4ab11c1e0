import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalRunError } from '../errors.ts';
import type { Log } from '../log.ts';
import { Container, CRASH_LOOP } from './container.ts';
import type { ContainerContext } from './container.ts';
import type { Leftovers } from './leftovers.ts';
import { lastLines, RunningProgram } from './program.ts';
import type { ContainerSpec, JobSpec, PodSpec, WorkloadSpec } from './specs.ts';
import { lastWords } from './words.ts';

export interface Host {
  readonly logDir: string;
  readonly leftovers: Leftovers;
  readonly log: Log;
  environment: ContainerContext['environment'];
}

/** The parts of the run that a workload uses, and the receiver of changes of its trouble. */
interface PodHost extends Host {
  changed(): void;
}

/** One replica: its init containers once, then its containers until it is stopped. */
export class Pod {
  readonly #title: string;
  readonly #spec: PodSpec;
  readonly #host: PodHost;
  readonly #stopping = new AbortController();
  #initialised: Promise<void> | undefined;
  #initFailure: string | undefined;
  #initFailures = 0;
  #initProgram: RunningProgram | undefined;
  readonly containers: readonly Container[];

  constructor(title: string, spec: PodSpec, host: PodHost) {
    this.#title = title;
    this.#spec = spec;
    this.#host = host;
    this.containers = spec.containers.map((container) => new Container(container, {
      ...host,
      title: spec.containers.length === 1 ? title : `${title}/${container.name}`,
      logFile: this.#logFile(container),
      graceSeconds: spec.terminationGracePeriodSeconds,
    }));
  }

  #logFile(container: ContainerSpec): string {
    const several = this.#spec.containers.length + this.#spec.initContainers.length > 1;
    return join(this.#host.logDir, `${several ? `${this.#title}.${container.name}` : this.#title}.log`);
  }

  get logFiles(): string[] { return this.containers.map(({ logFile }) => logFile); }
  get ready(): boolean { return this.containers.every((container) => container.ready); }
  get failure(): string | undefined {
    return this.#initFailure ?? this.containers.find((container) => container.failure !== undefined)?.failure;
  }

  get trouble(): string | undefined { return this.containers.find((container) => container.trouble !== undefined)?.trouble; }
  get hopeless(): boolean { return this.containers.some((container) => container.hopeless); }
  get crashLooping(): boolean { return this.#initFailures >= CRASH_LOOP || this.containers.some((container) => container.crashLooping); }

  /** The port where this replica takes connections to the one with this name or number. */
  port(wanted: string | number): number | undefined {
    for (const container of this.containers) {
      const port = container.port(wanted);
      if (port !== undefined) return port;
    }
    return undefined;
  }

  start(): void {
    this.#initialised ??= this.#initialise();
  }

  async #initialise(): Promise<void> {
    for (const spec of this.#spec.initContainers) {
      for (let wait = 100; !this.#stopping.signal.aborted; wait = Math.min(wait * 2, 10_000)) {
        const logFile = this.#logFile(spec);
        this.#initProgram = new RunningProgram({
          command: spec.command, folder: spec.folder, logFile, environment: this.#host.environment(spec, new Map()),
        }, this.#host.leftovers);
        const exit = await this.#initProgram.exited;
        if (exit.code === 0) break;
        this.#initFailures += 1;
        this.#initFailure = `Init container ${spec.name} of ${this.#title} ended ${exit.how}: ${lastLines(logFile, 5).join(' | ')}`;
        await delay(wait, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      }
      this.#initFailure = undefined;
      this.#initFailures = 0;
    }
    if (!this.#stopping.signal.aborted) for (const container of this.containers) container.start();
  }

  drain(): void {
    this.#stopping.abort();
    for (const container of this.containers) container.drain();
  }

  async stop(): Promise<void> {
    this.drain();
    await this.#initProgram?.stop(this.#spec.terminationGracePeriodSeconds);
    await this.#initialised;
    await Promise.all(this.containers.map((container) => container.stop()));
  }
}

const READY_POLL_MS = 25;

/** A Deployment, a StatefulSet or a function: its replicas. */
export class Workload {
  readonly #host: PodHost;
  readonly #pods: Pod[];
  #spec: WorkloadSpec;

  constructor(spec: WorkloadSpec, host: Host, changed: () => void = () => undefined) {
    this.#spec = spec;
    this.#host = { ...host, changed };
    this.#pods = Array.from({ length: spec.replicas }, (_, index) => this.#newPod(index));
  }

  #newPod(index: number): Pod {
    const { name, replicas, pod } = this.#spec;
    return new Pod(replicas === 1 ? name : `${name}-${index + 1}`, pod, this.#host);
  }

  get spec(): WorkloadSpec { return this.#spec; }
  get pods(): readonly Pod[] { return this.#pods; }

  get name(): string { return this.spec.name; }
  get ready(): boolean { return this.pods.every((pod) => pod.ready); }
  get restarts(): number { return this.pods.flatMap((pod) => pod.containers).reduce((sum, container) => sum + container.restarts, 0); }
  get failure(): string | undefined { return this.pods.find((pod) => pod.failure !== undefined)?.failure; }
  /** The reason why it cannot run, or keeps ending, in one sentence. */
  get trouble(): string | undefined { return this.pods.find((pod) => pod.trouble !== undefined)?.trouble; }
  get hopeless(): boolean { return this.pods.some((pod) => pod.hopeless); }
  get crashLooping(): boolean { return this.pods.some((pod) => pod.crashLooping); }

  pids(): number[] {
    return this.pods.flatMap((pod) => pod.containers).map((container) => container.pid).filter((pid) => pid !== undefined);
  }

  /** Ports of the ready replicas. */
  ports(wanted: string | number): number[] {
    return this.pods.filter((pod) => pod.ready).map((pod) => pod.port(wanted)).filter((port) => port !== undefined);
  }

  start(): void {
    for (const pod of this.pods) pod.start();
  }

  /**
   * Replaces its replicas one by one: a new one has to be ready before an old one stops, as in a rolling update.
   *
   * @throws LocalRunError when a new one does not get ready within `deadlineMs`; the old one goes on
   */
  async replace(pod: PodSpec, deadlineMs: number, signal: AbortSignal): Promise<void> {
    this.#spec = { ...this.#spec, pod };
    for (const [index, old] of this.#pods.entries()) {
      const next = this.#newPod(index);
      next.start();
      const deadline = Date.now() + deadlineMs;
      while (!next.ready) {
        if (signal.aborted || next.crashLooping || Date.now() > deadline) {
          await next.stop();
          signal.throwIfAborted();
          throw new LocalRunError(`The new version of ${this.name} did not get ready, so the old one goes on: ${next.failure ?? 'see its log'}`);
        }
        await delay(READY_POLL_MS);
      }
      this.#pods[index] = next;
      await old.stop();
    }
  }

  drain(): void {
    for (const pod of this.pods) pod.drain();
  }

  async stop(): Promise<void> {
    await Promise.all(this.pods.map((pod) => pod.stop()));
  }
}

/** The last words of a program that has printed none. */
const SILENT = 'nothing';

/**
 * Runs a job to its end, again when it fails, as often as it says. A second failure with the same words is the last one: a third would have
 * them, too.
 */
export async function runJob(job: JobSpec, host: Host, signal: AbortSignal): Promise<void> {
  const deadline = job.deadlineSeconds === undefined ? Infinity : Date.now() + job.deadlineSeconds * 1000;
  let before: string | undefined;
  for (let attempt = 0; ; attempt++) {
    const failure = await runJobOnce(job, host, signal, deadline);
    if (failure === undefined) return;
    if (Date.now() > deadline) throw new LocalRunError(`Job ${job.name} did not end within ${job.deadlineSeconds} s. ${failure}`);
    if (attempt >= job.backoffLimit) throw new LocalRunError(attempt === 0 ? failure : `${failure} (after ${attempt + 1} attempts)`);
    if (failure === before && !failure.endsWith(SILENT)) throw new LocalRunError(failure);
    before = failure;
    host.log('warn', `${failure}; it is tried again.`);
    await delay(Math.min(250 * 2 ** attempt, 10_000), undefined, { signal });
  }
}

/** One attempt of a job. Returns its failure in a sentence. */
async function runJobOnce(job: JobSpec, host: Host, signal: AbortSignal, deadline: number): Promise<string | undefined> {
  const logFile = join(host.logDir, `${job.name}.log`);
  for (const spec of [...job.pod.initContainers, ...job.pod.containers.slice(0, 1)]) {
    const environment = host.environment(spec, new Map());
    const program = new RunningProgram({ command: spec.command, folder: spec.folder, logFile, environment }, host.leftovers);
    const stop = () => void program.stop(job.pod.terminationGracePeriodSeconds);
    signal.addEventListener('abort', stop, { once: true });
    const timer = deadline === Infinity ? undefined : setTimeout(stop, Math.max(deadline - Date.now(), 0));
    const exit = await program.exited;
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    signal.throwIfAborted();
    if (exit.code === 0) continue;
    const failure = `Job ${job.name} ended ${exit.how}; its last words (${logFile}): ${lastWords(logFile, 8) || SILENT}`;
    if (exit.notFound !== undefined) throw new LocalRunError(failure);
    return failure;
  }
  return undefined;
}
