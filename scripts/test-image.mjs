#!/usr/bin/env node
// Builds the images of the reference app without Docker, and runs the whole system in containers with the limits of its pods: every
// program non-root, read-only and within its memory. docs/container.md describes it.
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { baseImage, baseOf, cacheFolder, peakMemory, prepareTools, Storage } from './lib/containers.mjs';
import { bytesOf, endProblems, flagsOf, imageProblems, PROBE, surroundingsProblems } from './lib/image-checks.mjs';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { demand, root, Steps } from './lib/user-project.mjs';

const USAGE = `usage: npm run test:image [-- <options>]

  --orders N     the orders that the system takes                                     [2000]
  --rate R       orders per second                                                    [100]
  --limit MB     the compressed size that an image must stay below, with Node.js      [150]
  --from-debian  makes the base image of Debian's packages even if a registry can be reached
  --keep         keeps the folder with the assembly, logs and images, and prints where it is
  --help         this text

Needs Linux, root, and buildah, podman, runc and mmdebstrap, which it installs where apt-get can. Base images are kept in
${cacheFolder()}; the variable CDK_ORDER_PIPELINE_CACHE names another folder.
Exit codes: 0 all is well, or there can be no containers here, which it says; 1 something is wrong; 2 wrong usage.`;

const options = optionsOf(USAGE, {
  'orders': { type: 'string', default: '2000' },
  'rate': { type: 'string', default: '100' },
  'limit': { type: 'string', default: '150' },
  'from-debian': { type: 'boolean', default: false },
  'keep': { type: 'boolean', default: false },
}, (values) => {
  for (const name of ['orders', 'rate', 'limit'].filter((candidate) => !(Number(values[candidate]) > 0))) {
    throw new Error(`--${name} expects a number above 0, not '${values[name]}'`);
  }
});
requireTypeScript('test-image');
const say = (text) => console.log(`  ...   ${text}`);
const reason = await prepareTools(say);
if (reason !== undefined) {
  console.log(`the check of the images is skipped: ${reason}`);
  console.log('0 passed, 0 failed');
  process.exit(0);
}
// The repository's package.json has no "type", and Node.js warns of each TypeScript file that it has to look into because of that.
process.removeAllListeners('warning');

const MB = 1_000_000;
const mebibytes = (bytes) => `${Math.round(bytes / 1024 ** 2)} MiB`;
const steps = new Steps();
const interrupt = new AbortController();
/** What has to be undone at the end, however it comes, the last one first. */
const cleanups = [];

async function cleanUp() {
  for (let undo = cleanups.pop(); undo; undo = cleanups.pop()) {
    await Promise.resolve(undo()).catch((error) => console.error(`cleaning up: ${error.message}`));
  }
}


async function test(folder) {
  const { images, workloads } = await steps.step('synthesize the reference app', () => assemblyOf(folder)) ?? {};
  if (!images) { return; }
  const base = await steps.step('base image', async () => {
    const made = await baseImage(baseOf(join(images.services, 'Dockerfile')), { fromDebian: options['from-debian'], folder, say });
    return { ...made, note: made.origin };
  });
  if (!base) { return; }
  const storage = new Storage(join(folder, 'storage'), join(folder, 'storage-run'), [base.store]);
  cleanups.push(() => storage.remove());
  for (const kind of Object.keys(images)) {
    await steps.step(`build the image of the ${kind}`, () => storage.build(images[kind], kind));
  }
  if (steps.failures.length > 0) { return; }
  // Compressed while the others run.
  const layers = storage.compressedLayers(Object.keys(images), join(folder, 'layers'));
  layers.catch(() => undefined);
  await checkImages(storage, images, workloads);
  await plantFaults(storage, images, workloads, folder);
  for (const kind of Object.keys(images)) {
    await steps.step(`size of the image of the ${kind}`, async () => checkSize((await layers)[kind], await storage.image(kind)));
  }
  await runSystem(storage, workloads, folder);
}

