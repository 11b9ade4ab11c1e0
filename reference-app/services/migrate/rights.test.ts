import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { build } from 'esbuild';
import type { Schema } from './files.ts';
import { readSchemas } from './files.ts';
import { migrate, type MigrateOptions } from './migrate.ts';
import { FAN_OUT_IMAGE } from '../../profiles/fan-out/image.ts';
import { ORDER_PIPELINE_IMAGE } from '../../profiles/order-pipeline/image.ts';
import type { Pool } from '../shared/database.ts';
import { newId } from '../shared/events/index.ts';
import { createSchemas, silentLogger, SQL_ROOT, startTestServer, type TestServer } from '../shared/testing.ts';

// What each program needs is read from its own code. The rights that its login has must be these and no others.

let server: TestServer;
let schemas: Schema[];
let workloads: Schema['workloads'];
let admin: Pool;
const login = (workload: string) => ({ workload, username: `login_${workload.replaceAll('-', '_')}`, password: 'p' });
const as = (workload: string, database = 'matrix') => server.pool({ database, user: login(workload).username, password: 'p', max: 1 });

before(async () => {
  server = await startTestServer();
  schemas = await readSchemas(SQL_ROOT);
  workloads = schemas.flatMap((schema) => schema.workloads);
  admin = await emptyDatabase('matrix');
  await run(admin, { logins: workloads.map(({ name }) => login(name)) });
});
after(() => server.stop());

async function emptyDatabase(name: string): Promise<Pool> {
  const postgres = server.pool({ database: 'postgres', max: 1 });
  await postgres.query(`CREATE DATABASE ${name}`);
  return server.pool({ database: name });
}

async function run(pool: Pool, options: Partial<MigrateOptions> = {}): Promise<void> {
  const client = await pool.connect();
  try {
    await migrate(client, { root: SQL_ROOT, logger: silentLogger(), ...options });
  } finally {
    client.release();
  }
}

/** The code of a program, without that of packages and without what it does not use. */
async function codeOf(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${SQL_ROOT}/services/${entry}`], bundle: true, packages: 'external', platform: 'node', format: 'esm', write: false, logLevel: 'error',
  });
  // What an error tells a person to do is no call.
  let code = outputFiles[0]!.text.replace(/^.*new Error\(.*$/gm, '');
  // The bundler keeps the statement of an unused function, if another function makes its text.
  for (let before = ''; before !== code;) {
    before = code;
    code = before.replace(/^var (\w+) = \{\s*name: [^;]*;$/gm, (statement, name: string) => (before.match(new RegExp(`\\b${name}\\b`, 'g'))!.length > 1 ? statement : ''));
  }
  return code;
}

interface Routine { readonly name: string; readonly definer: boolean; readonly source: string }

/** The functions that a text calls, with those that they call with the same rights; and all of these texts. */
function closureOf(text: string, routines: readonly Routine[]): { functions: Set<string>; texts: string[] } {
  const functions = new Set<string>();
  const texts = [text];
  for (const one of texts) {
    for (const { name, definer, source } of routines) {
      if (functions.has(name) || !new RegExp(`\\b${name.replace('.', '\\.')}\\(`).test(one)) continue;
      functions.add(name);
      if (!definer) texts.push(source);
    }
  }
  return { functions, texts };
}

/** The privileges on a table that the statements of these texts need. */
function usesOf(table: string, texts: readonly string[]): string[] {
  const name = `${table.replace('.', '\\.')}\\b`;
  const uses = new Set<string>();
  const has = (pattern: string, text: string) => new RegExp(pattern, 'i').test(text);
  for (const text of texts.flatMap((one) => one.split(/;\n|`/))) {
    const [inserts, updates, deletes] = [`INSERT INTO ${name}`, `UPDATE ${name}`, `DELETE FROM ${name}`].map((pattern) => has(pattern, text));
    const reads = has(`(?<!DELETE )(FROM|JOIN) ${name}`, text);
    if (inserts) uses.add('INSERT');
    if (deletes) uses.add('DELETE');
    if (updates || (inserts && has(`${name}[^]*ON CONFLICT[^]*DO UPDATE`, text)) || locks(name, text)) uses.add('UPDATE');
    if (reads || updates || deletes || (inserts && has(`${name}[^]*(ON CONFLICT|RETURNING)`, text))) uses.add('SELECT');
  }
  return [...uses].sort();
}

