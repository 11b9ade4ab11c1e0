import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { BalancerThread } from './balancer-thread.ts';
import { processStart } from './identity.ts';
import { Leftovers } from './leftovers.ts';
import { takeLock } from './lock.ts';
import { PortTakenError } from './ports.ts';
import { RunningProgram } from './program.ts';
import type { JobSpec } from './specs.ts';
import { runJob } from './workload.ts';
import type { Host } from './workload.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';
import { Workloads } from './workloads.ts';
import type { WorkloadsOptions } from './workloads.ts';

function hostIn(folder: string): Host {
  return { logDir: folder, leftovers: new Leftovers(join(folder, 'processes.json')), log: () => undefined, environment: (spec) => ({ ...spec.environment }) };
}

function workloadsIn(
  context: TestContext, folder: string, report: (sentence: string) => void = () => undefined, changes: Partial<WorkloadsOptions> = {},
): Workloads {
  const workloads = new Workloads({
    ...hostIn(folder), maxReplicas: Infinity, without: [], port: async () => 0, onFailure: report, onRecovery: report, ...changes,
  });
  atEnd(context, () => workloads.stop());
  return workloads;
}

const job = (script: string, changes: Partial<JobSpec> = {}): JobSpec => ({
  name: 'migrate',
  backoffLimit: 2,
  deadlineSeconds: undefined,
  ...changes,
  pod: {
    initContainers: [],
    labels: {},
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'main', command: ['node', '-e', script], folder: '/', environment: {}, ports: [] }],
  },
});

test('a job is tried again as often as its back-off limit says, and fails with its last words', async (context) => {
  const host = hostIn(temporaryFolder(context));
  const twice = `const { appendFileSync, readFileSync } = require('node:fs');
    const file = ${JSON.stringify(join(host.logDir, 'tries'))};
    appendFileSync(file, 'x');
    process.exit(readFileSync(file, 'utf8').length < 3 ? 1 : 0);`;
  await runJob(job(twice), host, new AbortController().signal);
  const failing = job('console.log("no rights on schema"); process.exit(7)', { backoffLimit: 1 });
  await assert.rejects(runJob(failing, host, new AbortController().signal), (error) => error instanceof LocalRunError
    && /^Job migrate ended with code 7; its last words .*no rights on schema \(after 2 attempts\)$/.test(error.message));
});

test('a job that fails twice with the same words is not tried a third time', async (context) => {
  const folder = temporaryFolder(context);
  const script = `require('node:fs').appendFileSync(${JSON.stringify(join(folder, 'attempts'))}, '.'); console.log('{"level":"fatal","message":"use --fresh"}'); process.exit(65)`;
  const attempts = runJob(job(script, { backoffLimit: 6 }), hostIn(folder), new AbortController().signal);
  await assert.rejects(attempts, /with code 65; .*: use --fresh$/);
  assert.equal(readFileSync(join(folder, 'attempts'), 'utf8'), '..');
});

test('the words of a job that fails are those of a person: messages of JSON lines, and a fatal one alone', async (context) => {
  const host = hostIn(temporaryFolder(context));
  const fails = async (...lines: object[]) => {
    const script = `console.log(${JSON.stringify(lines.map((line) => JSON.stringify(line)).join('\n'))}); process.exit(65)`;
    const error: unknown = await runJob({ ...job(script, { backoffLimit: 0 }), name: `job-${lines.length}` }, host, new AbortController().signal).catch((reason) => reason);
    return error instanceof LocalRunError ? error.message.replace(/^.*?\): /, '') : error;
  };
  const start = { level: 'info', msg: 'starting' };
  assert.equal(await fails(start, { level: 50, message: 'no rights', err: { stack: 'Error: no rights\n    at x.ts:1' } }), 'starting | no rights');
  assert.equal(await fails(start, start, { level: 'fatal', message: 'Start with --fresh.' }), 'Start with --fresh.');
  assert.equal(await fails(start, start, start, { level: 60, msg: 'Start with --fresh.' }), 'Start with --fresh.');
});