/** The build contexts of the images, and the workloads with their manifests, as `cdk deploy` would take them. */
async function assemblyOf(folder) {
  const { synthesize } = await import('cdk-local-run/cli/synthesize');
  const { readAssembly } = await import('cdk-local-run/assembly/assembly');
  const assemblyFolder = join(folder, 'assembly');
  await synthesize(join(root, 'reference-app'), assemblyFolder, interrupt.signal);
  const assembly = readAssembly(assemblyFolder);
  const workloads = assembly.stacks.flatMap(({ template }) => Object.values(template.Resources ?? {}))
    .filter(({ Type }) => Type === 'Custom::AWSCDK-EKS-KubernetesResource')
    .flatMap(({ Properties }) => JSON.parse(textOf(Properties.Manifest)))
    .filter(({ kind }) => kind === 'Deployment' || kind === 'Job')
    .map(({ kind, spec: { template: { spec } } }) => {
      const [container] = spec.containers;
      const [, tag] = /:([0-9a-f]{64})$/.exec(container.image) ?? [];
      const { directory } = assembly.images.get(tag);
      const { value: name } = container.env.find((variable) => variable.name === 'SERVICE_NAME');
      return { name, kind, spec, container, directory };
    });
  const contextOf = (wanted) => workloads.find(({ kind }) => kind === wanted).directory;
  const images = { services: contextOf('Deployment'), migration: contextOf('Job') };
  for (const workload of workloads) { workload.image = Object.keys(images).find((kind) => images[kind] === workload.directory); }
  return { images, workloads, note: `${workloads.length} workloads` };
}

