#!/usr/bin/env node
// Rotates the password of every database login of the reference app twice under 200 orders per second, in the order in which the rotation
// of AWS does it: a pending version of the secret, the password in the database, a test, the pending version becomes the current one. Between
// the second step and the last one, when the secret shows a password that counts no more, idle connections are closed, so that new ones
// have to be made. No request fails, and no service logs an error.
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { root, Steps, withFolder } from './lib/user-project.mjs';

const RATE = 200;
/** More than are fed: the feed ends after the last rotation. */
const ORDERS = 100_000;
const WARM_UP = 400;
/** Orders between two rotations. */
const BETWEEN = 1_000;
/** The functions that rotate take seconds from the new password in the database to the new one in the secret. */
const HALFWAY_MS = 6_000;
const ROTATIONS = 2;
const ERRORS = ['error', 'fatal'];

const USAGE = `usage: npm run test:rotation [-- <options>]

  --keep          keeps the folder with the data and logs, and prints where it is
  --help          this text`;

const options = optionsOf(USAGE, { keep: { type: 'boolean', default: false } });
requireTypeScript('test-rotation');
const require = createRequire(join(root, 'reference-app', 'package.json'));
const pg = require('pg');
const { GetSecretValueCommand, ListSecretsCommand, PutSecretValueCommand, SecretsManagerClient, UpdateSecretVersionStageCommand } = require('@aws-sdk/client-secrets-manager');
const { startLocal } = await import('cdk-local-run');
const { synthesize } = await import('cdk-local-run/cli/synthesize');
const { httpClient } = await import('../reference-app/load/http-client.ts');
const { feed } = await import('../reference-app/load/feed.ts');
const { randomOrders } = await import('../reference-app/load/orders.ts');
const { openPipeline } = await import('../reference-app/profiles/order-pipeline/pipeline.ts');

const steps = new Steps();
const started = Date.now();

function expect(actual, wanted, what) {
  if (!wanted(actual)) { throw new Error(`${what}: ${JSON.stringify(actual)}`); }
}

const isEmpty = ({ length }) => length === 0;

/** The rotation of one login, step by step. */
class Rotation {
  #secrets;
  #address;
  #arn;
  #id = randomUUID();

  constructor(secrets, address, arn) {
    this.#secrets = secrets;
    this.#address = address;
    this.#arn = arn;
  }

  async #read(VersionStage) {
    const { SecretString, VersionId } = await this.#secrets.send(new GetSecretValueCommand({ SecretId: this.#arn, VersionStage }));
    return { ...JSON.parse(SecretString), VersionId };
  }

  /** Logs in as the login itself: it needs no other right to change its password. */
  async #as({ username, password }, work = () => {}) {
    const { host, port, database } = this.#address;
    const client = new pg.Client({ host, port, database, user: username, password });
    await client.connect();
    try {
      await work(client);
    } finally {
      await client.end();
    }
  }

  async create() {
    const { VersionId, ...login } = await this.#read('AWSCURRENT');
    await this.#secrets.send(new PutSecretValueCommand({
      SecretId: this.#arn, ClientRequestToken: this.#id, VersionStages: ['AWSPENDING'], SecretString: JSON.stringify({ ...login, password: randomUUID() }),
    }));
  }

  async set() {
    const [current, { username, password }] = [await this.#read('AWSCURRENT'), await this.#read('AWSPENDING')];
    await this.#as(current, (client) => client.query(`ALTER USER ${pg.escapeIdentifier(username)} WITH PASSWORD ${pg.escapeLiteral(password)}`));
  }

  async test() {
    await this.#as(await this.#read('AWSPENDING'));
  }

  async finish() {
    const { VersionId } = await this.#read('AWSCURRENT');
    await this.#secrets.send(new UpdateSecretVersionStageCommand({
      SecretId: this.#arn, VersionStage: 'AWSCURRENT', MoveToVersionId: this.#id, RemoveFromVersionId: VersionId,
    }));
  }
}

/** The secrets whose users are logins of services: those that may use the schema of the messages. */
async function loginsOf(secrets, database) {
  const { SecretList } = await secrets.send(new ListSecretsCommand({ MaxResults: 100 }));
  const { rows } = await database.query('SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND NOT rolcreaterole AND has_schema_privilege(oid, \'messaging\', \'USAGE\')');
  const logins = [];
  for (const { ARN } of SecretList) {
    const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: ARN }));
    if (!SecretString.startsWith('{')) { continue; }
    const { username } = JSON.parse(SecretString);
    if (rows.some(({ rolname }) => rolname === username)) { logins.push({ arn: ARN, username }); }
  }
  return logins;
}

