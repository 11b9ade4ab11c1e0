import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import pg, { type ClientBase } from 'pg';

export interface Login {
  readonly username: string;
  readonly password: string;
}

/**
 * Creates the role or brings it up to date: may log in, owns nothing, and is a member of nothing. Only a SCRAM verifier goes to
 * the server, so that the password can't end up in a statement log.
 */
export async function ensureLogin(
  client: ClientBase, { username, password }: Login, settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const role = pg.escapeIdentifier(username);
  const { rows: [current] } = await client.query<{ me: boolean; super: boolean }>(
    'SELECT rolname = current_user AS me, rolsuper AS super FROM pg_roles WHERE rolname = $1', [username],
  );
  if (current?.me || current?.super) {
    throw new Error(`The role ${username} administers the database: give the services a user of their own in its secret.`);
  }
  await client.query(`${current ? 'ALTER' : 'CREATE'} ROLE ${role} LOGIN NOCREATEDB NOCREATEROLE PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`);
  const { rows: [database] } = await client.query<{ name: string }>('SELECT current_database() AS name');
  const name = pg.escapeIdentifier(database!.name);
  await client.query(`GRANT CONNECT ON DATABASE ${name} TO ${role}`);
  for (const [setting, value] of Object.entries(settings)) {
    await client.query(`ALTER ROLE ${role} IN DATABASE ${name} SET ${pg.escapeIdentifier(setting)} = ${pg.escapeLiteral(value)}`);
  }
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
