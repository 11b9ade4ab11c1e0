import type { Static } from 'typebox';
import Type from 'typebox';
import { ConfigError, databaseConfig, readerConfig } from './config.ts';
import { iamLogin, secretLogin, type LoginSource } from './database-login.ts';
import { createPool, parseEndpoint, type Pool, type PoolOptions } from './database.ts';

const Database = Type.Object(databaseConfig);
const Reader = Type.Object(readerConfig);
type Database = Static<typeof Database>;
type Options = Omit<PoolOptions, 'endpoint' | 'port' | 'database' | 'login' | 'tls' | 'target'>;

/** A pool to the writer, as the environment says. */
export function createWriterPool(config: Database, options: Options): Pool {
  return createPool({ ...optionsOf(config, config.DB_WRITER_ENDPOINT, config.DB_PORT), max: config.DB_POOL_SIZE, ...options });
}

/** A pool to a reader, as the environment says. */
export function createReaderPool(config: Database & Static<typeof Reader>, options: Options): Pool {
  const port = config.DB_READER_PORT ?? config.DB_PORT;
  return createPool({ ...optionsOf(config, config.DB_READER_ENDPOINT, port), target: 'any', max: config.DB_POOL_SIZE, ...options });
}

function optionsOf(config: Database, endpoint: string, port: number | undefined) {
  const tls: Pick<PoolOptions, 'tls'> = config.DB_CA_FILE === undefined
    // A token is as good as a password for its quarter of an hour: never in clear, not even on loopback.
    ? (config.DB_AUTHENTICATION === 'iam' ? { tls: 'bundle' } : {})
    : { tls: { caFile: config.DB_CA_FILE } };
  return { endpoint, port, database: config.DB_NAME, login: loginOf(config, endpoint, port), ...tls };
}

function loginOf(config: Database, endpoint: string, port: number | undefined): LoginSource {
  if (config.DB_AUTHENTICATION === 'iam') {
    if (config.DB_USER === undefined) throw missing('DB_USER');
    const { host: hostname, port: ofEndpoint } = parseEndpoint(endpoint);
    return iamLogin({ username: config.DB_USER, hostname, port: ofEndpoint ?? port ?? 5432 });
  }
  if (config.DB_SECRET_ARN === undefined) throw missing('DB_SECRET_ARN');
  return secretLogin(config.DB_SECRET_ARN);
}

function missing(name: 'DB_USER' | 'DB_SECRET_ARN'): ConfigError {
  return new ConfigError([`${name} is missing; set it to: ${(databaseConfig[name] as { description?: string }).description}, as DB_AUTHENTICATION says`]);
}
