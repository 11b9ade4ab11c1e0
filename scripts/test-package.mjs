#!/usr/bin/env node
// Uses the packed library as a stranger would: installs the tarball into an empty project, and type-checks and synthesizes there the
// programs of the README, of examples/ and of starter/; first with the newest aws-cdk-lib, then with the oldest one that is promised.
// Needs the npm registry (or npm's cache), and neither an AWS account nor Docker.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join, relative, sep } from 'node:path';
import { parseArgs } from 'node:util';
import { demand, floorOf, folderIn, npmUserEnvironment, readAssembly, readJson, root, run, Steps, versionIn, withFolder } from './lib/user-project.mjs';

const USAGE = `usage: npm run test:package [-- <options>]

  --only <newest|floor>   with one version of aws-cdk-lib instead of two
  --tarball <file>        of a tarball instead of a new one of the compiled library
  --keep                  keeps the folder with the project, and prints where it is
  --help                  this text`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' }, tarball: { type: 'string' }, keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (values.only !== undefined && !['newest', 'floor'].includes(values.only)) {
  console.error(USAGE);
  process.exit(2);
}
if (!process.features.typescript) {
  console.error('test-package needs a Node.js that runs TypeScript (22.18 or newer): run it by `npm run test:package`, which brings one');
  process.exit(1);
}

// The repository's package.json has no "type", and Node.js warns of each TypeScript file that it has to look into because of that.
process.removeAllListeners('warning');
const { problemsOfWholePipeline } = await import('../test/package/template-checks.ts');
const { problemsOfTarball } = await import('../test/package/tarball-checks.ts');
const { importsOf, installedBy, programsOf } = await import('../test/package/documented-programs.ts');

const NAME = 'cdk-order-pipeline';
const README = readFileSync(join(root, 'README.md'), 'utf8');
const EXAMPLES = join(root, 'examples');
const PROGRAM = 'program.ts';

/** What a program is for readers, and whether it is of modules, which Node.js runs as it is written. */
const programs = [
  ...programsOf(README).map(({ line, code }) => ({ label: `README.md:${line}`, folder: `readme-${line}`, code, module: true })),
  ...readdirSync(EXAMPLES).filter((file) => file.endsWith('.ts')).map((file) => ({
    label: `examples/${file}`, folder: `example-${basename(file, '.ts')}`, code: readFileSync(join(EXAMPLES, file), 'utf8'), module: false,
  })),
];
const isWholePipeline = (code) => ['EventDrivenOrderPipeline', 'KubernetesPrerequisites', 'migration:'].every((word) => code.includes(word));

/** The assembly has what such a program promises. */
function check(folder, code) {
  const { templates, warnings, resources } = readAssembly(folder);
  if (isWholePipeline(code)) {
    demand([...Object.values(templates).flatMap(problemsOfWholePipeline), ...warnings.map((warning) => `a new pipeline has a warning: ${warning}`)]);
  }
  return { note: `${resources} resources${warnings.length > 0 ? `, ${warnings.length} warning${warnings.length > 1 ? 's' : ''}` : ''}` };
}

/** Runs tasks side by side, as many as there are processors. */
async function sideBySide(tasks) {
  const waiting = [...tasks];
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, async () => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) { await task(); }
  }));
}

const steps = new Steps();
const started = Date.now();

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'));
}

/** One project with all programs in it, of one version of aws-cdk-lib. */
async function tryVersion(workspace, env, tarball, { name, cdk, constructs, typescript, nodeTypes }) {
  const project = folderIn(workspace, name);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'stranger', private: true }));
  const imported = [...new Set(programs.flatMap(({ code }) => importsOf(code)))].filter((dependency) => ![NAME, 'aws-cdk-lib', 'constructs'].includes(dependency));
  console.log(`\n${name} aws-cdk-lib (${cdk})`);
  const installed = await steps.step('npm install', async () => {
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', tarball, `aws-cdk-lib@${cdk}`, `constructs@${constructs}`,
      ...imported, `typescript@${typescript}`, `@types/node@${nodeTypes}`], { cwd: project, env });
    return { note: ['aws-cdk-lib', 'constructs', 'typescript'].map((dependency) => `${dependency} ${versionIn(project, dependency)}`).join(', ') };
  });
  if (installed === undefined) { return; }
  const version = versionIn(project, 'aws-cdk-lib');
  const labelled = (label) => `${label} with aws-cdk-lib ${version}`;

  if (name !== 'floor') {
    await steps.step('what is in the package', async () => {
      const library = join(project, 'node_modules', NAME);
      const files = filesBelow(library);
      demand(problemsOfTarball(files, readJson(join(library, 'package.json'))));
      return { note: `${files.length} files` };
    });
  }

  const home = folderIn(project, 'programs');
  for (const { folder, code, module } of programs) {
    const place = folderIn(home, folder);
    // The directories that programs name: services with their Dockerfile, functions.
    for (const directory of readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
      cpSync(join(EXAMPLES, directory.name), join(place, directory.name), { recursive: true });
    }
    writeFileSync(join(place, PROGRAM), code);
    writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, type: module ? 'module' : 'commonjs' }));
  }
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({
    compilerOptions: { strict: true, target: 'es2022', module: 'nodenext', skipLibCheck: true, types: ['node'], rootDir: '.' }, include: [`*/${PROGRAM}`],
  }));
  await steps.step(labelled(`type check of ${programs.length} programs`), async () => {
    await run('npx', ['--no-install', 'tsc', '-p', 'programs'], { cwd: project, env });
  });

  await sideBySide([
    // The longest one first.
    () => tryStarter(workspace, env, tarball, { name, project, labelled }),
    ...programs.map(({ label, folder, code, module }) => () => steps.step(labelled(label), async () => {
      const cwd = join(home, folder);
      // The variable is how the command line interface of CDK starts a program, too.
      await run(process.execPath, [module ? PROGRAM : PROGRAM.replace('.ts', '.js')], { cwd, env: { ...env, CDK_OUTDIR: join(cwd, 'cdk.out') } });
      return check(join(cwd, 'cdk.out'), code);
    })),
  ]);
}

