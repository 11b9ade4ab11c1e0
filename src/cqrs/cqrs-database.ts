import { Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as rds from 'aws-cdk-lib/aws-rds';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Dependable, IDependable } from 'constructs';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { CqrsEngine } from './cqrs-engine';
import { databaseEnvironments } from './private/database-environment';

/**
 * A database with one endpoint and one role for commands, and one of each for queries.
 *
 * A construct that depends on it (`job.node.addDependency(database)`) is deployed when the database can be used: its instances exist, and
 * the rules that open its security groups, too. It does not wait for rules in another stack than that of the security group.
 *
 * Add the dependency to constructs that start to use it, such as a job or a trigger. A construct with its own security group, such as a
 * function in a VPC, can't depend on a database in the same stack that is opened to it. The rule needs that group, so each would wait for
 * the other.
 *
 * @subclassable
 */
export interface ICqrsDatabase extends ec2.IConnectable, IDependable {
  /** The endpoint of the writer. */
  readonly writerEndpoint: rds.Endpoint;

  /** The endpoint of the readers, which lag behind the writer. */
  readonly readerEndpoint: rds.Endpoint;

  /** The name of the database. */
  readonly databaseName: string;

  /** The credentials of the command role: JSON with at least `username` and `password`. */
  readonly commandSecret: secretsmanager.ISecret;

  /** The credentials of the query role: JSON with at least `username` and `password`. */
  readonly querySecret: secretsmanager.ISecret;

  /**
   * The credentials of the administrator, who owns the schema and creates both roles.
   *
   * @default - the schema and the roles are made outside this app
   */
  readonly adminSecret?: secretsmanager.ISecret;

  /**
   * Environment variables of a workload of the command side: `DB_ENGINE` (such as `postgres`), `DB_NAME`, `DB_SECRET_ARN`,
   * `DB_WRITER_ENDPOINT` with its port `DB_PORT`, and `DB_READER_ENDPOINT` with its port `DB_READER_PORT`.
   */
  readonly commandEnvironment: { [name: string]: string };

  /** Environment variables of a workload of the query side: the same names with the query role's secret. */
  readonly queryEnvironment: { [name: string]: string };

  /**
   * Environment variables of the migration job: the same names with the administrator's secret, and
   * `DB_COMMAND_SECRET_ARN` and `DB_QUERY_SECRET_ARN` of the roles that it creates.
   *
   * @default - undefined without `adminSecret`
   */
  readonly adminEnvironment?: { [name: string]: string };

  /** Grants permission to read the credentials of a side. */
  readonly grants: CqrsDatabaseGrants;
}

/**
 * An existing PostgreSQL database.
 */
export interface CqrsDatabaseAttributes {
  /** The host name of the writer. */
  readonly writerEndpointAddress: string;

  /**
   * The host name of the readers.
   *
   * @default - the host name of the writer: queries go to the writer, too
   */
  readonly readerEndpointAddress?: string;

  /**
   * The port of the writer.
   *
   * @default 5432
   */
  readonly port?: number;

  /**
   * The port of the readers, if it differs, as that of a pooler or a proxy may.
   *
   * @default - the same as `port`
   */
  readonly readerPort?: number;

  /** The name of the database. */
  readonly databaseName: string;

  /** The credentials of the role that writes: JSON with at least `username` and `password`. */
  readonly commandSecret: secretsmanager.ISecret;

  /** The credentials of the role that only reads: JSON with at least `username` and `password`. */
  readonly querySecret: secretsmanager.ISecret;

  /**
   * The credentials of a role that may create the schema and roles: JSON with at least `username` and `password`.
   *
   * @default - no migration can run; the schema and both roles must exist
   */
  readonly adminSecret?: secretsmanager.ISecret;

  /**
   * The security groups of the database, which are opened to the workloads.
   *
   * @default - none: the network path must exist
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /**
   * Constructs that must be deployed before the database can be used, such as a cluster that is made in the same app.
   *
   * @default - none: the database exists
   */
  readonly dependencies?: IDependable[];
}

/**
 * A database that exists already, in place of a `CqrsAuroraCluster`.
 *
 * @example
 * declare const existing: rds.DatabaseCluster;
 * declare const securityGroup: ec2.ISecurityGroup;
 * declare const writerRole: secretsmanager.ISecret;
 * declare const readerRole: secretsmanager.ISecret;
 *
 * const database = CqrsDatabase.fromAttributes({
 *   writerEndpointAddress: existing.clusterEndpoint.hostname,
 *   readerEndpointAddress: existing.clusterReadEndpoint.hostname,
 *   port: existing.clusterEndpoint.port,
 *   databaseName: 'orders',
 *   commandSecret: writerRole,
 *   querySecret: readerRole,
 *   securityGroups: [securityGroup],
 *   dependencies: [existing],
 * });
 */
export class CqrsDatabase implements ICqrsDatabase {
  /** Uses an existing database. */
  public static fromAttributes(attributes: CqrsDatabaseAttributes): ICqrsDatabase {
    return new CqrsDatabase(attributes);
  }

  public readonly writerEndpoint: rds.Endpoint;
  public readonly readerEndpoint: rds.Endpoint;
  public readonly databaseName: string;
  public readonly commandSecret: secretsmanager.ISecret;
  public readonly querySecret: secretsmanager.ISecret;
  public readonly adminSecret?: secretsmanager.ISecret;
  public readonly commandEnvironment: { [name: string]: string };
  public readonly queryEnvironment: { [name: string]: string };
  public readonly adminEnvironment?: { [name: string]: string };
  public readonly connections: ec2.Connections;
  public readonly grants: CqrsDatabaseGrants;

  private constructor(attributes: CqrsDatabaseAttributes) {
    const port = attributes.port ?? 5432;
    const readerPort = attributes.readerPort ?? port;
    requirePort('port', port);
    requirePort('readerPort', readerPort);
    this.writerEndpoint = new rds.Endpoint(attributes.writerEndpointAddress, port);
    this.readerEndpoint = new rds.Endpoint(attributes.readerEndpointAddress ?? attributes.writerEndpointAddress, readerPort);
    this.databaseName = attributes.databaseName;
    this.commandSecret = attributes.commandSecret;
    this.querySecret = attributes.querySecret;
    this.adminSecret = attributes.adminSecret;
    this.connections = new ec2.Connections({ securityGroups: attributes.securityGroups, defaultPort: ec2.Port.tcp(port) });
    ({
      command: this.commandEnvironment,
      query: this.queryEnvironment,
      admin: this.adminEnvironment,
    } = databaseEnvironments(CqrsEngine.postgres().engineName, this));
    this.grants = CqrsDatabaseGrants.fromDatabase(this);
    // The security groups are the scope of the rules that open them.
    const dependencies = [...attributes.securityGroups ?? [], ...attributes.dependencies ?? []];
    Dependable.implement(this, {
      get dependencyRoots() { return dependencies.flatMap((dependency) => Dependable.of(dependency).dependencyRoots); },
    });
  }
}

function requirePort(name: string, port: number): void {
  if (!Token.isUnresolved(port) && !(Number.isInteger(port) && port >= 1 && port <= 65535)) {
    throw new Error(`${name} must be a whole number between 1 and 65535, got ${port}`);
  }
}