test('a job that takes longer than it may is ended', async (context) => {
  await assert.rejects(runJob(job('setInterval(() => {}, 1000)', { deadlineSeconds: 1 }), hostIn(temporaryFolder(context)), new AbortController().signal),
    /Job migrate did not end within 1 s/);
});

test('a program that ignores SIGTERM is killed when its time is over, with what it has started', async (context) => {
  const folder = temporaryFolder(context);
  const program = new RunningProgram({
    command: ['node', '-e', 'process.on("SIGTERM", () => {}); console.log(require("node:child_process").spawn("sleep", ["600"]).pid); setInterval(() => {}, 1000)'],
    folder,
    environment: {},
    logFile: join(folder, 'log'),
  }, new Leftovers(join(folder, 'processes.json')));
  const child = Number(await eventually(() => readFileSync(join(folder, 'log'), 'utf8').trim() !== '' && readFileSync(join(folder, 'log'), 'utf8'), 'the child'));
  const { pid = 0 } = program;
  await program.stop(0.2);
  assert.match((await program.exited).how, /SIGKILL/);
  await eventually(() => processStart(pid) === undefined && processStart(child) === undefined, 'the end of both');
});

test('what an earlier run has left is ended at the next start, and nothing else', async (context) => {
  const file = join(temporaryFolder(context), 'processes.json');
  const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  const other = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  atEnd(context, () => other.kill('SIGKILL'));
  new Leftovers(file).add(child.pid ?? 0);
  assert.equal(await new Leftovers(file).clean(), 1);
  assert.equal(processStart(child.pid ?? 0), undefined);
  assert.ok(processStart(other.pid ?? 0));
  assert.equal(await new Leftovers(file).clean(), 0);
});

test('a lock of a living process is respected, one of a dead process is not', async (context) => {
  const file = join(temporaryFolder(context), 'lock');
  const release = takeLock(file, (pid) => `held by ${pid}`);
  assert.throws(() => takeLock(file, (pid) => `held by ${pid}`), new RegExp(`held by ${process.pid}$`));
  release();
  // The id of a living process, but of another time: the holder is gone and its id was given again.
  writeFileSync(file, JSON.stringify({ pid: process.pid, started: '1' }));
  takeLock(file, (pid) => `held by ${pid}`)();
});

