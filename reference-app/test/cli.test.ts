import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sources from 'aws-cdk-lib/aws-lambda-event-sources';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import pg from 'pg';
import { synthesizeReferenceApp } from './assembly.ts';
import { get, post, scratch, until } from './system.ts';
import type { Summary } from '../profiles/order-pipeline/summary.ts';
import { FORMER_LAYOUT } from '../services/migrate/former-layout.ts';

// `npm start` as a person or a build server types it: a process, its output, its signals and its exit code.

const CLI = fileURLToPath(new URL('../start/start.ts', import.meta.url));

interface Run {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  out(): string;
  err(): string;
}

const running = new Set<ChildProcess>();

function cli(...args: string[]): Run {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_OPTIONS: '', FORCE_COLOR: undefined } });
  let out = '';
  let err = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (err += text));
  running.add(child);
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve)).finally(() => running.delete(child));
  return { child, out: () => out, err: () => err, exited };
}

/** Ids of the processes that run with something of this folder on their command line or in their environment. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      return Number(pid) !== process.pid && (readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/environ`, 'utf8')).includes(folder);
    } catch {
      return false;
    }
  });
}

describe('npm start', { timeout: 300_000 }, () => {
  let folder: Awaited<ReturnType<typeof scratch>>;
  let assembly: string;
  const data = (name: string) => join(folder.path, name);

  before(async () => {
    folder = await scratch();
    assembly = await synthesizeReferenceApp(folder.path);
  });
  // A test that fails leaves its run behind, which has the data of the next one.
  afterEach(async () => {
    const left = [...running];
    for (const child of left) child.kill('SIGINT');
    await Promise.all(left.map((child) => new Promise((resolve) => child.once('close', resolve))));
  });
  after(() => folder.remove());

  const noneLeft = async () => {
    if (process.platform === 'linux') await until('no process is left', () => processesOf(folder.path), (left) => left.length === 0, 20_000);
  };

  test('unattended: feeds, checks, ends with 0, and its JSON is all that stands on standard output', async () => {
    const run = cli('--data', data('unattended'), '--orders', '60', '--rate', '60', '--seed', '9', '--exit', '--json', '--open');
    assert.equal(await run.exited, 0, run.err());
    const summary = JSON.parse(run.out()) as Summary;
    assert.equal(summary.ok, true);
    assert.equal(summary.orders.accepted, 60);
    assert.deepEqual(summary.invariants.map(({ id, ok }) => [id, ok]), ['I1', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10', 'I11'].map((id) => [id, true]));
    for (const words of [
      'synthesize the reference app', 'Start PostgreSQL', 'Start the workloads', 'confirmed', '✓ I11', 'The APIs are open (--open)',
      'Stop the workloads', 'Stop PostgreSQL',
    ]) {
      assert.ok(run.err().includes(words), `${words} in\n${run.err()}`);
    }
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(run.err(), /\x1b/, 'no control characters when piped');
    await noneLeft();
  });

  test('ends with 1 and names the offenders when an invariant fails', async () => {
    const run = cli('--app', assembly, '--data', data('violated'), '--orders', '60', '--rate', '30', '--exit');
    const password = await query(run, 'INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES (\'SKU-135\', \'MAIN\', \'RECEIPT\', 1, 0)');
    assert.equal(await run.exited, 1, run.out());
    assert.match(run.out(), /✗ I4 /);
    assert.match(run.out(), /1 × the counters differ from the sums of the ledger\n +SKU-135 \(at MAIN: counters \d+ on hand, 0 reserved; /);
    assert.match(run.out(), /✓ I3 /);
    const kept = cli('--app', assembly, '--data', data('violated'), '--orders', '0', '--exit');
    assert.equal(await kept.exited, 1, kept.out());
    assert.match(kept.out(), /No orders were fed: the invariants are those of all data in the folder\.[^]*✗ I4 [^]*✓ I6 .* 60 orders/);
    assert.doesNotMatch(run.out(), new RegExp(password), 'no password is printed');
    await noneLeft();
  });

  test('stays up with the sample orders and lines to paste, at the ports asked for; Ctrl-C stops it and leaves no process', async () => {
    const [writePort, readPort] = await Promise.all([freePort(), freePort()]);
    const run = cli('--app', assembly, '--data', data('samples'), '--rate', '50', '--write-port', String(writePort), '--read-port', String(readPort));
    await until('it is up', () => run.out(), (text) => text.includes('Running. Ctrl-C'), 90_000).catch((error: unknown) => assert.fail(`${error}\n${run.out()}`));
    const journeys = run.out().split('\n').filter((line) => /(confirmed|rejected) \+\d+ ms/.test(line));
    assert.equal(journeys.length, 24);
    assert.ok(journeys.every((line) => / \d+ ms +\+\d+ ms +(confirmed|rejected) \+\d+ ms/.test(line)), journeys.join('\n'));
    // Which of the two orders for it comes first is up to the queue.
    assert.match(run.out(), /SKU-117: 5 ordered, [23] left/);

    // Every line that it gives to paste works; by fetch, since not every machine has curl.
    const lines = run.out().split('\n').filter((line) => line.trimStart().startsWith('curl '));
    assert.equal(lines.length, 9);
    const authorization = `Bearer ${/^ {2}TOKEN=(\S+)$/m.exec(run.out())![1]}`;
    const statuses = await Promise.all(lines.map(async (line) => {
      const [, url] = /'?(http:\/\/[^' ]+)/.exec(line)!;
      const body = /-d '(\{[^']+)'/.exec(line)?.[1];
      const headers: Record<string, string> = line.includes('"Authorization: Bearer $TOKEN"') ? { authorization } : {};
      return (body === undefined ? await get(url!, headers) : await post(url!, body, headers)).status;
    }));
    // The last line gets a token of its own.
    assert.deepEqual(statuses, [202, 202, 202, 400, 200, 200, 200, 200, 401]);
    assert.ok(lines[0]!.includes(`127.0.0.1:${writePort}/api/orders`) && lines[4]!.includes(`127.0.0.1:${readPort}/orders`));

    run.child.kill('SIGINT');
    assert.equal(await run.exited, 0);
    const steps = ['workloads', 'event bus', 'queues'].map((name) => `✓ Stop the ${name} .*\\n`).join('');
    assert.match(run.out(), new RegExp(`Stopping; once more forces it\\.\\n${steps}✓ Stop PostgreSQL `));
    await noneLeft();
  });

  test('Ctrl-C while it starts and while orders flow unattended is 130', async () => {
    for (const words of ['Start PostgreSQL', 'random orders']) {
      const run = cli('--app', assembly, '--data', data('samples'), '--orders', '10000', '--rate', '10', '--exit');
      await until(words, () => run.out(), (text) => text.includes(words), 90_000).catch((error: unknown) => assert.fail(`${error}\n${run.out()}`));
      run.child.kill('SIGINT');
      assert.equal(await run.exited, 130, run.out());
      await noneLeft();
    }
  });

  test('a taken port, a missing assembly, an unknown stack or port name: one sentence with the way out, exit code 1', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    for (const [args, sentence] of [
      [['--app', assembly, '--write-port', String(port)], new RegExp(`^Port ${port} is already in use`, 'm')],
      [['--app', join(folder.path, 'nowhere')], /^There is no cloud assembly in .*nowhere/m],
      [['--app', assembly, '--stack', 'Shop'], /^There is no stack Shop in .*; it has OrderPipeline/m],
      [['--app', assembly, '--port', 'kafka=9092'], /^--port kafka: nothing in this run is called so/m],
    ] as [string[], RegExp][]) {
      const run = cli('--data', data('samples'), '--exit', ...args);
      assert.equal(await run.exited, 1, run.out());
      assert.match(run.out(), sentence);
      assert.doesNotMatch(run.out() + run.err(), /\.ts:\d+/, 'no stack trace');
    }
    server.close();
    await noneLeft();
  });

  test('a second Ctrl-C forces the end, and still leaves no process; a database of former migrations is named in one sentence', async () => {
    const run = cli('--app', assembly, '--data', data('samples'), '--orders', '0');
    await until('it is up', () => run.out(), (text) => text.includes('Running. Ctrl-C'), 90_000).catch((error: unknown) => assert.fail(`${error}\n${run.out()}`));
    // As the first layout of the migrations left it.
    await query(run, 'DROP SCHEMA messaging CASCADE; DROP SCHEMA orders, inventory, notification, analytics CASCADE');
    await query(run, FORMER_LAYOUT);
    run.child.kill('SIGINT');
    await until('it stops', () => run.out(), (text) => text.includes('once more forces it'));
    run.child.kill('SIGINT');
    // Stopping may have been faster than the second signal.
    assert.ok([130, 0].includes((await run.exited)!));
    await noneLeft();
    // One attempt instead of seven with longer and longer waits between them.
    const template = join(assembly, 'OrderPipeline.template.json');
    writeFileSync(template, readFileSync(template, 'utf8').replace('\\"backoffLimit\\":6', '\\"backoffLimit\\":0'));
    const next = cli('--app', assembly, '--data', data('samples'), '--exit');
    assert.equal(await next.exited, 1, next.out());
    assert.match(next.out(), /^Job migration.*\): This database was made from the former migration files .* start with --fresh\)\.$/m);
    assert.doesNotMatch(next.out(), /\.[jt]s:\d+/, 'no stack trace');
    await noneLeft();
  });

  test('runs stacks that are not ours, feeds nothing then, and says which workload cannot run', async () => {
    const app = new cdk.App({ outdir: data('shop-assembly') });
    const stack = new cdk.Stack(app, 'Shop');
    const queue = new sqs.Queue(stack, 'Parcels');
    new events.Rule(stack, 'ToParcels', { eventPattern: { source: ['shop'] }, targets: [new targets.SqsQueue(queue)] });
    const packer = new lambda.Function(stack, 'Packer', {
      functionName: 'packer',
      runtime: lambda.Runtime.NODEJS_24_X,
      handler: 'index.handler',
      code: lambda.Code.fromInline('throw new Error("no tape")'),
      environment: { API_AUTHORIZATION: 'jwt', API_JWT_ISSUER: 'https://login.example.com/', API_JWT_AUDIENCE: 'shop' },
    });
    packer.addEventSource(new sources.SqsEventSource(queue));
    app.synth();
    const run = cli('--app', data('shop-assembly'), '--data', data('shop'), '--exit');
    assert.equal(await run.exited, 1, run.out());
    assert.match(run.out(), /1 queues?, 1 rules?/);
    assert.match(run.out(), /^No orders are fed: .* npx cdk-local-run FOLDER /m);
    assert.match(run.out(), /^A token: curl .*\/token /m);
    assert.match(run.out(), /packer.* no tape/);
    const without = cli('--app', data('shop-assembly'), '--data', data('shop'), '--exit', '--without', 'packer');
    assert.equal(await without.exited, 0, without.out());
    await noneLeft();
  });

  test('wrong usage is one sentence and exit code 2; --help and --version need nothing', async () => {
    for (const [args, sentence] of [[['--order', '5'], /^Unknown option '--order'/], [['--rate=0'], /^--rate expects a number above 0/]] as [string[], RegExp][]) {
      const run = cli(...args);
      assert.equal(await run.exited, 2);
      assert.match(run.err(), sentence);
      assert.equal(run.out(), '');
    }
    const help = cli('--help');
    assert.equal(await help.exited, 0);
    assert.match(help.out(), /--orders N/);
    const version = cli('--version');
    assert.equal(await version.exited, 0);
    assert.match(version.out(), /^\d+\.\d+\.\d+\n$/);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs SQL on the writer of a run, by the address that it prints. Returns the password that it used. */
async function query({ out }: Run, sql: string): Promise<string> {
  const address = /writer +PGPASSFILE=(\S+) psql -h 127.0.0.1 -p (\d+) -U (\S+) orders$/m;
  const [, passwordFile, port, user] = await until('the address of the writer', () => address.exec(out()) ?? [], (found) => found.length > 0);
  const password = readFileSync(passwordFile!, 'utf8').trim().split(':').at(-1)!;
  const client = new pg.Client({ host: '127.0.0.1', port: Number(port), user: user!, password, database: 'orders' });
  await client.connect();
  await client.query(sql);
  await client.end();
  return password;
}
