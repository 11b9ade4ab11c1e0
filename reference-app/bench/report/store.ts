/** The stored results, and the pages and pictures that are made of them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { performancePage, scalingPage } from './page.ts';
import { curvesPicture, performancePicture, soakPicture } from './pictures.ts';
import type { Results } from './results.ts';

const RESULTS = join(import.meta.dirname, '../results/performance.json');
/** Written by npm run bench:compare -- --record. */
const COMPARED = join(import.meta.dirname, '../results/compare.json');
const DOCS = join(import.meta.dirname, '../../../docs');

/** The stored results; undefined before the first run with --record. */
export function readResults(): Results | undefined {
  return existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) as Results : undefined;
}

export function writeResults(results: Results): void {
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, compact(results));
}

/** The files that are made of the results, by their paths in docs/. */
export function documents(results: Results): Map<string, string> {
  const files = new Map([
    ['performance.md', performancePage(results, readCompared())],
    ['images/performance.svg', performancePicture(results)],
  ]);
  if (results.soak) files.set('images/soak.svg', soakPicture(results.soak));
  if (results.curves) {
    files.set('images/scaling.svg', curvesPicture(results.curves.curves));
    files.set('scaling.md', scalingPage(readDocument('scaling.md'), results.curves));
  }
  return files;
}

/** The part of docs/performance.md about the cost by program, before and after a change; undefined when it was not measured. */
function readCompared(): string | undefined {
  return existsSync(COMPARED) ? (JSON.parse(readFileSync(COMPARED, 'utf8')) as { markdown: string }).markdown : undefined;
}

export function readDocument(path: string): string {
  return readFileSync(join(DOCS, path), 'utf8');
}

export function writeDocuments(results: Results): void {
  mkdirSync(join(DOCS, 'images'), { recursive: true });
  for (const [path, text] of documents(results)) writeFileSync(join(DOCS, path), text);
}

/** JSON with a line per slice, and six digits per number: the others are noise. */
function compact(results: Results): string {
  const round = (_: string, value: unknown) => (typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value);
  const rounded = JSON.parse(JSON.stringify(results, round)) as unknown;
  return `${JSON.stringify(rounded, undefined, 1).replace(/\{\n\s+"round"[^}]*\}/g, (slice) => slice.replace(/\n\s*/g, ' '))}\n`;
}