/** The text of a manifest. A value that only the deployment knows becomes a word, and the address of an image stays. */
function textOf(value) {
  if (typeof value === 'string') { return value; }
  return value['Fn::Join'][1].reduce((text, part) => {
    if (typeof part === 'string') { return text + part; }
    const word = typeof part['Fn::Sub'] === 'string' ? part['Fn::Sub'] : '?';
    return text + (/[:[,]$/.test(text) ? JSON.stringify(word) : word);
  }, '');
}

async function probe(storage, image, flags) {
  const report = await storage.podman(['run', '--rm', ...flags, image, 'node', '-e', PROBE], { timeoutMinutes: 1 }).catch((error) => {
    throw new Error(error.message.replace(PROBE, '<the probe>'));
  });
  return JSON.parse(report);
}

/** The flags of the first pod of an image. */
const podOf = (workloads, kind) => workloads.find(({ image }) => image === kind);

function checkSize(layers, { Size: unpacked }) {
  const compressed = layers.reduce((sum, size) => sum + size, 0);
  const own = (layers.at(-1) / MB).toFixed(1);
  const note = `${(compressed / MB).toFixed(1)} MB compressed, ${own} MB of them its own; ${(unpacked / MB).toFixed(1)} MB unpacked`;
  if (compressed >= Number(options.limit) * MB) { throw new Error(`${note}; it must stay below ${options.limit} MB`); }
  return { note };
}

async function checkImages(storage, images, workloads) {
  for (const kind of Object.keys(images)) {
    const workload = podOf(workloads, kind);
    await steps.step(`content of the image of the ${kind}`, async () => {
      // By a user that no file belongs to.
      const report = await probe(storage, kind, [...flagsOf(workload), '--user', '54321:54321']);
      demand(imageProblems(await storage.image(kind), report, kind));
      return { note: `${report.files.length} files, Node.js ${report.node}` };
    });
    await steps.step(`surroundings of the pods of the ${kind}`, async () => {
      const report = await probe(storage, kind, flagsOf(workload));
      demand(surroundingsProblems(report, bytesOf(workload.container.resources.limits.memory)));
      return { note: `user ${report.user}:${report.group}, read-only, no capabilities, ${mebibytes(report.memory)}` };
    });
  }
}

/** Faults of a Dockerfile and of the files, each with the sentence that must name it. */
const IMAGE_FAULTS = {
  'an image without a user': { dockerfile: (text) => text.replace(/^USER .*\n/m, ''), expected: /its user is root/ },
  'a user with a name': { dockerfile: (text) => text.replace(/^USER .*/m, 'USER nobody'), expected: /its user is 'nobody'/ },
  'source maps': { files: { 'app/order-status.js.map': '{}' }, expected: /it has order-status\.js\.map/ },
  'the migration among the services': { files: { 'app/migrate.js': '', 'app/migrations/orders/001-tables.sql': '' }, expected: /it has .*migrate\.js/ },
  'files for their owner only': {
    files: { 'app/private.js': '' }, mode: 0o600, dockerfile: (text) => text.replace(' --chmod=755', ''), expected: /not every user can read \/app\/private\.js/,
  },
  'no list of packages': { without: 'app/sbom.cdx.json', expected: /sbom\.cdx\.json is missing/ },
  'no labels': { dockerfile: (text) => text.replace(/^LABEL (.*\\\n)*.*\n/m, ''), expected: /label org\.opencontainers\.image\.source is missing/ },
};

/** Faults of a manifest. */
const POD_FAULTS = {
  'a pod of root': { change: ({ spec }) => Object.assign(spec.securityContext, { runAsUser: 0, runAsGroup: 0 }), expected: /runs as root/ },
  'a writable file system': { change: ({ container }) => { delete container.securityContext.readOnlyRootFilesystem; }, expected: /can write to .*\/var\/tmp/ },
  'capabilities': { change: ({ container }) => { delete container.securityContext.capabilities; }, expected: /has the capabilities/ },
  'escalation of privileges': { change: ({ container }) => { delete container.securityContext.allowPrivilegeEscalation; }, expected: /may gain privileges/ },
  'no seccomp profile': { change: ({ spec }) => { delete spec.securityContext.seccompProfile; }, expected: /no seccomp profile/ },
  'no temporary folder': { change: ({ container }) => { delete container.volumeMounts; }, expected: /cannot write to \/tmp/ },
  'no limit of memory': { change: ({ container }) => { delete container.resources.limits; }, expected: /its memory is limited to/ },
};

async function plantFaults(storage, images, workloads, folder) {
  const workload = podOf(workloads, 'services');
  const mustFind = (problems, expected) => {
    if (!problems.some((problem) => expected.test(problem))) { throw new Error(`the fault was not found; the problems are: ${problems.join('; ') || 'none'}`); }
  };
  for (const [title, { dockerfile = (text) => text, files = {}, mode = 0o644, without, expected }] of Object.entries(IMAGE_FAULTS)) {
    await steps.step(`fault is found: ${title}`, async () => {
      const context = join(folder, 'fault');
      rmSync(context, { recursive: true, force: true });
      cpSync(images.services, context, { recursive: true });
      writeFileSync(join(context, 'Dockerfile'), dockerfile(readFileSync(join(context, 'Dockerfile'), 'utf8')));
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(join(context, path, '..'), { recursive: true });
        writeFileSync(join(context, path), text);
        chmodSync(join(context, path), mode);
      }
      if (without) { rmSync(join(context, without)); }
      await storage.build(context, 'fault');
      const report = await probe(storage, 'fault', [...flagsOf(workload), '--user', '54321:54321']);
      mustFind(imageProblems(await storage.image('fault'), report, 'services'), expected);
    });
  }
  for (const [title, { change, expected }] of Object.entries(POD_FAULTS)) {
    await steps.step(`fault is found: ${title}`, async () => {
      const faulty = structuredClone({ spec: workload.spec, container: workload.container });
      change(faulty);
      mustFind(surroundingsProblems(await probe(storage, 'services', flagsOf(faulty)), bytesOf(workload.container.resources.limits.memory)), expected);
    });
  }
  await steps.step('fault is found: more memory than the limit', async () => {
    const program = 'const kept = []; for (;;) kept.push(Buffer.alloc(16 * 1024 ** 2, 1));';
    const ended = await endOf(storage, 'memory', [...flagsOf(workload), 'services', 'node', '-e', program]);
    mustFind(endProblems(ended, { asked: Date.now(), graceSeconds: 1 }), /used all of its memory|ended with code 137/);
  });
  await steps.step('fault is found: a program that does not stop', async () => {
    const program = 'process.on("SIGTERM", () => {}); console.log("started"); setInterval(() => {}, 1000);';
    await storage.podman(['run', '--detach', '--name', 'deaf', ...flagsOf(workload), 'services', 'node', '-e', program]);
    while (!(await storage.podman(['logs', 'deaf'])).includes('started')) { await delay(50); }
    const asked = Date.now();
    await storage.podman(['stop', '--time', '1', 'deaf']);
    const [ended] = await storage.containers();
    await storage.podman(['rm', 'deaf']);
    mustFind(endProblems(ended, { asked, graceSeconds: 1 }), /deaf ended with code 137/);
  });
}

