import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readAssembly } from 'cdk-local-run/assembly/assembly';
import { Model } from 'cdk-local-run/assembly/model';
import { namedType } from 'cdk-local-run/assembly/types';
import { readAlarm } from 'cdk-local-run/cloudwatch/alarm';
import { CloudWatch } from 'cdk-local-run/cloudwatch/endpoint';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { OrderPipelineStack } from './stack.ts';
import { newEvent, newId } from '../../services/shared/events/index.ts';
import { appendToOutbox, eventually, startTestServer, type TestDatabase, type TestServer } from '../../services/shared/testing.ts';
import { synthesizer } from '../../test/stacks.ts';

const synthesize = synthesizer();

/** A minute of the alarms takes 600 ms, in which the relay reports four times. */
const SECOND_MS = 10;
const REPORT_SECONDS = 0.15;
const RELAY = join(import.meta.dirname, '../../services/outbox-relay/main.ts');

let server: TestServer;
let db: TestDatabase;
let bus: Server;
/** The relay may publish. */
let permitted = true;
let relay: ChildProcess | undefined;
let environment: NodeJS.ProcessEnv;
const secrets = new SecretsManager();
const cloudwatch = new CloudWatch({ log: () => undefined, changed: () => undefined, secondMs: SECOND_MS });

before(async () => {
  server = await startTestServer();
  db = await server.database();
  bus = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { Entries } = JSON.parse(Buffer.concat(chunks).toString()) as { Entries: unknown[] };
      const answer = permitted ? { FailedEntryCount: 0, Entries: Entries.map(() => ({ EventId: newId() })) } : { __type: 'AccessDeniedException', message: 'not authorized' };
      response.writeHead(permitted ? 200 : 400, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(answer));
    })();
  });
  await once(bus.listen(0, '127.0.0.1'), 'listening');
  const login = { username: `${db.name}_command`, password: `pass'word "of" ${db.name}` };
  environment = {
    PATH: process.env.PATH,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_SECRETS_MANAGER: (await secrets.start()).url,
    AWS_ENDPOINT_URL_CLOUDWATCH: await cloudwatch.start(),
    AWS_ENDPOINT_URL_EVENTBRIDGE: `http://127.0.0.1:${(bus.address() as AddressInfo).port}`,
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'silent',
    EVENT_BUS_NAME: 'orders',
    DB_SECRET_ARN: secrets.put({ name: 'relay', secretString: JSON.stringify(login) }).ARN,
    DB_NAME: db.name,
    DB_WRITER_ENDPOINT: `127.0.0.1:${server.postgres.writer.port}`,
    METRICS_INTERVAL_SECONDS: String(REPORT_SECONDS),
  };
});

after(async () => {
  await end('SIGKILL');
  bus.closeAllConnections();
  bus.close();
  await Promise.all([cloudwatch.stop(), secrets.stop()]);
  await db.drop();
  await server.stop();
});

function start(): void {
  relay = spawn(process.execPath, [RELAY], { env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
}

async function end(signal: NodeJS.Signals): Promise<void> {
  const exited = relay && once(relay, 'exit');
  relay?.kill(signal);
  await exited;
  relay = undefined;
}

/** The alarms that have gone off. */
const off = () => cloudwatch.alarms.filter(({ state }) => state === 'ALARM').map(({ rule: { name } }) => name.split('/').at(-1)!).sort();
const becomes = (...expected: string[]) => eventually(off, (names) => names.join() === expected.join());

/** An event, as an order that was accepted some time ago has it. */
async function order(age: string): Promise<void> {
  const orderId = newId();
  const data = { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 1 }], createdAt: new Date().toISOString() };
  await appendToOutbox(db.admin, [newEvent({ type: 'order.created', source: '/order-service', subject: orderId, sequence: 1, cause: { id: newId() }, data })]);
  await db.admin.query('UPDATE messaging.outbox SET created_at = created_at - $1::interval WHERE aggregate_id = $2', [age, orderId]);
}

test('the alarms of the template hear of a relay that is refused, stopped or halted, and of nothing while it works', { timeout: 120_000 }, async () => {
  const { stack, assembly } = synthesize((app, images) => new OrderPipelineStack(app, 'OrderPipeline', { images }), false);
  const model = new Model(readAssembly(assembly.directory), {
    account: '000000000000', region: 'eu-central-1', parameters: {}, resourceType: namedType, secretValue: () => undefined,
  });
  const rules = model.ofType('AWS::CloudWatch::Alarm').map(readAlarm).filter((rule) => typeof rule !== 'string');
  assert.equal(rules.length, 8);
  // As the manifest of the relay says.
  const { namespace, dimensions } = stack.pipeline.metricRelayLeader();
  Object.assign(environment, { METRICS_NAMESPACE: namespace, METRICS_PIPELINE: String(dimensions!.Pipeline) });

  start();
  await order('0');
  cloudwatch.watch(rules);
  await eventually(() => cloudwatch.alarms.map(({ state }) => state), (states) => states.every((state) => state === 'OK'));

  // Its role has lost the permission, or the bus its policy.
  permitted = false;
  await order('10 minutes');
  await becomes('OutboxAge');
  permitted = true;
  await becomes();

  // A clean stop reports that nobody leads; a kill reports nothing.
  await end('SIGKILL');
  await becomes('NoLeader');
  start();
  await becomes();
  await end('SIGTERM');
  await becomes('NoLeader');

  // As after a dump was restored: the process runs, and publishes nothing.
  await db.admin.query('UPDATE messaging.relay_cursor SET halted = true');
  start();
  await becomes('Halted', 'NoLeader');
  await db.admin.query('SELECT messaging.adopt_outbox()');
  await becomes();
});
