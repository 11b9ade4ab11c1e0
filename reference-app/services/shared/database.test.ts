import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { isUnavailable } from './database-errors.ts';
import { iamLogin, secretLogin } from './database-login.ts';
import { createPool, isLoopback, parseEndpoint, withTransaction, type Pool, type PoolOptions } from './database.ts';
import { createWriterPool } from './pools.ts';
import { createLogger } from './telemetry.ts';
import { eventually, startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let admin: Pool;
let secrets: SecretsManager;
let client: SecretsManagerClient;
before(async () => {
  server = await startTestServer({ replica: true });
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

test('a rotation under load fails no query, although the secret shows the password later than the database has it', { timeout: 60_000 }, async () => {
  const put = (name: string, password: string) => secrets.put({ name, secretString: JSON.stringify({ username: name, password, dbname: 'postgres' }) }).ARN;
  const sides = await Promise.all((['rotated_command', 'rotated_query'] as const).map(async (name) => {
    await admin.query(`CREATE ROLE ${name} LOGIN PASSWORD 'one'`);
    let reads = 0;
    const counted = { send: (command: Parameters<SecretsManagerClient['send']>[0]) => (reads++, client.send(command)) } as unknown as SecretsManagerClient;
    const target = name === 'rotated_query' ? 'any' : 'primary';
    const pool = createPool({ endpoint: endpoint(), login: secretLogin(put(name, 'one'), counted), applicationName: name, target, max: 4 });
    // So that there are new connections all the time.
    pool.options.maxUses = 3;
    return { name, pool, reads: () => reads };
  }));
  const failures: unknown[] = [];
  let done = 0;
  let stopped = false;
  const load = Promise.all(sides.flatMap(({ pool }) => Array.from({ length: 8 }, async () => {
    while (!stopped) await pool.query('SELECT pg_sleep(0.002)').then(() => done++, (error: unknown) => failures.push(error));
  })));
  const some = async () => {
    const before = done;
    await eventually(() => done - before, (more) => more > 100);
  };
  for (const password of ['two', 'three']) {
    await some();
    const before = sides.map(({ reads }) => reads());
    for (const { name } of sides) await admin.query(`ALTER ROLE ${name} PASSWORD '${password}'`);
    // Nobody can log in now, and the secret is read twice in vain.
    await eventually(() => sides.every(({ reads }, i) => reads() >= before[i]! + 2), Boolean);
    for (const { name } of sides) put(name, password);
    await some();
    sides.forEach(({ reads }, i) => assert.ok(reads() - before[i]! <= 6, `${reads() - before[i]!} reads of the secret`));
  }
  stopped = true;
  await load;
  await Promise.all(sides.map(({ pool }) => pool.end()));
  assert.deepEqual(failures, []);
});

test('a rotation that has set its password and not ended yet refuses nobody', async () => {
  await admin.query('CREATE ROLE halfway LOGIN PASSWORD \'one\'');
  const arn = secrets.put({ name: 'halfway', secretString: JSON.stringify({ username: 'halfway', password: 'one', dbname: 'postgres' }) }).ARN;
  const pool = createPool({ endpoint: endpoint(), login: secretLogin(arn, client), applicationName: 'test', max: 2 });
  pool.options.maxUses = 1;
  const id = randomUUID();
  const change = async (password: string, stages: string[]) => {
    await client.send(new PutSecretValueCommand({
      SecretId: arn, ClientRequestToken: id + password, SecretString: JSON.stringify({ username: 'halfway', password, dbname: 'postgres' }), VersionStages: stages,
    }));
    await admin.query(`ALTER ROLE halfway PASSWORD '${password}'`);
    await pool.query('SELECT 1');
  };
  await pool.query('SELECT 1');
  // The secret still has the first one as its current value; the second attempt makes another.
  await change('two', ['AWSPENDING']);
  await change('three', ['AWSPENDING']);
  await change('four', ['AWSCURRENT']);
  await pool.end();
});

test('a role of IAM logs in with a token as its password, over TLS only', async (t) => {
  Object.assign(process.env, { AWS_REGION: 'eu-central-1', AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example' });
  const { host, port } = server.postgres.writer;
  const { rows: [tls] } = await admin.query<{ ssl_cert_file: string }>('SHOW ssl_cert_file');
  const login = iamLogin({ username: 'token_user', hostname: host, port });
  const { password: token } = await login.current();
  const url = new URL(`https://${token}`);
  assert.equal(url.host, `${host}:${port}`);
  assert.deepEqual(['Action', 'DBUser', 'X-Amz-Expires'].map((name) => url.searchParams.get(name)), ['connect', 'token_user', '900']);
  await admin.query(`CREATE ROLE token_user LOGIN PASSWORD '${token}'`);
  const pool = createPool({ endpoint: endpoint(), database: 'postgres', login, tls: { caFile: tls!.ssl_cert_file }, applicationName: 'tokens', max: 1 });
  const { rows } = await pool.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
  assert.deepEqual(rows, [{ ssl: true }]);
  await pool.end();

  const config = { DB_AUTHENTICATION: 'iam', DB_USER: 'token_user', DB_NAME: 'postgres', DB_POOL_SIZE: 1, DB_WRITER_ENDPOINT: endpoint() } as const;
  const strict = createWriterPool(config, { applicationName: 'strict' });
  await assert.rejects(strict.query('SELECT 1'), /self-signed certificate/);
  await strict.end();
  const other = createWriterPool({ ...config, DB_CA_FILE: tls!.ssl_cert_file }, { applicationName: 'other' });
  await admin.query('ALTER ROLE token_user PASSWORD \'another\'');
  await assert.rejects(other.query('SELECT 1'), { code: '28P01' });
  await other.end();

  const kept = await login.current();
  assert.equal(kept.password, token);
  const later = performance.now() + 14 * 60_000;
  t.mock.method(performance, 'now', () => later);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 14 * 60_000 });
  assert.notEqual((await login.current()).password, token);
});

test('the way to log in is complete, or the missing variable is named', () => {
  const config = { DB_POOL_SIZE: 1, DB_WRITER_ENDPOINT: 'host', DB_AUTHENTICATION: 'password' } as const;
  assert.throws(() => createWriterPool(config, { applicationName: 'x' }), { name: 'ConfigError', message: /DB_SECRET_ARN is missing; set it to: the ARN/ });
  assert.throws(() => createWriterPool({ ...config, DB_AUTHENTICATION: 'iam' }, { applicationName: 'x' }), {
    name: 'ConfigError', message: /DB_USER is missing; set it to: the database role/,
  });
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
  const { rows: [row] } = await pool.query('SELECT current_setting(\'statement_timeout\') AS statement, current_setting(\'application_name\') AS name, 5000000000 AS many');
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

test('an idle connection that breaks is in the log without what it knows', async () => {
  const { user, password } = server.postgres.writer;
  const lines: string[] = [];
  const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(line) });
  const login = secretLogin(secrets.put({ name: 'idle', secretString: JSON.stringify({ username: user, password, dbname: 'postgres' }) }).ARN, client);
  const pool = createPool({ endpoint: endpoint(), login, applicationName: 'idle', max: 1, logger });
  await pool.query('SELECT 1');
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = \'idle\'');
  await eventually(() => lines.length, (count) => count > 0);
  assert.match(lines[0]!, /"code":"57P01".*an idle database connection broke/);
  assert.doesNotMatch(lines.join(''), /secretKey|_connectionCallback|keepAlive/);
  await pool.end();
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

test('a writer that has become a reader costs one query, whatever the number of connections, and its address is tried again', async () => {
  const { user, password } = server.postgres.writer;
  const login = secretLogin(secrets.put({ name: 'switch', secretString: JSON.stringify({ username: user, password, dbname: 'postgres' }) }).ARN, client);
  await admin.query('CREATE TABLE IF NOT EXISTS switched (n int)');
  // The name leads to another server for new connections; those that are open stay, as after a failover.
  let leadsTo = server.postgres.reader!.port;
  const sockets: Socket[] = [];
  const name = createServer((socket) => {
    const upstream = connect(leadsTo, '127.0.0.1');
    for (const end of [socket, upstream]) end.on('error', () => undefined);
    sockets.push(socket, upstream);
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => name.listen(0, '127.0.0.1', resolve));
  const common = { endpoint: `127.0.0.1:${(name.address() as AddressInfo).port}`, login, applicationName: 'switch', max: 4 };
  const pool = createPool({ ...common, target: 'any' });
  await Promise.all([1, 2, 3, 4].map(() => pool.query('SELECT pg_sleep(0.2)')));
  assert.equal(pool.idleCount, 4);
  const strict = createPool(common);
  await assert.rejects(strict.query('SELECT 1'), (error: Error & { code?: string }) => (
    error.code === '25006' && isUnavailable(error) && /endpoint of the writer leads to a reader/.test(error.message)));
  leadsTo = server.postgres.writer.port;
  const insert = () => pool.query('INSERT INTO switched VALUES (1)');
  await assert.rejects(insert(), { code: '25006' });
  for (let n = 0; n < 8; n++) await insert();
  await strict.query('INSERT INTO switched VALUES (1)');
  await Promise.all([pool.end(), strict.end()]);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => name.close(resolve));
});

test('endpoints', () => {
  assert.deepEqual(parseEndpoint('db.example.com'), { host: 'db.example.com' });
  assert.deepEqual(parseEndpoint('127.0.0.1:5433'), { host: '127.0.0.1', port: 5433 });
  assert.deepEqual(parseEndpoint('[::1]:5433'), { host: '::1', port: 5433 });
  assert.throws(() => parseEndpoint('host:port'), /must be "host" or "host:port"/);
  assert.deepEqual(['127.0.0.1', '127.1.2.3', 'localhost', '::1', 'db.127.0.0.1.example.com', '10.0.0.1'].map(isLoopback), [true, true, true, true, false, false]);
});

test('a connection to another machine is encrypted, and only with the certificates of RDS or the given ones', async (t) => {
  const ssl = async (host: string, tls?: PoolOptions['tls']) => {
    const pool = createPool({ endpoint: host, applicationName: 'test', login: secretLogin('unused', client), ...tls && { tls } });
    await pool.end();
    return pool.options.ssl as { readonly ca: string | readonly string[]; readonly rejectUnauthorized?: boolean } | false;
  };
  assert.equal(await ssl('127.0.0.1:5433'), false);
  for (const encrypted of [await ssl('db.example.com'), await ssl('127.0.0.1', 'bundle')]) {
    assert.ok(encrypted && encrypted.ca.length > 10, 'the authorities of all regions');
    assert.notEqual(encrypted.rejectUnauthorized, false);
  }
  const folder = await mkdtemp(join(tmpdir(), 'ca-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'ca.pem'), 'of others');
  assert.deepEqual(await ssl('db.example.com', { caFile: join(folder, 'ca.pem') }), { ca: 'of others' });
});
