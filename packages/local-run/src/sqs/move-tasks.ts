import { randomUUID } from 'node:crypto';
import type { Input } from '../http/aws-json.ts';
import type { Action } from './actions/action.ts';
import { invalid, missing, SqsError } from './errors.ts';
import { integer, text } from './input.ts';
import { createMessage } from './message.ts';
import type { Message } from './message.ts';
import type { Queue } from './queue.ts';
import type { QueueStore } from './store.ts';

/** A task as it is written down, and, without its id, as `ListMessageMoveTasks` shows it. */
interface MoveTask {
  readonly id: string;
  Status: 'RUNNING' | 'COMPLETED' | 'CANCELLED' | 'FAILED';
  readonly SourceArn: string;
  readonly DestinationArn?: string;
  readonly MaxNumberOfMessagesPerSecond?: number;
  ApproximateNumberOfMessagesMoved: number;
  readonly ApproximateNumberOfMessagesToMove: number;
  FailureReason?: string;
  readonly StartedTimestamp: number;
}

const outOfRange = (value: unknown, parameter: string, most: number) => (
  invalid(`Value ${String(value)} for parameter ${parameter} is invalid. Reason: Must be between 1 and ${most}, if provided.`));
const notFound = (message: string) => new SqsError('ResourceNotFoundException', message);
const noSuch = (parameter: string) => notFound(`The resource that you specified for the ${parameter} parameter doesn't exist.`);

const TICK_MS = 20;
const MOST_PER_SECOND = 500;
const MOST_TASKS = 10;
const NO_QUEUE = 'AWS.SimpleQueueService.NonExistentQueue';

export const moveTaskActions: Readonly<Record<string, Action>> = {
  StartMessageMoveTask: (input, { moveTasks }) => ({ result: moveTasks.start(input) }),
  ListMessageMoveTasks: (input, { moveTasks }) => ({ result: moveTasks.list(input) }),
  CancelMessageMoveTask: (input, { moveTasks }) => ({ result: moveTasks.cancel(input) }),
};

/**
 * Dead letters back to where they came from. A message and the progress of its task are written down in one transaction, so a killed run
 * neither loses nor doubles it, and a task goes on at the next start.
 */
export class MoveTasks {
  readonly #store: QueueStore;
  readonly #tasks: MoveTask[];
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(store: QueueStore) {
    this.#store = store;
    this.#tasks = store.journal.moveTasks().map((task) => JSON.parse(task) as MoveTask);
  }

  /** Goes on with the moves that an earlier run had begun, as soon as their queue is there. */
  resume({ arn }: Queue): void {
    for (const task of this.#tasks) {
      if (task.SourceArn === arn && task.Status === 'RUNNING' && !this.#timers.has(task.id)) this.#run(task);
    }
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearInterval(timer);
  }

  #queue(input: Input, parameter: 'SourceArn' | 'DestinationArn'): Queue {
    const arn = text(input, parameter);
    if (!arn) throw missing(parameter);
    const queue = this.#store.withArn(arn);
    if (!queue) throw noSuch(parameter);
    return queue;
  }

  start(input: Input): Record<string, unknown> {
    const source = this.#queue(input, 'SourceArn');
    // A queue that no template names as dead-letter queue any more may still hold what came to it as one.
    const wasOne = [...source.waitingMessages()].some(({ deadLetterSourceArn }) => deadLetterSourceArn !== undefined);
    if (this.#store.sourcesOf(source).length === 0 && !wasOne) throw invalid('Source queue must be configured as a Dead Letter Queue.');
    const destination = input.DestinationArn === undefined ? undefined : this.#queue(input, 'DestinationArn');
    if (destination === source) throw invalid('Source queue arn and destination queue arn must be different.');
    if (destination && destination.isFifo !== source.isFifo) {
      throw invalid('Source and destination must both be FIFO queues or both be standard queues.');
    }
    const rate = integer(input, 'MaxNumberOfMessagesPerSecond');
    if (rate !== undefined && (rate < 1 || rate > MOST_PER_SECOND)) throw outOfRange(rate, 'MaxNumberOfMessagesPerSecond', MOST_PER_SECOND);
    if (this.#tasks.some(({ SourceArn, Status }) => SourceArn === source.arn && Status === 'RUNNING')) {
      throw invalid('There is already a task running. Only one active task is allowed for a source queue arn at a given time.');
    }
    const task: MoveTask = {
      id: randomUUID(),
      Status: 'RUNNING',
      SourceArn: source.arn,
      ...(destination && { DestinationArn: destination.arn }),
      ...(rate !== undefined && { MaxNumberOfMessagesPerSecond: rate }),
      ApproximateNumberOfMessagesMoved: 0,
      ApproximateNumberOfMessagesToMove: source.depth().visible,
      StartedTimestamp: this.#store.clock(),
    };
    this.#tasks.push(task);
    this.#store.journal.saveMoveTask(task.id, JSON.stringify(task));
    this.#forgetOld(source.arn);
    this.#run(task);
    return { TaskHandle: handleOf(task) };
  }

  #forgetOld(sourceArn: string): void {
    for (const old of this.#tasks.filter((task) => task.SourceArn === sourceArn).slice(0, -MOST_TASKS)) {
      this.#tasks.splice(this.#tasks.indexOf(old), 1);
      this.#store.journal.removeMoveTask(old.id);
    }
  }

