import { createHash } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import { MigrationError, type Schema, type Workload } from './files.ts';

/** The role of a side, or of a workload. */
export type GroupName = 'command' | 'query' | (string & {});

/** PostgreSQL cuts off what is longer, without an error. */
const MAX_NAME_BYTES = 63;

/**
 * The roles that hold the rights in one database: one per workload, and one per side. Nobody can log in as one of them; a login becomes a
 * member. Roles are those of the whole server, and a member of a role has its rights in every database: so their names begin with that of
 * the database, and a login of one database has no right in another.
 */
export class Groups {
  /** The workloads of the schemas of this run. */
  readonly workloads: readonly Workload[];
  /** Those, and the ones that `grants.sql` names besides: another profile may have them in the same database. */
  readonly names: readonly GroupName[];
  readonly #database: string;

  constructor(database: string, schemas: readonly Schema[]) {
    this.#database = database;
    this.workloads = schemas.flatMap(({ workloads }) => workloads);
    const named = schemas.flatMap(({ grants }) => [...withoutComments(grants).matchAll(VARIABLE)])
      .flatMap(({ groups: found }) => found?.workload ?? []);
    this.names = [...new Set<GroupName>(['command', 'query', ...this.workloads.map(({ name }) => name), ...named])];
  }

  /** The name of the role. */
  roleOf(group: GroupName): string {
    const name = `${this.#database}:${group}`;
    if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
    const hash = createHash('sha256').update(name).digest('hex').slice(0, 12);
    return `${[...this.#database].slice(0, 4).join('')}~${hash}:${group}`.slice(0, MAX_NAME_BYTES);
  }

  identifierOf(group: GroupName): string {
    return pg.escapeIdentifier(this.roleOf(group));
  }

  /** The groups of which the login of a workload is a member, or the one of a whole side. */
  groupsFor(login: { readonly workload: string } | { readonly side: Workload['side'] }): GroupName[] {
    if ('side' in login) return [login.side, ...this.workloads.filter(({ side }) => side === login.side).map(({ name }) => name)];
    if (!this.workloads.some(({ name }) => name === login.workload)) {
      throw new MigrationError(`DB_LOGINS has a login for the workload ${login.workload}, which the schemas of this image do not know: `
        + `choose from ${this.workloads.map(({ name }) => name).sort().join(', ')}, or add it to the workloads.json of its schema.`);
    }
    return [login.workload];
  }

  /**
   * The SQL of `grants.sql`: `:"inventory-service"` is the role of a workload, `:command` that of a side; `:consumers` and `:publishers`
   * are all workloads that consume or publish events, and the command side. What is not in it is taken away from the groups, from the
   * logins, which have nothing of their own, and from everybody.
   */
  grantsOf({ name, grants }: Schema, logins: readonly string[]): string {
    const groups = this.names.map((group) => this.identifierOf(group));
    const from = ['PUBLIC', ...groups, ...logins.map((login) => pg.escapeIdentifier(login))].join(', ');
    const schema = pg.escapeIdentifier(name);
    const all = (condition: (workload: Workload) => boolean) => ['command', ...this.workloads.filter(condition).map((workload) => workload.name)]
      .map((group) => this.identifierOf(group)).join(', ');
    const lists: Readonly<Record<string, string>> = {
      command: this.identifierOf('command'),
      query: this.identifierOf('query'),
      consumers: all(({ consumes }) => consumes),
      publishers: all(({ publishes }) => publishes.length > 0),
    };
    return [
      `REVOKE ALL ON SCHEMA ${schema} FROM ${from};`,
      ...['TABLES', 'SEQUENCES', 'ROUTINES'].map((kind) => `REVOKE ALL ON ALL ${kind} IN SCHEMA ${schema} FROM ${from};`),
      withoutComments(grants).replace(VARIABLE, (_, workload: string | undefined, list: string) =>
        (workload === undefined ? lists[list]! : this.identifierOf(workload))),
    ].join('\n');
  }
}

/** A variable has one colon before it, as in psql; a cast has two. */
const VARIABLE = /(?<!:):(?:"(?<workload>[^"]+)"|(?<list>command|query|consumers|publishers)\b)/g;

function withoutComments(sql: string): string {
  return sql.replace(/^\s*--.*$/gm, '');
}

/** Makes those of the groups that are not there. */
export async function ensureGroups(client: ClientBase, groups: Groups): Promise<void> {
  for (const group of await missingGroups(client, groups, groups.names)) {
    await client.query(`CREATE ROLE ${groups.identifierOf(group)} NOLOGIN`).catch((error: { code?: string }) => {
      // Another database of the same name can't be; but a role outlives its database, and two may look at once.
      if (error.code !== '42710' && error.code !== '23505') throw error;
    });
  }
}

/** Those of the groups that are not there. */
export async function missingGroups(client: ClientBase, groups: Groups, names: readonly GroupName[]): Promise<GroupName[]> {
  const { rows } = await client.query<{ rolname: string }>('SELECT rolname FROM pg_roles WHERE rolname = ANY($1)', [names.map((name) => groups.roleOf(name))]);
  return names.filter((name) => !rows.some(({ rolname }) => rolname === groups.roleOf(name)));
}

/**
 * Makes the login a member of these groups, and of no other that this run knows.
 *
 * @param keep leave it in other groups, too: a later version may have put it there
 */
export async function ensureMembership(
  client: ClientBase, groups: Groups, login: string, wanted: readonly GroupName[], keep: boolean,
): Promise<void> {
  const { rows } = await client.query<{ rolname: string }>(
    'SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1', [login]);
  const isMember = (group: GroupName) => rows.some(({ rolname }) => rolname === groups.roleOf(group));
  const role = pg.escapeIdentifier(login);
  for (const group of groups.names) {
    const identifier = groups.identifierOf(group);
    if (wanted.includes(group) && !isMember(group)) await client.query(`GRANT ${identifier} TO ${role}`);
    if (!wanted.includes(group) && isMember(group) && !keep) await client.query(`REVOKE ${identifier} FROM ${role}`);
  }
}

/** Logins with rights of these groups that are not in the list. */
export async function otherLogins(client: ClientBase, groups: Groups, logins: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ rolname: string }>(
    `SELECT DISTINCT r.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
     WHERE g.rolname = ANY($1) AND r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user AND r.rolname <> ALL ($2) ORDER BY 1`,
    [groups.names.map((name) => groups.roleOf(name)), logins]);
  return rows.map(({ rolname }) => rolname);
}

/**
 * The logins to which a version without groups gave their rights, by their side: programs of that version still run, perhaps with logins
 * that this run does not have in its list.
 */
export async function formerLogins(client: ClientBase): Promise<{ username: string; side: Workload['side'] }[]> {
  const { rows } = await client.query<{ username: string; side: Workload['side'] }>(
    `SELECT r.rolname AS username, CASE p.proname WHEN 'remember' THEN 'command' ELSE 'query' END AS side
     FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE p.pronamespace = to_regnamespace('messaging') AND p.proname IN ('remember', 'dead_letters') AND a.grantee <> p.proowner AND r.rolcanlogin AND NOT r.rolsuper
     ORDER BY 1`);
  return rows;
}
