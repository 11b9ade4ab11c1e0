import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import { MigrationError } from './files.ts';

export interface Login {
  readonly username: string;
  /** @default - none: the role logs in with tokens of AWS IAM */
  readonly password?: string | undefined;
}

/**
 * The limits of every session of a service. A service that has less time shortens them, unless a pooler is between.
 *
 * `default_transaction_read_only` is not here, also not for the role that only reads: a rotation logs in as the role and changes its
 * password, which is a write. The grants allow no other.
 */
const LIMITS: Readonly<Record<string, string>> = {
  statement_timeout: '30s',
  idle_in_transaction_session_timeout: '30s',
  // The relay waits for the oldest transaction. PostgreSQL 17 and later.
  transaction_timeout: '60s',
  // Up to PostgreSQL 17, a forbidden sequential scan that can't be avoided looks so expensive that it is compiled each time.
  jit: 'off',
};

/** The role that RDS and Aurora have for logins with tokens. A member can't log in with a password any more. */
const IAM_ROLE = 'rds_iam';

/**
 * Creates the role or brings it up to date: may log in, owns nothing, and is a member of nothing but `rds_iam`, if it has no password. Only
 * a SCRAM verifier goes to the server, so that the password can't end up in a statement log.
 */
export async function ensureLogin(client: ClientBase, { username, password }: Login): Promise<void> {
  const role = pg.escapeIdentifier(username);
  const { rows: [current] } = await client.query<{ me: boolean; super: boolean }>(
    'SELECT rolname = current_user AS me, rolsuper AS super FROM pg_roles WHERE rolname = $1', [username],
  );
  if (current?.me || current?.super) {
    throw new Error(`The role ${username} administers the database: give the services a user of their own.`);
  }
  const secret = password === undefined ? '' : `PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`;
  await client.query(`${current ? 'ALTER' : 'CREATE'} ROLE ${role} LOGIN NOCREATEDB NOCREATEROLE ${secret}`);
  await ensureIam(client, username, password === undefined);
  const { rows: [database] } = await client.query<{ name: string }>('SELECT current_database() AS name');
  const name = pg.escapeIdentifier(database!.name);
  await client.query(`GRANT CONNECT ON DATABASE ${name} TO ${role}`);
  // Readiness compares the releases with those that a program was built with.
  await client.query(`GRANT USAGE ON SCHEMA migration TO ${role}; GRANT SELECT ON migration.release TO ${role}`);
  const { rows: known } = await client.query<{ name: string }>('SELECT name FROM pg_settings');
  for (const [setting, value] of Object.entries(LIMITS)) {
    if (!known.some((one) => one.name === setting)) continue;
    await client.query(`ALTER ROLE ${role} IN DATABASE ${name} SET ${pg.escapeIdentifier(setting)} = ${pg.escapeLiteral(value)}`);
  }
}

/** Those of the roles that there are not. */
export async function missingRoles(client: ClientBase, names: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ rolname: string }>('SELECT rolname FROM pg_roles WHERE rolname = ANY($1)', [names]);
  return names.filter((name) => !rows.some(({ rolname }) => rolname === name));
}

async function ensureIam(client: ClientBase, username: string, wanted: boolean): Promise<void> {
  const exists = (await missingRoles(client, [IAM_ROLE])).length === 0;
  if (!exists && wanted) {
    throw new MigrationError(`The role ${username} has no password, so it is to log in with tokens of AWS IAM, but there is no role ${IAM_ROLE}, as RDS and Aurora have it: `
      + 'use such a database, or give the role a secret (DB_COMMAND_SECRET_ARN, DB_QUERY_SECRET_ARN).');
  }
  if (exists) await client.query(wanted ? `GRANT ${IAM_ROLE} TO ${pg.escapeIdentifier(username)}` : `REVOKE ${IAM_ROLE} FROM ${pg.escapeIdentifier(username)}`);
}

const ITERATIONS = 4096;

/** The text that PostgreSQL stores for a password: RFC 5803, as `PASSWORD` accepts it in place of the password. */
function scramVerifier(password: string, salt = randomBytes(16)): string {
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, ITERATIONS, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
