import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { LocalRunError } from '../errors.ts';
import { canEnter, own, unprivilegedAccount } from './account.ts';
import type { Account } from './account.ts';
import { findBinaries, sharedFolder } from './binaries.ts';
import { selfSigned } from './certificate.ts';
import { Cluster } from './cluster.ts';
import type { Postgres } from './cluster.ts';
import { bareEnvironment } from './server.ts';
import { takeLock } from '../processes/lock.ts';
import { LOOPBACK } from '../processes/ports.ts';

export type { Postgres };

export interface PostgresOptions {
  /** The folder of the data, the superuser's password and the logs. */
  readonly dataDir: string;
  /** Forget the data of earlier runs. */
  readonly fresh?: boolean;
  /** Port of the primary; 0 or nothing: the system picks one. */
  readonly port?: number;
  /** A streaming replica beside the primary. */
  readonly replica?: boolean | { readonly port?: number };
  /** A transaction is committed when the replica has it, too, so that a failover loses none. @default false */
  readonly synchronous?: boolean;
  /**
   * Lets members of the role `rds_iam` in without a password, encrypted only, as there is nobody here who could check their tokens. Members
   * of `rds_superuser` keep their password. @default false
   */
  readonly tokens?: boolean;
  /** Name of the superuser. @default 'postgres' */
  readonly superuser?: string;
  /** The folder of the servers' logs. @default - the data folder */
  readonly logDir?: string;
  /** Settings of the servers. One that this version of PostgreSQL does not know is left out. @default - those of PostgreSQL */
  readonly settings?: Readonly<Record<string, string>>;
  /** The names of the ports in errors. */
  readonly portNames?: { readonly writer: string; readonly reader: string };
}

/** Real PostgreSQL on loopback: a durable primary and, if asked for, a replica that streams from it and can take its place. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  const logDir = resolve(options.logDir ?? dataDir);
  mkdirSync(logDir, { recursive: true });
  const unlock = takeLock(join(dataDir, 'postgres.lock'), (pid) => `${dataDir} is in use by the run with process id ${pid}: stop it first, or give another folder.`);
  try {
    const account = unprivilegedAccount();
    const binaries = findBinaries(account);
    const home = dataHome(dataDir, account);
    const passwordFile = join(home, 'pgpass');
    if (options.fresh || !existsSync(join(home, 'initialised'))) {
      forget(home, logDir);
      await initialise(binaries.initdb, join(home, 'primary'), passwordFile, options.superuser ?? 'postgres', account);
      own(join(home, 'initialised'), account, '');
    }
    const [user = '', password = ''] = readFileSync(passwordFile, 'utf8').trim().split(':').slice(-2);
    const { replica = false, port = 0, portNames, synchronous = false, tokens = false } = options;
    const certificateFile = join(home, 'server.crt');
    return await Cluster.start({
      home,
      logDir,
      passwordFile,
      certificateFile,
      account,
      binary: binaries.postgres,
      login: { user, password },
      settings: {
        ...knownSettings(binaries.postgres, options.settings ?? {}),
        ...primarySettings,
        ...encryption(home, certificateFile, account),
        hba_file: accessRules(home, tokens, account),
      },
      writer: { name: portNames?.writer ?? 'postgres', port },
      ...(replica !== false && { reader: { name: portNames?.reader ?? 'postgres-replica', port: replica === true ? 0 : replica.port ?? 0 } }),
      synchronous,
      stopped: unlock,
    });
  } catch (error) {
    unlock();
    throw error;
  }
}

const primarySettings = {
  max_connections: '200',
  max_wal_senders: '5',
  wal_level: 'replica',
  // A replica that was away longer than this is built anew; until then the slot keeps what it has not read.
  max_slot_wal_keep_size: '2GB',
  log_timezone: 'UTC',
  timezone: 'UTC',
};

/** A server does not start with a setting that it does not know. */
function knownSettings(binary: string, settings: Readonly<Record<string, string>>): Record<string, string> {
  if (Object.keys(settings).length === 0) return {};
  const described = execFileSync(binary, ['--describe-config'], { encoding: 'utf8', env: bareEnvironment() });
  const known = new Set(described.split('\n').map((line) => line.split('\t', 1)[0]));
  return Object.fromEntries(Object.entries(settings).filter(([name]) => known.has(name)));
}

