#!/usr/bin/env node
// Packs the library for the other languages, installs the packages as a stranger would, and compares the templates that the programs of
// test/languages make with the ones of the TypeScript programs of the same content, resource by resource. All of it with the oldest
// aws-cdk-lib that is promised, because Java and Go take that one, and every registry has it.
// A language whose tool chain is missing is left out; .NET is only generated.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { callersEnvironment, demand, floorOf, folderIn, has, npmUserEnvironment, readAssembly, readJson, root, run, Steps, versionIn, withFolder } from './lib/user-project.mjs';

const LANGUAGES = ['python', 'java', 'go', 'dotnet'];
const USAGE = `usage: npm run test:languages [-- <options>] [<language>...]

  <language>    ${LANGUAGES.join(', ')}; default: all of them
  --keep        keeps the folder with the projects, and prints where it is
  --help        this text`;

const { values, positionals } = parseArgs({
  allowPositionals: true, options: { keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (positionals.some((language) => !LANGUAGES.includes(language))) {
  console.error(USAGE);
  process.exit(2);
}
if (!process.features.typescript) {
  console.error('test-languages needs a Node.js that runs TypeScript (22.18 or newer): run it by `npm run test:languages`, which brings one');
  process.exit(1);
}
// The repository's package.json has no "type", and Node.js warns of each TypeScript file that it has to look into because of that.
process.removeAllListeners('warning');
const { firstDifference } = await import('../test/languages/compare-templates.ts');

const languages = positionals.length > 0 ? positionals : LANGUAGES;
const PROGRAMS = join(root, 'test', 'languages');
const KUBECTL = '@aws-cdk/lambda-layer-kubectl-v35';
const AWS_CDK = 'software.amazon.awscdk';
const MAVEN_KUBECTL = 'cdk-lambda-layer-kubectl-v35';
const GO_KUBECTL = 'github.com/cdklabs/awscdk-kubectl-go/kubectlv35/v2';
const windows = process.platform === 'win32';
const env = callersEnvironment();
const steps = new Steps();
const started = Date.now();

const manifest = readJson(join(root, 'package.json'));
const floor = floorOf(manifest);
const versions = { cdk: floor['aws-cdk-lib'], constructs: floor.constructs, kubectl: versionIn(root, KUBECTL) };

/** The programs of a language, by the name of what they make. */
function programsOf(language) {
  return readdirSync(join(PROGRAMS, language)).filter((file) => /^\w+\.(ts|py|java|go)$/.test(file)).map((file) => ({ file, name: file.split('.')[0].toLowerCase() }));
}

/** A folder with what the programs of a language need beside themselves: the directory of the image. */
function layProject(workspace, language) {
  const project = folderIn(workspace, 'projects', language);
  cpSync(join(root, 'examples', 'services'), join(project, 'services'), { recursive: true });
  return project;
}

/** Packs the library for a language; the Maven repository of the user saves downloads. */
async function pack(workspace, target, ...options) {
  const outdir = folderIn(workspace, 'dist');
  await run(process.execPath, [join(root, 'scripts', 'pack.mjs'), '--target', target, ...options, outdir], {
    cwd: root, env: { ...process.env, MAVEN_OPTS: mavenOptions() },
  });
  return join(outdir, target);
}

/**
 * Packs the layer with kubectl for a language, from its npm package: its own packages of the other languages are the largest there are,
 * and a mirror may lack them.
 */
async function packKubectl(workspace, target, ...options) {
  const dist = folderIn(workspace, 'dist');
  const library = join(workspace, 'projects', 'typescript', 'node_modules', ...KUBECTL.split('/'));
  await run(process.execPath, [createRequire(join(root, 'package.json')).resolve('jsii-pacmak/bin/jsii-pacmak'), '--target', target, '--outdir', dist,
    '--no-npmignore', ...options, library], { cwd: workspace, env: { ...env, MAVEN_OPTS: mavenOptions() } });
  return join(dist, target);
}

/** The templates of an assembly are those of the TypeScript program of that name. */
function compareWith(expected, folder) {
  const { templates, resources } = readAssembly(folder);
  demand([...new Set([...Object.keys(expected), ...Object.keys(templates)])].flatMap((file) => {
    const difference = firstDifference(expected[file] ?? {}, templates[file] ?? {});
    return difference === undefined ? [] : [`${file}: ${difference}`];
  }));
  return { note: `${resources} of ${resources} resources` };
}

/** Runs the programs of a language, each by `start`, and compares what they make. */
async function runPrograms(language, project, expected, start) {
  for (const { file, name } of programsOf(language)) {
    await steps.step(`${language}: ${file} makes what ${name}.ts makes`, async () => {
      const outdir = join(project, `cdk.out.${name}`);
      const [command, args] = start(file, name);
      await run(command, args, { cwd: project, env: { ...env, CDK_OUTDIR: outdir } });
      return compareWith(expected[name], outdir);
    });
  }
}

// --- TypeScript ------------------------------------------------------------------------------------

async function typescript(workspace) {
  const project = layProject(workspace, 'typescript');
  const npmEnv = npmUserEnvironment(folderIn(workspace, 'home'));
  const expected = {};
  const installed = await steps.step('typescript: npm install', async () => {
    const tarball = execFileSync(process.execPath, [join(root, 'scripts', 'pack.mjs'), join(workspace, 'tarball')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'stranger', private: true, type: 'module' }));
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', tarball, `aws-cdk-lib@${versions.cdk}`,
      `constructs@${versions.constructs}`, `${KUBECTL}@${versions.kubectl}`], { cwd: project, env: npmEnv });
    return { note: `aws-cdk-lib ${versionIn(project, 'aws-cdk-lib')}` };
  });
  if (installed === undefined) { return undefined; }
  for (const { file, name } of programsOf('typescript')) {
    const made = await steps.step(`typescript: ${file}`, async () => {
      cpSync(join(PROGRAMS, 'typescript', file), join(project, file));
      const outdir = join(project, `cdk.out.${name}`);
      await run(process.execPath, [file], { cwd: project, env: { ...npmEnv, CDK_OUTDIR: outdir } });
      const { templates, resources } = readAssembly(outdir);
      expected[name] = templates;
      return { note: `${resources} resources` };
    });
    if (made === undefined) { return undefined; }
  }
  return expected;
}