test('a connection goes to a replica that takes it, and waits while there is none', async (context) => {
  const server = createServer((_request, response) => response.end('here'));
  atEnd(context, () => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
  const { port: closed } = gone.address() as { port: number };
  await new Promise((resolve) => gone.close(resolve));
  let backends: number[] = [];
  const thread = new BalancerThread();
  atEnd(context, () => thread.close());
  const balancer = await thread.start('web', 0, () => backends);
  const waiting = fetch(`http://127.0.0.1:${balancer.port}`);
  backends = [closed, port, closed];
  assert.equal(await (await waiting).text(), 'here');
  for (let request = 0; request < 4; request++) assert.equal(await (await fetch(`http://127.0.0.1:${balancer.port}`, { headers: { connection: 'close' } })).text(), 'here');
  await assert.rejects(thread.start('again', balancer.port, () => backends), (error: unknown) => error instanceof PortTakenError && error.message.includes('--port again='));
  balancer.stop();
  await eventually(() => fetch(`http://127.0.0.1:${balancer.port}`).then(() => false, () => true), 'the end of the balancer');
});

test('a container that gets into a crash loop after the start is reported once, and so is its recovery', async (context) => {
  const folder = temporaryFolder(context);
  const needed = join(folder, 'needed');
  writeFileSync(needed, '');
  const reports: string[] = [];
  const workloads = workloadsIn(context, folder, (sentence) => reports.push(sentence));
  const script = `require('node:fs').readFileSync(${JSON.stringify(needed)}); setInterval(() => {}, 1000)`;
  workloads.add({ kind: 'Deployment', name: 'web', replicas: 2, pod: job(script).pod });
  await workloads.start(new AbortController().signal);
  assert.deepEqual(workloads.failures(), []);
  rmSync(needed);
  for (const replica of [0, 1]) workloads.kill('web', 'SIGKILL', replica);
  await eventually(() => workloads.failures().length > 0, 'the crash loop');
  assert.match(workloads.failures()[0] ?? '', /^web-[12] keeps ending right after its start \(\d+ times now\)\. web-[12] ended with code 1; .*ENOENT/s);
  writeFileSync(needed, '');
  await eventually(() => workloads.failures().length === 0, 'the end of the crash loop');
  assert.deepEqual([reports.length, reports[1]], [2, 'web runs again.']);
});

test('an init container may fail a few times, such as one that waits for something; then its workload starts', async (context) => {
  const folder = temporaryFolder(context);
  const workloads = workloadsIn(context, folder);
  const script = `const { appendFileSync, readFileSync } = require('node:fs');
    appendFileSync('tries', 'x');
    process.exit(readFileSync('tries', 'utf8').length < 3 ? 1 : 0);`;
  const container = (name: string, code: string) => ({ name, command: ['node', '-e', code], folder, environment: {}, ports: [] });
  const pod = { ...job('').pod, initContainers: [container('wait', script)], containers: [container('main', 'setInterval(() => {}, 1000)')] };
  workloads.add({ kind: 'Deployment', name: 'web', replicas: 1, pod });
  await workloads.start(new AbortController().signal);
  assert.equal(readFileSync(join(folder, 'tries'), 'utf8'), 'xxx');
});

test('an init container that fails again and again is an error with its last words', async (context) => {
  const folder = temporaryFolder(context);
  const workloads = workloadsIn(context, folder);
  const failing = { name: 'wait', command: ['node', '-e', 'console.log("no database"); process.exit(3)'], folder, environment: {}, ports: [] };
  workloads.add({ kind: 'Deployment', name: 'web', replicas: 1, pod: { ...job('').pod, initContainers: [failing] } });
  const failure = /^LocalRunError: Init container wait of web ended with code 3: .*no database/;
  await assert.rejects(workloads.start(new AbortController().signal), failure);
});

test('a container that cannot even be prepared is a failure of its workload, and no error that ends the process', async (context) => {
  const folder = temporaryFolder(context);
  const workloads = workloadsIn(context, folder);
  const { pod } = job('setInterval(() => {}, 1000)');
  const supervise = () => ({ begin: () => Promise.reject(new Error('no thread')), ended: () => undefined, drain: async () => undefined });
  const supervised = { ...pod, containers: pod.containers.map((each) => ({ ...each, supervise })) };
  workloads.add({ kind: 'Function', name: 'handler', replicas: 1, pod: supervised });
  await workloads.start(new AbortController().signal);
  assert.deepEqual(workloads.failures(), ['handler cannot be started: no thread.']);
});

test('a program is not asked whether it lives before its initial delay is over', async (context) => {
  const folder = temporaryFolder(context);
  const workloads = workloadsIn(context, folder);
  const { pod } = job('setInterval(() => {}, 1000)');
  const livenessProbe = { kind: 'tcp', path: '/', port: 1, initialDelaySeconds: 600, periodSeconds: 0, timeoutSeconds: 1, failureThreshold: 1 } as const;
  const later = { ...livenessProbe, initialDelaySeconds: 0 };
  const withProbe = (probe: typeof livenessProbe | typeof later) => (
    { ...pod, containers: pod.containers.map((each) => ({ ...each, livenessProbe: probe })) });
  workloads.add({ kind: 'Deployment', name: 'patient', replicas: 1, pod: withProbe(livenessProbe) });
  await workloads.start(new AbortController().signal);
  const others = workloadsIn(context, folder);
  others.add({ kind: 'Deployment', name: 'impatient', replicas: 1, pod: withProbe(later) });
  // The probe may end the program before its start is over, which is an error of the start.
  void others.start(new AbortController().signal).catch(() => undefined);
  const [patient, impatient] = [workloads.running[0], others.running[0]];
  await eventually(() => impatient!.restarts > 0, 'the restart of the one without a delay');
  assert.equal(patient!.restarts, 0);
});

test('a program that does not answer its liveness probe is stopped once, however long its end takes', async (context) => {
  const lines: string[] = [];
  const workloads = workloadsIn(context, temporaryFolder(context), undefined, { log: (_, line) => lines.push(line) });
  const { pod } = job('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)');
  const livenessProbe = { kind: 'tcp', path: '/', port: 1, initialDelaySeconds: 0.5, periodSeconds: 0.02, timeoutSeconds: 1, failureThreshold: 1 } as const;
  workloads.add({ kind: 'Deployment', name: 'deaf', replicas: 1, pod: { ...pod, containers: pod.containers.map((each) => ({ ...each, livenessProbe })) } });
  await workloads.start(new AbortController().signal);
  const [deaf] = workloads.running;
  await eventually(() => deaf!.restarts > 0, 'the restart');
  const stops = lines.filter((line) => line.includes('does not answer its liveness probe')).length;
  assert.ok(stops >= 1 && stops <= deaf!.restarts + 1, `${stops} stops, ${deaf!.restarts} restarts`);
});

/** A host that only says what it is given, and that ends at the first signal, after a moment in which others could come. */
const HOST = `const { appendFileSync } = require('node:fs');
  appendFileSync('said', process.env.SHARED_PROGRAMS + process.env.COMMON + process.env.OWN + '\\n');
  process.on('SIGTERM', () => { appendFileSync('said', 'SIGTERM\\n'); setTimeout(() => process.exit(0), 200); });
  setInterval(() => {}, 1000);`;

test('workloads without a Service share a process, which starts again when it is killed, and is stopped once', async (context) => {
  const folder = temporaryFolder(context);
  const said = () => readFileSync(join(folder, 'said'), 'utf8').trimEnd().split('\n');
  writeFileSync(join(folder, 'several.js'), HOST);
  writeFileSync(join(folder, 'own.js'), 'setInterval(() => {}, 1000)');
  const workloads = workloadsIn(context, folder, undefined, { sharedProcess: 'several.js' });
  const add = (name: string, file: string, changes: { replicas?: number; labels?: Record<string, string> } = {}) => {
    const { replicas = 1, labels = {} } = changes;
    const container = { name: 'main', command: ['node', file], folder, environment: { OWN: name, COMMON: 'both' }, ports: [] };
    workloads.add({ kind: 'Deployment', name, replicas, pod: { ...job('').pod, labels, containers: [container] } });
  };
  add('stock', 'stock.js');
  add('web', 'own.js', { labels: { app: 'web' } });
  add('pair', 'own.js', { replicas: 2 });
  add('relay', 'relay.js');
  await workloads.expose({ name: 'web', namespace: 'default', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] });
  assert.equal(await workloads.start(new AbortController().signal), '4 processes of 4 workloads, 5 in the template; 2 workloads share one process');

  const pids = () => workloads.running.map((workload) => workload.pids());
  const [[stock], [web], pair, [relay]] = pids() as [number[], number[], number[], number[]];
  assert.equal(stock, relay);
  assert.equal(new Set([stock, web, ...pair]).size, 4);
  const members = ['stock', 'relay'].map((name) => ({ program: `${name}.js`, environment: { OWN: name, COMMON: 'both' } }));
  await eventually(() => existsSync(join(folder, 'said')), 'the start of the host');
  // A variable that differs is of the programs alone.
  assert.deepEqual(said(), [`${JSON.stringify(members)}bothundefined`]);
  assert.deepEqual(workloads.running[3]!.pods[0]!.logFiles, [join(folder, 'shared-process.log')]);

  assert.equal(workloads.kill('relay', 'SIGKILL', 0), stock);
  await eventually(() => said().length === 2, 'the second start of the host');
  const [[again], , , [too]] = pids() as [number[], number[], number[], number[]];
  assert.ok(again === too && again !== stock);
  await workloads.stop();
  assert.deepEqual(said().slice(2), ['SIGTERM']);
});

