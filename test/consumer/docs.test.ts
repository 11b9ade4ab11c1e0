import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

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
