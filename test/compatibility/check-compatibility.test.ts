// The gate of the public API, tried on copies of the baseline that differ from it in one planted way each.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');
const GATE = join(ROOT, 'scripts', 'check-compatibility.mjs');
const BASELINE = join(__dirname, 'baseline.json');

interface Member { name: string; optional?: boolean; type?: { primitive?: string; fqn?: string }; returns?: object; static?: boolean }
interface Type {
  fqn: string;
  kind: 'class' | 'interface' | 'enum';
  name: string;
  datatype?: boolean;
  abstract?: boolean;
  members?: Member[];
  methods?: Member[];
  properties?: Member[];
  initializer?: { parameters?: Member[] };
}
interface Assembly { types: { [fqn: string]: Type } }

const read = (): Assembly => JSON.parse(readFileSync(BASELINE, 'utf8'));
const typesOf = (assembly: Assembly) => Object.values(assembly.types);

/** The first prop of a props struct that satisfies a condition. Only what users pass in is compatible in one direction. */
function prop(assembly: Assembly, condition: (member: Member) => boolean) {
  const passedIn = typesOf(assembly)
    .flatMap(({ initializer }) => initializer?.parameters ?? [])
    .map(({ type }) => assembly.types[type?.fqn ?? ''])
    .filter((type): type is Type => type?.datatype === true);
  const struct = passedIn.find(({ properties }) => properties?.some(condition))!;
  return { struct, member: struct.properties!.find(condition)! };
}

/** Plants a change; returns the name of what is no longer compatible. */
type Plant = (assembly: Assembly) => string;

const removedMethod: Plant = (assembly) => {
  const type = typesOf(assembly).find(({ kind, methods }) => kind === 'class' && methods?.some((method) => !method.static))!;
  const method = type.methods!.find((candidate) => !candidate.static)!;
  type.methods!.splice(type.methods!.indexOf(method), 1);
  return `${type.fqn}.${method.name}`;
};
const removedClass: Plant = (assembly) => {
  const { fqn } = typesOf(assembly).filter(({ kind, abstract }) => kind === 'class' && !abstract).at(-1)!;
  delete assembly.types[fqn];
  return fqn;
};
const changedPropType: Plant = (assembly) => {
  const { struct, member } = prop(assembly, ({ type }) => type?.primitive === 'string');
  member.type = { primitive: 'number' };
  return struct.fqn;
};
const requiredProp: Plant = (assembly) => {
  const { struct, member } = prop(assembly, ({ optional }) => optional === true);
  delete member.optional;
  return struct.fqn;
};
const renamedEnumValue: Plant = (assembly) => {
  const type = typesOf(assembly).find(({ kind }) => kind === 'enum')!;
  const [member] = type.members!;
  const { name } = member;
  member.name = `${name}_RENAMED`;
  return `${type.fqn}.${name}`;
};

/** Of what users implement, also outside of TypeScript: code that compiles today has no such method. */
const newAbstractMethod: Plant = (assembly) => {
  const { fqn, methods } = assembly.types['cdk-order-pipeline.IConsumerTarget']!;
  methods!.push({ ...methods![0]!, name: 'bindTopics' });
  return `${fqn}.bindTopics`;
};

describe('the gate of the public API', () => {
  const folder = mkdtempSync(join(tmpdir(), 'compat-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs the gate against a copy of the baseline in which something was changed. */
  function gate(name: string, plant: (assembly: Assembly) => void): Promise<{ code: number; output: string }> {
    const assembly = read();
    plant(assembly);
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(assembly));
    return new Promise((resolve) => execFile(process.execPath, [GATE, '--baseline', BASELINE, '--assembly', file], (error, stdout, stderr) => (
      resolve({ code: error === null ? 0 : Number(error.code), output: `${stdout}${stderr}` })
    )));
  }

  test('lets the baseline itself and an added optional prop pass', async () => {
    const { code, output } = await gate('added', (assembly) => {
      const { struct, member } = prop(assembly, ({ optional }) => optional === true);
      struct.properties!.push({ ...member, name: 'addedProp' });
    });
    expect(output).toContain('is compatible with');
    expect(code).toBe(0);
  }, 60_000);

  test('fails at a single incompatible change and says what to do', async () => {
    const { code, output } = await gate('single', (assembly) => { renamedEnumValue(assembly); });
    expect(code).toBe(1);
    expect(output).toContain('no longer compatible');
    expect(output).toContain('mark it @deprecated');
    expect(output).toMatch(/npm run compat:accept|\.compatignore/);
  }, 60_000);

  test('reports each kind of incompatible change as an error', async () => {
    const plants = { removedMethod, removedClass, changedPropType, requiredProp, renamedEnumValue, newAbstractMethod };
    let broken: [string, string][] = [];
    const { code, output } = await gate('all', (assembly) => {
      broken = Object.entries(plants).map(([name, plant]) => [name, plant(assembly)]);
    });
    const errors = output.split('\n').filter((line) => line.startsWith('err '));
    for (const [name, fqn] of broken) {
      expect({ name, found: errors.some((line) => line.includes(`${fqn}:`) || line.includes(`${fqn} `)) }).toEqual({ name, found: true });
    }
    expect(code).toBe(1);
  }, 60_000);

  test('needs nothing of the comparison that the baseline leaves out', () => {
    expect(readFileSync(BASELINE).length).toBeLessThan(300_000);
    expect(readFileSync(BASELINE, 'utf8')).not.toMatch(/"summary"|"locationInModule"/);
  });
});
