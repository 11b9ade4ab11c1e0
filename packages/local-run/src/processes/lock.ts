import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { codeOf, LocalRunError } from '../errors.ts';
import { processStart } from './identity.ts';

/**
 * Lets one living process at a time use a folder. A lock whose holder has died, however it died, is taken over.
 * Returns the function that gives it back.
 */
export function takeLock(file: string, inUse: (pid: number) => string): () => void {
  const mine = JSON.stringify({ pid: process.pid, started: processStart(process.pid) });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, mine);
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        // Unlike a write, a link either makes the whole file or fails because there is one.
        linkSync(draft, file);
        break;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        const holder = holderOf(file);
        if (holder !== undefined || attempt > 10) throw new LocalRunError(inUse(holder ?? 0));
        rmSync(file, { force: true });
      }
    }
  } finally {
    unlinkSync(draft);
  }
  return () => rmSync(file, { force: true });
}

/** The process that holds the lock, undefined when none does that is alive. */
export function holderOf(file: string): number | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; started?: string };
    return started !== undefined && processStart(pid) === started ? pid : undefined;
  } catch {
    return undefined;
  }
}
