import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { functionTest } from '../../test/lambda/stack.ts';
import type { FunctionTest } from '../../test/lambda/stack.ts';

const BIN = fileURLToPath(new URL('../bin.ts', import.meta.url));

/** Runs the stack of the test with the command, and returns its exit code and screen. */
async function command(given: FunctionTest, ...args: string[]): Promise<{ code: number | null; screen: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', BIN, given.synthesize(), '--data', join(given.folder, 'data'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const screen = await text(child.stdout);
  return { code: await exit, screen };
}

interface Broken {
  readonly files: Readonly<Record<string, string>>;
  readonly props?: (given: FunctionTest) => Partial<lambda.FunctionProps>;
  readonly expected: readonly RegExp[];
}

for (const [title, { files, props, expected }] of Object.entries<Broken>({
  'a function that cannot be loaded is on the screen and in the exit code': {
    files: { 'index.js': 'throw new Error("no config");' },
    expected: [/Function \S+ cannot be loaded: index\.js:1 in \S+: Error: no config\. Correct it and synthesize again/],
  },
  'so is one that needs a part of the SDK that is not installed': {
    files: { 'index.mjs': 'import "@aws-sdk/client-no-such-service";' },
    expected: [/Function \S+ needs @aws-sdk\/client-no-such-service, .* npm install -D @aws-sdk\/client-no-such-service\./],
  },
  'so is one without its layer, with both sentences': {
    files: { 'index.js': 'require("of-the-layer");' },
    props: ({ stack }) => ({
      layers: [lambda.LayerVersion.fromLayerVersionArn(stack, 'Layer', 'arn:aws:lambda:us-east-1:123456789012:layer:lib:3')],
    }),
    expected: [
      /Function \S+ cannot be loaded: .*Cannot find module 'of-the-layer'\. Put of-the-layer into .*, or add the layer that has it\./,
      /Function \S+ uses the layer arn:\S+:layer:lib:3, which is not in this assembly/,
    ],
  },
})) {
  test(title, async (context) => {
    const given = functionTest(context);
    given.queue(given.function('Fn', files, props?.(given)), 'work');
    const { code, screen } = await command(given, '--exit');
    for (const sentence of expected) assert.match(screen, sentence);
    assert.equal(code, 1, screen);
  });
}

test('functions that run end well', async (context) => {
  const given = functionTest(context);
  given.queue(given.function('Fn', { 'index.js': 'exports.handler = async () => {};' }), 'work');
  const { code, screen } = await command(given, '--exit');
  assert.equal(code, 0, screen);
  assert.doesNotMatch(screen, /cannot|keeps ending/);
});
