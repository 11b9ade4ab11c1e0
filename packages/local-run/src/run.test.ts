import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { LocalRunError } from './errors.ts';
import type { LocalRun, LocalRunOptions } from './local-run.ts';
import { processStart } from './processes/identity.ts';
import { connect, query } from './rds/client.ts';
import { startLocal } from './run.ts';
import { synthesizeShop } from '../test/shop/app.ts';
import type { ShopOptions } from '../test/shop/app.ts';
import { atEnd, eventually, temporaryFolder } from '../test/temporary.ts';

// The validator of the CDK costs a second per app, and is not what is tested here.
process.env.CDK_VALIDATION = 'false';

interface Answer {
  readonly pid: number;
  readonly child?: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly node: string;
}

interface Shop {
  readonly folder: string;
  readonly dataDir: string;
  readonly seen: () => { id: string; poison: boolean; receives: number; pid: number }[];
  start(shop?: Partial<ShopOptions>, options?: Partial<LocalRunOptions>): Promise<LocalRun>;
}

function shopIn(context: TestContext): Shop {
  const folder = temporaryFolder(context);
  const seenFile = join(folder, 'seen.jsonl');
  let synths = 0;
  const dataDir = join(folder, 'data');
  return {
    folder,
    dataDir,
    seen: () => (existsSync(seenFile) ? readFileSync(seenFile, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : []),
    start: async (shop = {}, options = {}) => {
      const assemblyDir = synthesizeShop({ outdir: join(folder, `cdk.out-${synths++}`), seen: seenFile, ...shop });
      const run = await startLocal({ assemblyDir, dataDir, ...options });
      atEnd(context, () => run.stop());
      return run;
    },
  };
}

const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };

async function put(run: LocalRun, details: object[], detailType = 'OrderCreated'): Promise<void> {
  const client = new EventBridgeClient({ region: 'us-east-1', endpoint: run.endpoints.eventbridge, credentials });
  const { FailedEntryCount } = await client.send(new PutEventsCommand({
    Entries: details.map((detail) => ({ EventBusName: 'shop', Source: 'shop', DetailType: detailType, Detail: JSON.stringify(detail) })),
  }));
  client.destroy();
  assert.equal(FailedEntryCount, 0);
}

function queueOf(run: LocalRun, name: 'Orders' | 'Dead') {
  const queue = run.queues.find((candidate) => candidate.name.startsWith(`Shop-${name}`));
  assert.ok(queue);
  return queue;
}

async function receive(run: LocalRun, name: 'Orders' | 'Dead') {
  const client = new SQSClient({ region: 'us-east-1', endpoint: run.endpoints.sqs, credentials });
  const { Messages = [] } = await client.send(new ReceiveMessageCommand({
    QueueUrl: queueOf(run, name).url, MaxNumberOfMessages: 10, MessageAttributeNames: ['All'], VisibilityTimeout: 0,
  }));
  client.destroy();
  return Messages;
}

function web(run: LocalRun) {
  const service = run.workloads.find(({ name }) => name === 'web');
  assert.ok(service);
  const ask = async (path = '/'): Promise<Answer> => {
    // Each on a connection of its own, so that the balancer chooses each time.
    const response = await fetch(`${service.urls[0]}${path}`, { headers: { connection: 'close' } });
    return (path === '/' ? await response.json() : { pid: 0 }) as Answer;
  };
  return { service, ask };
}

const alive = (pids: readonly number[]) => pids.filter((pid) => processStart(pid) !== undefined);

