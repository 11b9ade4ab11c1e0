import { Duration, Fn, Names, RemovalPolicy } from 'aws-cdk-lib';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { ICqrsDatabase } from './cqrs-database';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { DatabaseLogin } from './database-login';
import { allowInStackOf, blocksOf } from './private/database-network';
import { invalid, requireDuration, requireInteger, requireSeconds } from '../private/validation';

/** The port of a proxy for PostgreSQL, whatever the port of its cluster is. */
const PORT = 5432;

/**
 * Options of the proxy of a database.
 */
export interface CqrsProxyOptions {
  /**
   * The time after which the proxy closes a connection of a client that does nothing: 1 minute to 8 hours.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-connections.html
   * @default Duration.minutes(30)
   */
  readonly idleClientTimeout?: Duration;

  /**
   * The time that a client waits for a connection to the database if all are in use: up to 5 minutes. It is also the time for which clients
   * wait during a failover instead of getting an error.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-connections.html
   * @default Duration.minutes(2)
   */
  readonly borrowTimeout?: Duration;

  /**
   * The share of the database's `max_connections` that the proxy may use, in whole percent: 1 to 100. The rest is for workloads that
   * connect directly, such as the relay, the migration, and people.
   *
   * @default 80
   */
  readonly maxConnectionsPercent?: number;
}

/**
 * Properties of a `CqrsProxy`.
 */
export interface CqrsProxyProps extends CqrsProxyOptions {
  /** The database of the cluster. Its logins are those of the proxy. */
  readonly database: ICqrsDatabase;

  /** The cluster of the database. */
  readonly cluster: rds.IDatabaseCluster;

  /** The VPC of the proxy. */
  readonly vpc: ec2.IVpc;

  /** The subnets of the proxy: at least two. */
  readonly vpcSubnets: ec2.SubnetSelection;

  /**
   * The blocks of addresses of the subnets, in which workloads on Kubernetes reach the proxy.
   *
   * @default - those of the subnets; unknown, which is any address, for imported subnets whose blocks are not known
   */
  readonly networkCidrs?: string[];

  /**
   * True if the cluster has readers. Without any, an endpoint for reading would accept no connection, so queries go to the writer.
   *
   * @default true
   */
  readonly readers?: boolean;

  /**
   * The retention period of the proxy's log.
   *
   * @default logs.RetentionDays.ONE_MONTH
   */
  readonly logRetention?: logs.RetentionDays;
}

/**
 * An RDS Proxy in front of a database: many short connections of clients share few long ones of the database.
 *
 * It is a database for `DatabaseAccess` and for `CqrsDatabase`, with the same roles as its cluster, and without an administrator. It
 * listens on port 5432, whatever the port of the cluster is. TLS is required.
 *
 * A client that uses it must not set start-up options, which RDS Proxy refuses, and should not change settings of its session, hold
 * advisory locks of its session, or listen: each of these binds ("pins") a connection of the database to the client, until the client is
 * gone.
 *
 * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-pinning.html
 *
 * @example
 * declare const vpc: ec2.IVpc;
 * declare const code: lambda.Code;
 *
 * const database = new CqrsAuroraCluster(this, 'Database', { vpc, proxy: {} });
 * const access = DatabaseAccess.command(database.proxy!);
 * const fn = new lambda.Function(this, 'Function', {
 *   runtime: lambda.Runtime.NODEJS_24_X,
 *   handler: 'index.handler',
 *   code,
 *   vpc,
 *   environment: access.environment,
 * });
 * access.connect(fn, fn);
 */
@propertyInjectable
export class CqrsProxy extends Construct implements ICqrsDatabase {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.CqrsProxy';

  /** The proxy. */
  public readonly databaseProxy: rds.IDatabaseProxy;

  /** The security group of the proxy. `connections` opens it. It may connect to the database only. */
  public readonly securityGroup: ec2.ISecurityGroup;

  /** The role of the proxy, which may read the secrets of the two roles, or connect as them. */
  public readonly role: iam.IRole;

  /** The log of the proxy. */
  public readonly logGroup: logs.ILogGroup;

  public readonly engineName: string;
  public readonly writerEndpoint: rds.Endpoint;
  public readonly readerEndpoint: rds.Endpoint;
  public readonly databaseName: string;
  public readonly commandLogin: DatabaseLogin;
  public readonly queryLogin: DatabaseLogin;
  /** The blocks of addresses in which it is; undefined for imported subnets whose blocks are not known. */
  public readonly networkCidrs?: string[];

  public readonly connections: ec2.Connections;
  public readonly grants: CqrsDatabaseGrants;

  private readonly maxConnectionsPercent: number;

