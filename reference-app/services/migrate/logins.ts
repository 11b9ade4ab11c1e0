import { ResourceNotFoundException, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import Type, { type Static } from 'typebox';
import { MigrationError } from './files.ts';
import type { MigrateOptions } from './migrate.ts';
import type { Login } from './roles.ts';
import { readDatabaseSecret } from '../shared/database-login.ts';

const secret = (side: string) => Type.Optional(Type.String({
  description: `the ARN of the secret with username and password of the login with the rights of all workloads of the ${side} side`,
}));
const userOf = () => Type.Optional(Type.String({ description: 'in place of the secret: the name of this login, which logs in with tokens of AWS IAM' }));

/** Those of the two sides, those of the workloads, or both. */
export const loginConfig = {
  DB_COMMAND_SECRET_ARN: secret('command'),
  DB_COMMAND_USER: userOf(),
  DB_QUERY_SECRET_ARN: secret('query'),
  DB_QUERY_USER: userOf(),
  DB_LOGINS: Type.Optional(Type.String({
    description: 'the logins of single workloads, as a JSON list like [{"workload":"inventory-service","secretArn":"arn:…"}], '
      + 'or with "user" in place of "secretArn" for tokens of AWS IAM',
  })),
};

const LoginConfig = Type.Object(loginConfig);
export type LoginConfig = Static<typeof LoginConfig>;

/** @throws MigrationError that names the variable and the fix */
export async function readLogins(
  config: LoginConfig, secrets: SecretsManagerClient,
): Promise<Pick<MigrateOptions, 'command' | 'query'> & { readonly logins: NonNullable<MigrateOptions['logins']> }> {
  const side = async (name: 'COMMAND' | 'QUERY'): Promise<Login | undefined> => {
    const [secretArn, user] = [config[`DB_${name}_SECRET_ARN`], config[`DB_${name}_USER`]];
    if (secretArn !== undefined || user !== undefined) return loginOf({ secretArn, user }, secrets);
    if (config.DB_LOGINS !== undefined) return undefined;
    throw new MigrationError(`DB_${name}_SECRET_ARN is missing; set it to the secret with username and password of the login, `
      + `or DB_${name}_USER to the name of one for tokens of AWS IAM; or set DB_LOGINS to the logins of the workloads.`);
  };
  const [command, query, ...logins] = await Promise.all([
    side('COMMAND'),
    side('QUERY'),
    ...entriesOf(config.DB_LOGINS).map(async ({ workload, ...entry }) => ({ workload, ...await loginOf(entry, secrets) })),
  ]);
  return { command, query, logins };
}

interface LoginEntry {
  readonly secretArn?: string | undefined;
  readonly user?: string | undefined;
}

function entriesOf(text: string | undefined): (LoginEntry & { readonly workload: string })[] {
  if (text === undefined) return [];
  const entries = parse(text);
  if (!Array.isArray(entries)) throw new MigrationError('DB_LOGINS must be a JSON list of logins, like [{"workload":"inventory-service","secretArn":"arn:…"}].');
  return entries.map((entry: Readonly<Record<string, unknown>> | null, i) => {
    const { workload, secretArn, user } = entry ?? {};
    if (typeof workload !== 'string') throw new MigrationError(`DB_LOGINS.${i}.workload is missing; set it to the name of the program that logs in.`);
    if (typeof secretArn === 'string' && user === undefined) return { workload, secretArn };
    if (typeof user === 'string' && secretArn === undefined) return { workload, user };
    throw new MigrationError(`DB_LOGINS.${i} (${workload}) needs either secretArn, a secret with username and password, or user, the name of a login for tokens of AWS IAM.`);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A login has a password, or none and logs in with tokens. */
async function loginOf({ secretArn, user }: LoginEntry, secrets: SecretsManagerClient): Promise<Login> {
  if (secretArn === undefined) return { username: user! };
  return {
    ...await readDatabaseSecret(secretArn, secrets),
    read: (stage) => readDatabaseSecret(secretArn, secrets, stage).catch((error: unknown) => {
      if (stage === 'AWSPENDING' && (error as Error).cause instanceof ResourceNotFoundException) return undefined;
      throw error;
    }),
  };
}
