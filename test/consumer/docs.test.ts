import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ts from 'typescript';

const root = join(__dirname, '../..');
const text = (file: string) => readFileSync(join(root, file), 'utf8');
const pages = ['docs/buffered-event-consumer.md', 'docs/buffered-event-consumer-scaling.md'];

test.each(pages)('%s has the headings that all such pages have', (page) => {
  expect(text(page).match(/^## .*$/gm)).toEqual([
    'Overview', 'Usage', 'Decisions and defaults', 'What it creates', 'Permissions', 'Cost', 'Quotas', 'Verify it works', 'Clean up', 'Upgrade notes',
  ].map((heading) => `## ${heading}`));
});

test('every warning of a consumer is explained', () => {
  const sources = readdirSync(join(root, 'src/consumer'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const ids = sources.flatMap((file) => text(`src/consumer/${file}`).match(/(?<=cdk-order-pipeline:)\w+/g) ?? []);
  expect(ids.length).toBeGreaterThan(10);
  const explained = pages.map(text).join();
  expect([...new Set(ids)].filter((id) => !explained.includes(id))).toEqual([]);
});

test('links lead somewhere', () => {
  for (const page of pages) {
    const links = [...text(page).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, link]) => join('docs', link!));
    expect(links.filter((link) => { try { text(link); return false; } catch { return true; } })).toEqual([]);
  }
});

/** `declare` stands only outside of the class. */
function withFixture(code: string): string {
  const declared = code.match(/^declare .*$/gm) ?? [];
  return [text('rosetta/default.ts-fixture').replace('/// here', code.replace(/^declare .*$/gm, '')), ...declared].join('\n');
}

test('the code in them compiles, with the names that the examples of the API take for granted', () => {
  const sources = new Map(pages.flatMap((page) => [...text(page).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code], index) => [
    // Beside the examples, which import the package by its name too.
    join(root, 'examples', `${page.replace(/\W/g, '-')}-${index}.ts`),
    code!.startsWith('import ') ? code! : withFixture(code!),
  ] as const)));
  expect(sources.size).toBeGreaterThan(2);

  const { config } = ts.readConfigFile(join(root, 'tsconfig.dev.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false });
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.getSourceFile = (file, ...rest) => sources.has(file)
    ? ts.createSourceFile(file, sources.get(file)!, rest[0])
    : getSourceFile(file, ...rest);
  const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([...sources.keys()], options, host));
  expect(ts.formatDiagnostics(diagnostics, host)).toBe('');
}, 60_000);
