#!/usr/bin/env node
// Applies the manifests of the library, of the reference app, of the examples and of the starter to real servers of Kubernetes on this
// machine, and changes them while they run. Builds the servers from their Go modules the first time. docs/kubernetes-check.md describes it.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { optionsOf } from './lib/options.mjs';
import { root, withFolder } from './lib/user-project.mjs';
import { killPrograms } from '../test/kubernetes/processes.mjs';
import { cacheFolder, definitionFiles, layHandlerPrograms, missingTool, programsOf } from '../test/kubernetes/tools.mjs';

const GROUPS = {
  scaling: 'every change from one kind of scaling to another',
  exposure: 'every change from one kind of exposure to another',
  change: 'changes of the other options, names among them',
  apps: 'the reference app, the examples and the starter',
  behaviour: 'autoscaling by CPU, eviction, rolling update, hanging rollouts',
  faults: 'mistakes that must be found',
  refused: 'inputs that must be refused at synthesis',
  matrix: 'variants of workloads, consumers and jobs',
  keda: 'the real KEDA and the local SQS endpoint; only with --keda',
};

const USAGE = `usage: npm run test:kubernetes [-- <options>]

  --only <group>  one of these groups; may be repeated
${Object.entries(GROUPS).map(([name, text]) => `                    ${name.padEnd(10)} ${text}`).join('\n')}
  --keda          also builds the real KEDA, about ten minutes the first time, and lets it scale by the length of a queue
  --keep          keeps the folder with the logs, and prints where it is
  --help          this text

The programs are kept in ${cacheFolder()}; the variable CDK_ORDER_PIPELINE_CACHE names another folder.`;

const options = optionsOf(USAGE, {
  only: { type: 'string', multiple: true, default: [] }, keda: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false },
}, ({ only }) => {
  const unknown = only.find((name) => !(name in GROUPS));
  if (unknown !== undefined) { throw new Error(`there is no group ${unknown}: choose ${Object.keys(GROUPS).join(', ')}`); }
});
const keda = options.keda || options.only.includes('keda');
const missing = missingTool(['servers', 'kwok', ...keda ? ['keda'] : []]);
if (missing !== undefined) {
  console.log(`the check of the manifests is skipped: ${missing}`);
  process.exit(0);
}
if (!process.features.typescript) {
  console.error('test-kubernetes needs a Node.js that runs TypeScript (22.18 or newer): run it by `npm run test:kubernetes`, which brings one');
  process.exit(1);
}
// The repository's package.json has no "type", and Node.js warns of each TypeScript file that it has to look into because of that.
process.removeAllListeners('warning');

const started = Date.now();
const say = (line) => console.log(line);
const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
const built = {
  servers: await programsOf('servers', { say }), kwok: await programsOf('kwok', { say }), keda: keda ? await programsOf('keda', { say }) : undefined,
};

// The programs must not write into the folder while it is removed.
for (const signal of ['SIGINT', 'SIGTERM']) { process.once(signal, () => killPrograms()); }
let result = { passed: 0, failed: 0 };
await withFolder('kubernetes', options.keep, async (folder) => {
  // CDK's own temporary folders, too, and no second check of each template.
  process.env.TMPDIR = folder;
  process.env.CDK_VALIDATION = 'false';
  const { startCluster } = await import('../test/kubernetes/cluster.mjs');
  const { Report } = await import('../test/kubernetes/report.mjs');
  const handlerPrograms = join(folder, 'handler-programs');
  layHandlerPrograms(handlerPrograms, built.servers, join(root, 'test', 'kubernetes', 'handler', 'aws'));
  const cluster = await startCluster({ folder, servers: built.servers, kwok: built.kwok, definitions: definitionFiles() });
  // The path of the program behind `python3`, which may be a script that looks for it each time.
  const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();
  Object.assign(cluster, { handlerPrograms, python, runner: join(root, 'test', 'kubernetes', 'handler', 'run.py') });
  const { gitVersion } = await cluster.api.get('/version');
  say(`Kubernetes ${gitVersion} is up after ${seconds()}`);
  try {
    const report = new Report({ only: options.only });
    const load = (file) => import(`../test/kubernetes/groups/${file}.mjs`);
    const { transitions } = await load('transitions');
    const { scaling, exposure, change } = transitions(cluster);
    report.group('scaling', scaling);
    report.group('exposure', exposure);
    report.group('change', change);
    report.group('apps', (await load('apps')).apps(cluster));
    report.group('behaviour', (await load('behaviour')).behaviour(cluster));
    report.group('faults', (await load('faults')).faults(cluster));
    const { matrix, refused } = await load('matrix');
    report.group('refused', refused());
    report.group('matrix', matrix(cluster));
    if (keda) { report.group('keda', (await load('keda')).keda(cluster, built.keda)); }
    result = await report.finish();
  } finally {
    await cluster.stop();
  }
});
// The last line, for those who read only that.
console.log(`\n${seconds()}\n${result.passed} passed, ${result.failed} failed`);
process.exitCode = result.failed === 0 && result.passed > 0 ? 0 : 1;