/** The errors in the logs of services, and the warnings by their text. */
function readLogs(folder) {
  const files = readdirSync(folder).filter((name) => name.endsWith('.log'));
  const records = files.flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n').filter((line) => line.startsWith('{'))
    .map((line) => ({ file, line, ...JSON.parse(line) })));
  const warnings = Object.entries(Object.groupBy(records.filter(({ level }) => level === 'warn'), ({ message }) => message));
  return {
    services: new Set(records.filter(({ level }) => level === 'info').map(({ file }) => file)).size,
    errors: records.filter(({ level }) => ERRORS.includes(level)).map(({ file, line }) => `${file}: ${line.slice(0, 300)}`),
    warnings: warnings.map(([message, all]) => `${all.length} × ${message}`),
  };
}

async function rotate(folder) {
  const assemblyDir = join(folder, 'assembly');
  await synthesize(join(root, 'reference-app'), assemblyDir, new AbortController().signal, { profile: 'order-pipeline' });
  const run = await startLocal({ assemblyDir, dataDir: join(folder, 'data'), maxReplicas: 1 });
  const pipeline = await openPipeline(run, true);
  const secrets = new SecretsManagerClient({
    endpoint: run.endpoints.secretsmanager, region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });
  const logins = await loginsOf(secrets, pipeline.database);
  await steps.step('each workload has a login of its own', async () => {
    const { rows } = await pipeline.database.query(
      'SELECT usename, count(DISTINCT application_name)::int AS programs FROM pg_stat_activity WHERE usename = ANY($1) GROUP BY 1', [logins.map(({ username }) => username)]);
    expect(rows.filter(({ programs }) => programs !== 1), isEmpty, 'logins of several programs');
    expect(rows, ({ length }) => length === run.workloads.length, 'logins in use');
    return { note: rows.map(({ usename }) => usename).sort().join(' ') };
  });
  const stop = new AbortController();
  let accepted = 0;
  const client = httpClient(pipeline.writeUrl, { token: pipeline.token });
  const fed = feed({ orders: randomOrders(ORDERS, 1), rate: RATE, client, signal: stop.signal, onAccepted: () => { accepted++; } });
  const more = async (count) => {
    for (const until = accepted + count; accepted < until;) { await sleep(50); }
  };
  try {
    await more(WARM_UP);
    for (let count = 1; count <= ROTATIONS; count++) {
      await steps.step(`rotation ${count} of ${logins.length} logins`, async () => {
        const rotations = logins.map(({ arn }) => new Rotation(secrets, run.database.writer, arn));
        for (const rotation of rotations) { await rotation.create(); }
        for (const rotation of rotations) { await rotation.set(); }
        const { rows: [{ closed }] } = await pipeline.database.query(
          `SELECT count(pg_terminate_backend(pid))::int AS closed FROM pg_stat_activity
           WHERE usename = ANY($1) AND state = 'idle' AND state_change < now() - interval '0.2 s'`, [logins.map(({ username }) => username)]);
        await sleep(HALFWAY_MS);
        for (const rotation of rotations) { await rotation.test(); }
        for (const rotation of rotations) { await rotation.finish(); }
        const { rows: [{ opened }] } = await pipeline.database.query(
          'SELECT count(*)::int AS opened FROM pg_stat_activity WHERE usename = ANY($1) AND backend_start > now() - $2 * interval \'1 ms\'',
          [logins.map(({ username }) => username), HALFWAY_MS + 1_000]);
        expect(opened, (sessions) => sessions > 0, 'sessions that were opened in the middle of the rotation');
        return { note: `${closed} idle connections closed, ${opened} opened before the secrets had the new passwords` };
      });
      await more(BETWEEN);
    }
  } finally {
    stop.abort();
  }
  const result = await fed;
  client.close();
  await steps.step('no request failed, not even once', () => {
    expect(result.failures.map(({ status, reason }) => `${status ?? ''} ${reason}`).slice(0, 5), isEmpty, `${result.failures.length} failed attempts`);
    expect([...result.refused, ...result.unanswered], isEmpty, 'orders that are not accepted');
    return { note: `${result.accepted.length} orders accepted` };
  });
  await steps.step('every invariant holds, and nothing is dead', async () => {
    const settled = await pipeline.settle();
    const { invariants, orders, deadLetters, restarts } = await pipeline.summarize(result, settled);
    expect({ settled, open: orders.open, deadLetters, restarts }, (state) => state.settled && state.open + state.deadLetters + state.restarts === 0, 'state');
    expect(invariants.filter(({ ok }) => !ok), isEmpty, 'invariants that fail');
    return { note: invariants.map(({ id }) => id).join(' ') };
  });
  await steps.step('no error in the log of a service', () => {
    const { services, errors, warnings } = readLogs(run.logDir);
    expect(services, (count) => count >= run.workloads.length, 'logs with records');
    expect(errors.slice(0, 5), isEmpty, `${errors.length} errors`);
    return { note: `warnings: ${warnings.join(', ') || 'none'}` };
  });
  secrets.destroy();
  await pipeline.close();
  await run.stop();
}

await withFolder('rotation', options.keep, rotate);
console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish();
