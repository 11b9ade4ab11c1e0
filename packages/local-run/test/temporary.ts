import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Whatever a test makes, with the way to remove it: node:test's context. */
interface Cleaner {
  after(done: () => unknown): void;
}

const cleanups = new WeakMap<Cleaner, (() => unknown)[]>();

/** Does it when the test ends, in the reverse of the order in which it was asked for; node:test would keep that order. */
export function atEnd(context: Cleaner, done: () => unknown): void {
  const known = cleanups.get(context);
  if (known) return void known.push(done);
  const all = [done];
  cleanups.set(context, all);
  context.after(async () => {
    for (const step of all.reverse()) await step();
  });
}

export function temporaryFolder(context: Cleaner): string {
  const folder = mkdtempSync(join(tmpdir(), 'local-run-'));
  // PostgreSQL does not run as root, and whom it runs as must get to its data; else it would be moved to a shared folder.
  chmodSync(folder, 0o711);
  atEnd(context, () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

type Maybe<T> = T | false | null | undefined;

/** Asks until the answer is something; generous, since other tests share the machine. */
export async function eventually<T>(ask: () => Maybe<T> | Promise<Maybe<T>>, what: string, deadlineMs = 60_000): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`Not within ${deadlineMs / 1000} s: ${what}`);
    await delay(25);
  }
}
