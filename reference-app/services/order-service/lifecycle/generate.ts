import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { renderDiagram, renderSql, renderTable } from './render.ts';

const ROOT = join(import.meta.dirname, '../../../..');

/** The copies of the table: each between two marks in a file. */
const PLACES = [
  { path: 'reference-app/services/order-service/lifecycle/orders.is_transition.sql', begin: '-- transitions: begin', end: '-- transitions: end', render: renderSql },
  { path: 'docs/order-lifecycle.md', begin: '<!-- diagram: begin -->', end: '<!-- diagram: end -->', render: renderDiagram },
  { path: 'docs/order-lifecycle.md', begin: '<!-- table: begin -->', end: '<!-- table: end -->', render: renderTable },
];

/** The files as they should be, and as they are. */
export async function generated(): Promise<{ path: string; is: string; shouldBe: string }[]> {
  const files = new Map<string, { path: string; is: string; shouldBe: string }>();
  for (const { path, begin, end, render } of PLACES) {
    let file = files.get(path);
    if (!file) {
      const is = await readFile(join(ROOT, path), 'utf8');
      file = { path, is, shouldBe: is };
    }
    const from = file.shouldBe.indexOf(begin);
    const to = file.shouldBe.indexOf(end);
    if (from < 0 || to < from) throw new Error(`${path} has no place between "${begin}" and "${end}"`);
    // The rest of the line of the mark stays.
    const start = file.shouldBe.indexOf('\n', from) + 1;
    files.set(path, { ...file, shouldBe: `${file.shouldBe.slice(0, start)}${render()}\n${file.shouldBe.slice(to)}` });
  }
  return [...files.values()];
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const { path, is, shouldBe } of await generated()) {
    if (is === shouldBe) continue;
    await writeFile(join(ROOT, path), shouldBe);
    console.log(`${path} written`);
  }
}
