// Brings the database up to date: tables, roles, permissions. It may run again, and two may run at the same time.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import pg from 'pg';
import { connect, env, log, readSecret, transaction } from './shared.js';

const folder = new URL('migrations/', import.meta.url);
const pool = await connect();
const [command, query] = await Promise.all([readSecret(env('DB_COMMAND_SECRET_ARN')), readSecret(env('DB_QUERY_SECRET_ARN'))]);

await transaction(pool, async (tx) => {
  // A migration may be slow, and waits for one that is running already.
  await tx.query('SET LOCAL statement_timeout = 0');
  await tx.query(`SELECT pg_advisory_xact_lock(hashtext('migrate'))`);
  await tx.query('CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())');
  const { rows } = await tx.query('SELECT name FROM migration');
  const applied = new Set(rows.map(({ name }) => name));
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.sql') && !applied.has(file)).sort()) {
    await tx.query(await readFile(new URL(name, folder), 'utf8'));
    await tx.query('INSERT INTO migration (name) VALUES ($1)', [name]);
    log('info', 'migration applied', { name });
  }

  const writer = await ensureRole(tx, command);
  const reader = await ensureRole(tx, query);
  await tx.query(`
    GRANT SELECT, INSERT, UPDATE ON orders, stock TO ${writer};
    GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, inbox TO ${writer};
    GRANT SELECT ON orders, stock TO ${reader}`);
});
await pool.end();
log('info', 'the database is up to date');

/** Makes the user of a secret, with its password. Only a hash of the password is sent, as statements may be logged. */
async function ensureRole(tx, { username, password }) {
  const role = pg.escapeIdentifier(username);
  const { rowCount } = await tx.query('SELECT FROM pg_roles WHERE rolname = $1', [username]);
  await tx.query(`${rowCount === 0 ? 'CREATE' : 'ALTER'} ROLE ${role} LOGIN PASSWORD ${pg.escapeLiteral(scram(password))}`);
  return role;
}

/** Returns the hash of a password that PostgreSQL stores (RFC 5803). */
function scram(password) {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, 4096, 32, 'sha256');
  const key = (name) => createHmac('sha256', salted).update(name).digest();
  const stored = createHash('sha256').update(key('Client Key')).digest('base64');
  return `SCRAM-SHA-256$4096:${salt.toString('base64')}$${stored}:${key('Server Key').toString('base64')}`;
}
