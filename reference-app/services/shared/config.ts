import Type, { type Static, type TObject } from 'typebox';
import { Value } from 'typebox/value';

/** A wrong environment: the message lists every wrong variable and what to do about it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The environment is not right:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/**
 * Reads the variables that the schema names, once and whole: all problems come out together.
 * An empty variable counts as missing, as it does for the AWS SDKs.
 */
export function readConfig<T extends TObject>(schema: T, env: NodeJS.ProcessEnv = process.env): Static<T> {
  const raw: Record<string, unknown> = {};
  for (const name of Object.keys(schema.properties)) {
    if (env[name] !== undefined && env[name] !== '') raw[name] = env[name];
  }
  const value = Value.Convert(schema, Value.Default(schema, raw));
  const problems = new Map<string, string>();
  for (const error of Value.Errors(schema, value)) {
    const names = error.keyword === 'required' ? error.params.requiredProperties : [error.instancePath.split('/')[1] ?? ''];
    for (const name of names) {
      const fix = (schema.properties[name] as { description?: string } | undefined)?.description ?? 'see the documentation';
      problems.set(name, name in raw
        ? `${name} ${error.message}, but is ${JSON.stringify(mask(schema, name, raw[name]))}; set it to: ${fix}`
        : `${name} is missing; set it to: ${fix}`);
    }
  }
  if (problems.size > 0) throw new ConfigError([...problems.values()]);
  return value as Static<T>;
}

/** The configuration as it may be printed: properties marked `secret: true` in the schema are masked. */
export function maskConfig<T extends TObject>(schema: T, config: Static<T>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config as Record<string, unknown>).map(([name, value]) => [name, mask(schema, name, value)]));
}

function mask(schema: TObject, name: string, value: unknown): unknown {
  return (schema.properties[name] as { secret?: boolean } | undefined)?.secret ? '***' : value;
}

// --- what several services read ------------------------------------------------------------------------------

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** Every process. */
export const processConfig = (port: number) => ({
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: port, description: 'the port of the HTTP endpoint, 0 for any free one' }),
  HOST: Type.String({ default: '0.0.0.0', description: 'the address to listen on' }),
  LOG_LEVEL: Type.Enum([...LOG_LEVELS], { default: 'info', description: `one of ${LOG_LEVELS.join(', ')}` }),
});

/** Every API. */
export const apiConfig = {
  MANAGEMENT_PORT: Type.Integer({
    minimum: 0, maximum: 65535, default: 8080, description: 'the port of /livez, /readyz and /metrics, another one than PORT, or 0 for any free one',
  }),
};

/** Every process that talks to the database. */
export const databaseConfig = {
  DB_ENGINE: Type.Optional(Type.Enum(['postgres'], { description: 'postgres, as the statements of the services are written for PostgreSQL' })),
  DB_AUTHENTICATION: Type.Enum(['password', 'iam'], {
    default: 'password', description: 'password for the one in DB_SECRET_ARN, or iam for tokens of AWS IAM for DB_USER',
  }),
  DB_SECRET_ARN: Type.Optional(Type.String({ description: 'the ARN of the secret with username and password of the database role' })),
  DB_USER: Type.Optional(Type.String({ description: 'the database role, which logs in with tokens of AWS IAM' })),
  DB_CA_FILE: Type.Optional(Type.String({
    description: 'a PEM file with the certificate authority of the database, or nothing for those of RDS and RDS Proxy',
  })),
  DB_WRITER_ENDPOINT: Type.String({ description: 'the host (or host:port) of the writer' }),
  DB_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: 'the port of the database' })),
  DB_NAME: Type.Optional(Type.String({ description: 'the name of the database' })),
  DB_POOL_SIZE: Type.Integer({ minimum: 1, maximum: 200, default: 8, description: 'the most connections that this process may open to one endpoint' }),
};

/** Processes that read from a replica. */
export const readerConfig = {
  DB_READER_ENDPOINT: Type.String({ description: 'the host (or host:port) of the reader' }),
  DB_READER_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: 'the port of the reader, or nothing if it is DB_PORT' })),
};

const lingerMs = (byDefault: number) => Type.Integer({
  minimum: 0, maximum: 1000, default: byDefault, description: 'the pause in milliseconds after a receive call that brought few events',
});

/** Consumers for which no order waits: fewer and larger batches. */
export const patientConsumerConfig = { CONSUMER_LINGER_MS: lingerMs(250) };

/** The settings of signatures: a publisher signs its events, and a consumer verifies them. */
export const signingConfig = {
  EVENT_SIGNING_SECRET_ARN: Type.Optional(Type.String({
    description: 'the ARN of the secret that signs events, a text of at least 32 characters, or nothing if events are not signed',
  })),
};

/** Processes that consume a queue. */
export const consumerConfig = {
  ...signingConfig,
  QUEUE_URL: Type.String({ pattern: '^https?://.+', description: 'the URL of the queue to consume' }),
  CONSUMER_RECEIVERS: Type.Integer({ minimum: 1, maximum: 50, default: 4, description: 'the most receive calls at once (each brings at most ten messages)' }),
  CONSUMER_LINGER_MS: lingerMs(10),
  CONSUMER_WAIT_SECONDS: Type.Integer({ minimum: 0, maximum: 20, default: 20, description: 'how long a receive call waits for a message' }),
  CONSUMER_BATCH_SIZE: Type.Integer({ minimum: 1, maximum: 5000, default: 500, description: 'the most events of one transaction' }),
  CONSUMER_CONCURRENCY: Type.Integer({ minimum: 1, maximum: 20, default: 2, description: 'how many transactions to run at once' }),
  CONSUMER_PARKED_HOURS: Type.Number({ exclusiveMinimum: 0, default: 24, description: 'after how many hours without its earlier version a parked event is a dead letter' }),
};

const QUEUES_HOLD_HOURS = 28 * 24;

/** Processes that delete old ids from the inbox. With less, a redriven dead letter would be taken for history, and lost. */
export const inboxConfig = {
  INBOX_RETENTION_HOURS: Type.Number({
    default: 24 * 30,
    anyOf: [{ const: 0 }, { minimum: QUEUES_HOLD_HOURS }],
    description: 'for how many hours to keep the ids of handled events: 0 is forever, anything else at least '
      + `${QUEUES_HOLD_HOURS}, since a queue and then its dead-letter queue hold a message for up to 14 days each`,
  }),
};
