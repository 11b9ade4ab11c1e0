import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { readAssembly } from './assembly.ts';
import { temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';

function assembly(context: TestContext): string {
  const folder = temporaryFolder(context);
  const write = (path: string, content: unknown) => writeFileSync(join(folder, path), JSON.stringify(content));
  const stack = (name: string, dependencies: string[], environment = 'aws://unknown-account/unknown-region') =>
    ({ type: 'aws:cloudformation:stack', environment, dependencies, properties: { templateFile: `${name}.json` } });
  mkdirSync(join(folder, 'stage'));
  write('manifest.json', {
    // A version of the future: its parts that are read here are the same.
    version: '999.0.0',
    artifacts: {
      'Api': stack('Api', ['Data', 'Api.assets'], 'aws://111122223333/eu-west-1'),
      'Api.assets': { type: 'cdk:asset-manifest', properties: { file: 'Api.assets.json' } },
      'Data': stack('Data', []),
      'Alone': stack('Alone', []),
      'stage': { type: 'cdk:cloud-assembly', properties: { directoryName: 'stage' } },
      'Tree': { type: 'cdk:tree', properties: { file: 'tree.json' } },
    },
  });
  for (const name of ['Api', 'Data', 'Alone']) write(`${name}.json`, { Resources: {} });
  write('Api.assets.json', {
    files: { f1: { source: { path: 'asset.f1', packaging: 'zip' }, destinations: { here: { objectKey: 'f1.zip' } } } },
    dockerImages: { d1: { source: { directory: 'asset.d1', dockerBuildTarget: 'run', dockerBuildArgs: { MODE: 'live' } }, destinations: { here: { imageTag: 'd1' } } } },
  });
  write('stage/manifest.json', {
    version: '48.0.0',
    artifacts: {
      Inner: {
        type: 'aws:cloudformation:stack',
        environment: 'aws://unknown-account/unknown-region',
        displayName: 'prod/Inner',
        properties: { templateFile: 'Inner.json', stackName: 'prod-Inner' },
      },
    },
  });
  write('stage/Inner.json', { Resources: {} });
  return folder;
}

test('stacks come after those they depend on, stages included, with their places and assets', (context) => {
  const folder = assembly(context);
  const { stacks, images, files } = readAssembly(folder);
  assert.deepEqual(stacks.map(({ name }) => name), ['Alone', 'Data', 'prod-Inner', 'Api']);
  assert.deepEqual(stacks.map(({ account, region }) => [account, region])[3], ['111122223333', 'eu-west-1']);
  assert.equal(stacks[0]?.account, undefined);
  assert.deepEqual(images.get('d1'), { directory: join(folder, 'asset.d1'), dockerFile: 'Dockerfile', target: 'run', buildArgs: { MODE: 'live' } });
  assert.deepEqual(files.get('f1.zip'), { path: join(folder, 'asset.f1'), packaging: 'zip' });
});

test('a stack may have no resources yet', (context) => {
  const folder = assembly(context);
  writeFileSync(join(folder, 'Alone.json'), '{ "Parameters": {} }');
  assert.deepEqual(readAssembly(folder, ['Alone']).stacks.map(({ template }) => template), [{ Parameters: {} }]);
});

test('one stack brings those it depends on, and no other', (context) => {
  const names = (...wanted: string[]) => readAssembly(assembly(context), wanted).stacks.map(({ name }) => name);
  assert.deepEqual(names('Api'), ['Data', 'Api']);
  // By its path in the app, as for the commands of the CDK.
  assert.deepEqual(names('prod/Inner'), ['prod-Inner']);
});

test('what is missing or broken is one sentence that says what to do', (context) => {
  const folder = assembly(context);
  const failing = (message: RegExp, wanted?: string[]) =>
    assert.throws(() => readAssembly(folder, wanted), (error) => error instanceof LocalRunError && message.test(error.message) && !error.message.includes('\n'));
  failing(/^There is no stack Shop in .*; it has Alone, Data, prod-Inner, Api\.$/, ['Shop']);
  writeFileSync(join(folder, 'Data.json'), '{ "Resources": ');
  failing(/^The template of stack Data is not valid JSON .*cdk synth/);
  writeFileSync(join(folder, 'Data.json'), '[]');
  failing(/^The template of stack Data .* is not one of CloudFormation: run `cdk synth` again\.$/);
  rmSync(join(folder, 'Data.json'));
  failing(/^The template of stack Data is missing: .*Data\.json cannot be read; run `cdk synth` again\.$/);
  writeFileSync(join(folder, 'manifest.json'), '{ "artifacts": ');
  failing(/^The manifest of the cloud assembly cannot be read \(.*manifest\.json: .*\); run `cdk synth` again\.$/);
  writeFileSync(join(folder, 'manifest.json'), '{ "artifacts": 1 }');
  failing(/^The manifest of the cloud assembly cannot be read \(.*\); run `cdk synth` again\.$/);
  rmSync(join(folder, 'manifest.json'));
  failing(/^There is no cloud assembly in .* \(no manifest\.json\): write one with `cdk synth/);
});
