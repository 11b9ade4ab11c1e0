import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { ICqrsDatabase } from './cqrs-database';
import { openDatabase, portsOf } from './private/database-network';

/**
 * The side of a CQRS database that is used.
 */
export enum DatabaseSide {
  /** The writer and the readers, with the command role. */
  COMMAND = 'COMMAND',

  /** The readers, with the query role, which can only read. */
  QUERY = 'QUERY',

  /** No side: no credentials and no network path. */
  NONE = 'NONE',
}

/**
 * The access of a workload to a CQRS database: its environment variables, the ports that it connects to, and its permission.
 *
 * @example
 * declare const database: CqrsAuroraCluster;
 * declare const vpc: ec2.IVpc;
 * declare const code: lambda.Code;
 *
 * const access = DatabaseAccess.query(database);
 * const report = new lambda.Function(this, 'Report', {
 *   runtime: lambda.Runtime.NODEJS_24_X,
 *   handler: 'report.handler',
 *   code,
 *   vpc,
 *   environment: access.environment,
 * });
 * access.connect(report, report);
 */
export class DatabaseAccess {
  /** Access of the command role, which writes and reads. */
  public static command(database: ICqrsDatabase): DatabaseAccess {
    return new DatabaseAccess(database, database.commandEnvironment, (grantee) => database.grants.command(grantee));
  }

  /** Access of the query role, which only reads. */
  public static query(database: ICqrsDatabase): DatabaseAccess {
    return new DatabaseAccess(database, database.queryEnvironment, (grantee) => database.grants.query(grantee));
  }

  /** Access of the administrator, for a migration that makes the schema and both roles. The database must have an `adminSecret`. */
  public static admin(database: ICqrsDatabase): DatabaseAccess {
    if (!database.adminEnvironment) {
      throw new Error('DatabaseAccess.admin needs the credentials of an administrator: give adminSecret to CqrsDatabase.fromAttributes');
    }
    return new DatabaseAccess(database, database.adminEnvironment, (grantee) => database.grants.admin(grantee));
  }

  private constructor(
    /** The database. */
    public readonly database: ICqrsDatabase,
    /** The environment variables of the workload, as `ICqrsDatabase` describes them. */
    public readonly environment: { [name: string]: string },
    private readonly grantCredentials: (grantee: iam.IGrantable) => iam.Grant) {
  }

  /** The ports that the workload connects to: one, or two if the readers have another port than the writer. */
  public get egressPorts(): number[] {
    return portsOf(this.database);
  }

  /**
   * Lets a workload use the database.
   *
   * It adds no dependency: a workload that must start after the database has to depend on `database`.
   *
   * @param grantee the identity that may read the credentials. Without it, no permission is granted
   * @param connections the connections to which the ports are opened. Without it, none is opened
   */
  public connect(grantee?: iam.IGrantable, connections?: ec2.IConnectable): void {
    if (grantee) { this.grantCredentials(grantee); }
    if (connections) { openDatabase(this.database, connections, grantee); }
  }
}