// --- Python ----------------------------------------------------------------------------------------

async function python(workspace, expected) {
  const interpreter = windows ? 'python' : 'python3';
  if (!await has(interpreter, ['-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))'], env)) {
    return 'there is no Python 3.9 or newer with venv';
  }
  const packed = await steps.step('python: package', async () => {
    const folder = await pack(workspace, 'python');
    const wheel = readdirSync(folder).find((file) => file.endsWith('.whl'));
    demand(wheel === undefined ? ['there is no wheel'] : []);
    return { wheel: join(folder, wheel), note: wheel };
  });
  if (packed === undefined) { return undefined; }
  const project = layProject(workspace, 'python');
  const bin = join(project, '.venv', windows ? 'Scripts' : 'bin');
  const installed = await steps.step('python: pip install', async () => {
    await run(interpreter, ['-m', 'venv', '.venv'], { cwd: project, env });
    await run(join(bin, 'pip'), ['install', '--quiet', packed.wheel, `aws-cdk-lib==${versions.cdk}`, `constructs==${versions.constructs}`,
      `aws-cdk.lambda-layer-kubectl-v35==${versions.kubectl}`], { cwd: project, env });
    const metadata = await run(join(bin, 'python'), ['-c', 'from importlib.metadata import requires; print("\\n".join(requires("cdk-order-pipeline")))'], { cwd: project, env });
    demand(metadata.includes(`>=${versions.cdk}`) ? [] : [`the package does not require aws-cdk-lib ${versions.cdk} or newer:`, metadata]);
    return {};
  });
  if (installed === undefined) { return undefined; }
  cpSync(join(PROGRAMS, 'python'), project, { recursive: true });
  await runPrograms('python', project, expected, (file) => [join(bin, 'python'), [file]]);
  return undefined;
}

