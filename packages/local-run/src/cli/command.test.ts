import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionTest } from '../../test/lambda/stack.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import { processStart, signal } from '../processes/identity.ts';

const BIN = fileURLToPath(new URL('../bin.ts', import.meta.url));

interface Command {
  readonly ended: Promise<{ readonly code: number | null; readonly screen: string }>;
  screen(): string;
  interrupt(): void;
}

function command(context: TestContext, folder: string, ...args: string[]): Command {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', BIN, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(context, () => child.kill('SIGKILL'));
  let screen = '';
  child.stdout.on('data', (data: Buffer) => { screen += data.toString(); });
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const ended = Promise.all([exit, text(child.stdout)]).then(([code]) => ({ code, screen }));
  return { screen: () => screen, interrupt: () => void child.kill('SIGINT'), ended };
}

test('the variables of a run are in its data folder as long as it is up, and the queues of no event and one queue are counted in words', async (context) => {
  const given = functionTest(context);
  given.queue(given.function('Fn', { 'index.js': 'exports.handler = async () => {};' }), 'work');
  const data = join(given.folder, 'data');
  const run = command(context, given.folder, given.synthesize(), '--data', data, '--replicas', '1');
  await eventually(() => run.screen().includes('Running.'), 'the run');
  assert.match(readFileSync(join(data, 'environment'), 'utf8'), /^AWS_ENDPOINT_URL_SQS='http:\/\/127\.0\.0\.1:\d+'$[^]*\nunset AWS_PROFILE\n$/m);
  assert.match(run.screen(), / 1 queue, 0 rules, 1 bus\n[^]* 1 process of 1 workload, 2 in the template\n/);
  run.interrupt();
  const { code, screen } = await run.ended;
  assert.equal(code, 0, screen);
  assert.equal(existsSync(join(data, 'environment')), false);
});

test('a function is left out by its path in the app', async (context) => {
  const given = functionTest(context);
  given.queue(given.function('Bad', { 'index.js': 'throw new Error("no config");' }), 'work');
  const assembly = given.synthesize();
  const { code, screen } = await command(context, given.folder, assembly, '--exit', '--without', 'Test/Bad').ended;
  assert.equal(code, 0, screen);
  const wrong = await command(context, given.folder, assembly, '--exit', '--without', 'Test/Good').ended;
  assert.match(wrong.screen, /--without Test\/Good: nothing in this run is called so; there is Test\/Bad, issuer\.\n/);
  assert.equal(wrong.code, 1);
});

for (const [title, { args, expected }] of Object.entries({
  'a folder that is not there': { args: ['nowhere'], expected: /^There is no folder \/.*\/nowhere: name the output of cdk synth, or a CDK app\.\n$/ },
  'a folder that is neither an assembly nor an app': { args: ['empty'], expected: /^\/.*\/empty has neither a manifest\.json .* nor a cdk\.json .*\n$/ },
  'a data folder that is a file': { args: ['--data', 'file'], expected: /^The data folder \/.*\/file cannot be made or written \(.*\): choose another one with --data\.\n$/ },
  'a data folder below a file': {
    args: ['--data', 'file/data'],
    expected: /^The data folder \/.*\/file\/data cannot be made or written \(.*\): choose another one with --data\.\n$/,
  },
})) {
  test(`${title} is one sentence`, async (context) => {
    const given = functionTest(context);
    given.function('Fn', { 'index.js': '' });
    mkdirSync(join(given.folder, 'empty'));
    writeFileSync(join(given.folder, 'file'), '');
    given.synthesize();
    const { code, screen } = await command(context, given.folder, ...args).ended;
    assert.match(screen, expected);
    assert.equal(code, 1);
  });
}

test('an app is built and synthesized with its lookups and its context', async (context) => {
  const folder = temporaryFolder(context);
  const write = (name: string, content: unknown) => writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  write('app.mjs', `
    import { cpSync, writeFileSync } from 'node:fs';
    import built from './built.json' with { type: 'json' };
    writeFileSync('seen.json', JSON.stringify({ built, context: JSON.parse(process.env.CDK_CONTEXT_JSON) }));
    cpSync('assembly', process.env.CDK_OUTDIR, { recursive: true });
  `);
  write('cdk.json', { build: 'echo true > built.json', app: 'node app.mjs', context: { mine: 1, both: 'cdk.json' } });
  write('cdk.context.json', { 'vpc-provider:x': { vpcId: 'vpc-1' }, 'both': 'lookup' });
  mkdirSync(join(folder, 'assembly'));
  const given = functionTest(context);
  given.function('Fn', { 'index.js': '' });
  const made = given.synthesize();
  for (const name of readdirSync(made)) if (name.endsWith('.json')) write(join('assembly', name), readFileSync(join(made, name), 'utf8'));
  const { code, screen } = await command(context, folder, '--exit').ended;
  assert.equal(code, 0, screen);
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'seen.json'), 'utf8')), {
    built: true,
    context: { 'vpc-provider:x': { vpcId: 'vpc-1' }, 'both': 'cdk.json', 'mine': 1 },
  });

  write('cdk.json', { build: 'echo no compiler; exit 3', app: 'node app.mjs' });
  const broken = await command(context, folder, '--exit').ended;
  assert.match(broken.screen, /The synthesis of .* failed \(echo no compiler; exit 3, exit code 3\):\nno compiler\n/);
  assert.equal(broken.code, 1);
  write('cdk.json', {});
  assert.match((await command(context, folder, '--exit').ended).screen, /cdk\.json has no app: give the command that runs it/);
});

