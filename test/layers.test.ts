import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** From the bottom to the top: a layer imports only from those before it. */
const LAYERS = ['private', 'validation', 'bus', 'workload', 'cqrs', 'consumer', 'kafka', 'transport', 'service', 'pipeline'];

interface Import { readonly file: string; readonly from: string; readonly imported: string; readonly to: string }

function importsOf(file: string): Import[] {
  const text = readFileSync(join('src', file), 'utf8');
  return [...text.matchAll(/^(?:import|export) [^;]*?from '(\.[^']*)'/gms)].map(([, path]) => {
    const imported = relative('src', join('src', dirname(file), path!));
    return { file, from: file.split('/')[0]!, imported, to: imported.split('/')[0]! };
  });
}

const imports = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== 'index.ts').flatMap(importsOf);

test('every folder is a layer', () => {
  const folders = readdirSync('src', { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  expect(folders.sort()).toEqual([...LAYERS].sort());
  expect(imports.length).toBeGreaterThan(100);
});

test('no import runs upward', () => {
  const upward = imports.filter(({ from, to }) => LAYERS.indexOf(to) > LAYERS.indexOf(from));
  expect(upward.map(({ file, imported }) => `${file} imports ${imported}`)).toEqual([]);
});

test('private code of a capability is imported from there, or from a layer above that builds on it', () => {
  const foreign = imports.filter(({ from, to, imported }) => imported.includes(`${to}/private/`) && from !== to);
  expect(foreign.map(({ file, imported }) => `${file} imports ${imported}`)).toEqual([
    // KEDA and external metrics make objects of Kubernetes, too.
    'consumer/private/queue-autoscaling.ts imports workload/private/horizontal-pod-autoscaler',
    'consumer/private/queue-autoscaling.ts imports workload/private/replicas',
    // A bus that is given is the same for both.
    'transport/private/event-bridge-transport.ts imports bus/private/event-bus-of',
  ]);
});
