import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import { MigrationError } from './files.ts';
import type { Logger } from '../shared/telemetry.ts';

export interface Login {
  readonly username: string;
  /** @default - none: the role logs in with tokens of AWS IAM */
  readonly password?: string | undefined;
  /**
   * Reads the login again, as it is now, or as the rotation that is going on will make it; undefined if there is no such version.
   *
   * @default - it never changes
   */
  readonly read?: ((stage: 'AWSCURRENT' | 'AWSPENDING') => Promise<Required<Pick<Login, 'username' | 'password'>> | undefined>) | undefined;
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
 * Creates the role or brings it up to date: may log in, owns nothing, and is a member of `rds_iam` only if it has no password. Its rights
 * are those of groups, see `groups.ts`.
 */
export async function ensureLogin(client: ClientBase, login: Login, logger: Logger): Promise<void> {
  const { username, password } = login;
  const role = pg.escapeIdentifier(username);
  const find = async () => (await client.query<{ me: boolean; super: boolean; right: boolean }>(
    'SELECT rolname = current_user AS me, rolsuper AS super, rolcanlogin AND NOT rolcreatedb AND NOT rolcreaterole AS right '
      + 'FROM pg_roles WHERE rolname = $1', [username],
  )).rows[0];
  let current = await find();
  if (current?.me || current?.super) {
    throw new Error(`The role ${username} administers the database: give the services a user of their own.`);
  }
  const isNew = !current;
  if (!current) {
    await client.query(`CREATE ROLE ${role} LOGIN`).catch((error: { code?: string }) => {
      // The migration of another database of this server was first.
      if (error.code !== '42710' && error.code !== '23505') throw error;
    });
    current = await find();
  }
  if (!current?.right) await alterRole(client, `${role} LOGIN NOCREATEDB NOCREATEROLE`);
  const { rows: [database] } = await client.query<{ name: string }>('SELECT current_database() AS name');
  const name = pg.escapeIdentifier(database!.name);
  await client.query(`GRANT CONNECT ON DATABASE ${name} TO ${role}`);
  await ensureIam(client, username, password === undefined);
  if (password !== undefined) await ensurePassword(client, { ...login, password }, isNew, logger);
  // Readiness compares the releases with those that a program was built with.
  await client.query(`GRANT USAGE ON SCHEMA migration TO ${role}; GRANT SELECT ON migration.release TO ${role}`);
  const { rows: known } = await client.query<{ name: string }>('SELECT name FROM pg_settings');
  for (const [setting, value] of Object.entries(LIMITS)) {
    if (!known.some((one) => one.name === setting)) continue;
    await client.query(`ALTER ROLE ${role} IN DATABASE ${name} SET ${pg.escapeIdentifier(setting)} = ${pg.escapeLiteral(value)}`);
  }
}

/** A role belongs to the whole server: the migration of another database may change it at this moment. */
async function alterRole(client: ClientBase, change: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.query(`ALTER ROLE ${change}`);
      return;
    } catch (error) {
      if (tries >= 5 || !/tuple concurrently updated/.test((error as Error).message)) throw error;
    }
  }
}

const PASSWORD_TRIES = 5;

/**
 * Sets the password of the secret, but only if neither it nor the one of a rotation that is going on can log in. A rotation first makes a
 * pending password, then sets it in the database, and makes it the current one of the secret at last: a password that was read before would
 * set an old one back, if the rotation is faster. Only a SCRAM verifier goes to the server, so that no password can end up in a statement
 * log.
 */
async function ensurePassword(
  client: ClientBase, login: Login & { readonly password: string }, isNew: boolean, logger: Logger,
): Promise<void> {
  const { username } = login;
  const read = async (stage: 'AWSCURRENT' | 'AWSPENDING') => {
    if (!login.read) return stage === 'AWSCURRENT' ? login.password : undefined;
    const now = await login.read(stage);
    // The rotation with two users: the other one is the login now.
    return now?.username === username ? now.password : undefined;
  };
  for (let tries = 1; tries <= PASSWORD_TRIES; tries++) {
    const current = await read('AWSCURRENT');
    if (current === undefined) {
      logger.info({ username }, 'the secret has another login meanwhile, whose password is as it is');
      return;
    }
    // A new role has no password, and a failed login would be an error in the log of the server.
    if (!(isNew && tries === 1)) {
      if (await canLogIn(client, username, current)) return;
      const pending = await read('AWSPENDING');
      if (pending !== undefined && await canLogIn(client, username, pending)) {
        logger.info({ username }, 'the password is being rotated, and stays as it is');
        return;
      }
      if (await read('AWSCURRENT') !== current) continue;
    }
    await alterRole(client, `${pg.escapeIdentifier(username)} PASSWORD ${pg.escapeLiteral(scramVerifier(current))}`);
    logger.info({ username }, 'password set');
  }
  throw new Error(`The login ${username} can't be used with the password of its secret, which was set in the database ${PASSWORD_TRIES} times: `
    + 'something else changes it all the time.');
}

/** Whether the server takes the password now; any other failure is an error. */
async function canLogIn(client: ClientBase, user: string, password: string): Promise<boolean> {
  const { host, port, database, ssl } = client as pg.Client;
  const test = new pg.Client({ host, port, database, ssl, user, password, connectionTimeoutMillis: 10_000, application_name: 'migrate' });
  test.on('error', () => undefined);
  try {
    await test.connect();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === '28P01') return false;
    throw new Error(`The login ${user} can't be tried: ${(error as Error).message}`, { cause: error });
  } finally {
    await test.end().catch(() => undefined);
  }
}

/** Those of the roles that there are not. */
async function missingRoles(client: ClientBase, names: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ rolname: string }>('SELECT rolname FROM pg_roles WHERE rolname = ANY($1)', [names]);
  return names.filter((name) => !rows.some(({ rolname }) => rolname === name));
}

async function ensureIam(client: ClientBase, username: string, wanted: boolean): Promise<void> {
  const exists = (await missingRoles(client, [IAM_ROLE])).length === 0;
  if (!exists && wanted) {
    throw new MigrationError(`The role ${username} has no password, so it is to log in with tokens of AWS IAM, but there is no role ${IAM_ROLE}, as RDS and Aurora have it: `
      + 'use such a database, or give the role a secret (DB_COMMAND_SECRET_ARN, DB_QUERY_SECRET_ARN, "secretArn" in DB_LOGINS).');
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
