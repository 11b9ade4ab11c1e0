import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { loadError } from './load-error.ts';
import { functionTest } from '../../test/lambda/stack.ts';
import { eventually, temporaryFolder } from '../../test/temporary.ts';

const RECORD = `import json, os
def record(value):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(value) + "\\n")
`;
const python = (name: string, handler: string, more: Partial<lambda.FunctionProps> = {}) => ({
  runtime: new lambda.Runtime(name, lambda.RuntimeFamily.PYTHON, { supportsInlineCode: true }), handler, ...more,
});
const hasPython = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))']).status === 0;
const hasBoto = hasPython && spawnSync('python3', ['-c', 'import boto3']).status === 0;
const skip = !hasPython && 'there is no python3 on this machine';

test('a Python function gets batches and its context, with partial failures', { skip }, async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'app/main.py': `${RECORD}
def handler(event, context):
    for message in event["Records"]:
        record([message["body"], message["attributes"]["ApproximateReceiveCount"], context.function_name, 0 < context.get_remaining_time_in_millis() <= 2000])
    failed = [m["messageId"] for m in event["Records"] if m["body"] == "ü" and m["attributes"]["ApproximateReceiveCount"] == "1"]
    return {"batchItemFailures": [{"itemIdentifier": id} for id in failed]}
`,
  }, { ...python('python3.9', 'app.main.handler'), functionName: 'snake', timeout: Duration.seconds(2) });
  given.queue(fn, 'work', { reportBatchItemFailures: true });
  const { run, send, seen, empty } = await given.start();
  assert.deepEqual([run.warnings, run.failures()], [[], []]);
  await send('work', 'a', 'ü');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen<unknown[]>().sort(), [['a', '1', 'snake', true], ['ü', '1', 'snake', true], ['ü', '2', 'snake', true]]);
});

test('an exception in a Python function brings its batch back; a function that runs out of time ends', { skip }, async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    'index.py': `${RECORD}
def handler(event, context):
    count = event["Records"][0]["attributes"]["ApproximateReceiveCount"]
    record(count)
    if count == "1":
        raise ValueError("first call")
    if count == "2":
        while True:
            pass
`,
  }, { ...python('python3.9', 'index.handler'), timeout: Duration.seconds(1) });
  given.queue(fn, 'work');
  const { send, seen, empty, log } = await given.start();
  await send('work', 'a');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen(), ['1', '2', '3']);
  assert.match(log(), /ValueError: first call/);
  assert.match(log(), /Task timed out after 1\.00 seconds/);
});

test('a Python function finds its layer; its code folder stays as it was', { skip }, async (context) => {
  const given = functionTest(context);
  const layer = new lambda.LayerVersion(given.stack, 'Layer', { code: lambda.Code.fromAsset(given.code({ 'python/helper.py': 'NAME = "layer"' })) });
  const code = `${RECORD}\nimport helper\ndef handler(event, context):\n    record(helper.NAME)\n`;
  const fn = given.function('Fn', { 'index.py': code }, python('python3.9', 'index.handler', { layers: [layer] }));
  given.queue(fn, 'work');
  const { run, send, seen } = await given.start();
  await send('work', 'a');
  await eventually(() => seen().length === 1, 'the message');
  assert.deepEqual(seen(), ['layer']);
  const [asset = ''] = readdirSync(`${given.folder}/cdk.out`).filter((name) => existsSync(`${given.folder}/cdk.out/${name}/index.py`));
  assert.deepEqual(readdirSync(`${given.folder}/cdk.out/${asset}`), ['index.py']);
  await run.stop();
});

test('inline Python code', { skip }, async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {}, python('python3.9', 'index.handler', { code: lambda.Code.fromInline(`${RECORD}\ndef handler(event, context):\n    record("inline")\n`) }));
  given.queue(fn, 'work');
  const { send, seen } = await given.start();
  await send('work', 'a');
  await eventually(() => seen().length === 1, 'the message');
});

