import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Duration } from 'aws-cdk-lib';
import type { CfnResource } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as destinations from 'aws-cdk-lib/aws-lambda-destinations';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import type { FunctionTest, StartedTest } from '../../test/lambda/stack.ts';
import { eventually } from '../../test/temporary.ts';
import type { LocalRun } from '../local-run.ts';

/** Fails for events of the type `Fail`. */
const HANDLER = `${RECORD} exports.handler = async (event, context) => {
  record([event['detail-type'], event.detail.id, context.invokedFunctionArn]);
  if (event['detail-type'] === 'Fail') throw new TypeError('no luck');
  return { handled: event.detail.id };
};`;

type Seen = [type: string, id: number, arn: string];

interface CalledFunction extends FunctionTest {
  readonly fn: lambda.Function;
  readonly rule: events.Rule;
}

function called(context: TestContext, props: Partial<lambda.FunctionProps> = {}): CalledFunction {
  const given = functionTest(context);
  const fn = given.function('Fn', { 'index.js': HANDLER }, props);
  const rule = new events.Rule(given.stack, 'Rule', { eventPattern: { source: ['test'] } });
  return { ...given, fn, rule };
}

async function put(run: LocalRun, type: string, id: number): Promise<void> {
  await run.eventBridge.putEvents([{ Source: 'test', DetailType: type, Detail: JSON.stringify({ id }) }]);
}

const tries = (started: StartedTest, id: number) => started.seen<Seen>().filter((seen) => seen[1] === id).length;
const runLog = (run: LocalRun) => readFileSync(join(run.logDir, 'local-run.log'), 'utf8');

test('a rule calls a function, also by an alias; the run has no other queue for that', async (context) => {
  const given = called(context, { functionName: 'direct' });
  given.rule.addTarget(new targets.LambdaFunction(given.fn));
  new events.Rule(given.stack, 'Aliased', { eventPattern: { source: ['test'], detailType: ['Both'] } }).addTarget(new targets.LambdaFunction(given.fn.addAlias('live')));
  const started = await given.start();
  const { run, seen } = started;
  assert.deepEqual([run.warnings, run.queues], [[], []]);
  assert.equal(run.withoutMeaning.get('functions that nothing in this run calls: custom resources and other triggers'), undefined);
  await put(run, 'One', 1);
  await put(run, 'Both', 2);
  await eventually(() => tries(started, 1) === 1 && tries(started, 2) === 2, 'the events');
  assert.deepEqual(seen<Seen>()[0], ['One', 1, 'arn:aws:lambda:us-east-1:000000000000:function:direct']);
});

test('a queue of the stack that is called like the events of a function keeps its messages', async (context) => {
  const given = called(context, { functionName: 'direct' });
  given.rule.addTarget(new targets.LambdaFunction(given.fn));
  new sqs.Queue(given.stack, 'Mine', { queueName: 'direct-invocations' });
  const started = await given.start();
  const mine = JSON.stringify({ 'detail-type': 'Mine', 'detail': { id: 2 } });
  await started.send('direct-invocations', mine);
  await put(started.run, 'One', 1);
  await eventually(() => tries(started, 1) === 1, 'the event');
  assert.deepEqual([started.queue('direct-invocations').messages(), tries(started, 2)], [[mine], 0]);
});

test('an event that fails is tried twice more, and is in the dead-letter queue then, as it was', async (context) => {
  const given = functionTest(context);
  const dead = new sqs.Queue(given.stack, 'Dead', { queueName: 'dead' });
  const fn = given.function('Fn', { 'index.js': HANDLER }, { deadLetterQueue: dead });
  new events.Rule(given.stack, 'Rule', { eventPattern: { source: ['test'] } }).addTarget(new targets.LambdaFunction(fn));
  const started = await given.start();
  await put(started.run, 'Fail', 1);
  await put(started.run, 'Pass', 2);
  await eventually(() => started.queue('dead').depth().visible === 1, 'the dead letter');
  assert.deepEqual([tries(started, 1), tries(started, 2)], [3, 1]);
  const [body = ''] = started.queue('dead').messages();
  assert.deepEqual((JSON.parse(body) as { detail: object }).detail, { id: 1 });
  assert.match(runLog(started.run), /Function \S+ failed for an event after 3 attempts \(TypeError: no luck\); it is in \S+\/dead\./);
});