test('a stack that nobody here wrote: its function, its container, its queue, its database', async (context) => {
  const shop = shopIn(context);
  const steps: string[] = [];
  const run = await shop.start({ withDatabase: true, withTable: true }, { onProgress: ({ name, state }) => steps.push(`${name} ${state}`) });
  assert.deepEqual(steps, ['database started', 'database done', 'endpoints started', 'endpoints done', 'workloads started', 'workloads done']);
  assert.deepEqual(run.warnings, [
    'The local run cannot make Shop/Table (AWS::DynamoDB::Table): calls to DynamoDB are refused; give the address of one with --endpoint dynamodb=URL.',
  ]);
  assert.equal(run.withoutMeaning.get('pools of RDS Proxy: its address is that of the database'), 1);
  assert.ok((run.withoutMeaning.get('network: everything listens on 127.0.0.1') ?? 0) > 5);
  assert.deepEqual(run.buses.map(({ name }) => name).sort(), ['default', 'shop']);

  await context.test('the container gets the environment of its template, with local addresses', async () => {
    const { service, ask } = web(run);
    assert.equal(service.replicas, 2);
    const { args, env, node } = await ask();
    assert.deepEqual(args, ['--mode', 'image']);
    assert.equal(node, process.version);
    const { writer, reader } = run.database ?? assert.fail('no database');
    assert.deepEqual(
      [env.GREETING, env.POD, env.FLAVOUR, env.QUEUE_URL, env.BUS, env.TABLE_ARN, env.SELF],
      ['hello from the image', 'web', 'vanilla', queueOf(run, 'Orders').url, 'shop', 'arn:aws:dynamodb:us-east-1:000000000000:table/t', `${service.urls[0]}/x`],
    );
    assert.deepEqual(
      [env.DATABASE_HOST, env.DATABASE_PORT, env.DATABASE_URL, env.READER, env.READER_PORT],
      ['127.0.0.1', `${writer.port}`, `postgres://127.0.0.1:${writer.port}/shop`, `127.0.0.1:${reader?.port}`, `${reader?.port}`],
    );
    assert.deepEqual(
      [env.PROXY_URL, env.PROXY_READER, env.PROXY_PORT],
      [`postgres://127.0.0.1:${writer.port}/shop`, `127.0.0.1:${reader?.port}`, `${writer.port}`],
    );
    assert.deepEqual([env.HOST, env.AWS_ENDPOINT_URL_SQS, env.WEB_SERVICE_PORT], ['127.0.0.1', run.endpoints.sqs, new URL(service.urls[0] ?? '').port]);
    assert.notEqual(env.PORT, '3000');
    const each = await Promise.all(service.processUrls().map(async (url) => (await (await fetch(url)).json() as Answer).pid));
    assert.deepEqual(each, service.pids(), 'every process has an address of its own');
    const health = [...service.processUrls(), `http://127.0.0.1:${env.PORT}`].map(async (url) => (await fetch(`${url}/health`)).status);
    assert.deepEqual(await Promise.all(health), [200, 200, 404], 'that of its probes');
    assert.equal(env.CDK_VALIDATION, undefined, 'the environment of the run itself stays out');
  });

  await context.test('the secret lets its user into the database', async () => {
    const { env } = await web(run).ask();
    const client = new SecretsManagerClient({ region: 'us-east-1', endpoint: run.endpoints.secretsmanager, credentials });
    const { SecretString = '' } = await client.send(new GetSecretValueCommand({ SecretId: env.SECRET }));
    client.destroy();
    const secret = JSON.parse(SecretString) as Record<'username' | 'password' | 'host' | 'dbname' | 'engine', string> & { port: number };
    assert.deepEqual([secret.engine, secret.dbname, secret.port], ['postgres', 'shop', run.database?.writer.port]);
    const { host, port, username: user, password, dbname: database } = secret;
    const [row] = await query({ host, port, user, password, database },
      'select current_user as name, rolsuper from pg_roles where rolname = current_user');
    assert.deepEqual(row, { name: secret.username, rolsuper: false });
    assert.equal(statSync(join(shop.dataDir, 'secrets.json')).mode & 0o777, 0o600);
  });

  await context.test('an event goes through the rule and the queue to the function; another type does not', async () => {
    await put(run, [{ id: 'ignored' }], 'OrderShipped');
    await put(run, [{ id: 'one' }]);
    await eventually(() => shop.seen().some(({ id }) => id === 'one'), 'the event in the function');
    assert.ok(!shop.seen().some(({ id }) => id === 'ignored'));
    const [queue] = run.queues.filter(({ name }) => name.startsWith('Shop-Orders'));
    assert.match(queue?.consumer ?? '', /^Shop-Consumer/);
    assert.match(queue?.rule ?? '', /^Shop-Created/);
    assert.equal(queue?.deadLetterQueueUrl, queueOf(run, 'Dead').url);
  });

  await context.test('a poison event is tried maxReceiveCount times and is a dead letter then; its neighbours are done at the first try', async () => {
    await put(run, [{ id: 'before' }, { id: 'bad', poison: true }, { id: 'after' }]);
    const [dead] = await eventually(async () => { const all = await receive(run, 'Dead'); return all.length > 0 && all; }, 'the dead letter');
    assert.equal((JSON.parse(dead?.Body ?? '') as { detail: { id: string } }).detail.id, 'bad');
    assert.deepEqual(shop.seen().filter(({ id }) => id === 'bad').map(({ receives }) => receives), [1, 2]);
    for (const neighbour of ['before', 'after']) assert.deepEqual(shop.seen().filter(({ id }) => id === neighbour).map(({ receives }) => receives), [1]);
    assert.deepEqual(queueOf(run, 'Orders').depth(), { visible: 0, inFlight: 0, delayed: 0 });
  });

  await context.test('requests are spread over the replicas that are ready', async () => {
    const { service, ask } = web(run);
    const seen = new Set<number>();
    await eventually(async () => seen.add((await ask()).pid).size === 2, 'both replicas');
    assert.deepEqual([...seen].sort(), service.pids().sort());
    await ask('/unready');
    await eventually(async () => {
      const next = new Set<number>();
      for (let request = 0; request < 6; request++) next.add((await ask()).pid);
      return next.size === 1;
    }, 'only one replica is left to ask');
  });

  await context.test('a replica that is killed, or says that it is not alive, is started again', async () => {
    const { service, ask } = web(run);
    const before = service.pids();
    const killed = run.kill('web', 'SIGKILL');
    assert.ok(before.includes(killed));
    await eventually(() => service.pids().length === 2 && !service.pids().includes(killed), 'another process');
    const sick = service.pids();
    await eventually(async () => {
      await ask('/sicken').catch(() => undefined);
      return service.pids().every((pid) => !sick.includes(pid)) && service.ready();
    }, 'both replicas anew');
    assert.ok(service.restarts() >= 2);
    await assert.rejects(async () => run.kill('nobody'), /There is no workload nobody; there is /);
  });

  await context.test('the timeouts of the database are those of its parameters', async () => {
    const { writer, reader } = run.database ?? assert.fail('no database');
    for (const server of [writer, reader!]) {
      const settings = await query(server, `select name, setting from pg_settings
        where name in ('idle_in_transaction_session_timeout', 'log_lock_waits', 'max_connections') order by name`);
      assert.deepEqual(settings.map((row) => row.setting), ['2000', 'on', '200']);
    }
    await query(writer, 'create table notes (text text)');
    const idle = await connect(writer);
    await idle.query('begin; insert into notes values (\'and then forgotten\')');
    // It would wait forever.
    await query(writer, 'set lock_timeout = \'20s\'; lock table notes; drop table notes');
    await assert.rejects(idle.query('commit'), 'the server has ended its session');
  });

  await context.test('the replica can be paused', async () => {
    const { writer, reader } = run.database ?? assert.fail('no database');
    assert.ok(reader);
    await query(writer, 'create table t as select 1 as a');
    await eventually(async () => (await query(reader, 'select 1 from pg_class where relname = \'t\'')).length === 1, 'the table on the replica');
    await run.pauseReplica();
    await query(writer, 'insert into t values (2)');
    assert.deepEqual(await query(reader, 'select count(*)::int as n from t'), [{ n: 1 }]);
    await run.resumeReplica();
    await eventually(async () => (await query<{ n: number }>(reader, 'select count(*)::int as n from t'))[0]?.n === 2, 'the row');
  });

  await context.test('another run on the same folder is refused, and this one goes on', async () => {
    await assert.rejects(shop.start(), (error) => (
      error instanceof LocalRunError && /in use by the local run with process id/.test(error.message)));
    assert.ok((await web(run).ask()).pid > 0);
  });

  await context.test('stopping leaves no process', async () => {
    const pids = await eventually(() => {
      const all = run.workloads.flatMap((service) => service.pids());
      return all.length >= 4 && all;
    }, 'all processes, after the last restart');
    await run.stop();
    assert.deepEqual(alive(pids), []);
    const logs = readFileSync(join(run.logDir, 'web-1.log'), 'utf8');
    assert.match(logs, /draining/);
    assert.ok(!existsSync(join(shop.dataDir, 'run.lock')));
    await assert.rejects(fetch(run.endpoints.sqs));
  });

  await context.test('a restart keeps rows, passwords and dead letters; a fresh one forgets them', async () => {
    const again = await shop.start({ withDatabase: true });
    const { writer } = again.database ?? assert.fail('no database');
    assert.deepEqual(await query(writer, 'select count(*)::int as n from t'), [{ n: 2 }]);
    assert.equal((await receive(again, 'Dead')).length, 1);
    await again.stop();
    const fresh = await shop.start({ withDatabase: true }, { fresh: true });
    assert.equal((await receive(fresh, 'Dead')).length, 0);
    assert.deepEqual(await query((fresh.database ?? assert.fail()).writer, 'select 1 from pg_class where relname = \'t\''), []);
    await fresh.stop();
  });
});