/** Lets clients encrypt, which Aurora and RDS demand since PostgreSQL 15. Those that do not are let in, too. */
function encryption(home: string, certificate: string, account: Account | undefined): Record<string, string> {
  const key = join(home, 'server.key');
  if (!existsSync(key)) {
    const made = selfSigned();
    own(certificate, account, made.certificate);
    own(key, account, made.key);
  }
  return { ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key };
}

/** Writes who may log in, and how. The first line that fits a connection counts. */
function accessRules(home: string, tokens: boolean, account: Account | undefined): string {
  const file = join(home, 'pg_hba.conf');
  const byPassword = (database: string, user: string) => `host ${database} ${user} ${LOOPBACK}/32 scram-sha-256`;
  const byToken = [byPassword('all', '+rds_superuser'), `hostssl all +rds_iam ${LOOPBACK}/32 trust`, `host all +rds_iam ${LOOPBACK}/32 reject`];
  own(file, account, [byPassword('replication', 'all'), ...tokens ? byToken : [], byPassword('all', 'all'), ''].join('\n'));
  return file;
}

/**
 * The folder that holds the servers' files: within the data folder, or, where PostgreSQL's account can't get there (a clone
 * in root's home), one for this very data folder in the temporary folder.
 */
function dataHome(dataDir: string, account: Account | undefined): string {
  let home = join(dataDir, 'postgres');
  mkdirSync(home, { recursive: true });
  if (!canEnter(account, dataDir)) letPass(dataDir);
  if (!canEnter(account, dataDir)) {
    const shared = sharedFolder(account);
    sweep(shared);
    home = join(shared, `data-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`);
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, 'belongs-to'), dataDir);
    writeFileSync(join(dataDir, 'postgres', 'moved-to'), `${home}\n`);
  }
  if (account) chownSync(home, account.uid, account.gid);
  chmodSync(home, 0o700);
  return home;
}

/** A data folder made for its owner only: others may pass through it, still without seeing what is in it. */
export function letPass(folder: string): void {
  if (process.getuid?.() === 0) chmodSync(folder, statSync(folder).mode | 0o011);
}

/** Removes moved data whose data folder is gone. */
function sweep(shared: string): void {
  for (const name of readdirSync(shared)) {
    const note = join(shared, name, 'belongs-to');
    if (name.startsWith('data-') && existsSync(note) && !existsSync(readFileSync(note, 'utf8'))) rmSync(join(shared, name), { recursive: true, force: true });
  }
}

function forget(home: string, logDir: string): void {
  for (const name of ['initialised', 'primary', 'replica', 'former', 'pgpass']) rmSync(join(home, name), { recursive: true, force: true });
  for (const name of ['postgres-primary.log', 'postgres-replica.log']) rmSync(join(logDir, name), { force: true });
}

async function initialise(
  initdb: string, data: string, passwordFile: string, superuser: string, account: Account | undefined,
): Promise<void> {
  // base64url has neither of the characters that a password file would need escaped (: and \).
  const password = randomBytes(24).toString('base64url');
  own(passwordFile, account, `${LOOPBACK}:*:*:${superuser}:${password}\n`);
  const once = `${passwordFile}.initdb`;
  own(once, account, `${password}\n`);
  try {
    await run(initdb, [
      `--pgdata=${data}`, `--username=${superuser}`, `--pwfile=${once}`, '--auth=scram-sha-256', '--encoding=UTF8',
      // The same order of text on every machine, whatever its C library.
      '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8',
    ], account);
  } finally {
    rmSync(once, { force: true });
  }
}

async function run(program: string, args: string[], account: Account | undefined): Promise<void> {
  const child = spawn(program, args, { ...account, cwd: '/', env: bareEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const collect = (chunk: Buffer) => { output += chunk.toString(); };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  await new Promise<void>((done, fail) => {
    child.once('error', (error) => fail(new Error(`${basename(program)} could not be run: ${error.message}`)));
    child.once('close', (code) => {
      if (code === 0) {done();} else if (/could not look up effective user ID/.test(output)) {
        fail(new LocalRunError(`PostgreSQL does not run for user id ${process.getuid?.()}, as no account has it: run as a user that stands in /etc/passwd.`));
      } else {fail(new Error(`${basename(program)} failed: ${output.trim().split('\n').slice(-6).join(' | ')}`));}
    });
  });
}
