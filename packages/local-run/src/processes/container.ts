import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Leftovers } from './leftovers.ts';
import { freePort } from './ports.ts';
import { ask } from './probe.ts';
import { lastLines, RunningProgram } from './program.ts';
import type { Exit } from './program.ts';
import type { SharedProgram } from './shared-program.ts';
import type { ContainerSpec, Life, Probe, Supervisor } from './specs.ts';

/** Kubernetes waits 10 s before it restarts for the second time; on one machine nobody is served by that. */
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 10_000;
/** A program that ran for this long has not crashed at start. */
const STABLE_MS = 10_000;
/** This number of short lives in a row is called a crash loop. */
export const CRASH_LOOP = 4;
/** Until it is ready for the first time, a probe's period (10 s by default) would only be waiting. */
const START_POLL_MS = 100;

/** A program says that a file of it, or of what it imports, is missing. */
const MISSING = /Cannot find (module|package)|No module named|no such file|ENOENT|(ClassNotFound|NoClassDefFound)/i;

export interface ContainerContext {
  /** The name of the container in messages. */
  readonly title: string;
  readonly logFile: string;
  readonly leftovers: Leftovers;
  readonly log: Log;
  readonly graceSeconds: number;
  /** Called when `trouble` has changed. */
  changed(): void;
  /** The environment for these ports: declared port → the port that it has here. */
  environment(spec: ContainerSpec, ports: ReadonlyMap<number, number>): Record<string, string>;
}

/** Keeps one container running: starts its program, asks its probes, starts it again when it ends. */
export class Container {
  readonly spec: ContainerSpec;
  readonly #context: ContainerContext;
  readonly #supervisor: Supervisor | undefined;
  #program: RunningProgram | undefined;
  #shared: SharedProgram | undefined;
  #ports: ReadonlyMap<number, number> = new Map();
  #ready = false;
  #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #shortLives = 0;
  #restarts = 0;
  #failure: string | undefined;
  #trouble: string | undefined;
  /** Its supervisor says that it cannot work. */
  #unable = false;
  #hopeless = false;

  constructor(spec: ContainerSpec, context: ContainerContext) {
    this.spec = spec;
    this.#context = context;
    this.#supervisor = spec.supervise?.();
  }

