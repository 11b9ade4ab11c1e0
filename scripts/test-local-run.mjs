#!/usr/bin/env node
// Uses the packed local run as a stranger would: installs the tarball into an empty project with an empty home, runs the assemblies of a
// plain CDK app and of one with the constructs of this repository, puts events and sees them handled, runs a team's own tests, and tries
// several versions of Node.js. Needs the npm registry (or npm's cache), and neither an AWS account nor Docker.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { demand, folderIn, npmUserEnvironment, readJson, root, run, Steps, versionIn, withFolder } from './lib/user-project.mjs';

const EXAMPLE = join(root, 'examples', 'local-run');
/** The newest LTS version and the oldest one that has node:sqlite; then one that has not. */
const SUPPORTED = ['26', '22.13'];
const UNSUPPORTED = '20';

const steps = new Steps();
const started = Date.now();

/** The ids of all processes whose command line or environment names the folder: those of a run in it. */
function processesOf(folder) {
  if (process.platform !== 'linux') { return []; }
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid).filter((pid) => {
    try {
      return [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`].some((file) => readFileSync(file, 'latin1').includes(folder));
    } catch {
      // It ended, or belongs to somebody else.
      return false;
    }
  });
}

/** Starts the command attended, as in a terminal, waits until it is up, and calls `use`; then stops it as Ctrl-C does. */
async function attended(args, { cwd, env }, use) {
  const child = spawn(join(cwd, 'node_modules', '.bin', 'cdk-local-run'), args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) { stream.setEncoding('utf8').on('data', (text) => { output += text; }); }
  const ended = new Promise((resolve) => { child.once('close', (code) => resolve(code)); });
  try {
    const deadline = Date.now() + 120_000;
    while (!/^Running\./m.test(output)) {
      if (child.exitCode !== null || Date.now() > deadline) { throw new Error(`it did not come up:\n${output}`); }
      await delay(50);
    }
    await use();
  } finally {
    child.kill('SIGINT');
  }
  const code = await ended;
  const left = processesOf(cwd);
  demand([
    ...code === 0 ? [] : [`it ended with ${code}:\n${output}`],
    ...left.length === 0 ? [] : [`processes ${left.join(', ')} are left`],
  ]);
}

/** An order on the bus has its reservation. The client has no address in its code: it takes the file of the run. */
const CLIENT = `
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetQueueUrlCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
const Detail = JSON.stringify({ orderId: 'order-7', quantity: 4 });
await new EventBridgeClient().send(new PutEventsCommand({ Entries: [{ EventBusName: 'shop', Source: 'web', DetailType: 'OrderCreated', Detail }] }));
const sqs = new SQSClient();
const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: 'reservations' }));
const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }));
console.log(Messages.map(({ Body }) => Body).join());
`;

async function handled(project, env, dataDir) {
  const output = await run(process.execPath, [`--env-file=${join(dataDir, 'environment')}`, 'client.mjs'], { cwd: project, env });
  demand(output.trim() === '{"orderId":"order-7","reserved":4}' ? [] : [`the reservation is ${output.trim() || 'missing'}`]);
}

function packed(script, workspace) {
  return execFileSync(process.execPath, [join(root, 'scripts', script), join(workspace, 'tarballs')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

async function tryProject(workspace, env, tarballs) {
  const project = join(workspace, 'shop');
  cpSync(EXAMPLE, project, { recursive: true, filter: (path) => !/[\\/](node_modules|cdk\.out|package-lock\.json|\.cdk-local-run)$/.test(path) });
  const manifest = readJson(join(project, 'package.json'));
  const cdk = readJson(join(root, 'package.json')).devDependencies['aws-cdk-lib'];
  Object.assign(manifest.devDependencies, { 'aws-cdk-lib': cdk, 'cdk-local-run': `file:${tarballs.localRun}`, 'cdk-order-pipeline': `file:${tarballs.library}` });
  for (const name of ['typescript', '@types/node']) { manifest.devDependencies[name] = readJson(join(root, 'package.json')).devDependencies[name]; }
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest, undefined, 2));
  writeFileSync(join(project, 'client.mjs'), CLIENT);
  const at = { cwd: project, env };
  const installed = await steps.step('npm install', async () => {
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], at);
    const missing = ['lib/bin.js', 'lib/index.d.ts', 'README.md', 'LICENSE'].filter((file) => !existsSync(join(project, 'node_modules', 'cdk-local-run', file)));
    demand(missing.map((file) => `the package has no ${file}`));
    return { note: ['cdk-local-run', 'aws-cdk-lib'].map((name) => `${name} ${versionIn(project, name)}`).join(', ') };
  });
  if (installed === undefined) { return; }

  await steps.step('its types, with no others than those of Node.js', async () => {
    writeFileSync(join(project, 'types.mts'), "import { startLocal, type LocalRun } from 'cdk-local-run';\nexport const run: LocalRun = await startLocal({ assemblyDir: 'cdk.out' });\n");
    await run('npx', ['--no-install', 'tsc', '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', 'types.mts'], at);
  });
  await steps.step('its own tests, with node --test and jest', async () => {
    await run('npm', ['test'], at);
    demand(processesOf(project).map((pid) => `process ${pid} is left`));
  });
  await steps.step('a plain CDK app: an event is handled, Ctrl-C leaves no process', async () => {
    await attended(['.', '--data', 'plain'], at, () => handled(project, env, join(project, 'plain')));
  });
  await steps.step('an app with our constructs: an event is handled', async () => {
    await run(process.execPath, ['pipeline.mjs'], { cwd: project, env: { ...env, CDK_OUTDIR: join(project, 'pipeline.out') } });
    await attended(['pipeline.out', '--data', 'pipeline'], at, () => handled(project, env, join(project, 'pipeline')));
  });
  await steps.step('--help, a wrong option, a folder without an app', async () => {
    const help = await run('npx', ['--no-install', 'cdk-local-run', '--help'], at);
    const wrong = await run('npx', ['--no-install', 'cdk-local-run', '--nope'], at).then(() => '', ({ message }) => message);
    const empty = await run('npx', ['--no-install', 'cdk-local-run', 'handler'], at).then(() => '', ({ message }) => message);
    demand([
      ...help.includes('Usage: cdk-local-run') ? [] : ['--help does not explain the command'],
      ...wrong.includes("Unknown option '--nope'") && wrong.includes('ended with 2') ? [] : [`a wrong option says ${wrong}`],
      ...empty.includes('neither a manifest.json') ? [] : [`a folder without an app says ${empty}`],
    ]);
  });
  await tryVersions(workspace, env, project);
}

async function tryVersions(workspace, env, project) {
  for (const version of [...SUPPORTED, UNSUPPORTED]) {
    await steps.step(`Node.js ${version}`, async () => {
      const folder = folderIn(workspace, `node-${version}`);
      writeFileSync(join(folder, 'package.json'), '{ "private": true }');
      await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', '--foreground-scripts', `node@${version}`], { cwd: folder, env });
      const node = join(folder, 'node_modules', 'node', 'bin', 'node');
      const bin = join(project, 'node_modules', 'cdk-local-run', 'lib', 'bin.js');
      const tried = run(node, [bin, 'pipeline.out', '--data', `data-${version}`, '--exit'], { cwd: project, env });
      if (version !== UNSUPPORTED) {
        await tried;
      } else {
        const message = await tried.then(() => 'it ran', (error) => error.message);
        demand(/ended with 1\ncdk-local-run needs Node\.js 22\.13 or newer/.test(message) ? [] : [`it says ${message}`]);
      }
      return { note: (await run(node, ['--version'], { cwd: folder, env })).trim() };
    });
  }
}

await withFolder('local-run', process.argv.includes('--keep'), async (workspace) => {
  const env = npmUserEnvironment(folderIn(workspace, 'home'));
  const tarballs = await steps.step('tarballs', async () => {
    const result = { library: packed('pack.mjs', workspace), localRun: packed('pack-local-run.mjs', workspace) };
    return { ...result, note: `${basename(result.localRun)}, ${(statSync(result.localRun).size / 1024).toFixed(0)} KiB` };
  });
  if (tarballs !== undefined) { await tryProject(workspace, env, tarballs); }
});
console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish('local run');
