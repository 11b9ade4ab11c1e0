import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

export const root = join(__dirname, '../..');

export function text(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** Every page of the documentation but the index of them, as `docs/…`. */
export function pages(): string[] {
  return readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md') && file !== 'README.md').map((file) => `docs/${file}`);
}

/** What stands between a heading and the next one of the same level, without blocks of code. */
export function section(file: string, heading: string): string {
  const [, found] = withoutBlocks(text(file)).split(new RegExp(`^## ${heading}$`, 'm'));
  if (found === undefined) { throw new Error(`${file} has no heading '## ${heading}'`); }
  return found.split(/^## /m)[0]!;
}

/** The rows of all tables, as cells, without heads. */
export function rows(markdown: string): string[][] {
  const lines = markdown.split('\n');
  return lines.filter((line, index) => line.startsWith('|') && !/^\|[-| ]+\|$/.test(line) && !/^\|[-| ]+\|$/.test(lines[index + 1] ?? ''))
    .map((line) => line.replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim()));
}

/** What is written as code. */
export function codes(markdown: string): string[] {
  return [...markdown.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

export interface Link {
  readonly label: string;
  /** The file, from the root of the repository. */
  readonly file: string;
  readonly anchor?: string;
}

/** The links to files. */
export function links(file: string): Link[] {
  return [...withoutBlocks(text(file)).matchAll(/\[([^\]]*)\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, label, target]) => {
    const [path, anchor] = target!.split('#');
    return { label: label!, file: path ? posix.join(posix.dirname(file), path) : file, anchor };
  });
}

/** The anchors that GitHub makes of headings. */
export function anchors(file: string): string[] {
  return [...withoutBlocks(text(file)).matchAll(/^#+ (.*)$/gm)]
    .map(([, heading]) => heading!.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-'));
}

function withoutBlocks(markdown: string): string {
  return markdown.replace(/^```.*?^```$/gms, '');
}
