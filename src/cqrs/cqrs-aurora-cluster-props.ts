import type { Duration, RemovalPolicy } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as kms from 'aws-cdk-lib/aws-kms';
import type * as logs from 'aws-cdk-lib/aws-logs';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type { CqrsCredentials } from './cqrs-credentials';
import type { CqrsEngine } from './cqrs-engine';
import type { CqrsInstances } from './cqrs-instances';
import type { CqrsProxyOptions } from './cqrs-proxy';

/**
 * Properties of a `CqrsAuroraCluster`.
 */
export interface CqrsAuroraClusterProps {
  /** The VPC of the database. It needs private or isolated subnets in at least two availability zones. */
  readonly vpc: ec2.IVpc;

  /**
   * The subnets of the database. Public subnets are an error.
   *
   * @default - the isolated subnets, or the private ones in a VPC without isolated subnets
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * The blocks of addresses of the subnets, such as `10.0.4.0/24`. Workloads on Kubernetes reach the port of the database there, and
   * nowhere else.
   *
   * @default - those of the subnets; unknown, which is any address, for imported subnets whose blocks are not known
   */
  readonly networkCidrs?: string[];

  /**
   * The name of the database: a lowercase letter, then lowercase letters, digits and underscores, at most 55 characters.
   * The roles are named after it: `orders_command` and `orders_query`. Changing it replaces the cluster.
   *
   * @default 'orders'
   */
  readonly databaseName?: string;

  /**
   * The size of the instances, and the number of readers.
   *
   * @default - `CqrsInstances.serverless()`: a writer of 0.5 to 16 Aurora capacity units, and one reader, which grows and shrinks with it
   */
  readonly instances?: CqrsInstances;

  /**
   * The way in which the command and the query role log in. It is the same for all workloads, since a role that uses tokens has no
   * password.
   *
   * @default - `CqrsCredentials.passwords()`: generated passwords, which stay the same
   */
  readonly credentials?: CqrsCredentials;

  /**
   * The database engine and its version.
   *
   * @default - `CqrsEngine.postgres()`: Aurora PostgreSQL 18.4
   */
  readonly engine?: CqrsEngine;

  /**
   * The port of the database: 1150 to 65535, the range that Aurora allows.
   *
   * @default 5433
   */
  readonly port?: number;

  /**
   * The retention period of automated backups: whole days, 1 to 35. The cluster can be restored to any second of that time.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Managing.Backups.html
   * @default Duration.days(7)
   */
  readonly backupRetention?: Duration;

  /**
   * The customer managed key that encrypts the storage, the backups and all three secrets.
   *
   * @default - the account's `aws/rds` and `aws/secretsmanager` keys
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * An RDS Proxy for workloads that open many connections for a short time, such as functions: `{}` for one with defaults. They use it with
   * `DatabaseAccess.command(database.proxy!)`. Others connect to the cluster: an outbox relay and a migration have to, since their advisory
   * locks would bind a connection of the proxy anyway.
   *
   * @default - there is no proxy
   */
  readonly proxy?: CqrsProxyOptions;

  /**
   * The snapshot from which the cluster is made. The administrator keeps its name, and gets a new password. The migration gives the roles
   * the passwords of the secrets.
   *
   * A deployed cluster is replaced by one that is made from the snapshot. It has to stay the same afterwards: without it, the cluster is
   * replaced by an empty one.
   *
   * @see https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbcluster.html#cfn-rds-dbcluster-snapshotidentifier
   * @default - a new, empty database
   */
  readonly snapshotIdentifier?: string;

  /**
   * Parameters of the cluster, which are added to the defaults and override them. TLS can't be switched off.
   *
   * @default - with PostgreSQL: `jit` is off, waits for locks are logged, a transaction may take 5 minutes, and may be idle for 1 minute
   */
  readonly parameters?: { [name: string]: string };

  /**
   * The type of the storage: I/O-Optimized has no price for each request, and higher ones for storage and instances. It pays off when I/O
   * is more than a quarter of the bill.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Overview.StorageReliability.html
   * @default rds.DBClusterStorageType.AURORA
   */
  readonly storageType?: rds.DBClusterStorageType;

  /**
   * The daily time of the automated backup in UTC, at least 30 minutes, such as `01:00-02:00`. Aurora's backups don't slow the database
   * down.
   *
   * @default - 30 minutes that RDS chooses
   */
  readonly backupWindow?: string;

  /**
   * The weekly time of the maintenance in UTC, at least 30 minutes, such as `sun:03:00-sun:04:00`. It applies to the cluster and to all
   * instances, and must not overlap `backupWindow`.
   *
   * @default - 30 minutes that RDS chooses
   */
  readonly maintenanceWindow?: string;

  /**
   * True if new minor versions of the engine are installed in the maintenance window.
   *
   * @default true
   */
  readonly autoMinorVersionUpgrade?: boolean;

  /**
   * The certificate authority of the instances. Another one restarts them.
   *
   * @default - the account's default
   */
  readonly caCertificate?: rds.CaCertificate;

  /**
   * The mode of CloudWatch Database Insights. The standard mode keeps seven days of Performance Insights and is free; the advanced mode
   * keeps 15 months.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_DatabaseInsights.html
   * @default rds.DatabaseInsightsMode.STANDARD
   */
  readonly databaseInsightsMode?: rds.DatabaseInsightsMode;

  /**
   * The time between two measurements of Enhanced Monitoring, the operating system's view: 1, 5, 10, 15, 30 or 60 seconds. It costs the
   * storage of its log.
   *
   * @default - no Enhanced Monitoring
   */
  readonly monitoringInterval?: Duration;

  /**
   * The retention period of the logs of the database and of the proxy in CloudWatch Logs. RDS makes the log group of the database, so it is
   * not a resource of the stack and stays when the stack is deleted. With a value, the CDK adds a Lambda function and its role to the
   * stack, which set its retention.
   *
   * @default - the log of the database is never deleted, that of the proxy after a month
   */
  readonly logRetention?: logs.RetentionDays;

  /**
   * The removal policy of the data when the stack is deleted. Deletion protection is on except with `RemovalPolicy.DESTROY`: RDS refuses
   * to delete the cluster until you switch that off.
   *
   * The secrets of the two roles stay in the account, except with `RemovalPolicy.DESTROY`. CloudFormation would delete them before the
   * cluster, so that a cluster which is protected from deletion would lose its passwords; and a cluster that is restored from the
   * snapshot needs them.
   *
   * @default RemovalPolicy.SNAPSHOT
   */
  readonly removalPolicy?: RemovalPolicy;
}
