import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';

/** A file of SQL. */
export interface SqlFile {
  /** The name in the database's record of applied files: `orders/001-tables.sql` or `orders.accept`. */
  readonly name: string;
  /** Relative to the root. */
  readonly path: string;
  readonly sql: string;
  /** SHA-256 of the text, whatever its line ends are. */
  readonly checksum: string;
}

/** A program with rights of its own in the database. */
export interface Workload {
  readonly name: string;
  /** The login of this side, if there is one, may do what the workload may. */
  readonly side: 'command' | 'query';
  /** It handles events: its name is that of its consumer. */
  readonly consumes: boolean;
  /** The detail types of the events that it may add to the outbox. */
  readonly publishes: readonly string[];
}

/** The column by which the rows of a table belong to workloads: the name of a consumer, or the type of an event that is added. */
export type RowColumn = 'consumer' | 'detail_type';

/** The SQL of one database schema. */
export interface Schema {
  readonly name: string;
  /** The schemas that have to be there before this one. */
  readonly needs: readonly string[];
  /** The number of the state of its files, which grows with each change of them. */
  readonly release: number;
  /** Tables, in the order of their numbers. Each file is applied once. */
  readonly numbered: readonly SqlFile[];
  /** Functions, views and triggers, by name. A file is applied again when it has changed. */
  readonly repeatable: readonly SqlFile[];
  /** The privileges of the workloads, applied on every run. */
  readonly grants: string;
  /** The workloads whose data this schema is for. */
  readonly workloads: readonly Workload[];
  /** Tables of which a workload sees and writes its own rows only. */
  readonly rows: Readonly<Record<string, RowColumn>>;
}

/** The database or the files are not as they have to be: nothing is done until a person has looked. The message says what to do. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/**
 * Reads `migrations/<schema>/` and the files `<schema>.<function>.sql` anywhere in `services/`, in the order in which they are applied: a
 * schema comes after those it needs.
 *
 * @param root the folder of `migrations/` and `services/`
 * @param names the schemas to read. @default - all
 * @throws MigrationError when a schema is missing, a file has a wrong name, or a name is used twice
 */
export async function readSchemas(root: string, names?: readonly string[]): Promise<Schema[]> {
  const folders = await readdir(join(root, 'migrations'), { withFileTypes: true });
  const known = folders.filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
  if (known.length === 0) throw new MigrationError(`No schema in ${join(root, 'migrations')}: each is a folder with files like 001-tables.sql.`);
  for (const name of names ?? []) {
    if (!known.includes(name)) throw new MigrationError(`There is no schema ${name}: choose from ${known.join(', ')}.`);
  }
  const repeatable = await readRepeatable(root, known);
  return inOrder(await Promise.all((names ?? known).map(async (name): Promise<Schema> => {
    const folder = join(root, 'migrations', name);
    const { needs, release } = JSON.parse(await readFile(join(folder, 'schema.json'), 'utf8')) as Pick<Schema, 'needs' | 'release'>;
    const { workloads = {}, rows = {} } = await readWorkloads(folder);
    if (!Number.isInteger(release) || release < 1) throw new MigrationError(`migrations/${name}/schema.json needs a "release", a whole number from 1.`);
    return {
      name,
      needs,
      release,
      numbered: await readNumbered(root, name),
      repeatable: repeatable.filter((file) => file.name.startsWith(`${name}.`)),
      grants: await readFile(join(folder, 'grants.sql'), 'utf8'),
      workloads: Object.entries(workloads).map(([one, { side, consumes = false, publishes = [] }]) => {
        checkWorkload(name, one, side);
        return { name: one, side, consumes, publishes };
      }),
      rows,
    };
  })));
}

interface Workloads {
  readonly workloads?: Readonly<Record<string, Pick<Workload, 'side'> & Partial<Workload>>>;
  readonly rows?: Schema['rows'];
}

