import '../strict/strict-mode';
import { readdirSync, readFileSync, statSync } from 'fs';
import { join } from 'path';
import { Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json';
import * as ts from 'typescript';
// Not loaded, but checked by the compiler.
import type { app as StarterApp } from '../../starter/app.js' with { 'resolution-mode': 'import' };
import { Manifest, manifestsOf } from '../kubernetes-manifests';

const root = join(__dirname, '../..');
const starter = join(root, 'starter');
const text = (file: string) => readFileSync(join(starter, file), 'utf8');
const json = (file: string) => JSON.parse(text(file));

/** As the CDK command line runs it: in its folder, with the context of its cdk.json; with the source of the library. */
function load(): typeof StarterApp {
  process.env.CDK_CONTEXT_JSON = JSON.stringify(json('cdk.json').context);
  const { outputText } = ts.transpileModule(text('app.ts'), { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } });
  const exported: { app?: typeof StarterApp } = {};
  const folder = process.cwd();
  process.chdir(starter);
  try {
    new Function('require', 'exports', outputText)(require, exported);
  } finally {
    process.chdir(folder);
  }
  return exported.app!;
}

let stack: Stack;
let template: Template;
let manifests: Manifest[];
beforeAll(() => {
  const app = load();
  // Strict: any finding of the CloudFormation rules is an error here.
  const [artifact] = app.synth().stacks;
  stack = app.node.findChild('Shop') as Stack;
  template = Template.fromJSON(artifact.template);
  manifests = manifestsOf(template);
});

test('has no warning', () => {
  Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
});

test('makes what its comments say', () => {
  template.resourceCountIs('AWS::RDS::DBCluster', 1);
  template.resourceCountIs('AWS::RDS::DBInstance', 2);
  template.resourceCountIs('AWS::Events::Archive', 1);
  template.hasResourceProperties('AWS::Events::Rule', { EventPattern: { 'source': ['com.example.orders'], 'detail-type': ['OrderCreated'] } });
  template.hasResourceProperties('AWS::SQS::Queue', { RedrivePolicy: Match.anyValue() });
});

test('starts each program of services/, each of one image', () => {
  const containers = manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job').flatMap(({ spec }) => spec.template.spec.containers);
  const programs = readdirSync(join(starter, 'services')).filter((file) => file.endsWith('.js') && file !== 'shared.js');
  expect(containers.map(({ command }) => command).sort()).toEqual(programs.map((program) => ['node', program]).sort());
  expect(new Set(containers.map(({ image }) => image)).size).toBe(1);
});

test('gives each program the variables that it reads', () => {
  const read = (file: string) => [...text(`services/${file}`).matchAll(/\benv\('(\w+)'\)/g)].map(([, name]) => name!);
  const always = ['SERVICE_NAME', 'DB_SECRET_ARN', 'DB_NAME', 'DB_PORT', 'DB_READER_PORT', 'DB_WRITER_ENDPOINT', 'DB_READER_ENDPOINT'];
  for (const { kind, spec } of manifests.filter((manifest) => manifest.kind === 'Deployment' || manifest.kind === 'Job')) {
    const [{ command: [, program], env }] = spec.template.spec.containers;
    const needed = [...always, ...read(program), ...kind === 'Deployment' ? ['PORT'] : [], ...program === 'inventory-service.js' ? ['QUEUE_URL'] : []];
    expect(env.map(({ name }: { name: string }) => name)).toEqual(expect.arrayContaining(needed));
  }
});

test('its settings are those that a new app gets today', () => {
  expect(json('cdk.json').context).toEqual(recommendedFlags);
});

test('its packages are those that the tests run with', () => {
  const reference = JSON.parse(readFileSync(join(root, 'reference-app/package.json'), 'utf8'));
  const { dependencies } = json('services/package.json');
  expect(dependencies).toEqual(Object.fromEntries(Object.keys(dependencies).map((name) => [name, reference.dependencies[name]])));
  const app = json('package.json');
  for (const name of ['aws-cdk', '@aws-cdk/lambda-layer-kubectl-v35']) {
    expect({ ...app.dependencies, ...app.devDependencies }[name]).toBe(reference.devDependencies[name]);
  }
});

test('it is small', () => {
  const kept = (folder: string) => readdirSync(folder).filter((name) => name !== 'node_modules' && name !== 'cdk.out');
  const files = (folder: string): string[] => kept(folder).flatMap((name) => {
    const file = join(folder, name);
    return statSync(file).isDirectory() ? files(file) : [file];
  });
  const sum = files(starter).reduce((bytes, file) => bytes + statSync(file).size, 0);
  expect(sum).toBeLessThan(40_000);
});
