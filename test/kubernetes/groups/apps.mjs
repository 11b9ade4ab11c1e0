// The apps of the repository: the profiles of the reference app, the examples and the starter.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readAssembly, run } from '../../../scripts/lib/user-project.mjs';
import { inspect, refusals, settle, waitForCleanup } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { evaluator } from '../template.mjs';
import { again } from './matrix.mjs';

const PROGRAM = join(import.meta.dirname, '..', 'assemblies.mjs');

/** One check for each app. Those that have no object in a cluster pass. */
export function apps(cluster) {
  return [async (record) => {
    const folder = join(cluster.folder, 'assemblies');
    const failed = await run(process.execPath, [PROGRAM, folder], { cwd: cluster.folder, env: process.env }).then(() => [], (error) => [error.message]);
    record('every app is synthesized', failed);
    const names = readdirSync(folder).filter((name) => name !== 'image' && existsSync(join(folder, name, 'manifest.json')));
    await Promise.all(names.map(async (name) => {
      record(name, await app(cluster, join(folder, name)).catch((error) => [error.message]));
    }));
  }];
}

async function app(cluster, folder) {
  const { api } = cluster;
  const problems = [];
  for (const template of Object.values(readAssembly(folder).templates)) {
    const stack = await newStack(cluster, { from: namespaceOf(template) });
    problems.push(...await refusals(api, [...stack.objectsOf(template), ...written(folder, template, stack)]));
    await stack.deploy(template);
    problems.push(...await settle(api, stack));
    problems.push(...await inspect(api, stack), ...await waitForCleanup(api, stack), ...await again(api, stack));
    problems.push(...(await stack.destroy()).filter((line) => line.startsWith('delete error')), ...await waitForCleanup(api, stack));
  }
  return problems;
}

/** The namespace of the programs of a template. */
function namespaceOf(template) {
  const evaluated = evaluator(template);
  const manifests = Object.values(template.Resources).flatMap(({ Properties }) => (Properties?.Manifest === undefined ? [] : JSON.parse(evaluated(Properties.Manifest))));
  return manifests.find(({ kind }) => kind === 'Deployment')?.metadata.namespace;
}

/** The objects in the YAML files that a template writes for a GitOps tool, in the namespace of the stack. */
function written(folder, template, stack) {
  const evaluated = evaluator(template);
  const deployments = Object.values(template.Resources).filter(({ Type }) => Type === 'Custom::CDKBucketDeployment').map(({ Properties }) => Properties);
  return deployments.flatMap(({ SourceObjectKeys: keys, SourceMarkers: markers = [] }) => keys.flatMap((key, index) => {
    const asset = join(folder, `asset.${evaluated(key).replace('.zip', '')}`);
    return readdirSync(asset).filter((file) => file.endsWith('.yaml')).flatMap((file) => {
      // The deployment puts the values of the template in place of their markers.
      const text = Object.entries(markers[index] ?? {}).reduce((yaml, [marker, value]) => yaml.replaceAll(marker, evaluated(value)), readFileSync(join(asset, file), 'utf8'));
      return parse(text).items;
    });
  })).map((object) => ({ ...object, metadata: { ...object.metadata, namespace: stack.namespace } }));
}
