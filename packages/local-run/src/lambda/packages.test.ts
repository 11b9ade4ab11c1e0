import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { strToU8, zipSync } from 'fflate';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import { eventually } from '../../test/temporary.ts';

const SEND = `const { QueueUrl } = process.env; const client = new SQSClient({});
  const send = (MessageBody) => client.send(new SendMessageCommand({ QueueUrl, MessageBody }));`;

test('functions find the AWS SDK of the project, by require and by import, with what it needs itself', async (context) => {
  const given = functionTest(context);
  const target = given.queue(given.function('Target', { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event)[0]);` }), 'target', { batchSize: 1 });
  const environment = { QueueUrl: target.queueUrl };
  given.queue(given.function('Required', {
    'index.js': `const { SQSClient, SendMessageCommand } = require('@aws-sdk/client-sqs'); ${SEND} exports.handler = () => send('required');`,
  }, { environment }), 'required');
  given.queue(given.function('Imported', {
    'index.mjs': `import { SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs'; ${SEND} export const handler = () => send('imported');`,
  }, { environment }), 'imported');
  const { run, send, seen } = await given.start();
  assert.deepEqual(run.failures(), []);
  await send('required', 'a');
  await send('imported', 'a');
  await eventually(() => seen().length === 2, 'a message of each');
  assert.deepEqual(seen().sort(), ['imported', 'required']);
});

test('nothing else of the project is found: it would be missing in AWS', async (context) => {
  const given = functionTest(context);
  given.queue(given.function('Fn', { 'index.mjs': 'import "constructs"; export const handler = () => {};' }), 'work');
  const { run } = await given.start();
  assert.match(run.failures()[0] ?? '', /Cannot find package 'constructs'/);
});

test('layers are found by require and by import, a later one before an earlier, and their programs and files are there', async (context) => {
  const given = functionTest(context);
  const module = (name: string, value: string) => ({
    [`nodejs/node_modules/${name}/package.json`]: JSON.stringify({ name, type: 'module', exports: { import: './index.js' } }),
    [`nodejs/node_modules/${name}/index.js`]: `export default '${value}';`,
  });
  const layer = (id: string, files: Record<string, string>) =>
    new lambda.LayerVersion(given.stack, id, { code: lambda.Code.fromAsset(given.code(files)) });
  const archive = join(given.folder, 'layer.zip');
  writeFileSync(archive, zipSync({
    'nodejs/node24/node_modules/of-24/index.js': strToU8('module.exports = "zip";'),
    'bin/say-hello': [strToU8('#!/bin/sh\necho hello'), { os: 3, attrs: 0o100755 << 16 }],
  }));
  const layers = [
    layer('First', { ...module('shared', 'first'), 'nodejs/node_modules/plain/index.js': 'module.exports = "plain";' }),
    layer('Second', module('shared', 'second')),
    new lambda.LayerVersion(given.stack, 'Archive', { code: lambda.Code.fromAsset(archive) }),
  ];
  given.queue(given.function('Imported', {
    'index.mjs': `${RECORD} import shared from 'shared'; import plain from 'plain'; import { execFileSync } from 'node:child_process';
      export const handler = async () => record([shared, plain, execFileSync('say-hello', { encoding: 'utf8' }).trim()]);`,
  }, { layers }), 'imported');
  given.queue(given.function('Required', { 'index.js': `${RECORD} exports.handler = async () => record([require('of-24'), require('plain')]);` }, { layers }), 'required');
  given.queue(given.function('Alone', { 'index.js': `${RECORD} exports.handler = async () => record([require('plain')]);` }, { layers: layers.slice(0, 1) }), 'alone');
  const { run, send, seen } = await given.start();
  assert.deepEqual(run.warnings, []);
  for (const queue of ['imported', 'required', 'alone']) await send(queue, 'a');
  await eventually(() => seen().length === 3, 'all three');
  assert.deepEqual(seen<string[]>().sort(), [['plain'], ['second', 'plain', 'hello'], ['zip', 'plain']]);
});

