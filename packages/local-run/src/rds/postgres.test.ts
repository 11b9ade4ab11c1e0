import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { connect, query } from './client.ts';
import { startPostgres } from './postgres.ts';
import type { Postgres, PostgresOptions } from './postgres.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import { processStart } from '../processes/identity.ts';
import { PortTakenError } from '../processes/ports.ts';

async function started(context: TestContext, options: PostgresOptions): Promise<Postgres> {
  const postgres = await startPostgres(options);
  atEnd(context, () => postgres.stop());
  return postgres;
}

const count = async (postgres: Postgres, side: 'writer' | 'reader' = 'writer') =>
  Number((await query<{ count: string }>(postgres[side] ?? postgres.writer, 'select count(*) from t').catch(() => [{ count: '-1' }]))[0]?.count);

test('a primary with a streaming replica that shows what is written, can be paused, and cannot be written to', async (context) => {
  const postgres = await started(context, { dataDir: temporaryFolder(context), replica: true });
  const { writer, reader } = postgres;
  assert.ok(reader);
  await query(writer, 'create table t as select 1 as a');
  await eventually(async () => await count(postgres, 'reader') === 1, 'the row on the replica');
  const [state] = await query<{ state: string; sync: string }>(writer, 'select state, current_setting(\'fsync\') as sync from pg_stat_replication');
  assert.deepEqual(state, { state: 'streaming', sync: 'on' });

  await postgres.pauseReplay();
  await query(writer, 'insert into t values (2)');
  assert.equal(await count(postgres), 2);
  assert.equal(await count(postgres, 'reader'), 1);
  await postgres.resumeReplay();
  await eventually(async () => await count(postgres, 'reader') === 2, 'the second row after the pause');
  await assert.rejects(query(reader, 'insert into t values (3)'), /read-only/);
});

test('asks for the password and listens on loopback only', async (context) => {
  const { writer } = await started(context, { dataDir: temporaryFolder(context) });
  assert.ok(writer.password.length >= 24);
  await assert.rejects(query({ ...writer, password: 'wrong' }, 'select 1'), /password authentication failed/);
  const [settings] = await query(writer, 'select current_setting(\'listen_addresses\') as host, current_setting(\'unix_socket_directories\') as socket');
  assert.deepEqual(settings, { host: '127.0.0.1', socket: '' });
  for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? []).filter(({ internal, family }) => !internal && family === 'IPv4')) {
    await assert.rejects(query({ ...writer, host: address }, 'select 1'), { code: 'ECONNREFUSED' });
  }
});

test('clients may encrypt, on the primary and on the replica, and must do so to log in with a token', async (context) => {
  const postgres = await started(context, { dataDir: temporaryFolder(context), replica: true, tokens: true });
  const { writer, reader, certificateFile } = postgres;
  const ca = readFileSync(certificateFile, 'utf8');
  for (const address of [writer, reader ?? assert.fail()]) {
    for (const ssl of [{ ca }, { rejectUnauthorized: false }, false]) {
      const client = new pg.Client({ ...address, ssl });
      await client.connect();
      const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
      await client.end();
      assert.deepEqual(rows, [{ ssl: ssl !== false }]);
    }
  }
  await query(writer, `create role rds_iam; create role rds_superuser; create role by_token login in role rds_iam;
    create role administrator login password 'its own' in role rds_superuser, rds_iam; create role by_password login password 'its own'`);
  const login = async (user: string, password: string, ssl: object | false) => {
    const client = new pg.Client({ ...writer, user, password, ssl });
    await client.connect();
    await client.end();
  };
  await login('by_token', 'any', { ca });
  await assert.rejects(login('by_token', 'any', false), /rejects connection/);
  for (const user of ['administrator', 'by_password']) {
    await login(user, 'its own', { ca });
    await assert.rejects(login(user, 'any', { ca }), /password authentication failed/);
  }
});

test('keeps its data over a restart, takes other ports then, and forgets all of it when asked to', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await startPostgres({ dataDir, replica: true });
  await query(first.writer, 'create table t as select 1 as a');
  await first.stop();
  assert.deepEqual(first.pids(), []);
  const second = await startPostgres({ dataDir, replica: true });
  assert.equal(await count(second), 1);
  assert.equal(second.writer.password, first.writer.password);
  await query(second.writer, 'insert into t values (2)');
  await eventually(async () => await count(second, 'reader') === 2, 'replication after the restart');
  await second.stop();
  const third = await started(context, { dataDir, fresh: true });
  assert.equal(await count(third), -1);
});

