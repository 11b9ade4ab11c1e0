import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { bundleImages, type BundledImages } from './bundle.ts';
import { bundledPackages, thirdPartyNotices } from './bundled-packages.ts';
import { readSchemas } from './migrate/files.ts';
import { FORMER_LAYOUT } from './migrate/former-layout.ts';
import { eventually, startTestServer, type TestServer } from './shared/testing.ts';
import { FAN_OUT_IMAGE } from '../profiles/fan-out/image.ts';
import { ORDER_PIPELINE_IMAGE } from '../profiles/order-pipeline/image.ts';

const APP = dirname(import.meta.dirname);
let server: TestServer;
let secrets: SecretsManager;
let folder: string;
let images: BundledImages;
let environment: NodeJS.ProcessEnv;
const children: ChildProcess[] = [];
const PASSWORD = 'of-both-roles-and-in-no-log';

before(async () => {
  server = await startTestServer();
  secrets = new SecretsManager();
  const { url } = await secrets.start();
  folder = await mkdtemp(join(tmpdir(), 'bundle-test-'));
  images = await bundleImages(join(folder, 'images'), ORDER_PIPELINE_IMAGE);
  await server.pool({ database: 'postgres', max: 1 }).query('CREATE DATABASE shop');
  const { user, password, port } = server.postgres.writer;
  const secret = (name: string, username: string, value: string) => (
    secrets.put({ name, secretString: JSON.stringify({ username, password: value }) }).ARN);
  environment = {
    PATH: process.env.PATH,
    HOST: '127.0.0.1',
    PORT: '0',
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_SECRETS_MANAGER: url,
    // Nobody listens there: a consumer has to live with it.
    AWS_ENDPOINT_URL_SQS: 'http://127.0.0.1:1',
    AWS_ENDPOINT_URL_EVENTBRIDGE: 'http://127.0.0.1:1',
    QUEUE_URL: 'http://127.0.0.1:1/0/queue',
    DB_WRITER_ENDPOINT: `127.0.0.1:${port}`,
    DB_READER_ENDPOINT: `127.0.0.1:${port}`,
    DB_NAME: 'shop',
    EVENT_BUS_NAME: 'orders',
    ADMIN_SECRET: secret('admin', user, password),
    DB_COMMAND_SECRET_ARN: secret('command', 'shop_command', PASSWORD),
    DB_QUERY_SECRET_ARN: secret('query', 'shop_query', PASSWORD),
  };
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await secrets.stop();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(program: string, env: NodeJS.ProcessEnv) {
  const cwd = join(program === 'migrate' ? images.migration : images.services, 'app');
  const child = spawn(process.execPath, [`${program}.js`], { cwd, env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const log: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => log.push(text));
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  return { child, exit, log: () => log.join('') };
}

const command = (env: NodeJS.ProcessEnv = {}) => ({ DB_SECRET_ARN: environment.DB_COMMAND_SECRET_ARN, ...env });

/** The files below a folder, by their paths in it. */
async function filesOf(root: string): Promise<Map<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  return new Map(await Promise.all(files.map(async (file) => [relative(root, file).replaceAll('\\', '/'), await readFile(file, 'utf8')] as const)));
}

const appOf = (context: string) => filesOf(join(context, 'app'));

test('the same sources give the same bytes', async () => {
  const target = join(folder, 'again');
  await bundleImages(target, ORDER_PIPELINE_IMAGE);
  assert.deepEqual(await filesOf(target), await filesOf(join(folder, 'images')));
  // Over images that are there, and at the same time as another build.
  await Promise.all([bundleImages(target, ORDER_PIPELINE_IMAGE), bundleImages(target, ORDER_PIPELINE_IMAGE)]);
  assert.deepEqual(await filesOf(target), await filesOf(join(folder, 'images')));
});

test('the image of the services holds its programs and nothing of the migration, and the other way round', async () => {
  const beside = ['THIRD-PARTY-NOTICES.txt', 'package.json', 'sbom.cdx.json'];
  // A file of common code has a part of its hash in its name.
  const names = async (context: string) => [...(await appOf(context)).keys()].map((name) => name.replace(/-[A-Z0-9]{8}\.js$/, '-<hash>.js'));
  const programs = Object.keys(ORDER_PIPELINE_IMAGE.entries).map((name) => `${name}.js`);
  const common = ['chunk-<hash>.js', 'bowser-<hash>.js', 'event-streams-<hash>.js'];
  assert.deepEqual([...new Set(await names(images.services))].sort(), [...programs, ...common, ...beside].sort());

  const sql = (await readSchemas(APP, ORDER_PIPELINE_IMAGE.schemas)).flatMap(({ name, numbered, repeatable }) => [
    ...['schema.json', 'workloads.json', 'grants.sql'].map((file) => `migrations/${name}/${file}`), ...[...numbered, ...repeatable].map(({ path }) => path.replaceAll('\\', '/')),
  ]);
  const migration = (await names(images.migration)).filter((name) => !common.includes(name));
  assert.deepEqual(migration, ['data/catalog.json', 'migrate.js', 'reconcile.js', ...sql, ...beside].sort());

  for (const context of [images.services, images.migration]) {
    assert.deepEqual((await readdir(context)).sort(), ['Dockerfile', 'app']);
    for (const [name, text] of await appOf(context)) {
      assert.doesNotMatch(text, /sourceMappingURL=/, name);
      assert.ok(!text.includes(dirname(APP)), `${name} depends on where the clone is`);
    }
  }
});

test('the image of the migration holds the SQL of the schemas of its profile and no other', async () => {
  const schemasOf = async (context: string) => {
    const files = [...(await appOf(context)).keys()];
    const functions = files.map((file) => /^services\/.*\/([a-z_]+)\.\w+\.sql$/.exec(file)?.[1]);
    const tables = files.map((file) => /^migrations\/([a-z_]+)\/001-tables\.sql$/.exec(file)?.[1]);
    return [tables, functions].map((names) => [...new Set(names.filter((name) => name !== undefined))].sort());
  };
  const fanOut = await bundleImages(join(folder, 'fan-out'), FAN_OUT_IMAGE);
  for (const [{ migration }, { schemas }] of [[images, ORDER_PIPELINE_IMAGE], [fanOut, FAN_OUT_IMAGE]] as const) {
    const sorted = [...schemas].sort();
    assert.deepEqual(await schemasOf(migration), [sorted, sorted]);
  }
  await assert.rejects(bundleImages(join(folder, 'wrong'), { ...FAN_OUT_IMAGE, schemas: ['fan_out'] }), /The schema fan_out needs the schema messaging/);
});

/** Licences that ask for their text beside the program, and for nothing else. */
const PERMISSIVE = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'ISC', 'MIT', 'Unlicense'];

test('each image names the packages in it, with their licences and what they need', async () => {
  const namesOf = async (context: string) => {
    const files = await appOf(context);
    const bom = JSON.parse(files.get('sbom.cdx.json')!) as Bom;
    const refs = bom.components.map((component) => component['bom-ref']);
    assert.deepEqual([...new Set(refs)], refs);
    const graph = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    assert.deepEqual([...graph.keys()], [bom.metadata.component['bom-ref'], ...refs]);
    // Everything is there because the image needs it.
    const reached = new Set<string>();
    const visit = (ref: string) => {
      if (reached.has(ref)) return;
      reached.add(ref);
      graph.get(ref)!.forEach(visit);
    };
    visit(bom.metadata.component['bom-ref']);
    assert.deepEqual([...reached].sort(), [...graph.keys()].sort());

    const notices = files.get('THIRD-PARTY-NOTICES.txt')!;
    for (const { 'bom-ref': ref, version, licenses: [license], purl, hashes: [hash] } of bom.components) {
      assert.ok(PERMISSIVE.includes(license!.license.id), `${ref} has the licence ${JSON.stringify(license)}: may it be part of an image?`);
      assert.ok(notices.includes(`\n${ref.replace(/@([^@]+)$/, ' $1')} (${license!.license.id})\n`), ref);
      assert.equal(purl, `pkg:npm/${ref.replace(/^@/, '%40')}`);
      assert.ok(ref.endsWith(`@${version}`));
      assert.match(hash!.content, /^[0-9a-f]{128}$/);
    }
    // The comments of esbuild name the file of every piece of code.
    const code = [...files].filter(([name]) => name.endsWith('.js')).map(([, text]) => text).join('\n');
    const inCode = [...code.matchAll(/^\/\/ \.\.\/.*node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm)].map(([, name]) => name!);
    const names = refs.map((ref) => ref.replace(/@[^@]+$/, ''));
    assert.deepEqual([...new Set(names)].sort(), [...new Set(inCode)].sort());
    return names;
  };
  const [services, migration] = [await namesOf(images.services), await namesOf(images.migration)];
  assert.deepEqual(['fastify', 'pg', '@aws-sdk/client-sqs'].filter((name) => !services.includes(name)), []);
  assert.deepEqual(['fastify', '@aws-sdk/client-sqs'].filter((name) => migration.includes(name)), []);
  assert.match((await appOf(images.services)).get('THIRD-PARTY-NOTICES.txt')!, /\nfastify \d\S* \(MIT\)\n\nMIT License\n\nCopyright \(c\) 2016-present The Fastify team /);
});

test('a package without a licence, or from elsewhere, is in no image', async () => {
  const root = join(folder, 'packages', 'app');
  const packageFolder = join(root, 'node_modules', 'odd');
  await mkdir(packageFolder, { recursive: true });
  const path = 'node_modules/odd/index.js';
  const output = { bytes: 1, inputs: { [path]: { bytesInOutput: 1 } }, imports: [], exports: [] };
  const metafile = { inputs: { [path]: { bytes: 1, imports: [] } }, outputs: { 'a.js': output } };
  const files = async (manifest: object, lock: object) => {
    await writeFile(join(packageFolder, 'package.json'), JSON.stringify({ name: 'odd', version: '1.0.0', ...manifest }));
    await writeFile(join(root, '..', 'package-lock.json'), JSON.stringify({ packages: lock }));
    return bundledPackages(metafile, root);
  };
  const known = { 'node_modules/odd': { integrity: `sha512-${Buffer.alloc(64).toString('base64')}` } };
  await assert.rejects(files({}, known), /The package odd 1\.0\.0 is part of a bundle and has no licence/);
  await assert.rejects(files({ license: 'MIT' }, {}), /The package odd 1\.0\.0 of a bundle is not in package-lock\.json/);
  const [odd] = await files({ license: 'MIT', author: 'Jo Odd <jo@example.com>' }, known);
  assert.match(thirdPartyNotices([odd!]), /\nodd 1\.0\.0 \(MIT\)\n\nIts package has no file.*, and names MIT and the author Jo Odd\.\n/);
});

test('every Dockerfile names one version of Node.js, that of the tests, and a user by its number', async () => {
  const contexts = [images.services, images.migration, ...['examples', 'starter'].map((name) => join(APP, '..', name, 'services'))];
  const texts = await Promise.all(contexts.map((context) => readFile(join(context, 'Dockerfile'), 'utf8')));
  const bases = texts.map((text) => /^FROM (\S+:(\d+)\.\d+\.\d+-[a-z]+-slim(?:@sha256:[0-9a-f]{64})?)$/m.exec(text) ?? []);
  assert.deepEqual(bases.map(([, , major]) => major), texts.map(() => process.versions.node.split('.')[0]));
  assert.deepEqual([...new Set(bases.map(([, base]) => base))].length, 1);
  for (const text of texts) {
    assert.match(text, /^USER 10001:10001$/m);
    assert.doesNotMatch(text, /^COPY (?!--chmod=755)/m);
  }
  assert.ok(texts[0]!.includes(`image.base.name="${bases[0]![1]!.replace(/@.*/, '')}"`));
});

test('the source maps translate a frame of a stack', async () => {
  const files = [...await appOf(images.services)].map(([name, text]) => [name, text.split('\n')] as const);
  const [name, lines] = files.find(([, text]) => text.some((line) => line.startsWith('function readConfig(')))!;
  const row = lines.findIndex((line) => line.startsWith('function readConfig(')) + 1;
  const script = spawn(process.execPath, [join(APP, 'scripts', 'source-lines.ts'), images.sourceMaps], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(script);
  script.stdin.end(`{"stack":"Error: x\\n    at readConfig (file:///app/${name}:${row}:1)\\n    at file:///app/other.js:1:1"}\n`);
  const output = (await script.stdout.setEncoding('utf8').toArray()).join('');
  const [, sourceRow] = /\\n {4}at readConfig \(reference-app\/services\/shared\/config\.ts:(\d+):\d+\)\\n/.exec(output) ?? [];
  assert.ok(output.endsWith('at file:///app/other.js:1:1"}\n'), output);
  const source = await readFile(join(APP, 'services', 'shared', 'config.ts'), 'utf8');
  assert.match(source.split('\n')[Number(sourceRow) - 1] ?? output, /^export function readConfig/);
});

interface Bom {
  readonly metadata: { readonly component: { readonly 'bom-ref': string } };
  readonly components: {
    readonly 'bom-ref': string;
    readonly 'version': string;
    readonly 'purl': string;
    readonly 'licenses': { readonly license: { readonly id: string } }[];
    readonly 'hashes': { readonly content: string }[];
  }[];
  readonly dependencies: { readonly ref: string; readonly dependsOn: string[] }[];
}

test('the migration job of the image sets up an empty database, with the first products, twice over', async () => {
  for (const products of [true, false]) {
    const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET, SEED_FILE: 'data/catalog.json' });
    assert.equal(await job.exit, 0, job.log());
    assert.equal(job.log().includes('first products received'), products);
    assert.ok(!job.log().includes(PASSWORD));
  }
  const { rows: [stock] } = await server.pool({ database: 'shop', max: 1 }).query('SELECT count(*)::int AS skus FROM inventory.stock_level');
  assert.equal(stock.skus, (JSON.parse(await readFile(join(images.migration, 'app', 'data', 'catalog.json'), 'utf8')) as unknown[]).length);
});

