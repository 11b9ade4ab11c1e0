import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { checksumOf, readSchemas, type Schema } from './files.ts';
import { loadProfiles } from '../../profiles/index.ts';
import { SQL_ROOT } from '../shared/testing.ts';

let schemas: Schema[];
before(async () => {
  schemas = await readSchemas(SQL_ROOT);
});

test('a numbered file is never edited again', async () => {
  const frozen = JSON.parse(await readFile(join(SQL_ROOT, 'migrations/checksums.json'), 'utf8')) as Record<string, string>;
  const files = new Map(schemas.flatMap(({ numbered }) => numbered).map((file) => [file.name, file]));
  for (const [name, checksum] of Object.entries(frozen)) {
    if (name.includes('@')) continue;
    assert.equal(files.get(name)?.checksum, checksum, `migrations/${name} was changed or removed: restore it, and put the change into a new file`);
  }
  for (const { name, checksum } of files.values()) {
    assert.ok(name in frozen, `migrations/${name} is new: add this line to migrations/checksums.json, and do not edit the file after it is merged:\n  "${name}": "${checksum}"`);
  }
});

test('a release always holds the same files', async () => {
  const known = JSON.parse(await readFile(join(SQL_ROOT, 'migrations/checksums.json'), 'utf8')) as Record<string, string>;
  for (const schema of schemas) {
    const { name, release } = schema;
    const checksum = checksumOf(schema);
    if (known[`${name}@${release}`] === checksum) continue;
    const next = `${name}@${release}` in known ? release + 1 : release;
    assert.fail(`the SQL of the schema ${name} has changed: set "release": ${next} in migrations/${name}/schema.json, and add this line to migrations/checksums.json:\n`
      + `  "${name}@${next}": "${checksum}"`);
  }
});

/** Without comments and the bodies of functions. */
const statements = (sql: string) => sql.replace(/--.*$/gm, '').replace(/\$\$[^]*?\$\$/g, '').split(';').map((one) => one.trim().replace(/\s+/g, ' ')).filter(Boolean);

test('numbered files hold nothing that can be replaced', () => {
  for (const { path, sql } of schemas.flatMap(({ numbered }) => numbered)) {
    const replaceable = statements(sql).filter((one) => /\b(FUNCTION|PROCEDURE|VIEW|TRIGGER|GRANT|REVOKE)\b/.test(one));
    assert.deepEqual(replaceable, [], `${path}: put this into a file <schema>.<function>.sql beside the statements that call it, or into grants.sql`);
  }
});

test('a file of a function makes this one and can be applied again', () => {
  for (const { name, path, sql } of schemas.flatMap(({ repeatable }) => repeatable)) {
    const [first, ...others] = statements(sql);
    assert.match(first ?? '', new RegExp(`^CREATE OR REPLACE (FUNCTION|PROCEDURE|VIEW) ${name.replace('.', '\\.')}\\b`), path);
    for (const other of others) assert.match(other, /^(DO$|CREATE OR REPLACE )/, path);
  }
});

test('every schema is in a profile', async () => {
  const used = [...(await loadProfiles()).values()].flatMap(({ image }) => image?.schemas ?? []);
  assert.deepEqual([...new Set(used)].sort(), schemas.map(({ name }) => name).sort());
});