/** FOR UPDATE is about the tables of its own SELECT, not about those in parentheses before it. */
function locks(name: string, text: string): boolean {
  return [...text.matchAll(new RegExp(`FROM ${name}([^;]*?)\\bFOR (?:NO KEY )?UPDATE`, 'gi'))].some(([, between]) => {
    let depth = 0;
    return [...between!].every((character) => (depth += character === '(' ? 1 : character === ')' ? -1 : 0) >= 0);
  });
}

const PRIVILEGES = ['DELETE', 'INSERT', 'MAINTAIN', 'REFERENCES', 'SELECT', 'TRIGGER', 'TRUNCATE', 'UPDATE'];
/** Views for people, which show no more than the tables behind them. */
const FOR_PEOPLE: Readonly<Record<string, string>> = { 'orders.order_line': 'api-read-service', 'analytics.sku_count': 'analytics-service' };

/** A function that another one calls for some of its callers only. */
const UNREACHED: Readonly<Record<string, string>> = { 'api-write-service': 'messaging.remember' };

test('each workload may use the functions and tables that its own code uses, and nothing else in the database', async () => {
  // Made later than the rights were given.
  await admin.query('SELECT messaging.maintain(NULL, NULL, interval \'2 days\')');
  const { rows: routines } = await admin.query<Routine & { oid: string; guards: string[] }>(
    `SELECT p.oid::text, p.pronamespace::regnamespace || '.' || p.proname AS name, p.prosecdef AS definer, p.prosrc AS source,
       ARRAY(SELECT c.conrelid::regclass::text FROM pg_depend d JOIN pg_constraint c ON c.oid = d.objid
             WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid) AS guards
     FROM pg_proc p WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema$)'`);
  const { rows: tables } = await admin.query<{ oid: string; name: string; kind: string }>(
    `SELECT c.oid::text, c.oid::regclass::text AS name, c.relkind AS kind FROM pg_class c
     WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'`);
  assert.ok(routines.length > 40 && tables.length > 40, 'everything is there');
  const entries: Readonly<Record<string, string>> = { ...ORDER_PIPELINE_IMAGE.entries, ...FAN_OUT_IMAGE.entries };
  // Its programs run during a deployment and after a rollback.
  const formerGrants = /^-- For the version before\.\nGRANT EXECUTE ON FUNCTION ([^;]*) TO /gm;
  const former = new Set(schemas.flatMap(({ grants }) => [...grants.matchAll(formerGrants)])
    .flatMap(([, names]) => names!.split(/,\s*/)));
  const matrix: Record<'given' | 'needed', Record<string, unknown>> = { given: {}, needed: {} };
  for (const { name: workload } of workloads) {
    const { functions, texts } = closureOf(await codeOf(entries[workload]!), routines.filter(({ name }) => name !== UNREACHED[workload]));
    const wanted = new Map<string, string>();
    for (const { name, kind } of tables) {
      const uses = name === 'migration.release' || FOR_PEOPLE[name] === workload ? ['SELECT'] : kind === 'S' ? [] : usesOf(name, texts);
      if (uses.length > 0) wanted.set(name, uses.join(' '));
    }
    // A constraint is checked with the rights of who writes.
    for (const { name, guards } of routines) if (guards.some((table) => /INSERT|UPDATE/.test(wanted.get(table) ?? ''))) functions.add(name);
    const user = login(workload).username;
    const { rows: given } = await admin.query<{ name: string; privileges: string }>(
      `SELECT c.name, string_agg(p, ' ' ORDER BY p) AS privileges FROM unnest($1::oid[], $2::text[], $3::text[]) AS c (oid, name, kind), unnest($4::text[]) AS p
       WHERE CASE WHEN c.kind = 'S' THEN has_sequence_privilege($5, c.oid, 'USAGE, SELECT, UPDATE')
         ELSE has_table_privilege($5, c.oid, p) OR (p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege($5, c.oid, p)) END
       GROUP BY 1`, [tables.map(({ oid }) => oid), tables.map(({ name }) => name), tables.map(({ kind }) => kind), PRIVILEGES, user]);
    const byName = (all: Iterable<[string, string]>) => Object.fromEntries([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
    const { rows: callable } = await admin.query<{ name: string }>(
      'SELECT DISTINCT f.name FROM unnest($1::oid[], $2::text[]) AS f (oid, name) WHERE has_function_privilege($3, f.oid, \'EXECUTE\')',
      [routines.map(({ oid }) => oid), routines.map(({ name }) => name), user]);
    matrix.given[workload] = {
      tables: byName(given.map(({ name, privileges }) => [name, privileges])),
      functions: callable.map(({ name }) => name).filter((name) => functions.has(name) || !former.has(name)).sort(),
    };
    matrix.needed[workload] = { tables: byName(wanted), functions: [...functions].sort() };
    const { rows: [role] } = await admin.query(
      `SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS strong,
         ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid) AS groups,
         EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid AND deptype = 'o') AS owns,
         has_schema_privilege(oid, 'public', 'CREATE') OR has_database_privilege(oid, current_database(), 'CREATE') AS creates
       FROM pg_roles r WHERE rolname = $1`, [user]);
    assert.deepEqual(role, { strong: false, groups: [`"matrix:${workload}"`], owns: false, creates: false });
  }
  assert.deepEqual(matrix.given, matrix.needed);
});

test('a column that a workload does not need is refused, also of a table that it reads', async () => {
  for (const [workload, statement] of [
    ['notification-service', 'SELECT items FROM orders.orders'],
    ['stock-service', 'SELECT location FROM inventory.stock_level'],
    ['outbox-relay', 'SELECT envelope FROM messaging.parked'],
    ['api-write-service', 'SELECT name FROM inventory.product'],
    ['order-status', 'UPDATE orders.orders SET customer_id = \'mine\''],
    ['inventory-service', 'UPDATE inventory.stock_level SET sku = \'B\''],
  ] as const) await assert.rejects(as(workload).query(statement), { code: '42501' }, statement);
});

/** An event id of this time, for which there is a partition of its own. */
const idAt = (time: number) => {
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}${newId().slice(13)}`;
};

test('a consumer sees and writes its own rows only, in partitions that were made later, too', async () => {
  const { rows: restricted } = await admin.query<{ name: string; on: boolean }>(
    `SELECT c.oid::regclass::text AS name, c.relrowsecurity AS on FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'consumer'
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname LIKE 'login\\_%' AND has_table_privilege(r.oid, c.oid, 'SELECT'))`);
  assert.ok(restricted.length >= 5);
  for (const { name, on } of restricted) assert.ok(on, `${name} has rows of consumers and no row security`);
  await run(admin, { logins: workloads.map(({ name }) => login(name)) });
  const last = (await admin.query<{ name: string; lower: Date }>(
    `DELETE FROM messaging.partition
     WHERE (parent, upper) = (SELECT parent, max(upper) FROM messaging.partition WHERE parent = 'inbox' GROUP BY 1)
     RETURNING name, lower`)).rows[0]!;
  await admin.query(`DROP TABLE messaging."${last.name}"`);
  await as('outbox-relay').query('SELECT messaging.maintain(NULL, NULL, interval \'1 day\')');

  const consumers = workloads.filter(({ consumes }) => consumes).map(({ name }) => name);
  const times = [Date.now(), last.lower.getTime() + 1000];
  await admin.query('TRUNCATE messaging.consumer');
  const insert = (pool: Pool, consumer: string, id: string) => pool.query('INSERT INTO messaging.inbox (consumer, event_id) VALUES ($1, $2)', [consumer, id]);
  for (const consumer of consumers) {
    for (const time of times) await insert(admin, consumer, idAt(time));
    await admin.query('INSERT INTO messaging.parked (consumer, event_id, order_id, version, envelope) VALUES ($1, $2, $2, 2, \'{}\')', [consumer, newId()]);
    await admin.query('INSERT INTO messaging.dead_letter (consumer, event_id, order_id, type, error) VALUES ($1, $2, $2, \'t\', \'e\')', [consumer, newId()]);
    await admin.query('INSERT INTO messaging.consumer (consumer) VALUES ($1)', [consumer]);
    await admin.query('INSERT INTO fan_out.progress (consumer, order_id) VALUES ($1, $2)', [consumer, newId()]);
  }
  assert.equal((await admin.query(`SELECT count(*)::int AS n FROM messaging."${last.name}"`)).rows[0].n, consumers.length, 'the rows are in the new partition');
  const denied = { code: '42501' };
  for (const consumer of consumers) {
    const pool = as(consumer);
    for (const { name } of restricted) {
      if (name === 'fan_out.progress' && !/consumer$/.test(consumer)) continue;
      const { rows } = await pool.query<{ consumer: string; n: number }>(`SELECT consumer, count(*)::int AS n FROM ${name} GROUP BY 1`);
      assert.deepEqual(rows, [{ consumer, n: name === 'messaging.inbox' ? times.length : 1 }], `${consumer} in ${name}`);
    }
    const other = consumers.find((one) => one !== consumer)!;
    for (const time of times) await assert.rejects(insert(pool, other, idAt(time)), denied);
    await insert(pool, consumer, idAt(times[1]!));
    await assert.rejects(pool.query('SELECT messaging.remember($1, ARRAY[$2]::uuid[])', [other, newId()]), denied);
    await assert.rejects(pool.query('SELECT messaging.begin_consumer(\'another\')'), denied);
    const note = (name: string) => pool.query('SELECT messaging.note_refused($1, \'{m}\', \'{unsigned}\', \'{e}\', \'{c}\')', [name]);
    await note(consumer);
    await assert.rejects(note(other), denied);
    assert.equal((await pool.query('UPDATE messaging.parked SET applied_at = now() WHERE consumer = $1', [other])).rowCount, 0);
    await assert.rejects(pool.query('UPDATE messaging.parked SET consumer = $1', [other]), denied);
  }
  assert.equal((await as('inventory-service').query('DELETE FROM messaging.inbox WHERE consumer <> \'inventory-service\'')).rowCount, 0);
  // Who has the right and no rows of its own sees all of them.
  assert.equal((await as('api-read-service').query('SELECT FROM messaging.parked')).rowCount, consumers.length);
});

test('a publisher adds events of its own types only', async () => {
  const publishers = workloads.filter(({ publishes }) => publishes.length > 0);
  const types = publishers.flatMap(({ publishes }) => publishes);
  assert.equal(new Set(types).size, types.length, 'a type has one publisher');
  for (const { name, publishes } of publishers) {
    const pool = as(name);
    for (const type of types) {
      const publish = pool.query('SELECT messaging.publish(ARRAY[$1]::uuid[], \'{a}\', ARRAY[$2]::text[], \'{}\')', [newId(), type]);
      if (publishes.includes(type)) await publish;
      else await assert.rejects(publish, { code: '42501' }, `${name} must not say ${type}`);
    }
    await assert.rejects(pool.query('SELECT envelope FROM messaging.outbox'), { code: '42501' });
  }
});

test('migrations of many databases at once share logins, which have no right of one database in another', async () => {
  const names = Array.from({ length: 6 }, (_, i) => `crowd_${i}`);
  const pools = await Promise.all(names.map(emptyDatabase));
  const command = { username: 'crowd', password: 'crowd' };
  await Promise.all(pools.map((pool) => run(pool, { schemas: ['messaging', 'fan_out'], command, logins: [login('order-consumer')] })));
  await run(pools[0]!, { schemas: ['messaging', 'fan_out'], logins: [{ ...login('order-consumer'), username: 'of_the_first' }] });
  const read = (database: string) => server.pool({ database, user: 'of_the_first', password: 'p', max: 1 }).query('SELECT FROM fan_out.orders');
  await read(names[0]!);
  await assert.rejects(read(names[1]!), { code: '42501' });
  for (const name of names) {
    await server.pool({ database: name, user: 'crowd', password: 'crowd', max: 1 }).query('SELECT FROM fan_out.orders');
    await as('order-consumer', name).query('SELECT FROM fan_out.orders');
  }
});

test('a right that was given by hand ends, a login changes its workload, and one that is not in the list is named', async () => {
  const pool = await emptyDatabase('drift_of_rights');
  const options = { schemas: ORDER_PIPELINE_IMAGE.schemas };
  await run(pool, { ...options, logins: [login('stock-service'), { ...login('inventory-service'), username: 'mover' }] });
  await pool.query(`GRANT SELECT ON messaging.outbox TO "drift_of_rights:stock-service", ${login('stock-service').username};
    CREATE POLICY everything ON messaging.inbox TO "drift_of_rights:stock-service" USING (true);
    ALTER POLICY "stock-service" ON messaging.dead_letter USING (true);
    ALTER TABLE messaging.parked DISABLE ROW LEVEL SECURITY;
    GRANT "drift_of_rights:outbox-relay" TO ${login('stock-service').username}`);
  const warnings: unknown[] = [];
  const logger = silentLogger();
  logger.warn = ((fields: unknown) => void warnings.push(fields)) as typeof logger.warn;
  await run(pool, { ...options, logger, logins: [{ ...login('order-status'), username: 'mover' }] });
  assert.deepEqual(warnings, [{ others: [login('stock-service').username] }]);
  await run(pool, { ...options, logins: [login('stock-service'), { ...login('order-status'), username: 'mover' }] });
  const stock = as('stock-service', 'drift_of_rights');
  await assert.rejects(stock.query('SELECT envelope FROM messaging.outbox'), { code: '42501' });
  await assert.rejects(stock.query('SELECT FROM messaging.relay_cursor'), { code: '42501' });
  const { rows } = await pool.query('SELECT tablename, qual FROM pg_policies WHERE \'drift_of_rights:stock-service\' = ANY (roles) AND cmd = \'ALL\' ORDER BY 1');
  assert.deepEqual(rows, ['consumer', 'dead_letter', 'inbox', 'parked'].map((tablename) => ({ tablename, qual: '(consumer = \'stock-service\'::text)' })));
  assert.equal((await pool.query('SELECT relrowsecurity AS on FROM pg_class WHERE oid = \'messaging.parked\'::regclass')).rows[0].on, true);
  const mover = server.pool({ database: 'drift_of_rights', user: 'mover', password: 'p', max: 1 });
  await mover.query('SELECT FROM orders.orders');
  await assert.rejects(mover.query('SELECT FROM inventory.ledger'), { code: '42501' });
});

test('the logins of a version without groups go on, whether they are in the list or not', async () => {
  const pool = await emptyDatabase('former_rights');
  await createSchemas(pool, ['messaging', 'fan_out']);
  // As that version gave them.
  for (const role of ['former_command', 'former_query', 'former_person']) {
    await pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA messaging, fan_out TO ${role}`);
  }
  await pool.query(`REVOKE ALL ON ALL FUNCTIONS IN SCHEMA messaging, fan_out FROM PUBLIC;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA messaging TO former_command; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA messaging, fan_out TO former_command;
    GRANT SELECT ON messaging.parked TO former_query, former_person; GRANT EXECUTE ON FUNCTION messaging.dead_letters TO former_query`);
  await pool.query('INSERT INTO messaging.parked (consumer, event_id, order_id, version, envelope) VALUES (\'a\', $1, $1, 2, \'{}\')', [newId()]);
  await run(pool, { schemas: ['messaging', 'fan_out'], logins: [login('order-consumer')] });
  const former = (name: string) => server.pool({ database: 'former_rights', user: `former_${name}`, password: 'p', max: 1 });
  await former('command').query('SELECT messaging.remember(\'any-consumer\', ARRAY[$1]::uuid[])', [newId()]);
  await former('command').query('SELECT messaging.note_refused(\'any-consumer\', \'{m}\', \'{unsigned}\', \'{e}\', \'{c}\')');
  await former('command').query('SELECT fan_out.save(\'{}\', \'{}\', \'{}\', \'{}\', \'{}\')');
  await former('command').query('SELECT messaging.publish(ARRAY[$1]::uuid[], \'{a}\', \'{Anything}\', \'{}\')', [newId()]);
  assert.equal((await former('query').query('SELECT FROM messaging.parked')).rowCount, 1);
  // A role of somebody else keeps its rights, and becomes a member of nothing.
  assert.equal((await former('person').query('SELECT FROM messaging.parked')).rowCount, 0);
  assert.equal((await pool.query('SELECT FROM pg_auth_members WHERE member = \'former_person\'::regrole')).rowCount, 0);
});

test('grants.sql speaks of workloads that there are', () => {
  for (const { name, grants } of schemas) {
    for (const [, workload] of grants.matchAll(/:"([^"]+)"/g)) assert.ok(workloads.some((one) => one.name === workload), `migrations/${name}/grants.sql: ${workload}`);
  }
  assert.equal(new Set(workloads.map(({ name }) => name)).size, workloads.length);
  const programs = [...Object.keys(ORDER_PIPELINE_IMAGE.entries), ...Object.keys(FAN_OUT_IMAGE.entries)].filter((name) => name !== 'several');
  assert.deepEqual(workloads.map(({ name }) => name).sort(), programs.map((name) => basename(name)).sort());
});