/** A schema of shared tables may have none. */
async function readWorkloads(folder: string): Promise<Workloads> {
  try {
    return JSON.parse(await readFile(join(folder, 'workloads.json'), 'utf8')) as Workloads;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    return {};
  }
}

/** Names that mean something else in `grants.sql`. */
const RESERVED = ['command', 'query', 'consumers', 'publishers'];

function checkWorkload(schema: string, name: string, side: unknown): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name) || RESERVED.includes(name)) {
    throw new MigrationError(`migrations/${schema}/workloads.json has the workload ${JSON.stringify(name)}: give it a name of small letters, digits and hyphens`
      + `, other than ${RESERVED.join(', ')}.`);
  }
  if (side !== 'command' && side !== 'query') throw new MigrationError(`migrations/${schema}/workloads.json needs "side" of the workload ${name}: "command" or "query".`);
}

/** SHA-256 of all files of the schema. */
export function checksumOf({ numbered, repeatable, grants, workloads, rows }: Schema): string {
  const files = [...numbered, ...repeatable].map(({ name, checksum }) => `${name} ${checksum}`);
  return createHash('sha256').update([...files, grants.replaceAll('\r\n', '\n'), JSON.stringify({ workloads, rows })].join('\n')).digest('hex');
}

async function readNumbered(root: string, schema: string): Promise<SqlFile[]> {
  const folder = join(root, 'migrations', schema);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql') && file !== 'grants.sql').sort();
  files.forEach((file, i) => {
    const number = /^(\d{3})-[a-z0-9-]+\.sql$/.exec(file)?.[1];
    if (number === undefined) throw new MigrationError(`migrations/${schema}/${file} needs a name like 002-add-a-column.sql.`);
    if (i > 0 && files[i - 1]!.startsWith(`${number}-`)) throw new MigrationError(`Two files of migrations/${schema} have the number ${number}: rename one.`);
  });
  return Promise.all(files.map((file) => readSql(root, join(folder, file), `${schema}/${file}`)));
}

async function readRepeatable(root: string, schemas: readonly string[]): Promise<SqlFile[]> {
  const entries = await readdir(join(root, 'services'), { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.sql')).map((entry) => join(entry.parentPath, entry.name));
  const files = await Promise.all(paths.map((path) => readSql(root, path, basename(path, '.sql'))));
  files.sort((a, b) => (`${a.name} ${a.path}` < `${b.name} ${b.path}` ? -1 : 1));
  files.forEach(({ name, path }, i) => {
    const schema = /^([a-z_]+)\.[a-z0-9_]+$/.exec(name)?.[1];
    if (schema === undefined || !schemas.includes(schema)) {
      throw new MigrationError(`${path} needs the name of what it makes, <schema>.<function>.sql, with a schema of ${schemas.join(', ')}.`);
    }
    if (files[i - 1]?.name === name) throw new MigrationError(`${files[i - 1]!.path} and ${path} make the same: remove one.`);
  });
  return files;
}

async function readSql(root: string, path: string, name: string): Promise<SqlFile> {
  const sql = await readFile(path, 'utf8');
  const checksum = createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex');
  return { name, path: relative(root, path).replaceAll(sep, '/'), sql, checksum };
}

function inOrder(schemas: readonly Schema[]): Schema[] {
  const sorted: Schema[] = [];
  const visit = (schema: Schema, waiting: readonly string[]): void => {
    if (sorted.includes(schema)) return;
    if (waiting.includes(schema.name)) throw new MigrationError(`Schemas need each other in a circle: ${[...waiting, schema.name].join(', ')}.`);
    for (const need of schema.needs) {
      const needed = schemas.find(({ name }) => name === need);
      if (!needed) throw new MigrationError(`The schema ${schema.name} needs the schema ${need}: add it to the list of schemas.`);
      visit(needed, [...waiting, schema.name]);
    }
    sorted.push(schema);
  };
  for (const schema of schemas) visit(schema, []);
  return sorted;
}