test('destinations get a record of the end; the number of retries is that of the template', async (context) => {
  const given = called(context);
  const [failed, passed] = ['failed', 'passed'].map((queueName) => new sqs.Queue(given.stack, queueName, { queueName })) as [sqs.Queue, sqs.Queue];
  given.fn.configureAsyncInvoke({
    retryAttempts: 1, onFailure: new destinations.SqsDestination(failed), onSuccess: new destinations.SqsDestination(passed),
  });
  given.rule.addTarget(new targets.LambdaFunction(given.fn));
  const started = await given.start();
  await put(started.run, 'Fail', 1);
  await put(started.run, 'Pass', 2);
  const record = async (queue: string) => {
    await eventually(() => started.queue(queue).depth().visible === 1, `the record in ${queue}`);
    return JSON.parse(started.queue(queue).messages()[0] ?? '') as Record<'requestContext' | 'requestPayload' | 'responseContext' | 'responsePayload', Record<string, unknown>>;
  };
  const good = await record('passed');
  assert.deepEqual([good.requestContext.condition, good.requestContext.approximateInvokeCount, good.responsePayload], ['Success', 1, { handled: 2 }]);
  const bad = await record('failed');
  assert.deepEqual([bad.requestContext.condition, bad.requestContext.approximateInvokeCount], ['RetriesExhausted', 2]);
  assert.deepEqual([bad.responseContext, bad.responsePayload.errorType], [{ statusCode: 200, executedVersion: '$LATEST', functionError: 'Unhandled' }, 'TypeError']);
  assert.deepEqual(bad.requestPayload.detail, { id: 1 });
  assert.equal(tries(started, 1), 2);
});

test('an event that gets too old is tried no more', async (context) => {
  const given = called(context);
  const failed = new sqs.Queue(given.stack, 'Failed', { queueName: 'failed' });
  given.fn.configureAsyncInvoke({ maxEventAge: Duration.minutes(1), onFailure: new destinations.SqsDestination(failed) });
  // The shortest age of the construct is a minute.
  (given.fn.node.findChild('EventInvokeConfig').node.defaultChild as CfnResource).addPropertyOverride('MaximumEventAgeInSeconds', 1);
  given.rule.addTarget(new targets.LambdaFunction(given.fn));
  const started = await given.start();
  await put(started.run, 'Fail', 1);
  await eventually(() => started.queue('failed').depth().visible === 1, 'the record');
  assert.match(started.queue('failed').messages()[0] ?? '', /"condition":"EventAgeExceeded"/);
  assert.ok(tries(started, 1) < 3);
});

test('a function that fails is on the screen, and so is an event without a place for its failure', async (context) => {
  const given = called(context, { retryAttempts: 0 });
  given.rule.addTarget(new targets.LambdaFunction(given.fn));
  const started = await given.start();
  await put(started.run, 'Fail', 1);
  const dropped = /failed for an event after 1 attempt .*It has no dead-letter queue and no destination for failures, so .* dropped\./;
  await eventually(() => dropped.test(runLog(started.run)), 'the log');
  // Everything that is shown is in the log as a warning.
  const shown = runLog(started.run).split('\n').filter((line) => line.includes('"level":"warn"'));
  assert.equal(shown.filter((line) => / fails: .* Its log has the rest\./.test(line)).length, 1);
  assert.equal(shown.filter((line) => dropped.test(line)).length, 1);
  assert.equal(tries(started, 1), 1);
});

test('events wait for a function that cannot be loaded, over a restart too', async (context) => {
  const given = functionTest(context);
  const missing = join(given.folder, 'missing.cjs');
  const fn = given.function('Fn', { 'index.js': `require(${JSON.stringify(missing)}); ${HANDLER}` });
  new events.Rule(given.stack, 'Rule', { eventPattern: { source: ['test'] } }).addTarget(new targets.LambdaFunction(fn));
  const first = await given.start();
  assert.equal(first.run.failures().length, 1);
  await put(first.run, 'Pass', 1);
  await first.run.stop();
  writeFileSync(missing, '');
  const again = await given.start();
  assert.deepEqual(again.run.warnings, []);
  await eventually(() => tries(again, 1) === 1, 'the event of the run before');
});

test('a function that both a queue and a rule call is one workload', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', { 'index.js': `${RECORD} exports.handler = async (event) => record(event.Records ? 'queue' : 'rule');` });
  given.queue(fn, 'work');
  new events.Rule(given.stack, 'Rule', { eventPattern: { source: ['test'] } }).addTarget(new targets.LambdaFunction(fn));
  const { run, send, seen } = await given.start();
  assert.equal(run.workloads.length, 1);
  await put(run, 'One', 1);
  await send('work', 'a');
  await eventually(() => seen().length === 2, 'both');
  assert.deepEqual(seen().sort(), ['queue', 'rule']);
});
