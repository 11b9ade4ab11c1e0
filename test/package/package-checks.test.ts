import { importsOf, installedBy, programsOf } from './documented-programs';
import { problemsOfTarball } from './tarball-checks';

describe('tarball', () => {
  const FILES = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', '.jsii', 'lib/index.js', 'lib/index.d.ts', 'lib/bus/private/x.js', 'starter/services/a.js'];
  const MANIFEST = Object.fromEntries(
    ['name', 'version', 'description', 'license', 'repository', 'homepage', 'bugs', 'keywords', 'peerDependencies', 'jsii', 'main', 'types'].map(field => [field, {}]));

  test('has what users need', () => {
    expect(problemsOfTarball(FILES, MANIFEST)).toEqual([]);
    expect(problemsOfTarball(FILES.filter(file => file !== 'lib/index.d.ts'), MANIFEST)).toEqual(['lib/index.d.ts is missing']);
  });

  test.each(['API.md', 'test/a.test.ts', 'lib/index.js.map', 'lib/index.ts', 'src/index.ts', '.npmrc', 'starter/node_modules/a.js', 'starter/cdk.out/tree.json', 'docs/lib/a.js'])(
    '%s is not in it', file => {
      expect(problemsOfTarball([...FILES, file], MANIFEST)).toEqual([`${file} is not for users`]);
    });

  test.each(['workspaces', 'overrides', 'allowScripts', 'devEngines', 'scripts'])('its package.json has no %s', field => {
    expect(problemsOfTarball(FILES, { ...MANIFEST, [field]: {} })).toEqual([expect.stringContaining(`has ${field}`)]);
  });

  test('its package.json has the fields that a registry shows', () => {
    const { homepage, ...rest } = MANIFEST;
    expect(problemsOfTarball(FILES, rest)).toEqual(['package.json has no homepage']);
  });
});

describe('programs of a document', () => {
  const MARKDOWN = [
    '# Title', '```console', 'npm install one @two/three@^2 && npm i -D four', '```',
    '```ts', 'declare const a: A;', '```',
    '```ts nofixture', "import { join } from 'path';", 'import {', '  A,', "} from '@two/three/sub';", "import 'one';", "import { B } from './b';", '```',
    'and `npm install five` too', '```json', '{}', '```', '',
  ].join('\n');

  test('are the blocks that import something', () => {
    expect(programsOf(MARKDOWN).map(({ line }) => line)).toEqual([9]);
    expect(programsOf(MARKDOWN)[0].code).toMatch(/^import \{ join[^]*'\.\/b';\n$/);
  });

  test('import packages, by path and in several lines', () => {
    expect(importsOf(programsOf(MARKDOWN)[0].code)).toEqual(['@two/three', 'one']);
  });

  test('import nothing by what only looks like it', () => {
    expect(importsOf("export const app = new App();\nconst stack = new Stack(app, 'Shop');\nexport interface A { b: 'c' }\nexport * from 'd';\n")).toEqual(['d']);
  });

  test('need what the document tells to install', () => {
    expect(installedBy(MARKDOWN)).toEqual(['@two/three', 'five', 'four', 'one']);
  });
});