/** The starter as it is copied, with this package and this version in its package.json. */
async function tryStarter(workspace, env, tarball, { name, project, labelled }) {
  const source = [join(project, 'node_modules', NAME, 'starter'), join(root, 'starter')].find((folder) => existsSync(folder));
  if (source === undefined) {
    steps.failures.push({ label: 'starter', message: 'there is no starter, neither in the package nor in the repository' });
    return;
  }
  await steps.step(labelled('starter/'), async () => {
    const starter = join(workspace, `starter-${name}`);
    cpSync(source, starter, { recursive: true, filter: (path) => !/[\\/](node_modules|cdk\.out|package-lock\.json)$/.test(path) });
    const manifest = readJson(join(starter, 'package.json'));
    const tried = { [NAME]: `file:${tarball}`, 'aws-cdk-lib': versionIn(project, 'aws-cdk-lib'), 'constructs': versionIn(project, 'constructs') };
    for (const field of ['dependencies', 'devDependencies']) {
      for (const dependency of Object.keys(manifest[field] ?? {}).filter((key) => key in tried)) { manifest[field][dependency] = tried[dependency]; }
    }
    writeFileSync(join(starter, 'package.json'), JSON.stringify(manifest, undefined, 2));
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], { cwd: starter, env });
    await run('npm', ['run', 'synth', '--', '--no-notices'], { cwd: starter, env });
    return check(join(starter, 'cdk.out'), readFileSync(join(starter, 'app.ts'), 'utf8'));
  });
}

await withFolder('package', values.keep, async (workspace) => {
  const env = npmUserEnvironment(folderIn(workspace, 'home'));
  console.log(values.tarball ? 'given' : 'packed');
  const packed = await steps.step('tarball', async () => {
    const tarball = values.tarball ?? execFileSync(process.execPath, [join(root, 'scripts', 'pack.mjs'), join(workspace, 'tarball')], {
      encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'],
    }).trim();
    return { tarball, note: `${basename(tarball)}, ${(statSync(tarball).size / 1024).toFixed(0)} KiB` };
  });
  if (packed === undefined) { return; }

  await steps.step('README.md names what its programs need', async () => {
    const whole = programs.filter(({ code }) => isWholePipeline(code)).map(({ label }) => label);
    const told = installedBy(README);
    demand([
      ...whole.some((label) => label.startsWith('README')) ? [] : ['README.md has no program with a whole pipeline'],
      ...whole.includes('examples/new-pipeline.ts') ? [] : ['examples/new-pipeline.ts is no whole pipeline'],
      ...programs.filter(({ module }) => module).flatMap(({ label, code }) => importsOf(code).filter((name) => !told.includes(name))
        .map((name) => `${label} imports ${name}, and no \`npm install\` of README.md has it`)),
    ]);
    return { note: `${programs.length} programs` };
  });

  const { peerDependencies } = JSON.parse(execFileSync('tar', ['-xOzf', packed.tarball, 'package/package.json'], { encoding: 'utf8' }));
  const floor = floorOf({ peerDependencies });
  const { devDependencies } = readJson(join(root, 'package.json'));
  const versions = [
    { name: 'newest', cdk: peerDependencies['aws-cdk-lib'], constructs: peerDependencies.constructs, typescript: 'latest', nodeTypes: 'latest' },
    { name: 'floor', cdk: floor['aws-cdk-lib'], constructs: floor.constructs, typescript: devDependencies.typescript, nodeTypes: devDependencies['@types/node'] },
  ];
  for (const version of versions.filter(({ name }) => name === (values.only ?? name))) {
    await tryVersion(workspace, env, packed.tarball, version);
  }
});

console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish('package');
