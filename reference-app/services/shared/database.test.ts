import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { createPool, isLoopback, parseEndpoint, withTransaction, type Pool } from './database.ts';
import { isUnavailable } from './database-errors.ts';
import { secretLogin } from './database-login.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let admin: Pool;
let secrets: SecretsManager;
let client: SecretsManagerClient;
before(async () => {
  server = await startTestServer();
  admin = server.pool({ database: 'postgres', max: 5 });
  secrets = new SecretsManager();
  const { url } = await secrets.start();
  client = new SecretsManagerClient({ endpoint: url, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' }, maxAttempts: 1 });
});
after(async () => {
  client.destroy();
  await secrets.stop();
  await server.stop();
});

const endpoint = () => `127.0.0.1:${server.postgres.writer.port}`;

test('user, password and database come from the secret, and again after a rotation, without a failed query', async () => {
  await admin.query('CREATE ROLE rotated LOGIN PASSWORD \'one\'');
  const put = (password: string) => secrets.put({ name: 'rotated', secretString: JSON.stringify({ username: 'rotated', password, dbname: 'postgres' }) }).ARN;
  const pool = createPool({ endpoint: endpoint(), login: secretLogin(put('one'), client), applicationName: 'test', max: 1 });
  const who = async () => (await pool.query<{ name: string }>('SELECT current_user AS name')).rows[0]!.name;
  assert.equal(await who(), 'rotated');
  await admin.query('ALTER ROLE rotated PASSWORD \'two\'');
  put('two');
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = \'rotated\'');
  // The old connection is gone when the pool has noticed; then only the new password opens another.
  await new Promise<void>((resolve) => (pool.totalCount === 0 ? resolve() : pool.once('remove', () => resolve())));
  assert.equal(await who(), 'rotated');
  await admin.query('ALTER ROLE rotated PASSWORD \'three\'');
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = \'rotated\'');
  await new Promise<void>((resolve) => (pool.totalCount === 0 ? resolve() : pool.once('remove', () => resolve())));
  await assert.rejects(pool.query('SELECT 1'), { code: '28P01' });
  await pool.end();
});

