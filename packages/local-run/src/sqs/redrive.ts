import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { QueueJournal, QueueMessage } from './journal.ts';

/** What moving messages needs of a fauxqs queue. */
export interface MovableQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  attributes: Record<string, string>;
  messages: DeadMessage[];
  fifoMessages: Map<string, DeadMessage[]>;
  readonly fifoLockedGroups: Map<string, number>;
  readonly inflightMessages: Map<string, { readonly message: DeadMessage }>;
  dequeue(count: number, visibilityTimeout: number | undefined, deadLetterQueue?: (arn: string) => MovableQueue | undefined): unknown[];
  enqueue(message: QueueMessage): void;
  nextSequenceNumber(): string;
  processTimers(): void;
}

export interface DeadMessage extends QueueMessage {
  readonly messageAttributes?: Record<string, { DataType: string; StringValue?: string }>;
  readonly messageDeduplicationId?: string;
  sequenceNumber?: string;
  /** The queue whose `maxReceiveCount` it exceeded; none if it was sent to the dead-letter queue directly. */
  deadLetterSourceArn?: string;
}

interface Store {
  getQueueByArn(arn: string): MovableQueue | undefined;
  getQueueByName(name: string): MovableQueue | undefined;
  allQueues(): Iterable<MovableQueue>;
}

type CreateMessage = (
  body: string, attributes?: DeadMessage['messageAttributes'], delaySeconds?: number, groupId?: string, deduplicationId?: string,
) => DeadMessage;

/** As it is written down, and but for its id as `ListMessageMoveTasks` shows it. */
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

/** What SQS answers; its messages are those that it was recorded to give. */
class RedriveError extends Error {
  override readonly name = 'RedriveError';
  readonly code: string;
  readonly status: number;
  readonly queryCode: string;

  constructor(code: string, message: string, status = 400, queryCode = code) {
    super(message);
    this.code = code;
    this.status = status;
    this.queryCode = queryCode;
  }
}

const invalid = (message: string) => new RedriveError('InvalidParameterValue', message);
const outOfRange = (value: unknown, parameter: string, most: number) => (
  invalid(`Value ${String(value)} for parameter ${parameter} is invalid. Reason: Must be between 1 and ${most}, if provided.`));
const missing = (message: string) => new RedriveError('ResourceNotFoundException', message, 404);
const noSuch = (parameter: string) => missing(`The resource that you specified for the ${parameter} parameter doesn't exist.`);

const TICK_MS = 20;
const MOST_PER_SECOND = 500;
const MOST_TASKS = 10;
const PROTOCOL = 'application/x-amz-json-1.0';
const ACTION_PREFIX = 'AmazonSQS.';

/**
 * Dead letters back to where they came from: the four actions that fauxqs lacks. A message and the progress of its task are written
 * down in one transaction, so a killed run neither loses nor doubles it, and a task goes on at the next start.
 */
export class Redrive {
  readonly #store: Store;
  readonly #journal: QueueJournal;
  readonly #createMessage: CreateMessage;
  readonly #tasks: MoveTask[];
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(app: FastifyInstance, store: Store, journal: QueueJournal, createMessage: CreateMessage) {
    this.#store = store;
    this.#journal = journal;
    this.#createMessage = createMessage;
    this.#tasks = journal.moveTasks().map((text) => JSON.parse(text) as MoveTask);
    this.#answer(app);
    showSource(app, store);
  }