test('a Python function that cannot be loaded is named with its file and line', { skip }, async (context) => {
  const given = functionTest(context);
  given.queue(given.function('Fn', { 'index.py': 'import json\nimport no_such_module\n' }, python('python3.9', 'index.handler')), 'work');
  given.queue(given.function('Wrong', { 'index.py': 'def handler(event, context)\n    pass\n' }, python('python3.9', 'index.handler')), 'wrong');
  const { run } = await given.start();
  const [first = '', second = ''] = [...run.failures()].sort((a, b) => Number(a.includes('Wrong')) - Number(b.includes('Wrong')));
  assert.match(first, /^Function \S+ cannot be loaded: index\.py:2 in \/.*: ModuleNotFoundError: No module named 'no_such_module'\. Put/);
  assert.match(second, /cannot be loaded: index\.py:1 in .*: SyntaxError: /);
});

test('boto3 that is not on this machine is named with the command that installs it', (context) => {
  const code = temporaryFolder(context);
  const stackTrace = ['Traceback (most recent call last):\n', '  File "/bootstrap.py", line 55, in load\n', `  File "${code}/index.py", line 3, in <module>\n    import boto3\n`];
  assert.equal(loadError('Function F', { errorType: 'ModuleNotFoundError', errorMessage: "No module named 'boto3'", stackTrace }, code, '/usr/bin/python3'),
    `Function F needs boto3, which the Python runtime of Lambda has (index.py:3 in ${code}): install it with /usr/bin/python3 -m pip install boto3.`);
});

test('boto3 of this machine calls the run', { skip: skip || (!hasBoto && 'there is no boto3 on this machine') }, async (context) => {
  const given = functionTest(context);
  const target = given.queue(given.function('Target', { 'index.js': 'exports.handler = async () => { throw new Error("kept"); };' }), 'target');
  const fn = given.function('Fn', {
    'index.py': 'import boto3, os\ndef handler(event, context):\n    boto3.client("sqs").send_message(QueueUrl=os.environ["TARGET"], MessageBody="hello")\n',
  }, python('python3.9', 'index.handler', { environment: { TARGET: target.queueUrl } }));
  given.queue(fn, 'work');
  const { send, empty, queue } = await given.start();
  await send('work', 'a');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(queue('target').messages(), ['hello']);
});

test('a runtime that this machine does not have is named, and its messages wait', async (context) => {
  const given = functionTest(context);
  const add = (id: string, props: Partial<lambda.FunctionProps>) => given.queue(given.function(id, { bootstrap: '' }, props), id);
  add('Newer', python('python3.99', 'index.handler'));
  add('Java', { runtime: lambda.Runtime.JAVA_21 });
  const { run, send, queue } = await given.start();
  const sentence = (text: RegExp) => assert.ok(run.warnings.some((warning) => text.test(warning)), run.warnings.join('\n'));
  assert.ok(run.warnings.every((warning) => /^Function \S+ is not started, and its messages wait: its runtime is /.test(warning)));
  sentence(/ python3\.99, and this machine has (no python3|Python [\d. and]+): install Python 3\.99 or newer\.$/);
  sentence(/ java21, and the local run has Node\.js, Python and executables of this machine \(provided\.al2023\)\.$/);
  await send('Java', 'a');
  assert.equal(queue('Java').depth().visible, 1);
});

test('an executable of its own runtime', async (context) => {
  const given = functionTest(context);
  const fn = given.function('Fn', {
    bootstrap: `#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  event=$(curl -sS -D headers-$$ "$api/invocation/next") || exit 1
  id=$(tr -d '\\r' < headers-$$ | sed -n 's/^lambda-runtime-aws-request-id: //p')
  printf '"%s"\\n' "$_HANDLER" >> "$SEEN"
  curl -sS -X POST "$api/invocation/$id/response" -d '{}' > /dev/null
done
`,
  }, { runtime: lambda.Runtime.PROVIDED_AL2023, handler: 'mine' });
  given.queue(fn, 'work');
  const { send, empty, seen } = await given.start();
  await send('work', 'a');
  await eventually(() => empty('work'), 'the empty queue');
  assert.deepEqual(seen(), ['mine']);
});
