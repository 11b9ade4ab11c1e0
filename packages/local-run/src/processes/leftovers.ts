import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { processStart, signal } from './identity.ts';

interface Entry { readonly pid: number; readonly started: string | undefined }

/**
 * The processes of this run in a file. Should the run and the process that guards its children be killed both, the next
 * start finds here what they have left.
 */
export class Leftovers {
  readonly #file: string;
  readonly #entries = new Map<number, Entry>();

  constructor(file: string) {
    this.#file = file;
  }

  add(pid: number): void {
    this.#entries.set(pid, { pid, started: processStart(pid) });
    this.#write();
  }

  remove(pid: number): void {
    if (this.#entries.delete(pid)) this.#write();
  }

  #write(): void {
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify([...this.#entries.values()]));
    renameSync(draft, this.#file);
  }

  /** Ends what an earlier run has left; returns how many that were. */
  async clean(): Promise<number> {
    let entries: Entry[] = [];
    try {
      entries = JSON.parse(readFileSync(this.#file, 'utf8')) as Entry[];
    } catch {
      // No earlier run, or one that ended well.
    }
    const alive = entries.filter(({ pid, started }) => started !== undefined && processStart(pid) === started);
    for (const { pid } of alive) signal(-pid, 'SIGKILL');
    const deadline = Date.now() + 10_000;
    while (alive.some(({ pid, started }) => processStart(pid) === started) && Date.now() < deadline) await delay(20);
    rmSync(this.#file, { force: true });
    return alive.length;
  }

  close(): void {
    rmSync(this.#file, { force: true });
  }
}