  /** Marks what the queue gives up, and goes on with the move that an earlier run had begun. */
  attach(queue: MovableQueue): void {
    const dequeue = queue.dequeue.bind(queue);
    queue.dequeue = (count, visibilityTimeout, deadLetterQueue) => dequeue(count, visibilityTimeout, deadLetterQueue && ((arn) => {
      const dead = deadLetterQueue(arn);
      if (!dead || !letsIn(dead, queue.arn)) return undefined;
      return Object.assign(Object.create(dead) as MovableQueue, {
        enqueue: (message: DeadMessage) => {
          message.deadLetterSourceArn = queue.arn;
          if (isFifo(dead)) message.sequenceNumber = dead.nextSequenceNumber();
          dead.enqueue(message);
        },
      });
    }));
    for (const task of this.#tasks) if (task.SourceArn === queue.arn && task.Status === 'RUNNING') this.#run(task);
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearInterval(timer);
  }

  #answer(app: FastifyInstance): void {
    const actions: Record<string, (body: Record<string, unknown>) => object> = {
      StartMessageMoveTask: (body) => this.#start(body),
      ListMessageMoveTasks: (body) => this.#list(body),
      CancelMessageMoveTask: (body) => this.#cancel(body),
      ListDeadLetterSourceQueues: (body) => this.#sources(body),
    };
    app.addHook('preHandler', async (request, reply) => {
      const target = request.headers['x-amz-target'];
      if (typeof target !== 'string' || !target.startsWith(ACTION_PREFIX)) return;
      const name = target.slice(ACTION_PREFIX.length);
      if (!Object.hasOwn(actions, name)) return;
      reply.header('content-type', PROTOCOL);
      try {
        await reply.send(JSON.stringify(actions[name]!((request.body ?? {}) as Record<string, unknown>)));
      } catch (error) {
        if (!(error instanceof RedriveError)) throw error;
        await reply.status(error.status).header('x-amzn-query-error', `${error.queryCode};Sender`)
          .send(JSON.stringify({ __type: `com.amazonaws.sqs#${error.code}`, message: error.message }));
      }
    });
  }

