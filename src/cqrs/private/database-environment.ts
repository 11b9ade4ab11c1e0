import { Tokenization } from 'aws-cdk-lib';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

export interface DatabaseEnvironments {
  command: { [name: string]: string };
  query: { [name: string]: string };
  admin?: { [name: string]: string };
}

/** Returns the environment variables for the workloads of each side. */
export function databaseEnvironments(engineName: string, database: {
  writerEndpoint: rds.Endpoint;
  readerEndpoint: rds.Endpoint;
  databaseName: string;
  commandSecret: secretsmanager.ISecret;
  querySecret: secretsmanager.ISecret;
  adminSecret?: secretsmanager.ISecret;
}): DatabaseEnvironments {
  const environment = (secret: secretsmanager.ISecret) => ({
    DB_ENGINE: engineName,
    DB_SECRET_ARN: secret.secretArn,
    DB_WRITER_ENDPOINT: database.writerEndpoint.hostname,
    DB_READER_ENDPOINT: database.readerEndpoint.hostname,
    DB_PORT: Tokenization.stringifyNumber(database.writerEndpoint.port),
    DB_READER_PORT: Tokenization.stringifyNumber(database.readerEndpoint.port),
    DB_NAME: database.databaseName,
  });
  return {
    command: environment(database.commandSecret),
    query: environment(database.querySecret),
    admin: database.adminSecret && {
      ...environment(database.adminSecret),
      DB_COMMAND_SECRET_ARN: database.commandSecret.secretArn,
      DB_QUERY_SECRET_ARN: database.querySecret.secretArn,
    },
  };
}
