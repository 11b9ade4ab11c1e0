import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Leftovers } from '../processes/leftovers.ts';
import { RunningProgram } from '../processes/program.ts';
import { SqsEndpoint } from '../sqs/endpoint.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import type { FunctionConfig } from './function-host.ts';

const account = '000000000000';
const caller = { service: 'events.amazonaws.com', sourceArn: 'arn', sourceAccount: account };

async function host(context: TestContext, files: Record<string, string>, config: Partial<FunctionConfig> = {}) {
  const folder = temporaryFolder(context);
  const sqs = await SqsEndpoint.start({ dataDir: folder, region: 'us-east-1' });
  atEnd(context, () => sqs.stop());
  sqs.createQueue({ name: 'work', arn: 'arn:work', attributes: { VisibilityTimeout: '1' } }, account);
  sqs.addPolicy(['work'], [{ Effect: 'Allow', Principal: '*', Action: '*' }]);
  const code = join(folder, 'code');
  mkdirSync(code);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(code, name), text);
  const full: FunctionConfig = {
    name: 'fn', arn: 'arn:fn', handler: 'index.handler', timeoutSeconds: 10, memoryMegabytes: 128, queueUrl: sqs.queueUrl('work', account),
    queueArn: 'arn:work', region: 'us-east-1', batchSize: 10, batchWindowSeconds: 0, reportBatchItemFailures: false, ...config,
  };
  const seen = join(folder, 'seen');
  const start = () => {
    const program = new RunningProgram({
      command: ['node', '--disable-warning=ExperimentalWarning', fileURLToPath(new URL('function-host.ts', import.meta.url)), JSON.stringify(full)],
      folder: code, logFile: join(folder, 'log'),
      environment: { AWS_ENDPOINT_URL_SQS: sqs.url, AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local', SEEN: seen },
    }, new Leftovers(join(folder, 'processes.json')));
    atEnd(context, () => program.stop(5));
    return program;
  };
  return {
    start, sqs, log: () => readFileSync(join(folder, 'log'), 'utf8'),
    send: (...bodies: string[]) => { for (const body of bodies) sqs.deliver('arn:work', body, caller); },
    batches: () => (existsSync(seen) ? readFileSync(seen, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as string[]) : []),
    empty: () => Object.values(sqs.depth('work')).every((count) => count === 0),
  };
}

const record = 'const { appendFileSync } = require("node:fs"); const record = (event) => appendFileSync(process.env.SEEN, JSON.stringify(event.Records.map((r) => r.body)) + "\\n");';

test('a CommonJS handler gets batches of the size that the mapping says, and what it did is gone', async (context) => {
  const { start, send, batches, empty } = await host(context, { 'index.js': `${record} exports.handler = async (event) => record(event);` }, { batchSize: 4 });
  send('a', 'b', 'c', 'd', 'e', 'f');
  start();
  await eventually(empty, 'the empty queue');
  assert.deepEqual(batches(), [['a', 'b', 'c', 'd'], ['e', 'f']]);
});

test('a batching window collects more than one receive can bring', async (context) => {
  const { start, send, batches, empty } = await host(context, { 'index.js': `${record} exports.handler = async (event) => record(event);` }, { batchSize: 25, batchWindowSeconds: 3 });
  send(...Array.from({ length: 25 }, (_, index) => String(index)));
  start();
  await eventually(empty, 'the empty queue');
  assert.deepEqual(batches().map((batch) => batch.length), [25]);
});

test('a filter lets through only what it matches; the rest is done with', async (context) => {
  const { start, send, batches, empty } = await host(context, { 'index.js': `${record} exports.handler = async (event) => record(event);` },
    { filters: ['{"body":{"detail":{"n":[{"numeric":[">",1]}]}}}'] });
  send('{"detail":{"n":1}}', '{"detail":{"n":2}}', 'no json');
  start();
  await eventually(empty, 'the empty queue');
  assert.deepEqual(batches(), [['{"detail":{"n":2}}']]);
});

test('a handler with a callback answers by it; a batch whose invocation fails comes back whole', async (context) => {
  const { start, send, batches, empty, log } = await host(context, {
    'index.cjs': `${record} let calls = 0; exports.handler = (event, context, callback) => { record(event); setImmediate(() => callback(++calls === 1 ? new Error('first call') : null)); };`,
  }, { reportBatchItemFailures: true });
  send('a', 'b');
  start();
  await eventually(empty, 'the empty queue');
  assert.deepEqual(batches().flat().sort(), ['a', 'a', 'b', 'b']);
  assert.match(log(), /first call/);
});

test('an answer that names a message nobody sent fails the whole batch', async (context) => {
  const { start, send, batches } = await host(context, {
    'index.mjs': 'import { appendFileSync } from "node:fs"; export const handler = async (event) => { appendFileSync(process.env.SEEN, JSON.stringify(event.Records.map((r) => r.body)) + "\\n"); return { batchItemFailures: [{ itemIdentifier: "" }] }; };',
  }, { reportBatchItemFailures: true });
  send('a');
  start();
  await eventually(() => batches().length >= 2, 'another try');
});

test('a function that runs out of time ends with its process, and its batch is left in the queue', async (context) => {
  const { start, send, sqs, log } = await host(context, { 'index.js': 'exports.handler = () => new Promise(() => {});' }, { timeoutSeconds: 1 });
  send('a');
  const exit = await start().exited;
  assert.equal(exit.code, 1);
  assert.match(log(), /Task timed out after 1\.00 seconds/);
  assert.equal(sqs.depth('work').visible + sqs.depth('work').inFlight, 1);
});

test('stopping lets the batch in hand end', async (context) => {
  const { start, send, empty, batches } = await host(context, {
    'index.js': `${record} exports.handler = async (event) => { record(event); await new Promise((resolve) => setTimeout(resolve, 500)); };`,
  });
  send('a');
  const program = start();
  await eventually(() => batches().length === 1, 'the batch in hand');
  await program.stop(10);
  assert.equal((await program.exited).code, 0);
  assert.ok(empty());
});

test('a handler that is not there is named', async (context) => {
  const { start, log } = await host(context, { 'index.js': 'exports.other = 1;' });
  assert.equal((await start().exited).code, 1);
  assert.match(log(), /index\.js exports no function handler/);
});