test('a layer that is not in the assembly is named, and the function runs without it', async (context) => {
  const given = functionTest(context);
  const arn = 'arn:aws:lambda:us-east-1:123456789012:layer:insights:14';
  const fn = given.function('Fn', { 'index.js': `${RECORD} exports.handler = async () => record('done');` }, {
    layers: [lambda.LayerVersion.fromLayerVersionArn(given.stack, 'Insights', arn)],
  });
  given.queue(fn, 'work');
  const { run, send, seen } = await given.start();
  assert.equal(run.warnings.length, 1);
  assert.match(run.warnings[0] ?? '', new RegExp(`^Function \\S+ uses the layer ${arn}, which is not in this assembly: it runs without the files of the layer`));
  await send('work', 'a');
  await eventually(() => seen().length === 1, 'the message');
});

test('code in an archive is unpacked with its modes', async (context) => {
  const given = functionTest(context);
  const archive = join(given.folder, 'code.zip');
  writeFileSync(archive, zipSync({
    'app/index.mjs': strToU8(`${RECORD} import { execFileSync } from 'node:child_process'; import { statSync } from 'node:fs';
      export const handler = async () => record([execFileSync('./tool', { encoding: 'utf8' }).trim(), (statSync('./data').mode & 0o111) !== 0]);`),
    'tool': [strToU8('#!/bin/sh\necho ran'), { os: 3, attrs: 0o100755 << 16 }],
    'data': [strToU8('x'), { os: 3, attrs: 0o100644 << 16 }],
  }));
  given.queue(given.function('Fn', {}, { handler: 'app/index.handler', code: lambda.Code.fromAsset(archive) }), 'work');
  const { run, send, seen } = await given.start();
  assert.deepEqual(run.warnings, []);
  await send('work', 'a');
  await eventually(() => seen().length === 1, 'the message');
  assert.deepEqual(seen(), [['ran', false]]);
});

test('an archive that would write outside of its folder is refused, and the rest runs', async (context) => {
  const given = functionTest(context);
  const archive = join(given.folder, 'evil.zip');
  writeFileSync(archive, zipSync({ '../../outside.js': strToU8('') }));
  given.queue(given.function('Evil', {}, { code: lambda.Code.fromAsset(archive) }), 'evil');
  given.queue(given.function('Sound', { 'index.js': 'exports.handler = async () => {};' }), 'sound');
  const { run, send, empty } = await given.start();
  assert.equal(run.warnings.length, 1);
  assert.match(run.warnings[0] ?? '', /^Function \S+ is not started, and its messages wait: .*\.zip cannot be unpacked: the entry \.\.\/\.\.\/outside\.js is outside/);
  await send('sound', 'a');
  await eventually(() => empty('sound'), 'the message');
});

test('the archives and merged layers of earlier runs go, and those of this run stay', async (context) => {
  const given = functionTest(context);
  const layers = ['first', 'second'].map((name) => {
    const archive = join(given.folder, `${name}.zip`);
    writeFileSync(archive, zipSync({ [`nodejs/node_modules/${name}/index.js`]: strToU8('') }));
    return new lambda.LayerVersion(given.stack, name, { code: lambda.Code.fromAsset(archive) });
  });
  given.queue(given.function('Fn', { 'index.js': 'exports.handler = async () => {};' }, { layers }), 'work');
  const folders = () => ['unpacked', 'layers'].map((kind) => {
    const parent = join(given.folder, 'data', 'functions', kind);
    return readdirSync(parent).sort().map((name) => [name, statSync(join(parent, name)).ino]);
  });
  const { run } = await given.start();
  const made = folders();
  assert.deepEqual(made.map(({ length }) => length), [2, 1]);
  await run.stop();
  for (const kind of ['unpacked', 'layers']) mkdirSync(join(given.folder, 'data', 'functions', kind, 'old', 'lib'), { recursive: true });
  await given.start();
  assert.deepEqual(folders(), made);
});
