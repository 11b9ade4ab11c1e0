import { existsSync } from 'node:fs';
import { read, roomsOf, sources } from './sources';
import type { Source } from './sources';

// The rooms of the repository: which there are, and which import which. The layers of src/ are in test/layers.test.ts.

const all = sources();
const LOCAL_RUN = 'packages/local-run/src/';
const APP = 'reference-app/';

/** The imports of files that a rule does not allow, as findings. */
function forbidden(files: readonly Source[], allowed: (file: string, imported: string) => boolean): string[] {
  return files.flatMap(({ path, imports }) => (
    imports.filter((imported) => !allowed(path, imported)).map((imported) => `${path} imports ${imported}`)));
}

describe('packages/local-run', () => {
  const own = all.filter(({ path }) => path.startsWith('packages/local-run/'));
  const productive = own.filter(({ isTest }) => !isTest);

  /** From the bottom to the top. A module imports modules of its own layer and of those below. Services have rules of their own. */
  const LAYERS = [
    ['count.ts', 'errors.ts', 'log.ts', 'sibling.ts', 'node-version.ts'],
    ['assembly/', 'processes/'],
    ['http/', 'schedules/', 'service.ts'],
    ['cloudwatch/', 'eventbridge/', 'issuer/', 'kubernetes/', 'lambda/', 'other-services/', 'rds/', 'scheduler/', 'secretsmanager/', 'sns/',
      'sqs/'],
    ['services.ts', 'local-run.ts', 'dead-letters.ts'],
    ['deploy.ts', 'prepare.ts', 'steps.ts'], ['describe.ts'], ['run.ts'], ['index.ts'], ['cli/'], ['bin.ts'],
  ];
  const ROOMS = 3;

  /** Which room of a service imports which other, with the reason. */
  const NEIGHBOURS: Readonly<Record<string, string>> = {
    'rds/ > secretsmanager/': 'RDS keeps the password of an administrator there',
    'lambda/ > sqs/': 'a mapping reads a queue',
    'lambda/ > eventbridge/pattern.ts': 'the filters of a mapping are event patterns',
    'scheduler/ > eventbridge/': 'a schedule can put events on a bus',
    'sns/ > eventbridge/pattern.ts': 'a filter policy is an event pattern',
  };

  const unitOf = (path: string) => path.slice(LOCAL_RUN.length).replace(/\/.*$/, '/');
  const layerOf = (path: string) => LAYERS.findIndex((layer) => layer.includes(unitOf(path)));

  test('every folder and every module has a layer', () => {
    expect(productive.filter(({ path }) => layerOf(path) < 0).map(({ path }) => path)).toEqual([]);
    expect(LAYERS.flat().filter((unit) => !existsSync(LOCAL_RUN + unit))).toEqual([]);
  });

  test('no import runs upward, and a service imports only the services that it builds on', () => {
    const used = new Set<string>();
    const neighbour = (file: string, imported: string) => {
      const pair = Object.keys(NEIGHBOURS).find((key) => `${unitOf(file)} > ${imported.slice(LOCAL_RUN.length)}`.startsWith(key));
      used.add(pair ?? '');
      return pair !== undefined;
    };
    expect(forbidden(productive, (file, imported) => {
      if (!imported.startsWith(LOCAL_RUN) || unitOf(file) === unitOf(imported)) return true;
      const [from, to] = [layerOf(file), layerOf(imported)];
      return from === ROOMS && to === ROOMS ? neighbour(file, imported) : to <= from;
    })).toEqual([]);
    expect(Object.keys(NEIGHBOURS).filter((pair) => !used.has(pair))).toEqual([]);
  });

  test('it stands alone: it imports only itself and its dependencies, and knows no name of this repository', () => {
    const { dependencies } = JSON.parse(read('packages/local-run/package.json').text) as { dependencies: Record<string, string> };
    const packages = new RegExp(`^(node:|${Object.keys(dependencies).map((name) => `${name}(/|$)`).join('|')})`);
    expect(forbidden(productive, (_, imported) => imported.startsWith(LOCAL_RUN) || packages.test(imported))).toEqual([]);
    // Its tests may use the library as any other package does.
    expect(forbidden(own, (_, imported) => !/^(reference-app|src|test|examples|starter)\//.test(imported))).toEqual([]);
    const names = /\b(cdk-order-pipeline|order-pipeline|fan-out|reference[- ]app|com\.example|orders?\.[a-z]+ed|order-service|outbox)\b/i;
    expect(productive.flatMap(({ path, text }) => (names.test(text) ? [`${path} says "${names.exec(text)![0]}"`] : []))).toEqual([]);
  });
});

/** From the bottom to the top. A room imports rooms below its own, and from `profiles/` on the local run, too. */
const APP_LAYERS = [['services/'], ['lib/'], ['invariants/', 'load/'], ['profiles/'], ['bench/'], ['bin/', 'scripts/', 'start/']];
const PROFILES = 3;

test('reference-app: no import of a room that is above or beside', () => {
  const roomOf = (path: string) => path.slice(APP.length).replace(/\/.*$/, '/');
  const layerOf = (path: string) => APP_LAYERS.findIndex((layer) => layer.includes(roomOf(path)));
  const files = all.filter(({ path, isTest }) => path.startsWith(APP) && !isTest);
  expect(files.filter(({ path }) => layerOf(path) < 0).map(({ path }) => path)).toEqual([]);
  expect(forbidden(files, (file, imported) => {
    if (imported.startsWith(LOCAL_RUN)) return layerOf(file) >= PROFILES;
    return !imported.startsWith(APP) || roomOf(imported) === roomOf(file) || layerOf(imported) < layerOf(file);
  })).toEqual([]);
});

test('CONTRIBUTING names each room, and each folder that it names exists', () => {
  const [, table = ''] = /\n## Where things are\n([^]*?)\n## /.exec(read('CONTRIBUTING.md').text) ?? [];
  const rows = [...table.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell]) => cell!.replaceAll('`', '').split(', '));
  expect(rows.filter((path) => !existsSync(path))).toEqual([]);
  expect(['src', 'packages/local-run/src', 'reference-app'].flatMap(roomsOf).filter((room) => !rows.includes(room))).toEqual([]);
});
