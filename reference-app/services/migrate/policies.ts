import pg, { type ClientBase } from 'pg';
import type { Schema } from './files.ts';
import type { Groups } from './groups.ts';

/** A policy as `pg_policies` shows it. */
interface Policy {
  readonly name: string;
  readonly role: string;
  readonly command: 'ALL' | 'SELECT' | 'INSERT';
  readonly using: string | null;
  readonly check: string | null;
}

/**
 * Lets each workload see and write its own rows only: a consumer those of its name, a publisher new events of its types. Who has a right on
 * the table and no rows of its own, as the relay, has all of them. A change locks the table, so nothing is done if all is right.
 */
export async function ensurePolicies(client: ClientBase, { name: schema, rows }: Schema, groups: Groups): Promise<void> {
  for (const [table, column] of Object.entries(rows)) {
    const relation = `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`;
    const { rows: there } = await client.query<Found>(
      `SELECT policyname AS name, array_to_string(roles, ',') AS role, cmd AS command, qual AS using, with_check AS check
       FROM pg_policies WHERE schemaname = $1 AND tablename = $2 AND permissive = 'PERMISSIVE'`, [schema, table]);
    const wanted = column === 'consumer' ? consumerPolicies(groups) : publisherPolicies(groups);
    const isRight = (policy: Found) => wanted.some((one) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(policy)));
    const known = new Set(['public', ...groups.names.map((name) => groups.roleOf(name))]);
    // One of another profile in the same database stays.
    for (const policy of there.filter((one) => !isRight(one) && (known.has(one.role) || wanted.some(({ name }) => name === one.name)))) {
      await client.query(`DROP POLICY ${pg.escapeIdentifier(policy.name)} ON ${relation}`);
    }
    for (const policy of wanted.filter(({ name }) => !there.some((one) => one.name === name && isRight(one)))) {
      const identifier = pg.escapeIdentifier(policy.name);
      await client.query(`CREATE POLICY ${identifier} ON ${relation} FOR ${policy.command} TO ${policy.role === 'public' ? 'PUBLIC' : pg.escapeIdentifier(policy.role)}`
        + `${policy.using === null ? '' : ` USING (${policy.using})`}${policy.check === null ? '' : ` WITH CHECK (${policy.check})`}`);
    }
    const { rows: [state] } = await client.query<{ on: boolean }>('SELECT relrowsecurity AS on FROM pg_class WHERE oid = $1::regclass', [relation]);
    if (!state?.on) await client.query(`ALTER TABLE ${relation} ENABLE ROW LEVEL SECURITY`);
  }
}

type Found = Readonly<Record<'name' | 'role' | 'command', string> & Record<'using' | 'check', string | null>>;

const sorted = ({ name, role, command, using, check }: Policy | Found) => [name, role, command, using, check];

function consumerPolicies(groups: Groups): Policy[] {
  const policy = (name: string, using: string): Policy => ({ name, role: groups.roleOf(name), command: 'ALL', using, check: null });
  return [
    policy('command', 'true'),
    policy('query', 'true'),
    ...groups.workloads.map(({ name, consumes }) => policy(name, consumes ? `(consumer = ${pg.escapeLiteral(name)}::text)` : 'true')),
  ];
}

function publisherPolicies(groups: Groups): Policy[] {
  const insert = (name: string, check: string): Policy => ({ name, role: groups.roleOf(name), command: 'INSERT', using: null, check });
  return [
    // Who may read it at all, may read all of it.
    { name: 'read', role: 'public', command: 'SELECT', using: 'true', check: null },
    insert('command', 'true'),
    ...groups.workloads.filter(({ publishes }) => publishes.length > 0).map(({ name, publishes }) => {
      const types = publishes.map((type) => `${pg.escapeLiteral(type)}::text`);
      return insert(name, types.length === 1 ? `(detail_type = ${types[0]})` : `(detail_type = ANY (ARRAY[${types.join(', ')}]))`);
    }),
  ];
}