test('the migration job says in one line, with an exit code of its own, that it cannot migrate a database of former files', async () => {
  await server.pool({ database: 'postgres', max: 1 }).query('CREATE DATABASE former');
  await server.pool({ database: 'former', max: 1 }).query(FORMER_LAYOUT);
  const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET, DB_NAME: 'former' });
  assert.equal(await job.exit, 65, job.log());
  const lines = job.log().trimEnd().split('\n').map((line) => JSON.parse(line) as { level: string; message: string });
  assert.deepEqual(lines.map(({ level, message }) => [level, message]), [['fatal',
    'This database was made from the former migration files (001-messaging.sql, 002-orders.sql, 003-inventory.sql, 004-notification-analytics.sql, 005-fan-out.sql), '
    + 'which this version does not have: use an empty database (in a local run: start with --fresh).']]);
});

test('the migration job stops when asked, also while it waits for another, and leaves no statement behind', async () => {
  const other = await server.pool({ database: 'shop', max: 1 }).connect();
  try {
    await other.query('SELECT pg_advisory_lock(4715330219)');
    const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET });
    await eventually(() => job.log(), (log) => /another migration is running; waiting/.test(log) || job.child.exitCode !== null);
    job.child.kill('SIGTERM');
    assert.equal(await eventually(() => job.child.exitCode, (code) => code !== null), 143, job.log());
    const waitedAndStopped = /another migration is running; waiting[^]*stopped; the unfinished step is rolled back/;
    await eventually(() => job.log(), (log) => waitedAndStopped.test(log));
  } finally {
    other.release(true);
  }
});