test('an event for a bus that is not there is on the screen, and a dead letter of a function makes the exit code 1', async (context) => {
  const given = functionTest(context);
  const deadLetterQueue = new sqs.Queue(given.stack, 'Failed', { queueName: 'failed' });
  const fn = given.function('Fn', { 'index.js': 'exports.handler = async () => { throw new Error("no"); };' }, { retryAttempts: 0, deadLetterQueue });
  new events.Rule(given.stack, 'Rule', { eventPattern: { source: ['web'] }, targets: [new targets.LambdaFunction(fn)] });
  const run = command(context, given.folder, given.synthesize(), '--data', 'data');
  await eventually(() => run.screen().includes('Running.'), 'the run');
  const [, endpoint] = /EventBridge +(\S+)/.exec(run.screen()) ?? [];
  const client = new EventBridgeClient({ region: 'us-east-1', endpoint: endpoint ?? assert.fail(), credentials: { accessKeyId: 'local', secretAccessKey: 'local' } });
  atEnd(context, () => client.destroy());
  await client.send(new PutEventsCommand({
    Entries: ['nowhere', 'default'].map((EventBusName) => ({ EventBusName, Source: 'web', DetailType: 'x', Detail: '{}' })),
  }));
  await eventually(() => run.screen().includes('There is no event bus nowhere in this run:'), 'the sentence about the bus');
  const log = join(given.folder, 'data', 'logs', 'local-run.log');
  await eventually(() => readFileSync(log, 'utf8').includes('failed for an event after 1 attempt ('), 'the dead letter');
  run.interrupt();
  const { code, screen } = await run.ended;
  assert.match(screen, /1 message is in the dead-letter queue failed\.\n/);
  assert.equal(code, 1, screen);
});

test('a condition takes the value of a parameter, and names the option that is missing', async (context) => {
  const given = functionTest(context);
  const stage = new cdk.CfnParameter(given.stack, 'Stage');
  const isProd = new cdk.CfnCondition(given.stack, 'IsProd', { expression: cdk.Fn.conditionEquals(stage, 'prod') });
  const queue = new sqs.CfnQueue(given.stack, 'Queue', { queueName: `${stage.valueAsString}-work` });
  queue.cfnOptions.condition = isProd;
  const assembly = given.synthesize();
  for (const [args, expected, expectedCode] of [
    [[], /^\S* condition IsProd.*: the parameter Stage of stack Test has no value: give one with --parameter Stage=VALUE\.\n$/m, 1],
    [['--parameter', 'Stag=prod'], /--parameter Stag: no stack of this run has this parameter; there is Test:Stage\.\n/, 1],
    [['--parameter', 'Stage=prod'], / 1 queue, 0 rules/, 0],
    [['--parameter', 'Stage=prod', '--parameter', 'Test:Stage=test'], / 0 queues, 0 rules/, 0],
    [['--parameter', 'Stage='], / 0 queues, 0 rules/, 0],
  ] as [string[], RegExp, number][]) {
    const { code, screen } = await command(context, given.folder, assembly, '--exit', ...args).ended;
    assert.match(screen, expected);
    assert.doesNotMatch(screen, /\n +at /);
    assert.equal(code, expectedCode, screen);
  }
});

test('a Ctrl-C during the synthesis leaves none of its processes', async (context) => {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, 'app.mjs'), `
    import { writeFileSync } from 'node:fs';
    writeFileSync('pid', String(process.pid));
    setInterval(() => undefined, 1000);
  `);
  // A pipe, so that the shell stays and the app is a child of it.
  writeFileSync(join(folder, 'cdk.json'), JSON.stringify({ app: 'node app.mjs | cat' }));
  const run = command(context, folder);
  const pid = Number(await eventually(() => existsSync(join(folder, 'pid')) && readFileSync(join(folder, 'pid'), 'utf8'), 'the app'));
  atEnd(context, () => signal(pid, 'SIGKILL'));
  run.interrupt();
  const { code, screen } = await run.ended;
  assert.equal(code, 130, screen);
  assert.equal(processStart(pid), undefined);
});
