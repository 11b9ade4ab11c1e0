#!/usr/bin/env node
// The stacks of errors in a log, with the lines of the sources: node reference-app/scripts/source-lines.ts --help
import { readdirSync, readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { basename, join, posix } from 'node:path';
import { createInterface } from 'node:readline';

const HELP = `Reads a log from standard input, and writes it with the files and lines of the TypeScript sources in the stacks of its errors.

Usage: npx node reference-app/scripts/source-lines.ts [FOLDER] < LOG

  FOLDER   the source maps of the image that wrote the log    [reference-app/dist/order-pipeline/source-maps]

A synthesis makes the source maps beside the images. Those of a deployed image come from a synthesis of the same commit.

Example
  kubectl logs --namespace orders deploy/api-write-service | node reference-app/scripts/source-lines.ts
`;

/** The place of a frame in a bundled file. In a JSON log, the stack is a part of a string. */
const FRAME = /(?:file:\/\/)?\/[^\s()":]*\/([\w.-]+\.js):(\d+):(\d+)/g;
/** The folder of the bundled files, which the paths in the source maps start from. */
const BUNDLE = 'reference-app/dist/app';

const [folder = join(import.meta.dirname, '..', 'dist', 'order-pipeline', 'source-maps')] = process.argv.slice(2);
if (folder === '--help' || folder === '-h') {
  process.stdout.write(HELP);
} else {
  const maps = mapsIn(folder);
  for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${translate(line, maps)}\n`);
}

/** The source maps by the name of the bundled file. A name has a hash of the content, or is that of one program. */
function mapsIn(root: string): Map<string, () => SourceMap> {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js.map'));
  return new Map(files.map((file) => {
    let map: SourceMap | undefined;
    return [basename(file, '.map'), () => (map ??= new SourceMap(JSON.parse(readFileSync(join(root, file), 'utf8')) as SourceMapPayload))];
  }));
}

function translate(line: string, maps: ReadonlyMap<string, () => SourceMap>): string {
  return line.replace(FRAME, (place, file: string, row: string, column: string) => {
    const entry = maps.get(file)?.().findEntry(Number(row) - 1, Number(column) - 1);
    if (!entry || !('originalSource' in entry)) return place;
    return `${posix.join(BUNDLE, entry.originalSource)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
