import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import { LocalRunError } from '../errors.ts';

/** Whom PostgreSQL runs as. Undefined means: as ourselves. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * PostgreSQL refuses to run as root. Making a system user would change the machine, so it runs as an unprivileged one that
 * every system has.
 */
export function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
      const account = { uid: id('-u'), gid: id('-g') };
      if (account.uid > 0) return account;
    } catch {
      // No such user: the next one.
    }
  }
  throw new LocalRunError('PostgreSQL refuses to run as root, and there is neither a user "postgres" nor "nobody" to run it as: start as another user.');
}

/** Whether the account can go into a folder; a home folder of mode 0700 above it is enough to keep it out. */
export function canEnter(account: Account | undefined, folder: string): boolean {
  return check(account, 'cd "$1"', folder);
}

/** Whether it can read what is there, too. */
export function canRead(account: Account | undefined, folder: string): boolean {
  return check(account, 'cd "$1" && test -r .', folder);
}

function check(account: Account | undefined, script: string, folder: string): boolean {
  return !account || spawnSync('/bin/sh', ['-c', script, 'sh', folder], { ...account, cwd: '/', stdio: 'ignore' }).status === 0;
}

/** Writes a file that only the account can read. */
export function own(file: string, account: Account | undefined, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
  if (account) chownSync(file, account.uid, account.gid);
}