test('what the template says is what runs: event pattern, maxReceiveCount, replicas', async (context) => {
  const shop = shopIn(context);
  const first = await shop.start({ minReplicas: 1 });
  assert.equal(web(first).service.pids().length, 1);
  await first.stop();

  const second = await shop.start({ minReplicas: 3, detailType: 'OrderShipped', maxReceiveCount: 1 });
  assert.equal(web(second).service.pids().length, 3);
  assert.equal(queueOf(second, 'Orders').maxReceiveCount, 1);
  await put(second, [{ id: 'of-the-old-pattern' }]);
  await put(second, [{ id: 'poison', poison: true }], 'OrderShipped');
  await eventually(async () => (await receive(second, 'Dead')).length === 1, 'the dead letter');
  assert.deepEqual(shop.seen().map(({ id, receives }) => [id, receives]), [['poison', 1]]);
});

test('a queue whose policy does not let EventBridge in gets nothing; the dead-letter queue says why', async (context) => {
  const run = await shopIn(context).start({ withoutQueuePolicy: true });
  await put(run, [{ id: 'refused' }]);
  const [dead] = await eventually(async () => { const all = await receive(run, 'Dead'); return all.length > 0 && all; }, 'the dead letter');
  assert.equal(dead?.MessageAttributes?.ERROR_CODE?.StringValue, 'NO_PERMISSIONS');
  assert.deepEqual(queueOf(run, 'Orders').depth(), { visible: 0, inFlight: 0, delayed: 0 });
});

