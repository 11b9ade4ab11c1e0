import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { QueueJournal } from './journal.ts';
import { createMessage } from './message.ts';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';

const message = (body: string) => createMessage({ body }, Date.now(), 0);

test('after a commit that failed, the next one is written down, and no position is given twice', async (context) => {
  const folder = temporaryFolder(context);
  const prepared = new DatabaseSync(join(folder, 'queues.db'));
  // A constraint that is checked at the commit only makes it fail, as a full disk does.
  prepared.exec(`
    create table known (name text primary key);
    insert into known values ('known');
    create table queued (
      position integer primary key autoincrement, queue text not null references known deferrable initially deferred, message text not null,
      body text not null, receipt_handle text, visibility_deadline integer, receive_count integer not null, first_received integer
    );`);
  prepared.close();
  const journal = new QueueJournal(folder);
  atEnd(context, () => journal.close());
  const [lost, kept] = [message('lost'), message('kept')];
  journal.add('unknown', lost);
  await assert.rejects(journal.committed(), /FOREIGN KEY constraint failed/);
  journal.add('known', kept);
  await journal.committed();
  journal.remove(lost);
  await journal.committed();
  assert.deepEqual(journal.load('known').map(({ body }) => body), ['kept']);
});

test('a damaged file of an earlier run is one sentence with the way out', (context) => {
  const folder = temporaryFolder(context);
  const file = join(folder, 'queues.db');
  const sentence = /^The queues of earlier runs in \/.*\/queues\.db cannot be read \(.+\): forget all data of earlier runs with --fresh\.$/;
  const isSentence = (error: unknown) => error instanceof LocalRunError && sentence.test(error.message);
  writeFileSync(file, 'no database'.repeat(1000));
  assert.throws(() => new QueueJournal(folder), isSentence);

  writeFileSync(file, '');
  const journal = new QueueJournal(folder);
  for (let index = 0; index < 20; index++) journal.add('orders', message('x'.repeat(10_000)));
  journal.close();
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(7, 16384 * 8));
  const again = new QueueJournal(folder);
  atEnd(context, () => again.close());
  assert.throws(() => again.load('orders'), isSentence);
});
