import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A message as fauxqs keeps it in memory. */
export interface QueueMessage {
  readonly messageId: string;
  readonly body: string;
  approximateReceiveCount: number;
  approximateFirstReceiveTimestamp?: number;
  delayUntil?: number;
  messageGroupId?: string;
  readonly sentTimestamp: number;
}

export interface JournalEntry {
  readonly message: QueueMessage;
  readonly receiptHandle?: string;
  readonly visibilityDeadline?: number;
}

/** What a FIFO queue does not take a second time. */
export interface Deduplication {
  readonly id: string;
  readonly messageId: string;
  readonly sequenceNumber: string | undefined;
  readonly at: number;
}

/**
 * Writes down what is in the queues, so that neither a restart nor a killed run loses a message. It stands in for fauxqs's own
 * persistence, which (2.4) fails on `ChangeMessageVisibility` to 0 and waits for the disk at every single step.
 * The methods are those that a fauxqs queue calls.
 */
export class QueueJournal {
  readonly #database: DatabaseSync;
  readonly #statements;
  /** Message id → its row: an index over random ids would cost more to write than the messages. */
  readonly #positions = new Map<string, number | bigint>();
  /** Ends when what is written now is committed. */
  #commit: Promise<void> | undefined;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#database = new DatabaseSync(join(folder, 'queues.db'));
    // NORMAL: what is committed survives the end of the process, however it ends; only a power cut may take the last moments.
    // A checkpoint waits for the disk, so there are few. Nobody else opens the file, so it needs no locks.
    this.#database.exec(`
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
      create index if not exists deduplication_age on deduplication (at);`);
    this.#statements = {
      insert: this.#database.prepare('insert into queued (queue, message, body, receive_count, first_received) values (?, ?, ?, ?, ?)'),
      remove: this.#database.prepare('delete from queued where position = ?'),
      inflight: this.#database.prepare(`update queued set receipt_handle = ?, visibility_deadline = ?, receive_count = ?, first_received = ? where position = ?`),
      ready: this.#database.prepare('update queued set receipt_handle = null, visibility_deadline = null where position = ?'),
      purge: this.#database.prepare('delete from queued where queue = ?'),
      load: this.#database.prepare('select * from queued where queue = ? order by position'),
      queues: this.#database.prepare('select queue, count(*) as messages from queued group by queue'),
      saveCounter: this.#database.prepare('insert into sequence values (?, ?) on conflict (queue) do update set counter = excluded.counter'),
      saveMoveTask: this.#database.prepare('insert into move_task (id, task) values (?, ?) on conflict (id) do update set task = excluded.task'),
      removeMoveTask: this.#database.prepare('delete from move_task where id = ?'),
      moveTasks: this.#database.prepare('select task from move_task order by position'),
      saveDeduplication: this.#database.prepare('insert or replace into deduplication values (?, ?, ?, ?, ?)'),
      forgetDeduplications: this.#database.prepare('delete from deduplication where at <= ?'),
      deduplications: this.#database.prepare('select * from deduplication where queue = ? order by at'),
      counter: this.#database.prepare('select counter from sequence where queue = ?'),
    };
  }

  /**
   * One transaction for everything that happens in a turn of the event loop: each of its own would cost more than the
   * rest of the work. A move to a dead-letter queue, to fauxqs a delete and an insert, is never torn either.
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
    this.#database.exec('commit');
  }

  /** Nobody may be told of a change before this has ended. */
  async committed(): Promise<void> {
    await this.#commit;
  }

  insertMessage(queue: string, { body, ...message }: QueueMessage): void {
    this.#write();
    const { messageId, approximateReceiveCount, approximateFirstReceiveTimestamp } = message;
    this.#remove(messageId);
    const { lastInsertRowid } = this.#statements.insert.run(
      queue, JSON.stringify(message), body, approximateReceiveCount, approximateFirstReceiveTimestamp ?? null,
    );
    this.#positions.set(messageId, lastInsertRowid);
  }

  deleteMessage(id: string): void {
    this.#write();
    this.#remove(id);
  }

  #remove(id: string): void {
    const position = this.#positions.get(id);
    if (position === undefined) return;
    this.#statements.remove.run(position);
    this.#positions.delete(id);
  }

  updateMessageInflight(id: string, receiptHandle: string, deadline: number, count: number, first: number | undefined): void {
    const position = this.#positions.get(id);
    if (position === undefined) return;
    this.#write();
    this.#statements.inflight.run(receiptHandle, deadline, count, first ?? null, position);
  }

  updateMessageReady(id: string): void {
    const position = this.#positions.get(id);
    if (position === undefined) return;
    this.#write();
    this.#statements.ready.run(position);
  }

  deleteQueueMessages(queue: string): void {
    this.#write();
    this.#statements.purge.run(queue);
  }

  updateQueueSequenceCounter(queue: string, counter: number): void {
    this.#write();
    this.#statements.saveCounter.run(queue, counter);
  }

  // Queues themselves come from the templates, at every start.
  insertQueue(): void { /* nothing to write */ }
  updateQueueAttributes(): void { /* nothing to write */ }
  deleteQueue(queue: string): void {
    this.#write();
    this.#statements.purge.run(queue);
  }

  load(queue: string): JournalEntry[] {
    return this.#statements.load.all(queue).map((row) => {
      const message = {
        ...JSON.parse(String(row['message'])) as Omit<QueueMessage, 'body'>,
        body: String(row['body']),
        approximateReceiveCount: Number(row['receive_count']),
        ...(row['first_received'] !== null && { approximateFirstReceiveTimestamp: Number(row['first_received']) }),
      };
      this.#positions.set(message.messageId, Number(row['position']));
      return {
        message,
        ...(row['receipt_handle'] !== null && { receiptHandle: String(row['receipt_handle']), visibilityDeadline: Number(row['visibility_deadline']) }),
      };
    });
  }

  sequenceCounter(queue: string): number {
    return Number(this.#statements.counter.get(queue)?.['counter'] ?? 0);
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
    return this.#statements.moveTasks.all().map((row) => String(row['task']));
  }

  saveDeduplication(queue: string, { id, messageId, sequenceNumber, at }: Deduplication, oldest: number): void {
    this.#write();
    this.#statements.forgetDeduplications.run(oldest);
    this.#statements.saveDeduplication.run(queue, id, messageId, sequenceNumber ?? null, at);
  }

  deduplications(queue: string): Deduplication[] {
    return this.#statements.deduplications.all(queue).map((row) => ({
      id: String(row['id']),
      messageId: String(row['message_id']),
      sequenceNumber: row['sequence_number'] === null ? undefined : String(row['sequence_number']),
      at: Number(row['at']),
    }));
  }

  /** Queues that hold messages, whether or not a template still has them. */
  queues(): { queue: string; messages: number }[] {
    return this.#statements.queues.all().map((row) => ({ queue: String(row['queue']), messages: Number(row['messages']) }));
  }

  close(): void {
    this.#end();
    this.#database.close();
  }
}
