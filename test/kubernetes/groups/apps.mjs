// The apps of the repository: the profiles of the reference app, the examples and the starter.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { readAssembly, run } from '../../../scripts/lib/user-project.mjs';
import { inspect, refusals, settle, waitForCleanup } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { evaluator } from '../template.mjs';
import { again } from './matrix.mjs';

const PROGRAM = join(import.meta.dirname, '..', 'assemblies.mjs');

/** One check for each app. Those that have no object in a cluster pass. */
export async function apps(cluster) {
  const folder = join(cluster.folder, 'assemblies');
  await run(process.execPath, [PROGRAM, folder], { cwd: cluster.folder, env: process.env });
  const names = readdirSync(folder).filter((name) => name !== 'image');
  return names.map((name) => [name, () => app(cluster, Object.values(readAssembly(join(folder, name)).templates))]);
}

async function app(cluster, templates) {
  const { api } = cluster;
  const problems = [];
  for (const template of templates) {
    const stack = await newStack(cluster, { from: namespaceOf(template) });
    problems.push(...await refusals(api, [...stack.objectsOf(template), ...written(template, stack)]));
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

/** The objects that a template writes for a GitOps repository, in the namespace of the stack. */
function written(template, stack) {
  const evaluated = evaluator(template);
  return Object.values(template.Outputs ?? {}).map(({ Value }) => evaluated(Value)).filter((text) => typeof text === 'string' && text.includes('apiVersion'))
    .flatMap((text) => parseAllDocuments(text).flatMap((document) => document.toJS()))
    .map((object) => ({ ...object, metadata: { ...object.metadata, namespace: stack.namespace } }));
}