/** Runs a container to its end, and returns what podman says of it. */
async function endOf(storage, name, args) {
  await storage.podman(['run', '--name', name, ...args], { timeoutMinutes: 1 }).catch(() => undefined);
  const [ended] = await storage.containers();
  await storage.podman(['rm', name]);
  return ended;
}

/** The local run with every program in a container, from the migration to the last order. */
async function runSystem(storage, workloads, folder) {
  const { startLocal } = await import('cdk-local-run');
  const { default: profile } = await import('../reference-app/profiles/order-pipeline/profile.ts');
  inContainers(storage, workloads, folder);
  const lines = [];
  const out = { live: false, line: (text = '') => { lines.push(text); }, status: () => undefined, paint: (_style, text) => text };
  const { signal } = interrupt;
  const started = Date.now();
  const running = await steps.step('migration and services start in containers, on a real PostgreSQL', async () => {
    const run = await startLocal({
      assemblyDir: join(folder, 'assembly'),
      dataDir: join(folder, 'data'),
      environment: profile.environment,
      maxReplicas: 1,
      onFailure: (sentence) => lines.push(sentence),
      signal,
    });
    cleanups.push(() => run.stop());
    const inspected = await storage.containers();
    return { run, inspected, note: `${run.workloads.length} services ready after ${((Date.now() - started) / 1000).toFixed(1)} s` };
  });
  if (!running) {
    for (const file of readdirSync(join(folder, 'data', 'logs'))) { console.error(`${file}: ${readFileSync(join(folder, 'data', 'logs', file), 'utf8').slice(-1500)}`); }
    return;
  }
  const { run, inspected } = running;
  let asked = 0;
  try {
    await steps.step('the migration ended with code 0', () => {
      const jobs = inspected.filter(({ Name }) => workloads.some(({ name, kind }) => kind === 'Job' && Name.startsWith(`${name}.`)));
      demand(jobs.flatMap((job) => endProblems(job, { asked: Date.parse(job.State.FinishedAt), graceSeconds: 0 })));
      if (jobs.length !== 1) { throw new Error(`${jobs.length} containers of the migration, not one`); }
    });
    await steps.step('every service answers /readyz with 200', async () => {
      const urls = run.workloads.flatMap((workload) => workload.processUrls().map((url) => [workload.name, `${url}/readyz`]));
      demand((await Promise.all(urls.map(async ([name, url]) => {
        const { status } = await fetch(url);
        return status === 200 ? undefined : `${name}: ${url} answers ${status}`;
      }))).filter(Boolean));
      const services = workloads.filter(({ kind }) => kind === 'Deployment');
      if (urls.length !== services.length) { throw new Error(`${urls.length} addresses of ${services.length} services`); }
    });
    await steps.step(`${options.orders} orders at ${options.rate} a second, and every invariant holds`, async () => {
      const system = await profile.open(run, { fresh: true });
      try {
        const fed = await system.feed({ orders: Number(options.orders), rate: Number(options.rate), seed: 1 }, out, signal);
        const report = await system.check(fed, await system.settle(signal, () => undefined));
        report.print(out);
        const { orders, endToEndMs } = report.json;
        if (!report.ok || orders.accepted !== Number(options.orders)) { throw new Error(lines.join('\n')); }
        return { note: `${orders.accepted} accepted, ${orders.confirmed} confirmed; 99 % decided within ${Math.round(endToEndMs.p99)} ms` };
      } finally {
        await system.close();
      }
    });
    const containers = (await storage.containers()).filter(({ State }) => State.Running);
    for (const { name, container } of workloads.filter(({ kind }) => kind === 'Deployment')) {
      await steps.step(`memory of ${name}`, () => {
        const peaks = containers.filter(({ Name }) => Name.startsWith(`${name}.`)).map(peakMemory);
        if (peaks.length !== 1 || !(peaks[0] > 0)) { throw new Error(`${peaks.length} running containers, with the peaks ${peaks.join(', ')}`); }
        return { note: `${mebibytes(peaks[0])} at most, of ${mebibytes(bytesOf(container.resources.limits.memory))}` };
      });
    }
  } finally {
    asked = Date.now();
    await run.stop();
  }
  const ended = await storage.containers();
  for (const { name, spec } of workloads.filter(({ kind }) => kind === 'Deployment')) {
    await steps.step(`${name} stops in order`, () => {
      const own = ended.filter(({ Name }) => Name.startsWith(`${name}.`));
      demand(own.flatMap((container) => endProblems(container, { asked, graceSeconds: timeToStop(spec) })));
      if (own.length !== 1) { throw new Error(`${own.length} containers, as it was started again: ${own.map(({ State }) => State.ExitCode).join(', ')}`); }
      return { note: `code 0 after ${((Date.parse(own[0].State.FinishedAt) - asked) / 1000).toFixed(1)} s, of ${timeToStop(spec)} s` };
    });
  }
}