// --- Java ------------------------------------------------------------------------------------------

/** Where Maven keeps what it downloads. */
function mavenRepository() {
  const settings = join(homedir(), '.m2', 'settings.xml');
  const [, configured] = (existsSync(settings) ? readFileSync(settings, 'utf8').replace(/<!--[^]*?-->/g, '') : '').match(/<localRepository>\s*([^<]+?)\s*</) ?? [];
  return configured?.replace('${user.home}', homedir()) ?? join(homedir(), '.m2', 'repository');
}

const mavenOptions = () => `${process.env.MAVEN_OPTS ?? ''} -Dmaven.repo.local=${mavenRepository()}`.trim();

async function java(workspace, expected) {
  if (!await has('mvn', ['--version'], env)) { return 'there is no Maven'; }
  if (!await has('javac', ['-version'], env)) { return 'there is no Java compiler'; }
  const { groupId, artifactId } = manifest.jsii.targets.java.maven;
  // All builds here are of one version, which Maven takes for the same.
  const forget = (group, artifact) => rmSync(join(mavenRepository(), ...group.split('.'), artifact), { recursive: true, force: true });
  const packed = await steps.step('java: package', async () => {
    const repository = await pack(workspace, 'java');
    const [version] = readdirSync(join(repository, ...groupId.split('.'), artifactId)).filter((name) => /^\d/.test(name));
    const pom = readFileSync(join(repository, ...groupId.split('.'), artifactId, version, `${artifactId}-${version}.pom`), 'utf8');
    const [, required] = pom.match(/<artifactId>aws-cdk-lib<\/artifactId>\s*<version>([^<]*)</) ?? [];
    demand(new RegExp(`^\\[?${versions.cdk.replaceAll('.', '\\.')}\\b`).test(required ?? '') ? [] : [`the pom requires aws-cdk-lib ${required}, not ${versions.cdk}`]);
    return { repository, version, note: `aws-cdk-lib ${required}` };
  });
  // What Maven builds it also remembers as installed; a stranger has it from a repository.
  forget(groupId, artifactId);
  if (packed === undefined) { return undefined; }
  const project = layProject(workspace, 'java');
  const sources = folderIn(project, 'src', 'main', 'java');
  for (const { file } of programsOf('java')) { cpSync(join(PROGRAMS, 'java', file), join(sources, file)); }
  writeFileSync(join(project, 'pom.xml'), pomOf({ groupId, artifactId, ...packed }));
  const maven = (...args) => ['mvn', ['--batch-mode', '--quiet', `-Dmaven.repo.local=${mavenRepository()}`, ...args]];
  try {
    const compiled = await steps.step('java: mvn compile', async () => {
      const compile = (...options) => run(...maven(...options, 'compile'), { cwd: project, env });
      return compile().then(() => ({}), async (error) => {
        if (!error.message.includes(MAVEN_KUBECTL)) { throw error; }
        await packKubectl(workspace, 'java');
        forget(AWS_CDK, MAVEN_KUBECTL);
        await compile('--update-snapshots');
        return { note: `the repository has no ${MAVEN_KUBECTL}: made here` };
      });
    });
    if (compiled !== undefined) {
      await runPrograms('java', project, expected, (file) => maven('exec:java', `-Dexec.mainClass=${file.replace('.java', '')}`));
    }
    if (compiled?.note) { forget(AWS_CDK, MAVEN_KUBECTL); }
  } finally {
    forget(groupId, artifactId);
  }
  return undefined;
}