test('a secret that is missing or wrong is named, never quoted', async () => {
  const bare = secrets.put({ name: 'bare', secretString: 'hunter2-hunter2' }).ARN;
  for (const [secretArn, message] of [[bare, /bare.* must be JSON with "username" and "password"/], ['nowhere', /nowhere can't be read/]] as const) {
    const pool = createPool({ endpoint: endpoint(), login: secretLogin(secretArn, client), applicationName: 'test' });
    await assert.rejects(pool.query('SELECT 1'), (error: Error) => message.test(error.message) && !error.message.includes('hunter2') && isUnavailable(error));
    await pool.end();
  }
});

test('connections limit statements, and count in numbers', async () => {
  const { user, password } = server.postgres.writer;
  const secretArn = secrets.put({ name: 'admin', secretString: JSON.stringify({ username: user, password, dbname: 'postgres' }) }).ARN;
  const pool = createPool({ endpoint: endpoint(), login: secretLogin(secretArn, client), applicationName: 'limits', statementTimeoutMs: 100 });
  const { rows: [row] } = await pool.query(`SELECT current_setting('statement_timeout') AS statement, current_setting('application_name') AS name, 5000000000 AS many`);
  assert.deepEqual(row, { statement: '100ms', name: 'limits', many: 5_000_000_000 });
  await assert.rejects(pool.query('SELECT pg_sleep(5)'), (error) => !isUnavailable(error));
  await pool.end();
});

test('an error of the statement does not cost the connection; what a new connection helps against does', async () => {
  const { user, password } = server.postgres.writer;
  const secretArn = secrets.put({ name: 'errors', secretString: JSON.stringify({ username: user, password, dbname: 'postgres' }) }).ARN;
  const pool = createPool({ endpoint: endpoint(), login: secretLogin(secretArn, client), applicationName: 'errors', max: 1, statementTimeoutMs: 100 });
  const pid = async () => (await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
  await pool.query('CREATE TABLE once (id int PRIMARY KEY, n int NOT NULL); INSERT INTO once VALUES (1, 1)');
  const first = await pid();
  const insert = { name: 'insert', text: 'INSERT INTO once VALUES ($1, $2)' };
  for (let n = 0; n < 5; n++) {
    await assert.rejects(pool.query({ ...insert, values: [1, 1] }), { code: '23505' });
    await assert.rejects(pool.query({ ...insert, values: ['x', 1] }), { code: '22P02' });
    await assert.rejects(pool.query('INSERT INTO once VALUES ($1, NULL)', [2]), { code: '23502' });
    await assert.rejects(pool.query('SELECT pg_sleep(5)'), { code: '57014' });
    await assert.rejects(pool.query('DO $$ BEGIN RAISE serialization_failure; END $$'), { code: '40001' });
  }
  await pool.query({ ...insert, values: [2, 2] });
  assert.equal(await pid(), first);
  // A statement that was prepared before the table changed works again on a new connection only.
  const star = { name: 'star', text: 'SELECT * FROM once WHERE id = $1', values: [2] };
  await pool.query(star);
  await admin.query('ALTER TABLE once ADD COLUMN more int');
  await assert.rejects(pool.query(star), { code: '0A000' });
  assert.deepEqual((await pool.query(star)).rows, [{ id: 2, n: 2, more: null }]);
  const second = await pid();
  assert.notEqual(second, first);
  await assert.rejects(pool.query('SELECT pg_terminate_backend(pg_backend_pid())'), { code: '57P01' });
  assert.notEqual(await pid(), second);
  assert.deepEqual([pool.totalCount, pool.waitingCount], [1, 0]);
  await pool.end();
});

test('a deadlock runs the transaction again; what fails for good leaves nothing', async () => {
  await admin.query('CREATE TABLE pair (id int PRIMARY KEY, n int); INSERT INTO pair VALUES (1, 0), (2, 0)');
  let tries = 0;
  let bothHold = 0;
  await Promise.all([[1, 2], [2, 1]].map((order) => withTransaction(admin, async (tx) => {
    tries++;
    await tx.query('UPDATE pair SET n = n + 1 WHERE id = $1', [order[0]]);
    bothHold++;
    const deadline = Date.now() + 10_000;
    while (bothHold < 2 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
    await tx.query('UPDATE pair SET n = n + 1 WHERE id = $1', [order[1]]);
  })));
  assert.ok(tries > 2, 'there was a deadlock');
  await assert.rejects(withTransaction(admin, async (tx) => {
    await tx.query('UPDATE pair SET n = 100');
    throw new Error('no');
  }), /no/);
  const { rows } = await admin.query('SELECT n FROM pair ORDER BY id');
  assert.deepEqual(rows, [{ n: 2 }, { n: 2 }]);
});

test('a connection that breaks in a transaction is not used again, and does not end the process', async () => {
  await assert.rejects(withTransaction(admin, async (tx) => {
    const { rows: [me] } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await server.pool({ database: 'postgres', max: 1 }).query('SELECT pg_terminate_backend($1)', [me!.pid]);
    await tx.query('SELECT 1');
  }), isUnavailable);
  assert.equal(await withTransaction(admin, async (tx) => (await tx.query<{ n: number }>('SELECT 1 AS n')).rows[0]!.n), 1);
});

test('a server that is gone silently is noticed, and the next query finds the new one', async () => {
  const { host, port, user, password } = server.postgres.writer;
  const pairs: { client: Socket; upstream: Socket }[] = [];
  const proxy = createServer((socket) => {
    const upstream = connect(port, host);
    pairs.push({ client: socket, upstream });
    for (const end of [socket, upstream]) end.on('error', () => undefined);
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const secretArn = secrets.put({ name: 'mute', secretString: JSON.stringify({ username: user, password, dbname: 'postgres' }) }).ARN;
  const pool = createPool({
    endpoint: `127.0.0.1:${(proxy.address() as AddressInfo).port}`, login: secretLogin(secretArn, client), applicationName: 'mute', max: 1, statementTimeoutMs: 100,
  });
  await pool.query('SELECT 1');
  for (const { client: socket, upstream } of pairs) {
    socket.unpipe();
    upstream.unpipe();
  }
  await assert.rejects(pool.query('SELECT 1'), isUnavailable);
  await pool.query('SELECT 1');
  await pool.end();
  for (const { client: socket, upstream } of pairs) {
    socket.destroy();
    upstream.destroy();
  }
  await new Promise((resolve) => proxy.close(resolve));
});

test('endpoints', () => {
  assert.deepEqual(parseEndpoint('db.example.com'), { host: 'db.example.com' });
  assert.deepEqual(parseEndpoint('127.0.0.1:5433'), { host: '127.0.0.1', port: 5433 });
  assert.deepEqual(parseEndpoint('[::1]:5433'), { host: '::1', port: 5433 });
  assert.throws(() => parseEndpoint('host:port'), /must be "host" or "host:port"/);
  assert.deepEqual(['127.0.0.1', '127.1.2.3', 'localhost', '::1', 'db.127.0.0.1.example.com', '10.0.0.1'].map(isLoopback), [true, true, true, true, false, false]);
});
