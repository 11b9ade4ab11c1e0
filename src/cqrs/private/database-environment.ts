import { Tokenization } from 'aws-cdk-lib';
import type { ICqrsDatabase } from '../cqrs-database';
import type { DatabaseLogin } from '../database-login';

/** Returns the environment variables of a workload that logs in as one of the roles. */
export function environmentOf(database: ICqrsDatabase, login: DatabaseLogin): { [name: string]: string } {
  return {
    DB_ENGINE: database.engineName,
    ...login.environment,
    DB_WRITER_ENDPOINT: database.writerEndpoint.hostname,
    DB_READER_ENDPOINT: database.readerEndpoint.hostname,
    DB_PORT: Tokenization.stringifyNumber(database.writerEndpoint.port),
    DB_READER_PORT: Tokenization.stringifyNumber(database.readerEndpoint.port),
    DB_NAME: database.databaseName,
  };
}

/** Returns the variables that a migration needs to make a role: where its password is, or its name. */
export function roleEnvironment(side: 'COMMAND' | 'QUERY', { secret, userName }: DatabaseLogin): { [name: string]: string } {
  return {
    ...secret && { [`DB_${side}_SECRET_ARN`]: secret.secretArn },
    ...userName !== undefined && { [`DB_${side}_USER`]: userName },
  };
}
