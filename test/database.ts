import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { CqrsDatabase, DatabaseLogin, ICqrsDatabase } from '../src/cqrs';

/** A database that exists already, so that it adds nothing to the stack. */
export function existingDatabase(scope: Construct, options: { adminSecret?: boolean; readerPort?: number } = {}): ICqrsDatabase {
  const secret = (name: string) => secretsmanager.Secret.fromSecretCompleteArn(
    scope, name, `arn:aws:secretsmanager:eu-west-1:111122223333:secret:${name}-AbCdEf`);
  return CqrsDatabase.fromAttributes({
    writerEndpointAddress: 'writer.example',
    readerEndpointAddress: 'reader.example',
    readerPort: options.readerPort,
    databaseName: 'shop',
    commandLogin: DatabaseLogin.password(secret('command')),
    queryLogin: DatabaseLogin.password(secret('query')),
    adminSecret: options.adminSecret ? secret('admin') : undefined,
    securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(scope, 'DatabaseGroup', 'sg-database')],
  });
}
