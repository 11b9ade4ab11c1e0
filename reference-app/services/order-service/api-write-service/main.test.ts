import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { serveIssuer } from 'cdk-local-run/issuer/endpoint';
import { TokenIssuer } from 'cdk-local-run/issuer/token-issuer';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { eventually, startTestServer } from '../../shared/testing.ts';
import type { TestDatabase, TestServer } from '../../shared/testing.ts';

const WRITE = join(import.meta.dirname, 'main.ts');
const READ = join(import.meta.dirname, '../api-read-service/main.ts');

/** Both API services as the processes that they are in production, configured by their environment alone. */
describe('API processes', () => {
  let server: TestServer;
  let db: TestDatabase;
  const secrets = new SecretsManager();
  const issuer = new TokenIssuer();
  let issuerServer: Awaited<ReturnType<typeof serveIssuer>>;
  let secretsUrl: string;

  before(async () => {
    server = await startTestServer();
    db = await server.database();
    await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'SKU-123\', \'Thing\')');
    for (const [name, pool] of [['command', db.command], ['query', db.query]] as const) {
      // A pool knows its login when it has connected.
      await pool.query('SELECT');
      const { user, password } = pool.options;
      secrets.put({ name, secretString: JSON.stringify({ username: user, password }) });
    }
    secretsUrl = (await secrets.start()).url;
    issuer.standInFor({ issuer: 'https://login.example.com/', audiences: ['orders'] });
    issuerServer = await serveIssuer(issuer, { log: () => undefined });
  });
  after(async () => {
    await secrets.stop();
    await issuerServer?.close();
    await server?.stop();
  });

  function start(main: string, env: Record<string, string>) {
    const child = spawn(process.execPath, [main], {
      env: {
        PATH: process.env.PATH,
        HOST: '127.0.0.1',
        PORT: '0',
        MANAGEMENT_PORT: '0',
        DB_NAME: db.name,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
        AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsUrl,
        API_AUTHORIZATION: 'jwt',
        API_JWT_ISSUER: 'https://login.example.com/',
        API_JWT_AUDIENCE: 'shop,orders',
        API_JWKS_URL: `${issuerServer.url}/jwks.json`,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const log: Record<string, unknown>[] = [];
    createInterface(child.stdout).on('line', (line) => log.push(JSON.parse(line) as Record<string, unknown>));
    const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    return { child, log, exit };
  }

  it('start, take an order, show it, and stop when asked', async (t) => {
    const { host, port } = server.postgres.writer;
    const endpoint = `${host}:${port}`;
    const write = start(WRITE, { DB_SECRET_ARN: 'command', DB_WRITER_ENDPOINT: endpoint });
    // The reader by host and port, as in AWS; the port of the writer would lead to nobody.
    const read = start(READ, { DB_SECRET_ARN: 'query', DB_WRITER_ENDPOINT: endpoint, DB_READER_ENDPOINT: host, DB_PORT: '1', DB_READER_PORT: String(port) });
    t.after(() => {
      for (const { child } of [write, read]) child.kill('SIGKILL');
    });
    const said = async ({ log }: typeof write) => (
      await eventually(() => log.find((line) => line.url), (line) => line !== undefined) as Record<'url' | 'managementUrl', string>);
    const [writeApi, readApi] = [await said(write), await said(read)];
    for (const { url, managementUrl } of [writeApi, readApi]) {
      await eventually(async () => (await fetch(`${managementUrl}/readyz`)).status, (status) => status === 200);
      for (const path of ['livez', 'readyz', 'metrics']) {
        assert.equal((await fetch(`${managementUrl}/${path}`)).status, 200);
        assert.equal((await fetch(`${url}/${path}`)).status, 404, 'not for clients of the API');
      }
      assert.equal((await fetch(`${managementUrl}/orders`)).status, 404);
    }

    const authorization = `Bearer ${await issuer.token({ subject: 'c', scope: 'orders.read orders.write' })}`;
    const post = (headers: object) => fetch(`${writeApi.url}/api/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ customerId: 'c', items: [{ sku: 'SKU-123', quantity: 1 }] }),
    });
    assert.equal((await post({})).status, 401);
    const answer = await post({ authorization });
    assert.equal(answer.status, 202);
    const shown = `${readApi.url}${answer.headers.get('location')}`;
    assert.deepEqual([(await fetch(shown, { headers: { authorization } })).status, (await fetch(shown)).status], [200, 401]);
    assert.doesNotMatch(await (await fetch(`${readApi.managementUrl}/metrics`)).text(), /^read_your_writes_fallback_total\{.*\} [1-9]/m, 'the reader answered');
    assert.match(await (await fetch(`${writeApi.managementUrl}/metrics`)).text(), /^orders_created_total\{service="api-write-service"\} 1$/m);

    for (const { child, exit, log } of [write, read]) {
      child.kill('SIGTERM');
      assert.deepEqual(await exit, [0, null]);
      assert.equal(log.at(-1)?.message, 'stopped');
      assert.doesNotMatch(JSON.stringify(log), new RegExp(String(db.query.options.password)));
    }
  });

  it('end with the names of the variables when the environment is wrong', async () => {
    const { exit, log } = start(READ, { DB_SECRET_ARN: 'query', PORT: 'http' });
    assert.deepEqual(await exit, [1, null]);
    const said = JSON.stringify(log);
    for (const name of ['PORT', 'DB_WRITER_ENDPOINT', 'DB_READER_ENDPOINT']) assert.ok(said.includes(name), name);
  });

  it('end when nobody has said who may call them, or not whose tokens count', async () => {
    const cases: [env: Record<string, string>, said: RegExp[]][] = [
      [{ API_AUTHORIZATION: '' }, [/API_AUTHORIZATION is missing; set it to: jwt for requests with a token/]],
      [{ API_AUTHORIZATION: 'no' }, [/API_AUTHORIZATION .*but is .*no/]],
      [{ API_JWT_ISSUER: '', API_JWT_AUDIENCE: ' , ' }, [/API_JWT_ISSUER is missing/, /API_JWT_AUDIENCE is missing/]],
      [{ API_JWKS_URL: 'http://keys.example.com/' }, [/API_JWKS_URL is .*with https/]],
      [{ API_JWKS_URL: '', API_JWT_ISSUER: 'http://login.example.com/' }, [/API_JWT_ISSUER is .*safely/]],
    ];
    await Promise.all(cases.map(async ([env, said]) => {
      const { exit, log } = start(WRITE, { DB_SECRET_ARN: 'command', DB_WRITER_ENDPOINT: '127.0.0.1', ...env });
      assert.deepEqual(await exit, [1, null]);
      for (const one of said) assert.match(String(log.at(-1)?.message), one);
    }));
  });

  it('end when both ports are the same', async () => {
    const { exit, log } = start(WRITE, { DB_SECRET_ARN: 'command', DB_WRITER_ENDPOINT: '127.0.0.1', PORT: '8080', MANAGEMENT_PORT: '8080' });
    assert.deepEqual(await exit, [1, null]);
    assert.match(JSON.stringify(log), /MANAGEMENT_PORT is 8080, and so is PORT/);
  });
});
