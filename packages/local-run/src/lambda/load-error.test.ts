import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import type { FunctionTest } from '../../test/lambda/stack.ts';
import { eventually } from '../../test/temporary.ts';

/** A run with a function that cannot be loaded and one that can; returns the sentence about the first. */
async function failureOf(given: FunctionTest, files: Readonly<Record<string, string>>, props = {}): Promise<string> {
  given.queue(given.function('Broken', files, props), 'broken');
  given.queue(given.function('Sound', { 'index.js': `${RECORD} exports.handler = async () => record('sound');` }), 'sound');
  const told: string[] = [];
  const started = await given.start({ onFailure: (sentence) => told.push(sentence) });
  const failures = started.run.failures();
  assert.equal(failures.length, 1);
  assert.deepEqual(told, failures);
  assert.deepEqual(started.run.warnings, []);
  // The others run, and the messages of this one wait.
  await started.send('broken', 'kept');
  await started.send('sound', 'a');
  await eventually(() => started.seen().length === 1, 'the function that can be loaded');
  assert.deepEqual(started.queue('broken').depth(), { visible: 1, inFlight: 0, delayed: 0 });
  return failures[0] ?? '';
}

test('an error at the top of a module is named with its file, line and fix', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.js': 'const config = {};\nthrow new TypeError("no table\\nof tables");' });
  assert.match(sentence, /^Function Test\/Broken cannot be loaded: index\.js:2 in \/.*: TypeError: no table\. /);
  assert.match(sentence, / Correct it and synthesize again; its messages wait until then\.$/);
});

test('a syntax error in an ES module is named with its line', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.mjs': 'const a = 1;\nexport const handler = ;\n' });
  assert.match(sentence, /cannot be loaded: index\.mjs:2 in .*: SyntaxError: Unexpected token ';'\. Correct it/);
});

test('a handler that is not there is named', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.js': 'exports.other = 1;' });
  assert.match(sentence, /cannot be loaded: .*index\.js exports no function handler, which the handler index\.handler names\. Correct it/);
});

test('a module that is not there is named', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.js': '' }, { handler: 'app.handler' });
  assert.match(sentence, /there is no app\.js, \.mjs or \.cjs in .* for the handler app\.handler\./);
});

test('a package that is neither in the code nor in a layer is named', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.mjs': 'import "no-such-package";\nexport const handler = () => {};' });
  assert.match(sentence, /: index\.mjs in \S+: Error: Cannot find package 'no-such-package'\. /);
  assert.match(sentence, /\. Put no-such-package into the bundle of the code, or add the layer that has it\.$/);
});

test('a part of the SDK that the project does not have is named with the command that installs it', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.js': 'require("@aws-sdk/client-no-such-service");' });
  assert.match(sentence, /^Function \S+ needs @aws-sdk\/client-no-such-service, which the Node\.js runtime of Lambda has /);
  assert.match(sentence, / \(index\.js:1 in \S+\): /);
  assert.match(sentence, /: install it in your project with npm install -D @aws-sdk\/client-no-such-service\.$/);
});

test('a process that ends while its handler is loaded is in a crash loop', async (context) => {
  const sentence = await failureOf(functionTest(context), { 'index.js': 'console.error("last words"); process.exit(7);' }, { reservedConcurrentExecutions: 1 });
  assert.match(sentence, /keeps ending right after its start \(4 times now\)\. .* ended with code 7; its last words .*last words/);
});

test('a function that can be loaded later runs then, and the run says so', async (context) => {
  const given = functionTest(context);
  const missing = join(given.folder, 'missing.cjs');
  given.queue(given.function('Late', { 'index.js': `${RECORD} require(${JSON.stringify(missing)}); exports.handler = async () => record('late');` }), 'late');
  const told: string[] = [];
  const { run, send, empty } = await given.start({ onFailure: () => told.push('failure'), onRecovery: (sentence) => told.push(sentence) });
  await send('late', 'a');
  writeFileSync(missing, '');
  await eventually(() => empty('late'), 'the message');
  await eventually(() => run.failures().length === 0, 'both of its processes');
  assert.deepEqual(told, ['failure', `${run.workloads[0]?.name} runs again.`]);
});
