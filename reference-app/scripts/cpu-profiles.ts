/**
 * Sums the processor time of the Node.js processes by package: `node reference-app/scripts/cpu-profiles.ts <folder of --cpu-profile>`, as
 * long as the assembly of the run is there with its source maps. Functions of Node.js count for the package that called them. Work that no
 * package called, such as the turns of promises and the data of sockets, is a line of its own.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number; readonly columnNumber: number };
  readonly children?: readonly number[];
}
interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const MOST = 12;
const NOBODY = 'Node.js: promises, sockets, timers';
const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('Give the folder of npm start -- --cpu-profile: node reference-app/scripts/cpu-profiles.ts <folder>');

const maps = new Map<string, SourceMap | undefined>();
const programs = new Map<string, Map<string, number>>();
for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))) add(JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile, file);
for (const [program, packages] of [...programs].sort(([, a], [, b]) => sum(b) - sum(a))) {
  const total = sum(packages);
  console.log(`\n${program}: ${(total / 1e6).toFixed(1)} s`);
  for (const [name, time] of [...packages].sort(([, a], [, b]) => b - a).slice(0, MOST)) console.log(`${(100 * time / total).toFixed(1).padStart(6)} %  ${name}`);
}

function add({ nodes, samples, timeDeltas }: CpuProfile, file: string): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const known = new Map<number, string | undefined>();
  const program = file.startsWith('endpoints.')
    ? 'endpoints'
    : basename(nodes.map(({ callFrame: { url } }) => url).find((url) => /\/asset\.[0-9a-f]+\/[^/]+\.js$/.test(url)) ?? file, '.js');
  const packages = programs.get(program) ?? new Map<string, number>();
  programs.set(program, packages);
  const ownerOf = (id: number): string | undefined => {
    if (known.has(id)) return known.get(id);
    const parent = parents.get(id);
    const owner = packageOf(byId.get(id)!) ?? (parent === undefined ? undefined : ownerOf(parent));
    known.set(id, owner);
    return owner;
  };
  for (const [index, id] of samples.entries()) {
    const { functionName } = byId.get(id)!.callFrame;
    if (functionName === '(idle)') continue;
    const owner = functionName === '(garbage collector)' || functionName === '(program)' ? functionName : ownerOf(id) ?? NOBODY;
    packages.set(owner, (packages.get(owner) ?? 0) + timeDeltas[index]!);
  }
}

/** Returns undefined for functions of Node.js. */
function packageOf({ callFrame: { url, lineNumber, columnNumber } }: ProfileNode): string | undefined {
  if (!url.startsWith('file:') && !url.startsWith('/')) return undefined;
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  if (!maps.has(path)) maps.set(path, existsSync(`${path}.map`) ? new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8'))) : undefined);
  const entry = maps.get(path)?.findEntry(lineNumber, columnNumber);
  const source = entry && 'originalSource' in entry ? entry.originalSource : path;
  return [...source.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].at(-1)?.[1] ?? source.replace(/^.*\/(services|local-run|asset\.[0-9a-f]+)\//, '$1/');
}

function sum(packages: ReadonlyMap<string, number>): number {
  return [...packages.values()].reduce((total, time) => total + time, 0);
}