function pomOf({ groupId, artifactId, version, repository }) {
  const dependencies = [
    [groupId, artifactId, version],
    [AWS_CDK, 'aws-cdk-lib', versions.cdk],
    ['software.constructs', 'constructs', versions.constructs],
    [AWS_CDK, MAVEN_KUBECTL, versions.kubectl],
  ].map(([group, artifact, exact]) => `    <dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${exact}</version></dependency>`);
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId>
  <artifactId>stranger</artifactId>
  <version>1.0</version>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <repositories>
    <repository><id>packed</id><url>file://${repository.replaceAll('\\', '/')}</url></repository>
  </repositories>
  <dependencies>
${dependencies.join('\n')}
  </dependencies>
  <build>
    <plugins>
      <plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-compiler-plugin</artifactId><version>3.14.0</version></plugin>
      <plugin><groupId>org.codehaus.mojo</groupId><artifactId>exec-maven-plugin</artifactId><version>3.5.0</version></plugin>
    </plugins>
  </build>
</project>
`;
}

// --- Go --------------------------------------------------------------------------------------------

async function go(workspace, expected) {
  const packed = await steps.step('go: package', async () => {
    const folder = join(await pack(workspace, 'go', '--code-only'), 'cdkorderpipeline');
    const [, required] = readFileSync(join(folder, 'go.mod'), 'utf8').match(/github\.com\/aws\/aws-cdk-go\/awscdk\/v2 v(\S+)/) ?? [];
    demand(required === versions.cdk ? [] : [`go.mod requires aws-cdk-lib ${required}, not ${versions.cdk}`]);
    return { folder, note: `aws-cdk-lib ${required}` };
  });
  if (!await has('go', ['version'], env)) { return 'there is no Go: the package was only generated'; }
  if (packed === undefined) { return undefined; }
  const project = layProject(workspace, 'go');
  cpSync(join(PROGRAMS, 'go'), project, { recursive: true });
  const { moduleName } = manifest.jsii.targets.go;
  const built = await steps.step('go: go build', async () => {
    // As by `go get`, except for modules that are not published.
    writeFileSync(join(project, 'go.mod'), `module example.com/stranger\n\ngo 1.23\n\nrequire ${moduleName}/cdkorderpipeline v0.0.0\n`
      + `replace ${moduleName}/cdkorderpipeline => ${packed.folder}\n`);
    const published = await has('go', ['mod', 'download', `${GO_KUBECTL}@v${versions.kubectl}`], env);
    if (!published) {
      const folder = join(await packKubectl(workspace, 'go', '--code-only'), 'kubectlv35');
      await run('go', ['mod', 'edit', `-require=${GO_KUBECTL}@v${versions.kubectl}`, `-replace=${GO_KUBECTL}=${folder}`], { cwd: project, env });
    }
    await run('go', ['mod', 'tidy'], { cwd: project, env });
    for (const { file, name } of programsOf('go')) { await run('go', ['build', '-o', `${name}.exe`, file], { cwd: project, env }); }
    return { note: published ? '' : `the proxy has no ${GO_KUBECTL}: made here` };
  });
  if (built !== undefined) { await runPrograms('go', project, expected, (_file, name) => [join(project, `${name}.exe`), []]); }
  return undefined;
}

// --- .NET ------------------------------------------------------------------------------------------

async function dotnet(workspace) {
  await steps.step('dotnet: package, generated only', async () => {
    const project = readFileSync(join(await pack(workspace, 'dotnet', '--code-only'), 'CdkOrderPipeline', 'CdkOrderPipeline.csproj'), 'utf8');
    const [, required] = project.match(/Include="Amazon\.CDK\.Lib" Version="([^"]*)"/) ?? [];
    demand(required?.startsWith(`[${versions.cdk},`) ? [] : [`the project requires aws-cdk-lib ${required}, not ${versions.cdk} or newer`]);
    return { note: `aws-cdk-lib ${required}` };
  });
  return undefined;
}

await withFolder('languages', values.keep, async (workspace) => {
  console.log(`aws-cdk-lib ${versions.cdk}, constructs ${versions.constructs}`);
  const expected = await typescript(workspace);
  if (expected === undefined) { return; }
  const tests = { java, python, go, dotnet };
  const waiting = Object.keys(tests).filter((language) => languages.includes(language));
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), 2) }, async () => {
    for (let language = waiting.shift(); language !== undefined; language = waiting.shift()) {
      const leftOut = await tests[language](workspace, expected);
      if (leftOut !== undefined) { console.log(`  skip  ${language}: ${leftOut}`); }
    }
  }));
});

console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish('languages');
