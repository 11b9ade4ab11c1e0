import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../errors.ts';
import { Balancer } from './balancer.ts';
import { portError } from './ports.ts';

/** Other threads may import this file, too. */
const ROLE = 'balancers';

type Command =
  | { readonly do: 'start'; readonly id: number; readonly port: number }
  | { readonly do: 'backends'; readonly question: number; readonly ports: readonly number[] }
  | { readonly do: 'drain' | 'stop'; readonly id: number };

type Report =
  | { readonly id: number; readonly port: number }
  | { readonly id: number; readonly error: { readonly code: string | undefined; readonly message: string } }
  | { readonly id: number; readonly question: number };

/** A balancer as the main thread sees it. */
export interface RemoteBalancer {
  readonly port: number;
  drain(): void;
  stop(): void;
}

/** Runs balancers in a thread of their own: the main one serves queues and buses, and what it has to pass on would wait for that. */
export class BalancerThread {
  // Not the arguments of this process: a thread refuses those that say where the program comes from.
  readonly #worker = new Worker(new URL(import.meta.url), { workerData: ROLE, execArgv: [] });
  readonly #balancers: { readonly backends: () => number[]; readonly started: PromiseWithResolvers<number> }[] = [];

  constructor() {
    this.#worker.unref();
    this.#worker.on('error', (error) => this.#balancers.forEach(({ started }) => started.reject(error)));
    this.#worker.on('message', (report: Report) => {
      const { backends, started } = this.#balancers[report.id]!;
      if ('question' in report) this.#send({ do: 'backends', question: report.question, ports: backends() });
      else if ('port' in report) started.resolve(report.port);
      else started.reject(Object.assign(new Error(report.error.message), { code: report.error.code }));
    });
  }

  #send(command: Command): void {
    this.#worker.postMessage(command);
  }

  async start(name: string, port: number, backends: () => number[]): Promise<RemoteBalancer> {
    const id = this.#balancers.push({ backends, started: Promise.withResolvers<number>() }) - 1;
    this.#send({ do: 'start', id, port });
    try {
      return { port: await this.#balancers[id]!.started.promise, drain: () => this.#send({ do: 'drain', id }), stop: () => this.#send({ do: 'stop', id }) };
    } catch (error) {
      throw portError(error, name, port);
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

if (!isMainThread && parentPort && workerData === ROLE) {
  const main = parentPort;
  const report = (message: Report) => main.postMessage(message);
  const balancers = new Map<number, Balancer>();
  const questions = new Map<number, (ports: number[]) => void>();
  let asked = 0;
  const ask = (id: number) => new Promise<number[]>((resolve) => {
    questions.set(asked, resolve);
    report({ id, question: asked++ });
  });
  const start = async (id: number, port: number) => {
    try {
      const balancer = await Balancer.start(port, () => ask(id));
      balancers.set(id, balancer);
      report({ id, port: balancer.port });
    } catch (error) {
      report({ id, error: { code: codeOf(error), message: messageOf(error) } });
    }
  };
  main.on('message', (command: Command) => {
    switch (command.do) {
      case 'start':
        return void start(command.id, command.port);
      case 'backends':
        questions.get(command.question)?.([...command.ports]);
        return void questions.delete(command.question);
      case 'drain':
        return balancers.get(command.id)?.drain();
      case 'stop':
        return balancers.get(command.id)?.stop();
    }
  });
}