test('when the run is killed, none of its processes stays, and what was in the queue is there at the next start', async (context) => {
  const shop = shopIn(context);
  const assemblyDir = synthesizeShop({ outdir: join(shop.folder, 'killed'), seen: join(shop.folder, 'elsewhere'), environment: { WITH_CHILD: '1' }, visibilityTimeoutSeconds: 60 });
  const child = spawn(process.execPath, ['--input-type=module', '--eval', `
    import { startLocal } from ${JSON.stringify(fileURLToPath(new URL('run.ts', import.meta.url)))};
    const run = await startLocal({ assemblyDir: ${JSON.stringify(assemblyDir)}, dataDir: ${JSON.stringify(shop.dataDir)} });
    const web = run.workloads.find(({ name }) => name === 'web');
    const { child } = await (await fetch(web.urls[0])).json();
    const poison = JSON.stringify({ id: 'kept', poison: true });
    await run.eventBridge.putEvents([{ EventBusName: 'shop', Source: 'shop', DetailType: 'OrderCreated', Detail: poison }]);
    while (run.queues.every((queue) => queue.depth().inFlight === 0)) await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(JSON.stringify([child, ...run.workloads.flatMap((service) => service.pids())]));
  `], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pids = await new Promise<number[]>((resolve) => child.stdout.once('data', (data: Buffer) => resolve(JSON.parse(data.toString()) as number[])));
  assert.ok(pids.length >= 5 && alive(pids).length === pids.length);
  child.kill('SIGKILL');
  await eventually(() => alive(pids).length === 0, 'the end of all processes, those of the containers included');
  const run = await shop.start({ visibilityTimeoutSeconds: 60 });
  // Whether it was written down that somebody has it depends on the moment of the kill; that it is there does not.
  const { visible, inFlight, delayed } = queueOf(run, 'Orders').depth();
  assert.deepEqual({ there: visible + inFlight, delayed }, { there: 1, delayed: 0 });
});

test('what cannot run here is named, and the rest runs', async (context) => {
  const shop = shopIn(context);
  const run = await shop.start({ registryImage: 'public.ecr.aws/nginx/nginx:1.29' });
  assert.equal(run.warnings.length, 1);
  assert.match(run.warnings[0] ?? '', /^Deployment web is not started: its container web runs the image public\.ecr\.aws\/nginx\/nginx:1\.29, which is no asset of this assembly/);
  assert.deepEqual(run.workloads.map(({ kind }) => kind), ['Function']);
  await run.stop();

  const other = await shop.start({ command: ['no-such-program', '--serve'] });
  assert.match(other.warnings[0] ?? '', /Deployment web is not started: its container web runs no-such-program of its image \(node:24-slim\)/);
  assert.match(other.warnings[0] ?? '', /, and there is no such program on this machine/);
});

test('a container that keeps ending is an error with its last words, and nothing stays behind', async (context) => {
  const shop = shopIn(context);
  await assert.rejects(shop.start({ minReplicas: 1, command: ['node', '-e', 'console.error("no database, no bread"); process.exit(3)'] }), (error) =>
    error instanceof LocalRunError && /^web ended with code 3; its last words \(.*web\.log\): .*no database, no bread/.test(error.message));
  const run = await shop.start({ minReplicas: 1 });
  assert.equal(web(run).service.pids().length, 1);
});

test('ports can be given; one that is taken, or of nothing in the run, is one sentence', async (context) => {
  const shop = shopIn(context);
  const server = createServer().listen(0, '127.0.0.1');
  atEnd(context, () => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  for (const name of ['sqs', 'eventbridge', 'secretsmanager', 'web']) {
    await assert.rejects(shop.start({}, { ports: { [name]: port } }), (error) =>
      error instanceof LocalRunError && error.message.includes(`Port ${port} is already in use`) && error.message.includes(`--port ${name}=`));
  }
  const unknown = /^LocalRunError: --port webb: nothing in this run is called so; there is .*web/;
  await assert.rejects(shop.start({}, { ports: { webb: 0 } }), unknown);
  await new Promise((resolve) => server.close(resolve));
  const run = await shop.start({}, { ports: { web: port } });
  assert.deepEqual(web(run).service.urls, [`http://127.0.0.1:${port}`]);
});
