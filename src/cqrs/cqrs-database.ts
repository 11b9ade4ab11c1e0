import { Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as rds from 'aws-cdk-lib/aws-rds';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Dependable, IDependable } from 'constructs';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { CqrsEngine } from './cqrs-engine';
import type { DatabaseLogin } from './database-login';
import type { IWorkloadLogins } from './workload-logins';
import { invalid } from '../private/validation';

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
  /** The name of the engine for drivers: `postgres` or `mysql`. Workloads get it in `DB_ENGINE`. */
  readonly engineName: string;

  /** The endpoint of the writer. */
  readonly writerEndpoint: rds.Endpoint;

  /** The endpoint of the readers, which lag behind the writer. */
  readonly readerEndpoint: rds.Endpoint;

  /** The name of the database. */
  readonly databaseName: string;

  /** The login of the command role, which writes. */
  readonly commandLogin: DatabaseLogin;

  /** The login of the query role, which only reads. */
  readonly queryLogin: DatabaseLogin;

  /**
   * The credentials of the administrator, who owns the schema and creates both roles.
   *
   * @default - the schema and the roles are made outside this app
   */
  readonly adminSecret?: secretsmanager.ISecret;

  /**
   * The same database through a proxy, for workloads that open many connections for a short time, such as functions.
   *
   * @default - there is no proxy
   */
  readonly proxy?: ICqrsDatabase;

  /**
   * Makes logins of single workloads.
   *
   * @default - undefined: there are the logins of the two sides only
   */
  readonly workloadLogins?: IWorkloadLogins;

  /**
   * The blocks of addresses in which the database is. Workloads on Kubernetes reach its ports there, and nowhere else.
   *
   * @default - unknown: network policies open the ports to any address
   */
  readonly networkCidrs?: string[];

  /** Grants permission to log in as the role of a side. */
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

  /** The login of the role that writes. */
  readonly commandLogin: DatabaseLogin;

  /** The login of the role that only reads. */
  readonly queryLogin: DatabaseLogin;

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
   * The same database through a proxy. Give another one that was made with `fromAttributes`.
   *
   * @default - there is no proxy
   */
  readonly proxy?: ICqrsDatabase;

  /**
   * The blocks of addresses in which the database is. Workloads on Kubernetes reach its ports there, and nowhere else.
   *
   * @default - unknown: network policies open the ports to any address
   */
  readonly networkCidrs?: string[];

  /**
   * Constructs that must be deployed before the database can be used, such as a cluster that is made in the same app.
   *
   * @default - none: the database exists
   */
  readonly dependencies?: IDependable[];
}

/**
 * The parts of a database in an existing cluster that the cluster doesn't have.
 */
export interface CqrsClusterAttributes {
  /** The name of the database. */
  readonly databaseName: string;

  /** The login of the role that writes. */
  readonly commandLogin: DatabaseLogin;

  /** The login of the role that only reads. */
  readonly queryLogin: DatabaseLogin;

  /**
   * The credentials of a role that may create the schema and roles: JSON with at least `username` and `password`.
   *
   * @default - no migration can run; the schema and both roles must exist
   */
  readonly adminSecret?: secretsmanager.ISecret;

  /**
   * The port of the cluster, if it must be known at synthesis, as for a network policy of Kubernetes.
   *
   * @default - the port of the cluster's endpoint
   */
  readonly port?: number;

  /**
   * The blocks of addresses in which the database is. Workloads on Kubernetes reach its ports there, and nowhere else.
   *
   * @default - unknown: network policies open the ports to any address
   */
  readonly networkCidrs?: string[];
}

/**
 * A database that exists already, in place of a `CqrsAuroraCluster`.
 *
 * @example
 * declare const secret: { [role: string]: secretsmanager.ISecret };
 *
 * const database = CqrsDatabase.fromAttributes({
 *   writerEndpointAddress: 'shop.cluster-example.eu-west-1.rds.amazonaws.com',
 *   readerEndpointAddress: 'shop.cluster-ro-example.eu-west-1.rds.amazonaws.com',
 *   databaseName: 'orders',
 *   commandLogin: DatabaseLogin.password(secret.command),
 *   queryLogin: DatabaseLogin.password(secret.query),
 *   securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(this, 'DatabaseGroup', 'sg-0123456789abcdef0')],
 * });
 */
export class CqrsDatabase implements ICqrsDatabase {
  /** Uses an existing database. */
  public static fromAttributes(attributes: CqrsDatabaseAttributes): ICqrsDatabase {
    return new CqrsDatabase(attributes);
  }

  /**
   * Uses a cluster that is made with the CDK, or known to it: its endpoints, its port and its security groups. What depends on the database
   * waits for the cluster. It must be PostgreSQL.
   *
   * @example
   * declare const cluster: rds.DatabaseCluster;
   *
   * const database = CqrsDatabase.fromCluster(cluster, {
   *   databaseName: 'orders',
   *   commandLogin: DatabaseLogin.iam(cluster, 'orders_command'),
   *   queryLogin: DatabaseLogin.iam(cluster, 'orders_query'),
   *   adminSecret: cluster.secret,
   * });
   */
  public static fromCluster(cluster: rds.IDatabaseCluster, attributes: CqrsClusterAttributes): ICqrsDatabase {
    const engine = cluster.engine?.engineType;
    if (engine !== undefined && !engine.includes('postgres')) {
      throw invalid(cluster, `CqrsDatabase.fromCluster needs a cluster with PostgreSQL, got ${engine}`);
    }
    const { port = cluster.clusterEndpoint.port, ...rest } = attributes;
    return new CqrsDatabase({
      ...rest,
      writerEndpointAddress: cluster.clusterEndpoint.hostname,
      readerEndpointAddress: cluster.clusterReadEndpoint.hostname,
      port,
      securityGroups: cluster.connections.securityGroups,
      dependencies: [cluster],
    });
  }

  public readonly engineName: string = CqrsEngine.postgres().engineName;
  public readonly writerEndpoint: rds.Endpoint;
  public readonly readerEndpoint: rds.Endpoint;
  public readonly databaseName: string;
  public readonly commandLogin: DatabaseLogin;
  public readonly queryLogin: DatabaseLogin;
  public readonly adminSecret?: secretsmanager.ISecret;
  public readonly proxy?: ICqrsDatabase;
  public readonly networkCidrs?: string[];
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
    this.commandLogin = attributes.commandLogin;
    this.queryLogin = attributes.queryLogin;
    this.adminSecret = attributes.adminSecret;
    this.proxy = attributes.proxy;
    this.networkCidrs = attributes.networkCidrs;
    this.connections = new ec2.Connections({ securityGroups: attributes.securityGroups, defaultPort: ec2.Port.tcp(port) });
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
