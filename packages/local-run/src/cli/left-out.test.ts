import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { synthesizeImages } from '../../test/images/app.ts';
import { functionTest } from '../../test/lambda/stack.ts';
import { synthesizePlain } from '../../test/plain/app.ts';
import { temporaryFolder } from '../../test/temporary.ts';

// What is left out is on the screen, and is no failure of the run: the exit code is 0.

process.env.CDK_VALIDATION = 'false';
const MULTI_STAGE = `FROM node:24 AS build
WORKDIR /src
RUN npm run build
FROM node:24
WORKDIR /app
COPY --from=build /src/dist ./
CMD ["node", "main.js"]
`;
const BIN = fileURLToPath(new URL('../bin.ts', import.meta.url));

async function screenOf(assembly: string, folder: string): Promise<{ code: number | null; warnings: string[] }> {
  const args = ['--disable-warning=ExperimentalWarning', BIN, assembly, '--data', join(folder, 'data'), '--exit'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const screen = await text(child.stdout);
  return { code: await exit, warnings: screen.split('\n').filter((line) => line.startsWith('warning ')) };
}

test('twenty things of a plain stack that cannot be made', async (context) => {
  const folder = temporaryFolder(context);
  const { code, warnings } = await screenOf(synthesizePlain({ outdir: join(folder, 'cdk.out'), withTwentyOthers: true }), folder);
  assert.equal(code, 0, warnings.join('\n'));
  assert.ok(warnings.filter((line) => line.startsWith('warning The local run cannot make ')).length >= 20, warnings.join('\n'));
});

test('a multi-stage image that is not built', async (context) => {
  const folder = temporaryFolder(context);
  const image = join(folder, 'image');
  mkdirSync(image);
  writeFileSync(join(image, 'Dockerfile'), MULTI_STAGE);
  const { code, warnings } = await screenOf(synthesizeImages({ outdir: join(folder, 'cdk.out'), images: { web: image } }), folder);
  assert.equal(code, 0, warnings.join('\n'));
  assert.match(warnings.join('\n'), /^warning Deployment web is not started: .*Dockerfile:6 `COPY .+` copies it, Dockerfile:3 `RUN npm run build` makes it/);
});

test('a Python function for a Python that this machine does not have', async (context) => {
  const given = functionTest(context);
  const runtime = new lambda.Runtime('python3.99', lambda.RuntimeFamily.PYTHON);
  given.queue(given.function('Fn', { 'index.py': 'def handler(event, context): pass' }, { runtime }), 'work');
  const { code, warnings } = await screenOf(given.synthesize(), given.folder);
  assert.equal(code, 0, warnings.join('\n'));
  assert.match(warnings.join('\n'), /^warning Function Test\/Fn is not started, and its messages wait: its runtime is python3\.99, and /);
  assert.match(warnings.join('\n'), /: install Python 3\.99 or newer\.$/);
});