/** The seconds from SIGTERM to SIGKILL: the sleep of the hook before is a part of the grace period. */
function timeToStop({ terminationGracePeriodSeconds = 30, containers: [container] }) {
  return terminationGracePeriodSeconds - (container.lifecycle?.preStop?.sleep?.seconds ?? 0);
}

/** Changes the commands in the assembly, so that the local run starts containers. Only the variables of the pod get in. */
function inContainers(storage, workloads, folder) {
  const quote = (word) => `'${word.replaceAll('\'', '\'\\\'\'')}'`;
  const cases = workloads.map((workload) => `${workload.name}) flags=(${flagsOf(workload).map(quote).join(' ')}); image=${workload.image} ;;`);
  const script = join(folder, 'in-container');
  writeFileSync(script, `#!/bin/bash
set -euo pipefail
declare -A mounted
case "$SERVICE_NAME" in
${cases.join('\n')}
esac
while IFS= read -r name; do
  case "$name" in HOME|TMPDIR|LANG|PATH|PWD|SHLVL|OLDPWD|_) continue ;; esac
  flags+=(--env "$name")
  # A file of the local run, such as the certificate of its database, which every user may read here.
  if [[ "\${!name}" == /* && -f "\${!name}" && -z "\${mounted[\${!name}]:-}" ]]; then
    mounted[\${!name}]=yes
    copy=$(mktemp --tmpdir=${quote(folder)} file-XXXXXX)
    install --mode=644 "\${!name}" "$copy"
    flags+=(--volume "$copy:\${!name}:ro")
  fi
done < <(compgen -e)
exec podman ${storage.podmanOptions.map(quote).join(' ')} run --name "$SERVICE_NAME.$$" "\${flags[@]}" "$image" "$@"
`);
  chmodSync(script, 0o755);
  for (const file of readdirSync(join(folder, 'assembly')).filter((name) => name.endsWith('.template.json'))) {
    const path = join(folder, 'assembly', file);
    const command = '\\"command\\":[\\"';
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll(`${command}node\\"`, `${command}${script}\\",\\"node\\"`));
  }
}

const folder = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-image-'));
cleanups.push(() => {
  if (options.keep) { console.log(`kept: ${folder}`); } else { rmSync(folder, { recursive: true, force: true, maxRetries: 3 }); }
});
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.once(signal, async () => {
    console.log(`stopping, as of ${signal}`);
    interrupt.abort();
    await cleanUp();
    process.exit(code);
  });
}
try {
  await test(folder);
} finally {
  await cleanUp();
}
for (const { label, message } of steps.failures) { console.error(`\nFAIL ${label}\n${message.replace(/^/gm, '  ')}`); }
if (steps.failures.length > 0) { process.exitCode = 1; }
console.log(`${steps.passed} passed, ${steps.failures.length} failed`);
