import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { ICqrsDatabase } from './cqrs-database';
import { DatabaseLogin } from './database-login';
import type { EgressRule } from '../workload';
import { environmentOf, roleEnvironment } from './private/database-environment';
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
 * For access through the proxy of a database, give `database.proxy`.
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
    return new DatabaseAccess(database, environmentOf(database, database.commandLogin), (grantee) => database.grants.command(grantee));
  }

  /** Access of the query role, which only reads. */
  public static query(database: ICqrsDatabase): DatabaseAccess {
    return new DatabaseAccess(database, environmentOf(database, database.queryLogin), (grantee) => database.grants.query(grantee));
  }

  /**
   * Access with a login of its own, whose rights the migration gives.
   *
   * @param login the login, such as one of `DatabaseLogin.password()`
   */
  public static withLogin(database: ICqrsDatabase, login: DatabaseLogin): DatabaseAccess {
    return new DatabaseAccess(database, environmentOf(database, login), (grantee) => login.grant(grantee));
  }

  /**
   * Access of the administrator, for a migration that makes the schema and both roles. The database must have an `adminSecret`; a proxy has
   * none.
   *
   * Its environment has the administrator's secret, and what the migration needs to make the roles: `DB_COMMAND_SECRET_ARN` and
   * `DB_QUERY_SECRET_ARN`, or `DB_COMMAND_USER` and `DB_QUERY_USER` of roles that log in with tokens.
   */
  public static admin(database: ICqrsDatabase): DatabaseAccess {
    const { adminSecret, commandLogin, queryLogin } = database;
    if (!adminSecret) {
      throw new Error('DatabaseAccess.admin needs the credentials of an administrator: give adminSecret to CqrsDatabase, and use the database '
        + 'instead of its proxy');
    }
    const environment = {
      ...environmentOf(database, DatabaseLogin.password(adminSecret)),
      ...roleEnvironment('COMMAND', commandLogin),
      ...roleEnvironment('QUERY', queryLogin),
    };
    return new DatabaseAccess(database, environment, (grantee) => database.grants.admin(grantee));
  }

  private constructor(
    /** The database. */
    public readonly database: ICqrsDatabase,
    /**
     * The environment variables of the workload: `DB_ENGINE` (such as `postgres`), `DB_NAME`, `DB_WRITER_ENDPOINT` with its port `DB_PORT`,
     * `DB_READER_ENDPOINT` with its port `DB_READER_PORT`, and the login: `DB_SECRET_ARN`; or `DB_AUTHENTICATION` with the value `iam`, and
     * `DB_USER`.
     */
    public readonly environment: { [name: string]: string },
    private readonly grantCredentials: (grantee: iam.IGrantable) => iam.Grant) {
  }

  /** The ports that the workload connects to: one, or two if the readers have another port than the writer. */
  public get egressPorts(): number[] {
    return portsOf(this.database);
  }

  /** The addresses of the ports, if it is known where the database is; otherwise it is empty. */
  public get egressRules(): EgressRule[] {
    const { networkCidrs: cidrs } = this.database;
    return cidrs ? [{ ports: this.egressPorts, cidrs }] : [];
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
