import { join } from 'node:path';
import pg from 'pg';
import type { Model, Resource } from '../assembly/model.ts';
import type { RunContext } from '../service.ts';
import { connect } from './client.ts';
import { startPostgres } from './postgres.ts';
import type { Postgres } from './postgres.ts';

export interface LocalDatabase {
  readonly resource: Resource;
  readonly server: Postgres;
  readonly name: string;
}

/** Starts a PostgreSQL for every Aurora PostgreSQL cluster and every PostgreSQL instance that stands alone. */
export async function startDatabases(model: Model, options: RunContext, started: LocalDatabase[]): Promise<void> {
  for (const resource of model.ofType('AWS::RDS::DBCluster', 'AWS::RDS::DBInstance')) {
    if (resource.source.Properties?.DBClusterIdentifier !== undefined && resource.type === 'AWS::RDS::DBInstance') continue;
    const engine = resource.text('Engine') ?? 'unknown';
    if (!/postgres/.test(engine)) {
      options.warn(`The local run cannot make ${resource.constructPath} (${resource.type}): it runs PostgreSQL, not ${engine}.`);
      continue;
    }
    const members = model.ofType('AWS::RDS::DBInstance').filter((instance) =>
      instance.source.Properties?.DBClusterIdentifier !== undefined && instance.text('DBClusterIdentifier') === resource.ref());
    const sources = model.ofType('AWS::RDS::DBInstance').filter((instance) =>
      instance.source.Properties?.SourceDBInstanceIdentifier !== undefined && instance.text('SourceDBInstanceIdentifier') === resource.ref());
    const [writer, reader] = started.length === 0 ? ['writer', 'reader'] : [`${resource.id}-writer`, `${resource.id}-reader`];
    const server = await startPostgres({
      dataDir: join(options.dataDir, 'databases', `${resource.stack.name}-${resource.id}`),
      logDir: started.length === 0 ? options.logDir : join(options.logDir, resource.id),
      fresh: options.fresh,
      // RDS calls the administrator of a database `postgres` by default, who is no superuser there.
      superuser: 'local_superuser',
      port: await options.port(writer),
      // Several readers of a cluster are one replica here: they show the same.
      replica: members.length > 1 || sources.length > 0 ? { port: await options.port(reader) } : false,
      tokens: acceptsTokens(resource),
      synchronous: options.replication === 'synchronous',
      settings: parametersOf(model, resource),
      portNames: { writer, reader },
    });
    started.push({ resource, server, name: resource.text('DatabaseName') ?? resource.text('DBName') ?? 'postgres' });
  }
}

/**
 * The parameters of a database that mean the same on this machine: those about sessions, transactions and locks, and none about memory,
 * disks, replication or RDS itself.
 */
const PARAMETERS: readonly string[] = [
  'deadlock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'lock_timeout', 'log_lock_waits', 'statement_timeout', 'transaction_timeout',
];

function parametersOf(model: Model, database: Resource): Record<string, string> {
  const names = [database.get('DBClusterParameterGroupName'), database.get('DBParameterGroupName')];
  const group = model.ofType('AWS::RDS::DBClusterParameterGroup', 'AWS::RDS::DBParameterGroup').find((one) => names.includes(one.ref()));
  const parameters = Object.entries((group?.get('Parameters') ?? {}) as Record<string, unknown>);
  return Object.fromEntries(parameters.filter(([name]) => PARAMETERS.includes(name)).map(([name, value]) => [name, String(value)]));
}

/** Roles of the database may log in with tokens of IAM. */
export function acceptsTokens(resource: Resource): boolean {
  return String(resource.get('EnableIAMDatabaseAuthentication')) === 'true';
}

/** Creates the database and its administrator, with the rights that RDS gives: many, but no superuser. */
export async function prepareDatabase(database: LocalDatabase, master: { username: string; password: string }): Promise<void> {
  const quote = pg.escapeIdentifier;
  const client = await connect(database.server.writer);
  try {
    const exists = async (table: string, column: string, name: string) => (await client.query(`select 1 from ${table} where ${column} = $1`, [name])).rowCount === 1;
    // The roles of RDS that migrations grant to others.
    for (const role of ['rds_superuser', 'rds_iam', 'rds_replication']) {
      if (!await exists('pg_roles', 'rolname', role)) await client.query(`create role ${quote(role)} nologin`);
    }
    await client.query('grant pg_monitor, pg_signal_backend, pg_checkpoint, pg_read_all_data, pg_write_all_data to rds_superuser with admin option');
    if (!await exists('pg_roles', 'rolname', master.username)) await client.query(`create role ${quote(master.username)}`);
    await client.query(`alter role ${quote(master.username)} with login createdb createrole password ${pg.escapeLiteral(master.password)}`);
    await client.query(`grant rds_superuser, rds_iam, rds_replication to ${quote(master.username)} with admin option`);
    if (!await exists('pg_database', 'datname', database.name)) await client.query(`create database ${quote(database.name)} owner ${quote(master.username)}`);
  } finally {
    await client.end();
  }
}