  #queue(body: Record<string, unknown>, parameter: 'SourceArn' | 'DestinationArn'): MovableQueue {
    const arn = body[parameter];
    if (typeof arn !== 'string' || arn === '') {
      throw new RedriveError('MissingParameter', `The request must contain the parameter ${parameter}.`);
    }
    const queue = this.#store.getQueueByArn(arn);
    if (!queue) throw noSuch(parameter);
    return queue;
  }

  #start(body: Record<string, unknown>): object {
    const source = this.#queue(body, 'SourceArn');
    // A queue that no template names as dead-letter queue any more may still hold what came to it as one.
    const wasOne = waiting(source).some(({ deadLetterSourceArn }) => deadLetterSourceArn !== undefined);
    if (this.#sourcesOf(source).length === 0 && !wasOne) throw invalid('Source queue must be configured as a Dead Letter Queue.');
    const destination = body['DestinationArn'] === undefined ? undefined : this.#queue(body, 'DestinationArn');
    if (destination === source) throw invalid('Source queue arn and destination queue arn must be different.');
    if (destination && isFifo(destination) !== isFifo(source)) {
      throw invalid('Source and destination must both be FIFO queues or both be standard queues.');
    }
    const rate = body['MaxNumberOfMessagesPerSecond'];
    if (rate !== undefined && !(Number.isInteger(rate) && Number(rate) >= 1 && Number(rate) <= MOST_PER_SECOND)) {
      throw outOfRange(rate, 'MaxNumberOfMessagesPerSecond', MOST_PER_SECOND);
    }
    if (this.#tasks.some(({ SourceArn, Status }) => SourceArn === source.arn && Status === 'RUNNING')) {
      throw invalid('There is already a task running. Only one active task is allowed for a source queue arn at a given time.');
    }
    source.processTimers();
    const task: MoveTask = {
      id: randomUUID(),
      Status: 'RUNNING',
      SourceArn: source.arn,
      ...(destination && { DestinationArn: destination.arn }),
      ...(rate !== undefined && { MaxNumberOfMessagesPerSecond: Number(rate) }),
      ApproximateNumberOfMessagesMoved: 0,
      ApproximateNumberOfMessagesToMove: waiting(source).length,
      StartedTimestamp: Date.now(),
    };
    this.#tasks.push(task);
    this.#journal.saveMoveTask(task.id, JSON.stringify(task));
    this.#forgetOld(source.arn);
    this.#run(task);
    return { TaskHandle: handleOf(task) };
  }

  #forgetOld(sourceArn: string): void {
    for (const old of this.#tasks.filter((task) => task.SourceArn === sourceArn).slice(0, -MOST_TASKS)) {
      this.#tasks.splice(this.#tasks.indexOf(old), 1);
      this.#journal.removeMoveTask(old.id);
    }
  }

  #list(body: Record<string, unknown>): object {
    const source = this.#queue(body, 'SourceArn');
    const most = Number(body['MaxResults'] ?? 1);
    if (!(Number.isInteger(most) && most >= 1 && most <= MOST_TASKS)) {
      throw outOfRange(body['MaxResults'], 'MaxResults', MOST_TASKS);
    }
    const tasks = this.#tasks.filter(({ SourceArn }) => SourceArn === source.arn).reverse().slice(0, most);
    return { Results: tasks.map(({ id, ...task }) => ({ ...task, ...(task.Status === 'RUNNING' && { TaskHandle: handleOf({ id, ...task }) }) })) };
  }

  #cancel(body: Record<string, unknown>): object {
    const { taskId, sourceArn } = readHandle(body['TaskHandle']);
    if (!this.#store.getQueueByArn(sourceArn)) throw noSuch('SourceArn');
    const task = this.#tasks.find(({ id, SourceArn }) => id === taskId && SourceArn === sourceArn);
    // What is over is gone for SQS as well.
    if (task?.Status !== 'RUNNING') throw missing('Task does not exist.');
    this.#end(task, 'CANCELLED');
    return { ApproximateNumberOfMessagesMoved: task.ApproximateNumberOfMessagesMoved };
  }

  #sources(body: Record<string, unknown>): object {
    const queue = this.#store.getQueueByName(String(body['QueueUrl'] ?? '').split('/').at(-1) ?? '');
    if (!queue) throw new RedriveError('QueueDoesNotExist', 'The specified queue does not exist.', 400, 'AWS.SimpleQueueService.NonExistentQueue');
    const most = body['MaxResults'] === undefined ? undefined : Number(body['MaxResults']);
    if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= 1000)) {
      throw outOfRange(most, 'MaxResults', 1000);
    }
    const after = body['NextToken'] === undefined ? '' : Buffer.from(String(body['NextToken']), 'base64').toString();
    const urls = this.#sourcesOf(queue).map(({ url }) => url).sort().filter((url) => url > after);
    const page = urls.slice(0, most);
    return { queueUrls: page, ...(page.length < urls.length && { NextToken: Buffer.from(page.at(-1) ?? '').toString('base64') }) };
  }

  #sourcesOf(dead: MovableQueue): MovableQueue[] {
    return [...this.#store.allQueues()].filter(({ attributes: { RedrivePolicy } }) => (
      RedrivePolicy !== undefined && (JSON.parse(RedrivePolicy) as { deadLetterTargetArn?: string }).deadLetterTargetArn === dead.arn));
  }

  #run(task: MoveTask): void {
    const began = Date.now();
    const before = task.ApproximateNumberOfMessagesMoved;
    const rate = task.MaxNumberOfMessagesPerSecond;
    const timer = setInterval(() => {
      const allowed = rate === undefined ? MOST_PER_SECOND : Math.floor((Date.now() - began) * rate / 1000) - (task.ApproximateNumberOfMessagesMoved - before);
      if (allowed > 0) this.#move(task, allowed);
    }, TICK_MS);
    this.#timers.set(task.id, timer);
  }

  #move(task: MoveTask, most: number): void {
    const source = this.#store.getQueueByArn(task.SourceArn);
    if (!source) return this.#end(task, 'FAILED', 'AWS.SimpleQueueService.NonExistentQueue');
    source.processTimers();
    const before = task.ApproximateNumberOfMessagesMoved;
    // What fails again while its neighbours are moved is not moved a second time by this task.
    const left = () => task.ApproximateNumberOfMessagesToMove - task.ApproximateNumberOfMessagesMoved;
    for (let moved = 0; moved < most && left() > 0; moved++) {
      const message = first(source);
      if (!message) break;
      const destinationArn = task.DestinationArn ?? message.deadLetterSourceArn;
      if (destinationArn === undefined) return this.#end(task, 'FAILED', 'CouldNotDetermineMessageSource');
      const destination = this.#store.getQueueByArn(destinationArn);
      if (!destination) return this.#end(task, 'FAILED', 'AWS.SimpleQueueService.NonExistentQueue');
      take(source, message);
      this.#journal.deleteMessage(message.messageId);
      // To its queue it is a new message, with an id, an age and a count of its own. It is no duplicate of what it was, either.
      const again = this.#createMessage(message.body, message.messageAttributes, undefined, message.messageGroupId, message.messageDeduplicationId);
      if (isFifo(destination)) again.sequenceNumber = destination.nextSequenceNumber();
      destination.enqueue(again);
      task.ApproximateNumberOfMessagesMoved++;
    }
    if (left() <= 0 || (!first(source) && source.inflightMessages.size === 0)) return this.#end(task, 'COMPLETED');
    if (task.ApproximateNumberOfMessagesMoved > before) this.#journal.saveMoveTask(task.id, JSON.stringify(task));
  }

  #end(task: MoveTask, status: MoveTask['Status'], reason?: string): void {
    clearInterval(this.#timers.get(task.id));
    this.#timers.delete(task.id);
    task.Status = status;
    if (reason !== undefined) task.FailureReason = reason;
    this.#journal.saveMoveTask(task.id, JSON.stringify(task));
  }
}

