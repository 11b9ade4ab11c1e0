import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { LocalRunError, messageOf } from '../errors.ts';
import { md5, md5OfAttributes } from './message.ts';
import type { Message } from './message.ts';

/** A message that a FIFO queue does not take a second time. */
export interface Duplicate {
  readonly id: string;
  readonly messageId: string;
  readonly sequenceNumber: string | undefined;
  readonly at: number;
}

/** A queue that the API has made; those of the templates are made anew at every start. */
export interface SavedQueue {
  readonly name: string;
  readonly account: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
}

// NORMAL: what is committed survives the end of the process, however it ends; only a power cut may take the last moments.
// A checkpoint waits for the disk, so there are few. Nobody else opens the file, so it needs no locks.
const SCHEMA = `
  pragma page_size = 16384;
  pragma locking_mode = exclusive;
  pragma journal_mode = wal;
  pragma synchronous = normal;
  pragma wal_autocheckpoint = 4096;
  create table if not exists queued (
    position integer primary key autoincrement, queue text not null, message text not null, body text not null,
    receipt_handle text, visibility_deadline integer, receive_count integer not null, first_received integer
  );
  create table if not exists sequence (queue text primary key, counter integer not null);
  create table if not exists move_task (position integer primary key autoincrement, id text not null unique, task text not null);
  create table if not exists deduplication (
    queue text not null, id text not null, message_id text not null, sequence_number text, at integer not null, primary key (queue, id)
  );
  create index if not exists deduplication_age on deduplication (at);
  create table if not exists queue (name text primary key, definition text not null);`;

/** The statements of the journal. */
function prepare(database: DatabaseSync) {
  return {
    insert: database.prepare('insert into queued (position, queue, message, body, receive_count, first_received) values (?, ?, ?, ?, ?, ?)'),
    last: database.prepare("select seq from sqlite_sequence where name = 'queued'"),
    remove: database.prepare('delete from queued where position = ?'),
    received: database.prepare('update queued set receipt_handle = ?, visibility_deadline = ?, receive_count = ?, first_received = ? where position = ?'),
    returned: database.prepare('update queued set visibility_deadline = null, receive_count = ? where position = ?'),
    purge: database.prepare('delete from queued where queue = ?'),
    load: database.prepare('select * from queued where queue = ? order by position'),
    saveQueue: database.prepare('insert into queue values (?, ?) on conflict (name) do update set definition = excluded.definition'),
    forgetQueue: database.prepare('delete from queue where name = ?'),
    savedQueues: database.prepare('select definition from queue order by name'),
    queues: database.prepare('select queue, count(*) as messages from queued group by queue'),
    saveCounter: database.prepare('insert into sequence values (?, ?) on conflict (queue) do update set counter = excluded.counter'),
    saveMoveTask: database.prepare('insert into move_task (id, task) values (?, ?) on conflict (id) do update set task = excluded.task'),
    removeMoveTask: database.prepare('delete from move_task where id = ?'),
    moveTasks: database.prepare('select task from move_task order by position'),
    saveDeduplication: database.prepare('insert or replace into deduplication values (?, ?, ?, ?, ?)'),
    forgetDeduplications: database.prepare('delete from deduplication where at <= ?'),
    deduplications: database.prepare('select * from deduplication where queue = ? order by at'),
    counter: database.prepare('select counter from sequence where queue = ?'),
  };
}

/** Writes down the messages of the queues, so that neither a restart nor a killed run loses one. */
export class QueueJournal {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #statements: ReturnType<typeof prepare>;
  /** The last position that a message got. None is given twice, even if the first message was not written down. */
  #last: number;
  /** Ends when what is written now is committed. */
  #commit: Promise<void> | undefined;