  get ready(): boolean { return this.#ready; }
  get restarts(): number { return this.#restarts; }
  get pid(): number | undefined { return this.#program?.pid; }
  /** The reason why it does not run, while that is so. */
  get failure(): string | undefined { return this.#failure; }
  /** The reason why it does not run at all, or keeps ending. It is over when the program runs for a while. */
  get trouble(): string | undefined { return this.#trouble; }
  /** Its program is not on this machine: nothing to wait for. */
  get hopeless(): boolean { return this.#hopeless; }
  get crashLooping(): boolean { return this.#shortLives >= CRASH_LOOP; }

  /** The port on this machine for the one with this number or name. */
  port(wanted: string | number): number | undefined {
    const declared = this.spec.ports.find(({ name, port }) => name === wanted || port === Number(wanted));
    return this.#ports.get(declared?.port ?? Number(wanted));
  }

  get logFile(): string { return this.#shared?.logFile ?? this.#context.logFile; }

  /** From its next start on it has no process of its own. */
  share(shared: SharedProgram): void {
    this.#shared = shared;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  kill(name: NodeJS.Signals): number | undefined {
    const { pid } = this;
    this.#program?.kill(name);
    return pid;
  }

  /** Lets nobody find it any more. */
  drain(): void {
    this.#stopping.abort();
    this.#ready = false;
  }

  async stop(): Promise<void> {
    this.drain();
    const { graceSeconds } = this.#context;
    if (this.#supervisor) await Promise.race([this.#supervisor.drain(), delay(graceSeconds * 1000, undefined, { ref: false })]);
    await this.#program?.stop(graceSeconds);
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#live(signal);
      } catch (error) {
        // Nothing waits for this loop before the stop: without an end here, the error would end the whole process.
        this.#giveUp(`${this.#context.title} cannot be started: ${messageOf(error)}.`);
      }
      if (signal.aborted || this.#hopeless) return;
      this.#restarts += 1;
      const wait = this.#shortLives <= 1 ? FIRST_BACKOFF_MS : Math.min(FIRST_BACKOFF_MS * 2 ** this.#shortLives, LONGEST_BACKOFF_MS);
      await delay(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One life of the program. */
  async #live(signal: AbortSignal): Promise<void> {
    const { title } = this.#context;
    // Other ports each time: another program may have taken the last ones meanwhile.
    this.#ports = new Map(await Promise.all(this.spec.ports.map(async ({ port }) => [port, await freePort(title)] as const)));
    const life = { ended: false };
    const variables = await this.#supervisor?.begin(this.#supervised(life));
    if (signal.aborted) return;
    const environment = { ...this.#context.environment(this.spec, this.#ports), ...variables };
    const program = await this.#begin(environment, signal);
    if (!program) return;
    const started = Date.now();
    this.#program = program;
    void this.#watch(program, signal);
    const exit = await program.exited;
    this.#supervisor?.ended();
    this.#ready = false;
    if (signal.aborted || life.ended) return;
    this.#shortLives = Date.now() - started < STABLE_MS ? this.#shortLives + 1 : 1;
    this.#judge(exit);
  }

  /** Undefined if it is stopped while it waits for those with which it shares a process. */
  async #begin(environment: Readonly<Record<string, string>>, signal: AbortSignal): Promise<RunningProgram | undefined> {
    const { command, folder } = this.spec;
    const { leftovers } = this.#context;
    if (!this.#shared) return new RunningProgram({ command, folder, environment, logFile: this.logFile }, leftovers);
    const stopped = Promise.withResolvers<undefined>();
    const stop = () => stopped.resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await Promise.race([this.#shared.start({ command, folder, environment }, leftovers), stopped.promise]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #supervised(life: { ended: boolean }): Life {
    return {
      ready: () => {
        this.#ready = !this.#stopping.signal.aborted;
        this.#failure = undefined;
        if (!this.#unable) return;
        this.#unable = false;
        this.#shortLives = 0;
        this.#setTrouble(undefined);
      },
      failed: (sentence) => {
        this.#unable = true;
        this.#failure = sentence;
        this.#setTrouble(sentence);
      },
      write: (line) => appendFileSync(this.logFile, `${line}\n`),
      end: () => {
        life.ended = true;
        this.kill('SIGKILL');
      },
    };
  }

  /** Says why a program has ended that should not. */
  #judge(exit: Exit): void {
    if (this.#unable) return;
    const { title, log } = this.#context;
    const { logFile } = this;
    const lines = lastLines(logFile, 5);
    this.#failure = `${title} ended ${exit.how}${lines.length > 0 ? `; its last words (${logFile}): ${lines.join(' | ')}` : ` and said nothing (${logFile})`}`;
    if (this.spec.hint !== undefined && lines.some((line) => MISSING.test(line))) this.#failure += `. ${this.spec.hint}`;
    if (exit.notFound !== undefined) {
      return this.#giveUp(`${title} cannot run here: ${exit.notFound} is not on this machine, or ${this.spec.folder} has no such program. Install it, `
        + 'or leave it out with --without.');
    }
    if (this.crashLooping) this.#setTrouble(`${title} keeps ending right after its start (${this.#shortLives} times now). ${this.#failure}`);
    else log('warn', `${title} ended ${exit.how} and is started again.`, { lastLines: lines });
  }

  /** It is not started again. */
  #giveUp(sentence: string): void {
    this.#hopeless = true;
    this.#failure = sentence;
    this.#setTrouble(sentence);
  }

  #setTrouble(sentence: string | undefined): void {
    if (sentence === this.#trouble) return;
    this.#trouble = sentence;
    if (sentence !== undefined) this.#context.log('error', sentence);
    this.#context.changed();
  }

  async #watch(program: RunningProgram, signal: AbortSignal): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe } = this.spec;
    const gone = () => program.ended || signal.aborted;
    const wait = (ms: number) => Promise.race([delay(ms, undefined, { signal, ref: false }).catch(() => undefined), program.exited]);
    void delay(STABLE_MS, undefined, { signal, ref: false }).then(() => this.#stable(program), () => undefined);
    if (this.#supervisor) return;
    // A startup probe holds the others back; a readiness probe alone is asked often until it first says yes.
    const first = startupProbe ?? readinessProbe;
    while (!gone() && first && !await this.#ask(first)) await wait(START_POLL_MS);
    while (!gone() && readinessProbe && startupProbe && !await this.#ask(readinessProbe)) await wait(START_POLL_MS);
    if (gone()) return;
    this.#ready = true;
    this.#failure = undefined;
    if (readinessProbe) void this.#follow(readinessProbe, gone, wait, (ready) => { this.#ready = ready; });
    if (livenessProbe) {
      await wait(livenessProbe.initialDelaySeconds * 1000);
      let stopping = false;
      void this.#follow(livenessProbe, () => stopping || gone(), wait, (alive) => {
        if (alive) return;
        stopping = true;
        this.#context.log('warn', `${this.#context.title} does not answer its liveness probe and is started again.`);
        void program.stop(this.#context.graceSeconds);
      });
    }
  }

  /** A program that ran for so long is in no crash loop any more. Whether it could be loaded, its supervisor says. */
  #stable(program: RunningProgram): void {
    if (program.ended || !this.crashLooping) return;
    this.#shortLives = 0;
    if (!this.#unable) this.#setTrouble(undefined);
  }

  async #follow(
    probe: Probe, gone: () => boolean, wait: (ms: number) => Promise<unknown>, report: (healthy: boolean) => void,
  ): Promise<void> {
    let failures = 0;
    while (!gone()) {
      await wait(probe.periodSeconds * 1000);
      if (gone()) return;
      const healthy = await this.#ask(probe);
      if (gone()) return;
      failures = healthy ? 0 : failures + 1;
      if (healthy || failures >= probe.failureThreshold) report(healthy);
    }
  }

  async #ask(probe: Probe): Promise<boolean> {
    const port = this.port(probe.port);
    return port !== undefined && await ask(probe, port);
  }
}