  list(input: Input): Record<string, unknown> {
    const source = this.#queue(input, 'SourceArn');
    const most = integer(input, 'MaxResults') ?? 1;
    if (most < 1 || most > MOST_TASKS) throw outOfRange(most, 'MaxResults', MOST_TASKS);
    const tasks = this.#tasks.filter(({ SourceArn }) => SourceArn === source.arn).reverse().slice(0, most);
    return { Results: tasks.map(({ id, ...task }) => ({ ...task, ...(task.Status === 'RUNNING' && { TaskHandle: handleOf({ id, ...task }) }) })) };
  }

  cancel(input: Input): Record<string, unknown> {
    const { taskId, sourceArn } = readHandle(input.TaskHandle);
    if (!this.#store.withArn(sourceArn)) throw noSuch('SourceArn');
    const task = this.#tasks.find(({ id, SourceArn }) => id === taskId && SourceArn === sourceArn);
    // A task that is over is gone for SQS as well.
    if (task?.Status !== 'RUNNING') throw notFound('Task does not exist.');
    this.#end(task, 'CANCELLED');
    return { ApproximateNumberOfMessagesMoved: task.ApproximateNumberOfMessagesMoved };
  }

  #run(task: MoveTask): void {
    const began = Date.now();
    const before = task.ApproximateNumberOfMessagesMoved;
    const rate = task.MaxNumberOfMessagesPerSecond;
    const timer = setInterval(() => {
      const moved = task.ApproximateNumberOfMessagesMoved - before;
      const allowed = rate === undefined ? MOST_PER_SECOND : Math.floor((Date.now() - began) * rate / 1000) - moved;
      if (allowed > 0) this.#move(task, allowed);
    }, TICK_MS);
    this.#timers.set(task.id, timer);
  }

  #move(task: MoveTask, most: number): void {
    const source = this.#store.withArn(task.SourceArn);
    if (!source) return this.#end(task, 'FAILED', NO_QUEUE);
    source.tick();
    const before = task.ApproximateNumberOfMessagesMoved;
    // What fails again while its neighbours are moved is not moved a second time by this task.
    const left = () => task.ApproximateNumberOfMessagesToMove - task.ApproximateNumberOfMessagesMoved;
    for (let moved = 0; moved < most && left() > 0; moved++) {
      const message = source.first();
      if (!message) break;
      const destinationArn = task.DestinationArn ?? message.deadLetterSourceArn;
      if (destinationArn === undefined) return this.#end(task, 'FAILED', 'CouldNotDetermineMessageSource');
      const destination = this.#store.withArn(destinationArn);
      if (!destination) return this.#end(task, 'FAILED', NO_QUEUE);
      this.#moveOne(message, source, destination);
      task.ApproximateNumberOfMessagesMoved++;
    }
    if (left() <= 0 || (!source.first() && source.depth().inFlight === 0)) return this.#end(task, 'COMPLETED');
    if (task.ApproximateNumberOfMessagesMoved > before) this.#store.journal.saveMoveTask(task.id, JSON.stringify(task));
  }

  /** Moves one message. For its new queue, it has a new id, age and count, and is no duplicate. */
  #moveOne(message: Message, source: Queue, destination: Queue): void {
    source.remove(message);
    const { body, messageAttributes, traceHeader, messageGroupId, messageDeduplicationId } = message;
    const again = createMessage({ body, messageAttributes, traceHeader, messageGroupId, messageDeduplicationId }, this.#store.clock());
    if (destination.isFifo) destination.sequence(again);
    destination.add(again);
  }

  #end(task: MoveTask, status: MoveTask['Status'], reason?: string): void {
    clearInterval(this.#timers.get(task.id));
    this.#timers.delete(task.id);
    task.Status = status;
    if (reason !== undefined) task.FailureReason = reason;
    this.#store.journal.saveMoveTask(task.id, JSON.stringify(task));
  }
}

function handleOf({ id, SourceArn }: Pick<MoveTask, 'id' | 'SourceArn'>): string {
  return Buffer.from(JSON.stringify({ taskId: id, sourceArn: SourceArn })).toString('base64');
}

function readHandle(handle: unknown): { readonly taskId: string; readonly sourceArn: string } {
  try {
    const { taskId, sourceArn } = JSON.parse(Buffer.from(String(handle), 'base64').toString()) as { taskId?: unknown; sourceArn?: unknown };
    if (typeof taskId === 'string' && typeof sourceArn === 'string') return { taskId, sourceArn };
  } catch { /* not one of ours */ }
  throw invalid('Value for parameter TaskHandle is invalid.');
}
