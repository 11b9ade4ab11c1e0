import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compile, Compiled } from './compile';
import { anchors, codes, links, pages, root, rows, section, text } from './markdown';
import { COUNTS, PERMISSIONS, System } from './systems';
import { warningIds } from './warning-ids';

const INDEX = 'docs/README.md';

/** The pages of constructs, which the index lists first. */
const constructPages = rows(section(INDEX, 'Constructs')).map(([, page]) => `docs/${/\(([^)]+)\)/.exec(page!)![1]}`);

describe('the index', () => {
  const listed = links(INDEX).map(({ file }) => file).filter((file) => /^docs\/[^/]+\.md$/.test(file));

  test('has every page, and each of them once', () => {
    expect(listed.sort()).toEqual(pages().sort());
  });

  test('says of every page in a line what is in it', () => {
    const lines = text(INDEX).split('\n').filter((line) => /\]\([^)/]+\.md\)/.test(line));
    expect(lines.filter((line) => line.replace(/\[[^\]]*\]\([^)]*\)/g, '').replace(/`[^`]*`/g, '').replace(/\W/g, '').length < 15)).toEqual([]);
    expect(lines).toHaveLength(listed.length);
  });
});

test.each(constructPages)('%s has the headings that all pages of constructs have', (page) => {
  expect(text(page).match(/^## .*$/gm)).toEqual([
    'Overview', 'Usage', 'Decisions and defaults', 'What it creates', 'Permissions', 'Cost', 'Quotas', 'Verify it works', 'Clean up', 'Upgrade notes',
  ].map((heading) => `## ${heading}`));
});

test.each(['README.md', INDEX, ...pages()])('the links of %s lead to files, and to headings in them', (page) => {
  const lost = links(page).filter(({ file, anchor }) =>
    !existsSync(join(root, file)) || anchor !== undefined && !anchors(file).includes(anchor));
  expect(lost.map(({ file, anchor }) => anchor === undefined ? file : `${file}#${anchor}`)).toEqual([]);
});

describe('the code of the pages', () => {
  let compiled: Compiled;
  beforeAll(() => {
    // The blocks of the last are a test, which is one file.
    compiled = compile(pages(), ['docs/test-your-stack.md']);
  }, 180_000);

  test('compiles', () => {
    expect(compiled.errors).toEqual([]);
    expect(compiled.blocks).toBeGreaterThan(20);
  });

  test('every construct has a page', () => {
    const documented = codes(rows(section(INDEX, 'Constructs')).map(([names]) => names).join());
    expect(compiled.constructs.length).toBeGreaterThan(5);
    expect(compiled.constructs.filter((name) => !documented.includes(name))).toEqual([]);
  });
});

test.each([
  'examples/local-run/shop.test.mjs', 'examples/local-run/jest/start.mjs', 'examples/local-run/jest/shop.test.cjs',
  'packages/local-run/test/parameter-store/parameter-store.ts',
])('docs/run-your-own-stack.md has %s as it is tested', (file) => {
  const code = text(file).trimEnd().replaceAll("'../../src/index.ts'", "'cdk-local-run'");
  expect(text('docs/run-your-own-stack.md')).toContain(`\n${code}\n\`\`\``);
});

test('docs/warnings.md explains every warning of the library, and no other', () => {
  const ids = warningIds();
  expect(ids.length).toBeGreaterThan(20);
  const table = rows(text('docs/warnings.md'));
  expect(table.map(([id]) => id!.replace(/`/g, '')).sort()).toEqual(ids);
  expect(table.filter((row) => row.length !== 3 || row.some((cell) => cell.length < 5))).toEqual([]);
});

test.each(Object.entries(COUNTS))('%s says how many resources there are', (page, counts) => {
  const resources = (build: (system: System) => unknown) => {
    const system = new System();
    build(system);
    return Object.keys(system.template().toJSON().Resources ?? {}).filter((id) => !id.startsWith('Brought')).length;
  };
  const counted = Object.entries(counts).map(([row, build]) =>
    [row, Array.isArray(build) ? resources(build[1]) - resources(build[0]) : resources(build)]);
  const written = rows(section(page, 'What it creates')).filter((cells) => cells.length === 3).map(([row, , count]) => [row, Number(count)]);
  expect(written).toEqual(counted);
});

test.each(Object.entries(PERMISSIONS))('%s lists the permissions exactly', (page, build) => {
  const system = new System();
  build(system);
  const given = statements(system.template().toJSON().Resources).map(({ Action, Condition = {} }) =>
    [[Action].flat().sort(), Object.values(Condition).flatMap((operands) => Object.keys(operands)).sort()]);
  const written = rows(section(page, 'Permissions')).filter((cells) => cells.length === 4).map(([, actions, , conditions]) =>
    [codes(actions!).sort(), codes(conditions!).filter((code) => code.includes(':')).sort()]);
  expect(unique(written)).toEqual(unique(given));
});

interface Statement {
  readonly Action: string | string[];
  readonly Condition?: { [operator: string]: object };
  readonly Principal?: unknown;
}

/** Of policies, keys and roles; except those that the core gives the account on a key, and the policies of resources that are brought. */
function statements(resources: { [id: string]: { Type: string; Properties: { [name: string]: any } } }): Statement[] {
  return Object.entries(resources).flatMap(([id, { Type, Properties }]) => {
    if (id.startsWith('Brought') && Type !== 'AWS::KMS::Key' && Type !== 'AWS::IAM::Policy') { return []; }
    const documents = ['PolicyDocument', 'KeyPolicy', 'AssumeRolePolicyDocument'].map((name) => Properties[name]).filter(Boolean);
    // The policy of a bus is a statement alone.
    const bus: Statement[] = Type === 'AWS::Events::EventBusPolicy' ? [Properties.Statement] : [];
    return [...documents.flatMap((document) => document.Statement as Statement[]), ...bus].filter(({ Action }) => Action !== 'kms:*');
  });
}

function unique(values: unknown[]): string[] {
  return [...new Set(values.map((value) => JSON.stringify(value)))].sort();
}