  constructor(scope: Construct, id: string, props: CqrsProxyProps) {
    super(scope, id);
    const { database } = props;
    this.maxConnectionsPercent = props.maxConnectionsPercent ?? 80;
    this.validate(props);
    this.engineName = database.engineName;
    this.databaseName = database.databaseName;

    this.securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc: props.vpc,
      description: `Connections to the proxy of the database ${database.databaseName}`,
      allowAllOutbound: false,
    });
    // The cluster may be in another stack, which this one needs.
    allowInStackOf(this.securityGroup, database, ec2.Port.tcp(database.writerEndpoint.port), 'Proxy');
    this.connections = new ec2.Connections({ securityGroups: [this.securityGroup], defaultPort: ec2.Port.tcp(PORT) });

    this.role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('rds.amazonaws.com'),
      description: `Logs in to the database ${database.databaseName} for its proxy`,
    });
    database.grants.command(this.role);
    database.grants.query(this.role);

    // CloudFormation needs a name. It is in lower case, as Amazon RDS makes the log group from the name in lower case.
    const name = Names.uniqueResourceName(this, { maxLength: 60, separator: '-' }).toLowerCase();
    this.logGroup = new logs.LogGroup(this, 'Log', {
      logGroupName: `/aws/rds/proxy/${name}`,
      retention: props.logRetention ?? logs.RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.networkCidrs = props.networkCidrs ?? blocksOf(props.vpc, props.vpcSubnets);
    const vpcSubnetIds = props.vpc.selectSubnets(props.vpcSubnets).subnetIds;
    const vpcSecurityGroupIds = [this.securityGroup.securityGroupId];
    const resource = new rds.CfnDBProxy(this, 'Resource', {
      dbProxyName: name,
      engineFamily: 'POSTGRESQL',
      ...this.authentication(database),
      idleClientTimeout: props.idleClientTimeout?.toSeconds() ?? Duration.minutes(30).toSeconds(),
      requireTls: true,
      roleArn: this.role.roleArn,
      vpcSubnetIds,
      vpcSecurityGroupIds,
    });
    // The proxy reads the secrets when it starts; the log group would be made by RDS otherwise, and kept forever.
    resource.node.addDependency(this.role, this.logGroup);
    const targets = new rds.CfnDBProxyTargetGroup(this, 'Targets', {
      dbProxyName: resource.ref,
      targetGroupName: 'default',
      dbClusterIdentifiers: [props.cluster.clusterIdentifier],
      connectionPoolConfigurationInfo: {
        maxConnectionsPercent: this.maxConnectionsPercent,
        connectionBorrowTimeout: props.borrowTimeout?.toSeconds() ?? Duration.minutes(2).toSeconds(),
      },
    });
    targets.node.addDependency(props.cluster);

    this.databaseProxy = rds.DatabaseProxy.fromDatabaseProxyAttributes(this, 'Proxy', {
      dbProxyName: resource.ref,
      dbProxyArn: resource.attrDbProxyArn,
      endpoint: resource.attrEndpoint,
      securityGroups: [this.securityGroup],
    });
    this.writerEndpoint = new rds.Endpoint(resource.attrEndpoint, PORT);
    this.readerEndpoint = props.readers ?? true
      ? new rds.Endpoint(this.addReaderEndpoint(name, resource.ref, vpcSubnetIds, vpcSecurityGroupIds), PORT)
      : this.writerEndpoint;
    this.commandLogin = this.loginOf(database.commandLogin);
    this.queryLogin = this.loginOf(database.queryLogin);
    this.grants = CqrsDatabaseGrants.fromDatabase(this);
  }

  /**
   * The time in microseconds that clients waited for a connection to the database. The average over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy.monitoring.html
   */
  public metricBorrowLatency(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric('DatabaseConnectionsBorrowLatency', { statistic: Stats.AVERAGE, ...options });
  }

  /**
   * The number of database connections that are bound to one client. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy.monitoring.html
   */
  public metricPinnedConnections(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric('DatabaseConnectionsCurrentlySessionPinned', { statistic: Stats.MAXIMUM, ...options });
  }

  private metric(metricName: string, options: cloudwatch.MetricOptions): cloudwatch.Metric {
    return new Metric({
      namespace: 'AWS/RDS', metricName, dimensionsMap: { ProxyName: this.databaseProxy.dbProxyName }, ...options,
    }).attachTo(this);
  }

  /** A token stays a token from the client to the database; a password is checked by the proxy. */
  private authentication(database: ICqrsDatabase): Pick<rds.CfnDBProxyProps, 'auth' | 'defaultAuthScheme'> {
    const secrets = [database.commandLogin.secret, database.queryLogin.secret].filter((secret) => secret !== undefined);
    if (secrets.length === 0) { return { defaultAuthScheme: rds.DefaultAuthScheme.IAM_AUTH }; }
    return {
      auth: secrets.map((secret) => ({
        authScheme: 'SECRETS',
        clientPasswordAuthType: rds.ClientPasswordAuthType.POSTGRES_SCRAM_SHA_256,
        iamAuth: 'DISABLED',
        secretArn: secret.secretArn,
      })),
    };
  }

  private addReaderEndpoint(name: string, dbProxyName: string, vpcSubnetIds: string[], vpcSecurityGroupIds: string[]): string {
    return new rds.CfnDBProxyEndpoint(this, 'ReaderEndpoint', {
      dbProxyEndpointName: `${name.slice(0, 57).replace(/-$/, '')}-ro`,
      dbProxyName,
      targetRole: 'READ_ONLY',
      vpcSubnetIds,
      vpcSecurityGroupIds,
    }).attrEndpoint;
  }

  /** The resource of a token is the proxy, not the cluster. */
  private loginOf(login: DatabaseLogin): DatabaseLogin {
    return login.userName === undefined
      ? login
      : DatabaseLogin._token(this, Fn.select(6, Fn.split(':', this.databaseProxy.dbProxyArn)), login.userName);
  }

  private validate(props: CqrsProxyProps): void {
    const { commandLogin, queryLogin } = props.database;
    if ((commandLogin.secret === undefined) !== (queryLogin.secret === undefined)) {
      throw invalid(this, 'commandLogin and queryLogin of the database differ, one with a password and one with a token: a proxy accepts one kind of '
        + 'login. Give both DatabaseLogin.password() or both DatabaseLogin.iam()');
    }
    requireDuration(this, 'idleClientTimeout', props.idleClientTimeout, Duration.minutes(1), Duration.hours(8));
    requireDuration(this, 'borrowTimeout', props.borrowTimeout, Duration.seconds(0), Duration.minutes(5));
    requireSeconds(this, { idleClientTimeout: props.idleClientTimeout, borrowTimeout: props.borrowTimeout });
    requireInteger(this, 'maxConnectionsPercent', props.maxConnectionsPercent, 1, 100);
  }
}
