import { setTimeout as sleep } from 'node:timers/promises';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { Signer } from '@aws-sdk/rds-signer';
import { LoginError } from './database-errors.ts';

/** User and password of a connection. */
export interface Login {
  readonly username: string;
  readonly password: string;
  readonly dbname?: string;
  readonly port?: number;
}

/** A source of logins. They change: a password by a rotation, a token by time. */
export interface LoginSource {
  current(): Promise<Login>;
  /** Another login after the server refused this one; the same, after a pause, if there is no other yet. */
  after(refused: Login): Promise<Login>;
}

/** A secret is read, and a token made, at most once in this time, however many connections are refused. */
const RENEW_MS = 500;
/** A token counts for 15 minutes. */
const TOKEN_MS = 10 * 60_000;

/**
 * A source that reads a secret with `{username, password, dbname?, port?}`, and again when the server refuses the login, so that a rotation
 * needs no restart. If the secret still has the refused password, the rotation has not come to its last step: then it is the pending one.
 */
export function secretLogin(secretArn: string, secrets = createSecretsClient()): LoginSource {
  return new CachedLogin(async (refused) => {
    const current = await readDatabaseSecret(secretArn, secrets);
    if (refused?.password !== current.password || refused.username !== current.username) return current;
    return readDatabaseSecret(secretArn, secrets, 'AWSPENDING').catch(() => current);
  }, Infinity);
}

export interface IamLogin {
  readonly username: string;
  /** The endpoint that is connected to, which the token is made for. */
  readonly hostname: string;
  readonly port: number;
}

/** A source of tokens of AWS IAM in place of a password. Region and credentials are those of the AWS SDK's default chain. */
export function iamLogin({ username, hostname, port }: IamLogin): LoginSource {
  const signer = new Signer({ username, hostname, port });
  return new CachedLogin(async () => {
    try {
      return { username, password: await signer.getAuthToken() };
    } catch (error) {
      throw new LoginError(`No token for the database user ${username}: ${(error as Error).message}`, { cause: error });
    }
  }, TOKEN_MS);
}

class CachedLogin implements LoginSource {
  readonly #read: (refused?: Login) => Promise<Login>;
  readonly #maxAgeMs: number;
  #cached: Promise<Login> | undefined;
  #readAt = -Infinity;
  #renewal: Promise<Login> | undefined;

  constructor(read: (refused?: Login) => Promise<Login>, maxAgeMs: number) {
    this.#read = read;
    this.#maxAgeMs = maxAgeMs;
  }

  current(refused?: Login): Promise<Login> {
    if (!this.#cached || performance.now() - this.#readAt > this.#maxAgeMs) {
      this.#readAt = performance.now();
      const read = this.#read(refused);
      this.#cached = read;
      read.catch(() => {
        if (this.#cached === read) this.#cached = undefined;
      });
    }
    return this.#cached;
  }

  async after(refused: Login): Promise<Login> {
    // Somebody else was refused before, and has another already.
    if (!this.#renewal && await this.current() !== refused) return this.current();
    this.#renewal ??= this.#renew(refused).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #renew(refused: Login): Promise<Login> {
    await sleep(Math.max(0, this.#readAt + RENEW_MS - performance.now()));
    this.#cached = undefined;
    return this.current(refused);
  }
}

/** A client that gives up when nobody answers, so that the error of a connection names the reason. */
export function createSecretsClient(): SecretsManagerClient {
  return new SecretsManagerClient({ requestHandler: { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true } });
}

/** Reads one database secret: the version that counts, or the one that a rotation prepares. */
export async function readDatabaseSecret(
  secretArn: string, secrets: SecretsManagerClient, stage: 'AWSCURRENT' | 'AWSPENDING' = 'AWSCURRENT',
): Promise<Login> {
  let text: string | undefined;
  try {
    text = (await secrets.send(new GetSecretValueCommand({ SecretId: secretArn, ...(stage !== 'AWSCURRENT' && { VersionStage: stage }) }))).SecretString;
  } catch (error) {
    throw new LoginError(`The database secret ${secretArn} can't be read: ${(error as Error).message}`, { cause: error });
  }
  let value: Record<string, unknown> = {};
  try {
    value = JSON.parse(text ?? '') as Record<string, unknown>;
  } catch {
    // Not quoted in the message: it may be a bare password.
  }
  if (typeof value?.username !== 'string' || typeof value.password !== 'string') {
    throw new LoginError(`The database secret ${secretArn} must be JSON with "username" and "password".`);
  }
  return {
    username: value.username,
    password: value.password,
    ...(typeof value.dbname === 'string' ? { dbname: value.dbname } : {}),
    ...(value.port === undefined ? {} : { port: Number(value.port) }),
  };
}