const WORKERS = [
  'order-status', 'outbox-relay', 'stock-service', 'inventory-service', 'notification-service', 'analytics-service',
] as const satisfies (keyof typeof ORDER_PIPELINE_IMAGE.entries)[];
for (const name of WORKERS) {
  test(`${name} starts from the image, tells its health and its metrics, and stops when asked`, async () => {
    const worker = start(name, command());
    const urlInLog = () => /"url":"([^"]+)"/.exec(worker.log())?.[1];
    const url = await eventually(urlInLog, (found) => found !== undefined || worker.child.exitCode !== null);
    assert.ok(url, worker.log());
    assert.equal((await fetch(`${url}/livez`)).status, 200);
    // The relay needs the database only; a consumer without its queue is not ready, and alive.
    const ready = name === 'outbox-relay' ? 200 : 503;
    await eventually(async () => (await fetch(`${url}/readyz`)).status, (status) => status === ready);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, name === 'outbox-relay' ? /outbox_oldest_pending_age_seconds/ : /events_consumed_total/);
    assert.ok(!worker.log().includes(PASSWORD));
    worker.child.kill('SIGTERM');
    assert.equal(await worker.exit, 0, worker.log());
  });
}

test('several programs run in one process, each with its own variables, and it ends when all have stopped', async () => {
  const names = ['inventory-service', 'order-status', 'outbox-relay'] as const;
  const programs = names.map((name) => ({ program: `${name}.js`, environment: { SERVICE_NAME: `my-${name}`, CONSUMER_BATCH_SIZE: String(name.length) } }));
  const worker = start('several', command({ SHARED_PROGRAMS: JSON.stringify(programs) }));
  const lines = () => worker.log().split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  const said = (message: string) => lines().filter((line) => line.message === message);
  await eventually(() => said('started').length, (count) => count === names.length || worker.child.exitCode !== null);
  assert.deepEqual(said('starting').map(({ service, config }) => [service, (config as { CONSUMER_BATCH_SIZE?: number }).CONSUMER_BATCH_SIZE]), [
    ['my-inventory-service', 17], ['my-order-status', 12], ['my-outbox-relay', undefined],
  ]);
  const urls = said('listening').map(({ url }) => String(url));
  assert.equal(new Set(urls).size, names.length);
  const metrics = await (await fetch(`${urls[0]}/metrics`)).text();
  assert.match(metrics, /outbox_oldest_pending_age_seconds/);
  assert.doesNotMatch(metrics, /service="/, 'the metrics of one service are not those of another');
  worker.child.kill('SIGTERM');
  assert.equal(await worker.exit, 0, worker.log());
  assert.equal(said('stopped').length, names.length, worker.log());
});

test('a process with a wrong environment ends at once and says what to set', async () => {
  const worker = start('inventory-service', { ...command(), QUEUE_URL: 'queue', DB_WRITER_ENDPOINT: '', CONSUMER_BATCH_SIZE: '0' });
  assert.equal(await worker.exit, 1);
  for (const problem of [/DB_WRITER_ENDPOINT is missing; set it to/, /QUEUE_URL must match/, /CONSUMER_BATCH_SIZE must be >= 1/]) {
    assert.match(worker.log(), problem);
  }
});