/** Whether a queue may use this one for its dead letters, as its `RedriveAllowPolicy` says. */
export function letsIn(dead: { readonly attributes: Record<string, string> }, sourceArn: string): boolean {
  const text = dead.attributes['RedriveAllowPolicy'];
  if (text === undefined || text === '') return true;
  const { redrivePermission = 'allowAll', sourceQueueArns = [] } = JSON.parse(text) as { redrivePermission?: string; sourceQueueArns?: string[] };
  return redrivePermission === 'allowAll' || (redrivePermission === 'byQueue' && sourceQueueArns.includes(sourceArn));
}

/** Adds the system attribute `DeadLetterQueueSourceArn` to what is received. */
function showSource(app: FastifyInstance, store: Store): void {
  app.addHook('preSerialization', async (request, _reply, payload) => {
    const { QueueUrl = '', AttributeNames = [], MessageSystemAttributeNames = [] } = (request.body ?? {}) as {
      QueueUrl?: string; AttributeNames?: string[]; MessageSystemAttributeNames?: string[];
    };
    const { Messages } = (payload ?? {}) as { Messages?: { ReceiptHandle: string; Attributes?: Record<string, string> }[] };
    if (!Array.isArray(Messages) || ![...AttributeNames, ...MessageSystemAttributeNames].some((name) => name === 'All' || name === 'DeadLetterQueueSourceArn')) return payload;
    const queue = store.getQueueByName(QueueUrl.split('/').at(-1) ?? '');
    for (const message of Messages) {
      const arn = queue?.inflightMessages.get(message.ReceiptHandle)?.message.deadLetterSourceArn;
      if (arn !== undefined) message.Attributes = { ...message.Attributes, DeadLetterQueueSourceArn: arn };
    }
    return payload;
  });
}

function isFifo(queue: MovableQueue): boolean {
  return queue.attributes['FifoQueue'] === 'true';
}

function waiting(queue: MovableQueue): DeadMessage[] {
  return isFifo(queue) ? [...queue.fifoMessages.values()].flat() : queue.messages;
}

/** The next that nobody has in hand; of a group, nothing may overtake what somebody has. */
function first(queue: MovableQueue): DeadMessage | undefined {
  if (!isFifo(queue)) return queue.messages[0];
  for (const [group, messages] of queue.fifoMessages) if (messages[0] && !queue.fifoLockedGroups.has(group)) return messages[0];
  return undefined;
}

function take(queue: MovableQueue, message: DeadMessage): void {
  if (!isFifo(queue)) return void queue.messages.shift();
  for (const [group, messages] of queue.fifoMessages) {
    if (messages[0] !== message) continue;
    messages.shift();
    if (messages.length === 0) queue.fifoMessages.delete(group);
    return;
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