  /** @throws LocalRunError if the file of an earlier run is damaged */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#file = join(folder, 'queues.db');
    // Not imported, so that an older Node.js can load this module and say which version it needs.
    const sqlite = process.getBuiltinModule('node:sqlite');
    this.#database = new sqlite.DatabaseSync(this.#file);
    try {
      this.#database.exec(SCHEMA);
      this.#statements = prepare(this.#database);
      this.#last = Number(this.#statements.last.get()?.seq ?? 0);
    } catch (error) {
      this.#database.close();
      throw this.#damaged(error);
    }
  }

  /**
   * One transaction for everything that happens in a turn of the event loop: each of its own would cost more than the
   * rest of the work. A move to a dead-letter queue, a delete and an insert, is never torn either.
   */
  #write(): void {
    if (this.#commit) return;
    this.#database.exec('begin');
    this.#commit = new Promise((resolve, reject) => {
      setImmediate(() => {
        try {
          this.#end();
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
    this.#commit.catch(() => undefined);
  }

  #end(): void {
    if (!this.#commit) return;
    this.#commit = undefined;
    try {
      this.#database.exec('commit');
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  /** Without it, a transaction that cannot be committed would stay open, and none could begin after it. */
  #rollBack(): void {
    try {
      this.#database.exec('rollback');
    } catch {
      // Some errors have ended the transaction already.
    }
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.#damaged(error);
    }
  }

  #damaged(error: unknown): LocalRunError {
    return new LocalRunError(`The queues of earlier runs in ${this.#file} cannot be read (${messageOf(error)}): forget all data of earlier runs with --fresh.`);
  }

  /** Ends when the changes are written down. Nobody may hear of them before. */
  async committed(): Promise<void> {
    await this.#commit;
  }

  add(queue: string, message: Message): void {
    this.#write();
    const { body, approximateReceiveCount, approximateFirstReceiveTimestamp } = message;
    // What changes has columns of its own; the digest of the body is made anew.
    const kept = {
      messageId: message.messageId,
      sentTimestamp: message.sentTimestamp,
      messageAttributes: message.messageAttributes,
      traceHeader: message.traceHeader,
      messageGroupId: message.messageGroupId,
      messageDeduplicationId: message.messageDeduplicationId,
      sequenceNumber: message.sequenceNumber,
      deadLetterSourceArn: message.deadLetterSourceArn,
      enqueuedAt: message.enqueuedAt,
      delayUntil: message.delayUntil,
    };
    // An index over random ids would cost more to write than the messages.
    const position = ++this.#last;
    this.#statements.insert.run(
      position, queue, JSON.stringify(kept), body, approximateReceiveCount, approximateFirstReceiveTimestamp ?? null,
    );
    message.position = position;
  }

  remove(message: Message): void {
    const { position } = message;
    if (position === undefined) return;
    this.#write();
    this.#statements.remove.run(position);
    message.position = undefined;
  }

  received({ position, receiptHandle, visibilityDeadline, approximateReceiveCount, approximateFirstReceiveTimestamp }: Message): void {
    if (position === undefined) return;
    this.#write();
    const first = approximateFirstReceiveTimestamp ?? null;
    this.#statements.received.run(receiptHandle ?? null, visibilityDeadline ?? null, approximateReceiveCount, first, position);
  }

  returned({ position, approximateReceiveCount }: Message): void {
    if (position === undefined) return;
    this.#write();
    this.#statements.returned.run(approximateReceiveCount, position);
  }

  /** All messages of a queue. */
  purge(queue: string): void {
    this.#write();
    this.#statements.purge.run(queue);
  }

  saveSequenceCounter(queue: string, counter: number): void {
    this.#write();
    this.#statements.saveCounter.run(queue, counter);
  }

  saveQueue(queue: SavedQueue): void {
    this.#write();
    this.#statements.saveQueue.run(queue.name, JSON.stringify(queue));
  }

  forgetQueue(name: string): void {
    this.#write();
    this.#statements.forgetQueue.run(name);
  }

  savedQueues(): SavedQueue[] {
    return this.#read(() => this.#statements.savedQueues.all().map((row) => JSON.parse(String(row.definition)) as SavedQueue));
  }

  /** The messages of a queue, in the order in which they came. */
  load(queue: string): Message[] {
    return this.#read(() => this.#statements.load.all(queue).map((row) => {
      const kept = JSON.parse(String(row.message)) as Omit<Message, 'body'>;
      const body = String(row.body);
      const attributes = Object.keys(kept.messageAttributes ?? {}).length > 0 ? kept.messageAttributes : undefined;
      return {
        ...kept,
        body,
        md5OfBody: md5(body),
        messageAttributes: attributes,
        md5OfMessageAttributes: attributes && md5OfAttributes(attributes),
        approximateReceiveCount: Number(row.receive_count),
        approximateFirstReceiveTimestamp: row.first_received === null ? undefined : Number(row.first_received),
        receiptHandle: row.receipt_handle === null ? undefined : String(row.receipt_handle),
        visibilityDeadline: row.visibility_deadline === null ? undefined : Number(row.visibility_deadline),
        position: Number(row.position),
      };
    }));
  }

  sequenceCounter(queue: string): number {
    return this.#read(() => Number(this.#statements.counter.get(queue)?.counter ?? 0));
  }

  saveMoveTask(id: string, task: string): void {
    this.#write();
    this.#statements.saveMoveTask.run(id, task);
  }

  removeMoveTask(id: string): void {
    this.#write();
    this.#statements.removeMoveTask.run(id);
  }

  moveTasks(): string[] {
    return this.#read(() => this.#statements.moveTasks.all().map((row) => String(row.task)));
  }

  saveDeduplication(queue: string, { id, messageId, sequenceNumber, at }: Duplicate, oldest: number): void {
    this.#write();
    this.#statements.forgetDeduplications.run(oldest);
    this.#statements.saveDeduplication.run(queue, id, messageId, sequenceNumber ?? null, at);
  }

  deduplications(queue: string): Duplicate[] {
    return this.#read(() => this.#statements.deduplications.all(queue).map((row) => ({
      id: String(row.id),
      messageId: String(row.message_id),
      sequenceNumber: row.sequence_number === null ? undefined : String(row.sequence_number),
      at: Number(row.at),
    })));
  }

  /** Queues that hold messages, whether or not a template still has them. */
  queues(): { queue: string; messages: number }[] {
    return this.#read(() => this.#statements.queues.all().map((row) => ({ queue: String(row.queue), messages: Number(row.messages) })));
  }

  close(): void {
    try {
      this.#end();
    } finally {
      this.#database.close();
    }
  }
}
