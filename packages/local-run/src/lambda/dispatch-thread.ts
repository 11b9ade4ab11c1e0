import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import type { Log, LogLevel } from '../log.ts';
import { AsynchronousEvents } from './asynchronous.ts';
import { Dispatcher } from './dispatcher.ts';
import { QueueBatches } from './queue-mapping.ts';
import { SqsClient } from './sqs-client.ts';
import type { AsynchronousInvocations, FunctionDefinition, FunctionError, QueueMapping } from './types.ts';

/** Other threads may import this file, too. */
const ROLE = 'functions';

type Command =
  | { readonly do: 'add'; readonly fn: FunctionDefinition }
  | { readonly do: 'source'; readonly name: string; readonly source: QueueMapping | AsynchronousInvocations }
  | { readonly do: 'open'; readonly name: string; readonly replica: number; readonly question: number }
  | { readonly do: 'ended'; readonly name: string; readonly replica: number }
  | { readonly do: 'drain'; readonly name: string; readonly question: number };

type Event =
  | { readonly kind: 'ready' | 'timedOut' }
  | { readonly kind: 'initError'; readonly error: FunctionError }
  | { readonly kind: 'write'; readonly line: string };

type Report =
  | { readonly question: number; readonly answer: unknown }
  | { readonly question: number; readonly failure: string }
  | { readonly warning: string }
  | { readonly log: readonly [LogLevel, string, Record<string, unknown> | undefined] }
  | { readonly name: string; readonly replica: number; readonly event: Event };

/** The ways out of the thread. */
export interface DispatchOutput {
  readonly log: Log;
  /** Shows a sentence on the screen, and logs it. */
  report(sentence: string): void;
}

/** Gets the events of a replica's environment. */
export type Listener = (event: Event) => void;

/** Polls queues and serves the Runtime API of all functions in a thread of its own: the main one serves queues and buses. */
export class DispatchThread {
  readonly #worker: Worker;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #listeners = new Map<string, Listener>();
  #questions = 0;
  #end: Error | undefined;

  constructor(sqsUrl: string, { log, report }: DispatchOutput) {
    // Not the arguments of this process: a thread refuses those that say where the program comes from.
    this.#worker = new Worker(new URL(import.meta.url), { workerData: { role: ROLE, sqsUrl }, execArgv: [] });
    this.#worker.unref();
    this.#worker.on('error', (error) => {
      log('error', `The thread of the functions has ended: ${error.stack ?? error.message}`);
      this.#end = error;
      for (const { reject } of this.#answers.values()) reject(error);
    });
    this.#worker.on('message', (heard: Report) => {
      if ('warning' in heard) report(heard.warning);
      else if ('log' in heard) log(...heard.log);
      else this.#hear(heard);
    });
  }

  add(fn: FunctionDefinition): void {
    this.#send({ do: 'add', fn });
  }

  /** From now on the function gets the events of this source. */
  addSource(name: string, source: QueueMapping | AsynchronousInvocations): void {
    this.#send({ do: 'source', name, source });
  }

  /** Returns the port of the Runtime API for this replica of the function. */
  async open(name: string, replica: number, listener: Listener): Promise<number> {
    this.#listeners.set(`${name} ${replica}`, listener);
    return await this.#ask((question) => ({ do: 'open', name, replica, question })) as number;
  }

  /** The process of this replica has ended. */
  ended(name: string, replica: number): void {
    this.#send({ do: 'ended', name, replica });
  }

  /** The function gets no more events. Resolves when those in hand are done. */
  async drain(name: string): Promise<void> {
    await this.#ask((question) => ({ do: 'drain', name, question }));
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(command: Command): void {
    this.#worker.postMessage(command);
  }

  #ask(command: (question: number) => Command): Promise<unknown> {
    // A thread that has ended answers nothing, and its callers would wait forever.
    if (this.#end) return Promise.reject(this.#end);
    const question = this.#questions++;
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(question, answer);
    this.#send(command(question));
    return answer.promise;
  }

  #hear(report: Exclude<Report, { warning: string } | { log: unknown }>): void {
    if ('event' in report) return this.#listeners.get(`${report.name} ${report.replica}`)?.(report.event);
    const answer = this.#answers.get(report.question);
    this.#answers.delete(report.question);
    if ('failure' in report) answer?.reject(new Error(report.failure));
    else answer?.resolve(report.answer);
  }
}

/** The other side: all dispatchers, in the thread. */
class Dispatchers {
  readonly #sqs: SqsClient;
  readonly #report: (report: Report) => void;
  readonly #all = new Map<string, { readonly fn: FunctionDefinition; readonly dispatcher: Dispatcher }>();

  constructor(sqsUrl: string, report: (report: Report) => void) {
    this.#sqs = new SqsClient(sqsUrl);
    this.#report = report;
  }

  obey(command: Command): void {
    switch (command.do) {
      case 'add':
        return this.#add(command.fn);
      case 'source':
        return this.#addSource(command.name, command.source);
      case 'open':
        return this.#answer(command.question, this.#named(command.name).dispatcher.open(command.replica));
      case 'drain':
        return this.#answer(command.question, this.#named(command.name).dispatcher.drain());
      case 'ended':
        return this.#named(command.name).dispatcher.ended(command.replica);
    }
  }

  #add(fn: FunctionDefinition): void {
    const tell = (replica: number, event: Event) => this.#report({ name: fn.name, replica, event });
    const dispatcher = new Dispatcher(fn, {
      ready: (replica) => tell(replica, { kind: 'ready' }),
      timedOut: (replica) => tell(replica, { kind: 'timedOut' }),
      initError: (replica, error) => tell(replica, { kind: 'initError', error }),
      failing: (warning) => this.#report({ warning }),
      write: (replica, line) => tell(replica, { kind: 'write', line: JSON.stringify(line) }),
    });
    this.#all.set(fn.name, { fn, dispatcher });
  }

  #addSource(name: string, source: QueueMapping | AsynchronousInvocations): void {
    const { fn, dispatcher } = this.#named(name);
    const log: Log = (level, message, fields) => this.#report({ log: [level, message, fields] });
    dispatcher.add(source.kind === 'queue' ? new QueueBatches(source, this.#sqs) : new AsynchronousEvents(fn, source, this.#sqs, {
      log, report: (warning) => this.#report({ warning }),
    }));
  }

  #answer(question: number, work: Promise<unknown>): void {
    work.then((answer) => this.#report({ question, answer }), (error: unknown) => this.#report({ question, failure: messageOf(error) }));
  }

  #named(name: string): { readonly fn: FunctionDefinition; readonly dispatcher: Dispatcher } {
    const found = this.#all.get(name);
    if (!found) throw new Error(`There is no function ${name}.`);
    return found;
  }
}

const given = workerData as { readonly role?: unknown; readonly sqsUrl: string } | null;
if (!isMainThread && parentPort && given?.role === ROLE) {
  const main = parentPort;
  const dispatchers = new Dispatchers(given.sqsUrl, (report) => main.postMessage(report));
  main.on('message', (command: Command) => dispatchers.obey(command));
}