test('a single workload that could share a process has its own', async (context) => {
  const folder = temporaryFolder(context);
  for (const name of ['several.js', 'relay.js']) writeFileSync(join(folder, name), 'setInterval(() => {}, 1000)');
  const workloads = workloadsIn(context, folder, undefined, { sharedProcess: 'several.js' });
  const container = { name: 'main', command: ['node', 'relay.js'], folder, environment: {}, ports: [] };
  workloads.add({ kind: 'Deployment', name: 'relay', replicas: 1, pod: { ...job('').pod, containers: [container] } });
  assert.equal(await workloads.start(new AbortController().signal), '1 process of 1 workload');
  assert.deepEqual(workloads.running[0]!.pods[0]!.logFiles, [join(folder, 'relay.log')]);
});

/** Answers with its version once it is started, and ends in order. */
const VERSIONED = `const server = require('node:http').createServer((request, response) => {
    response.setHeader('connection', 'close').end(process.env.VERSION);
  }).listen(process.env.PORT, '127.0.0.1');
  process.on('SIGTERM', () => server.close(() => process.exit(0)));`;

test('another version takes the place of a workload replica by replica, and no request fails', async (context) => {
  const folder = temporaryFolder(context);
  const versionOf = (version: string, script = VERSIONED) => {
    const workloads = workloadsIn(context, folder, undefined, {
      environment: (spec, ports) => ({ ...spec.environment, PORT: String(ports.get(80)) }),
    });
    const readinessProbe = { kind: 'http', path: '/', port: 80, initialDelaySeconds: 0, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1 } as const;
    const main = { name: 'main', command: ['node', '-e', script], folder, environment: { VERSION: version }, ports: [{ port: 80 }], readinessProbe };
    workloads.add({ kind: 'Deployment', name: 'web', replicas: 2, pod: { ...job('').pod, labels: { app: 'web' }, containers: [main] } });
    workloads.addJob(job(`require('node:fs').appendFileSync(${JSON.stringify(join(folder, 'jobs'))}, '${version === '3' ? '2' : version}')`));
    return workloads;
  };
  const run = versionOf('1');
  const ports = await run.expose({ name: 'web', namespace: 'default', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 80 }] });
  const signal = new AbortController().signal;
  await run.start(signal);

  const answers: string[] = [];
  let fewest = 2;
  let stopped = false;
  const asking = (async () => {
    while (!stopped) {
      answers.push(await fetch(`http://127.0.0.1:${ports.get(80)}`).then((answer) => answer.text(), (error: Error) => error.message));
      fewest = Math.min(fewest, run.running[0]!.ports(80).length);
    }
  })();
  const before = run.running[0]!.pids();
  assert.deepEqual(await run.replace(versionOf('2'), signal), { jobs: ['migrate'], workloads: ['web'] });
  await eventually(() => answers.at(-1) === '2', 'an answer of the new version');
  assert.deepEqual(before.filter((pid) => processStart(pid) !== undefined), []);
  assert.equal(run.running[0]!.pids().length, 2);
  assert.deepEqual(await run.replace(versionOf('2'), signal), { jobs: [], workloads: [] });
  const broken = run.replace(versionOf('3', 'console.log("no such module"); process.exit(1)'), signal);
  await assert.rejects(broken, /^LocalRunError: The new version of web did not get ready, so the old one goes on: .*no such module/s);
  stopped = true;
  await asking;
  assert.deepEqual([...new Set(answers)], ['1', '2']);
  assert.equal(fewest, 2, 'ready replicas');
  assert.equal(answers.at(-1), '2');
  assert.equal(readFileSync(join(folder, 'jobs'), 'utf8'), '2');
});