test('a replica that is damaged, lost or new is built from the running primary', async (context) => {
  const dataDir = temporaryFolder(context);
  const alone = await startPostgres({ dataDir });
  await query(alone.writer, 'create table t as select generate_series(1, 5000) as a');
  await alone.stop();
  const withReplica = await startPostgres({ dataDir, replica: true });
  await eventually(async () => await count(withReplica, 'reader') === 5000, 'the rows from before the replica');
  await withReplica.stop();
  truncateSync(join(dataDir, 'postgres', 'replica', 'global', 'pg_control'), 100);
  const repaired = await startPostgres({ dataDir, replica: true });
  await eventually(async () => await count(repaired, 'reader') === 5000, 'the rows on the repaired replica');
  await repaired.stop();
  rmSync(join(dataDir, 'postgres', 'replica'), { recursive: true });
  const rebuilt = await started(context, { dataDir, replica: true });
  await eventually(async () => await count(rebuilt, 'reader') === 5000, 'the rows on the new replica');
});

test('when its process is killed, both servers end, and what was committed is there at the next start', async (context) => {
  const dataDir = temporaryFolder(context);
  const child = spawn(process.execPath, ['--input-type=module', '--eval', `
    import { startPostgres } from ${JSON.stringify(fileURLToPath(new URL('postgres.ts', import.meta.url)))};
    import { query } from ${JSON.stringify(fileURLToPath(new URL('client.ts', import.meta.url)))};
    const postgres = await startPostgres({ dataDir: ${JSON.stringify(dataDir)}, replica: true });
    await query(postgres.writer, 'create table t as select 1 as a');
    console.log(JSON.stringify(postgres.pids()));
    setInterval(() => {}, 1000);
  `], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pids = await new Promise<number[]>((resolve) => child.stdout.once('data', (data: Buffer) => resolve(JSON.parse(data.toString()) as number[])));
  assert.equal(pids.length, 2);
  await assert.rejects(startPostgres({ dataDir }), new RegExp(`in use by the run with process id ${child.pid}`));
  child.kill('SIGKILL');
  await eventually(() => pids.every((pid) => processStart(pid) === undefined), 'the end of the servers');
  assert.equal(await count(await started(context, { dataDir, replica: true })), 1);
});

test('a server that is killed is started again on its port, with its data; without a replica there is no failover', async (context) => {
  const postgres = await started(context, { dataDir: temporaryFolder(context) });
  await query(postgres.writer, 'create table t as select 1 as a');
  await assert.rejects(postgres.failover(), { name: 'LocalRunError', message: /no replica here/ });
  const [pid = 0] = postgres.pids();
  process.kill(pid, 'SIGKILL');
  await eventually(async () => await count(postgres) === 1 && !postgres.pids().includes(pid), 'the restarted server');
});

test('after a failover the replica is the writer at the same address, a new one is built, and the data survive a restart', async (context) => {
  const dataDir = temporaryFolder(context);
  const postgres = await startPostgres({ dataDir, replica: true, synchronous: true });
  const { writer, reader } = postgres;
  assert.ok(reader);
  await query(writer, 'create table t as select 1 as a');
  const before = postgres.pids();
  const [open, openToReplica] = await Promise.all([connect(writer), connect(reader)]);
  const { position, killedAt, promotedAt, replica } = await postgres.failover();
  for (const client of [open, openToReplica]) await assert.rejects(client.query('select 1'), 'connections of before are broken');
  assert.ok(killedAt < promotedAt);
  assert.ok(before.every((pid) => processStart(pid) === undefined), 'both servers of before have ended');
  const [state] = await query<{ standby: boolean; later: boolean }>(writer, 'select pg_is_in_recovery() as standby, pg_current_wal_lsn() >= $1::pg_lsn as later', [position]);
  assert.deepEqual(state, { standby: false, later: true });
  await query(writer, 'insert into t values (2)');
  assert.equal(await count(postgres, 'reader'), 2, 'the reader\'s address leads to a server that has all, whether it is the writer or its new replica');
  await replica;
  const role = async () => (await query<{ standby: boolean }>(reader, 'select pg_is_in_recovery() as standby'))[0]?.standby;
  assert.equal(await role(), true);
  await query(writer, 'insert into t values (3)');
  await eventually(async () => await count(postgres, 'reader') === 3, 'replication to the new replica');

  const again = await postgres.failover();
  assert.equal(await count(postgres), 3);
  await again.replica;
  await postgres.stop();
  assert.deepEqual(postgres.pids(), []);
  const restarted = await started(context, { dataDir, replica: true });
  assert.equal(await count(restarted), 3);
  await eventually(async () => await count(restarted, 'reader') === 3, 'replication after the restart');
});

test('what the replica has not received is lost in a failover, and with a synchronous one such a transaction is not committed', async (context) => {
  for (const synchronous of [false, true]) {
    const postgres = await started(context, { dataDir: temporaryFolder(context), replica: true, synchronous });
    await query(postgres.writer, 'create table t as select 1 as a');
    const [receiver] = await query<{ pid: number }>(postgres.reader!, 'select pid from pg_stat_wal_receiver');
    await eventually(async () => await count(postgres, 'reader') === 1, 'the row on the replica');
    process.kill(receiver!.pid, 'SIGSTOP');
    const writing = query(postgres.writer, 'insert into t select generate_series(2, 4)').then(() => 'committed', () => 'refused');
    if (synchronous) await eventually(async () => (await waitingCommits(postgres)) === 1, 'the commit that waits');
    else assert.equal(await writing, 'committed');
    // It ends when it goes on, without a look at the data that have come for it.
    process.kill(receiver!.pid, 'SIGTERM');
    const [primary] = postgres.pids();
    const failover = postgres.failover();
    await eventually(() => processStart(primary!) === undefined, 'the end of the primary');
    process.kill(receiver!.pid, 'SIGCONT');
    await failover;
    assert.equal(await writing, synchronous ? 'refused' : 'committed');
    assert.equal(await count(postgres), 1);
  }
});

const waitingCommits = async (postgres: Postgres) =>
  (await query(postgres.writer, 'select 1 from pg_stat_activity where wait_event = \'SyncRep\'')).length;

test('a failover that was interrupted is taken back, and one that was not counts', async (context) => {
  const dataDir = temporaryFolder(context);
  const postgres = await startPostgres({ dataDir, replica: true });
  await query(postgres.writer, 'create table t as select 1 as a');
  await postgres.stop();
  const at = (name: string) => join(dataDir, 'postgres', name);
  // As it is left between the two moves of the folders, after both, and after the promotion.
  const interruptions: readonly (() => void)[] = [
    () => renameSync(at('primary'), at('former')),
    () => { renameSync(at('primary'), at('former')); renameSync(at('replica'), at('primary')); },
    () => { renameSync(at('primary'), at('former')); renameSync(at('replica'), at('primary')); rmSync(at('primary/standby.signal')); },
  ];
  for (const interrupt of interruptions) {
    interrupt();
    const after = await startPostgres({ dataDir, replica: true });
    assert.equal(await count(after), 1);
    await eventually(async () => await count(after, 'reader') === 1, 'the row on the replica');
    await after.stop();
    assert.ok(!existsSync(at('former')));
  }
});

test('a port that is taken is one sentence with the name of its option', async (context) => {
  const server = createServer().listen(0, '127.0.0.1');
  atEnd(context, () => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await assert.rejects(startPostgres({ dataDir: temporaryFolder(context), port, portNames: { writer: 'writer', reader: 'reader' } }), (error) =>
    error instanceof PortTakenError && error.message.includes(`Port ${port} is already in use`) && error.message.includes('--port writer='));
});

test('a data folder below one that PostgreSQL\'s account cannot enter works, too', { skip: process.getuid?.() !== 0 }, async (context) => {
  const home = temporaryFolder(context);
  chmodSync(home, 0o700);
  const dataDir = join(home, 'clone', '.local');
  mkdirSync(dataDir, { recursive: true });
  const first = await startPostgres({ dataDir });
  await query(first.writer, 'create table t as select 1 as a');
  await first.stop();
  assert.equal(statSync(home).mode & 0o777, 0o700, 'the folder of another stays as it is');
  assert.equal(await count(await started(context, { dataDir })), 1);
  // What was moved goes with the next start for another folder; here the test cleans up after itself.
  atEnd(context, () => rmSync(first.passwordFile.replace(/\/pgpass$/, ''), { recursive: true, force: true }));
});
