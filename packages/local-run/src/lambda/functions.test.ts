import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import { eventually } from '../../test/temporary.ts';

test('a CommonJS handler gets batches of the size that the mapping says, and what it did is gone', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event).length);` }, { reservedConcurrentExecutions: 1 });
  given.queue(fn, 'work', { batchSize: 4, maxBatchingWindow: Duration.seconds(1) });
  const { send, empty, seen, run } = await given.start();
  assert.deepEqual([run.warnings, run.failures(), run.queues[0]?.consumer], [[], [], run.workloads[0]?.name]);
  await send('work', 'a', 'b', 'c', 'd', 'e', 'f');
  await eventually(() => empty('work'), 'the empty queue');
  const sizes = seen<number>();
  assert.equal(sizes.reduce((sum, size) => sum + size, 0), 6);
  assert.ok(sizes.every((size) => size <= 4) && sizes.includes(4), String(sizes));
});

test('a batching window collects more than one receive can bring', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event).length);` }, { reservedConcurrentExecutions: 1 });
  given.queue(fn, 'work', { batchSize: 25, maxBatchingWindow: Duration.seconds(20) });
  const { send, empty, seen } = await given.start();
  await send('work', ...Array.from({ length: 25 }, (_, index) => String(index)));
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen(), [25]);
});

test('a filter lets through only what it matches; the rest is done with', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event));` });
  given.queue(fn, 'work', { filters: [lambda.FilterCriteria.filter({ body: { detail: { n: [{ numeric: ['>', 1] }] } } })] });
  const { send, empty, seen } = await given.start();
  await send('work', '{"detail":{"n":1}}', '{"detail":{"n":2}}', 'no json');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen(), [['{"detail":{"n":2}}']]);
});

test('a mapping with a filter that is no pattern is left out, a disabled one starts nothing, and both are on the screen', async (context) => {
  const given = functionTest(context);
  const code = { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event));` };
  given.queue(given.function('Filtered', code), 'filtered', { filters: [{ pattern: '{"body":{"n":[{"no-such-operator":1}]}}' }] });
  given.queue(given.function('Disabled', code), 'disabled', { enabled: false });
  const { run } = await given.start();
  assert.deepEqual([run.warnings.length, run.workloads.length, [...run.withoutMeaning.values()].at(-1)], [1, 0, 2]);
  assert.match(run.warnings[0] ?? '', /^The event source mapping .* is left out: Event pattern is not valid\. Reason: .*no-such-operator/);
});

test('a handler with a callback answers by it; a batch whose invocation fails comes back whole', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.cjs': `${RECORD} let calls = 0; exports.handler = (event, context, callback) => {
      record(bodies(event)); setImmediate(() => callback(++calls === 1 ? new Error('first call') : null));
    };`,
  }, { reservedConcurrentExecutions: 1, timeout: Duration.seconds(1) });
  given.queue(fn, 'work', { reportBatchItemFailures: true });
  const { send, empty, seen, log } = await given.start();
  await send('work', 'a', 'b');
  await eventually(() => empty('work'), 'the empty queue');
  const [first = []] = seen<string[]>();
  assert.deepEqual(seen<string[]>().flat().sort(), [...first, 'a', 'b'].sort());
  assert.match(log(), /invocation failed.*first call/);
});

test('an answer that names a message nobody sent fails the whole batch', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.mjs': `${RECORD} export const handler = async (event) => { record(bodies(event)); return { batchItemFailures: [{ itemIdentifier: '' }] }; };`,
  }, { timeout: Duration.seconds(1) });
  given.queue(fn, 'work', { reportBatchItemFailures: true });
  const { send, seen } = await given.start();
  await send('work', 'a');
  await eventually(() => seen().length >= 2, 'another try');
});

test('a function that runs out of time ends with its process, even in an endless loop, and its batch comes back', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.js': `${RECORD} exports.handler = async (event, context) => { record(context.getRemainingTimeInMillis()); if (bodies(event)[0] === 'forever') for (;;); };`,
  }, { timeout: Duration.seconds(1), reservedConcurrentExecutions: 1 });
  given.queue(fn, 'work', {}, { visibilityTimeout: Duration.seconds(2) });
  const { send, seen, log, run, empty } = await given.start();
  await send('work', 'forever');
  await eventually(() => seen().length >= 2, 'another try');
  assert.match(log(), /Sandbox\.Timedout: Task timed out after 1\.00 seconds/);
  assert.ok((run.workloads[0]?.restarts() ?? 0) >= 1);
  assert.ok(seen<number>().every((left) => left > 0 && left <= 1000));
  assert.deepEqual(run.failures(), []);
  assert.ok(!empty('work'));
});

test('stopping lets the batch in hand end', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.js': `${RECORD} exports.handler = async (event) => { record('begun'); await new Promise((resolve) => setTimeout(resolve, 500)); record('ended'); };`,
  });
  given.queue(fn, 'work');
  const { send, run, seen } = await given.start();
  await send('work', 'a');
  await eventually(() => seen().length === 1, 'the batch in hand');
  await run.stop();
  assert.deepEqual(seen(), ['begun', 'ended']);
  const again = await given.start();
  assert.ok(again.empty('work'));
});

test('one function with two queues, and a handler in a folder', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'src/app.js': `${RECORD} exports.deep = { handler: async (event, context) => record([bodies(event)[0], context.functionName, context.invokedFunctionArn]) };`,
  }, { handler: 'src/app.deep.handler', functionName: 'two' });
  given.queue(fn, 'first');
  given.queue(fn, 'second');
  const { send, seen, run } = await given.start();
  assert.equal(run.workloads.length, 1);
  await send('first', 'a');
  await send('second', 'b');
  await eventually(() => seen().length === 2, 'both messages');
  const arn = 'arn:aws:lambda:us-east-1:000000000000:function:two';
  assert.deepEqual(seen<string[]>().sort(), [['a', 'two', arn], ['b', 'two', arn]]);
});

test('a process that ends within an invocation is started again, and the message comes back', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.mjs': `${RECORD} export const handler = async (event) => {
      const receives = Number(event.Records[0].attributes.ApproximateReceiveCount); record(receives); if (receives === 1) process.exit(3);
    };`,
  }, { timeout: Duration.seconds(1) });
  given.queue(fn, 'work');
  const { send, seen, empty, log } = await given.start();
  await send('work', 'a');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen(), [1, 2]);
  assert.match(log(), /Runtime\.ExitError/);
});

test('a function with one process takes no messages ahead: they would wait out of sight of others', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.js': `${RECORD} exports.handler = async ({ Records: [{ attributes }] }) => {
      record(Date.now() - Number(attributes.ApproximateFirstReceiveTimestamp)); await new Promise((resolve) => setTimeout(resolve, 1000));
    };`,
  });
  given.queue(fn, 'work', { batchSize: 1 });
  const { send, empty, seen, run } = await given.start({ maxReplicas: 1 });
  assert.equal(run.workloads[0]?.replicas, 1);
  await send('work', 'a', 'b', 'c', 'd');
  await eventually(() => empty('work'), 'the empty queue');
  assert.ok(seen<number>().every((waited) => waited < 800), String(seen()));
});
