import { Duration, RemovalPolicy, SecretValue, Stack, Token } from 'aws-cdk-lib';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { databaseEnvironments, ICqrsDatabase } from './cqrs-database';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { acknowledge } from '../private/acknowledge';
import { invalid, requireDuration, requireInteger } from '../private/validation';

/** Aurora capacity units: from 0 or 0.5 to 256, in steps of a half. */
const MAX_CAPACITY = 256;

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
   * The name of the database: a small letter, then small letters, digits and underscores, at most 55 characters.
   * The roles are named after it: `orders_command` and `orders_query`. Changing it replaces the cluster.
   *
   * @default 'orders'
   */
  readonly databaseName?: string;

  /**
   * How many readers there are, 0 to 15. They scale together with the writer, so that they can take over from it and keep up
   * with its changes. With 0, queries go to the writer and a failure of it takes minutes.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Replication.html
   * @default 1
   */
  readonly readers?: number;

  /**
   * The least capacity of each instance in Aurora capacity units of about 2 GiB memory, in steps of 0.5.
   * 0 lets the cluster pause when nobody is connected; an outbox relay that polls never lets it.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 0.5
   */
  readonly minCapacity?: number;

  /**
   * The most capacity of each instance in Aurora capacity units, 1 to 256 in steps of 0.5. It bounds the cost, and the number of
   * connections is set by it.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 16
   */
  readonly maxCapacity?: number;

  /**
   * The version of Aurora PostgreSQL.
   *
   * @default - Aurora PostgreSQL 18.4
   */
  readonly engineVersion?: rds.AuroraPostgresEngineVersion;

  /**
   * The port of the database.
   *
   * @default 5433
   */
  readonly port?: number;

  /**
   * How long automated backups are kept: whole days, 1 to 35. The cluster can be restored to any second of that time.
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
   * What happens to the data when the stack is deleted. Deletion protection is on except with `RemovalPolicy.DESTROY`.
   *
   * @default RemovalPolicy.SNAPSHOT
   */
  readonly removalPolicy?: RemovalPolicy;
}

/**
 * An Aurora PostgreSQL Serverless v2 cluster for CQRS: one writer for commands, readers for queries, and a database role for each.
 *
 * Nobody can connect until `connections` or a pipeline opens the security group. TLS is required. The administrator's password is
 * made and rotated by RDS. The passwords of the two roles are generated and not rotated: that takes a function in the VPC with
 * a way to Secrets Manager, which is yours to choose; their secrets have the form that
 * `commandSecret.addRotationSchedule('Rotation', { hostedRotation: HostedRotation.postgreSqlSingleUser({ vpc }) })` needs.
 *
 * The roles are created by the migration job, which gets `adminEnvironment`.
 *
 * @example
 * declare const vpc: ec2.IVpc;
 * declare const migration: iam.IGrantable;
 *
 * const database = new CqrsAuroraCluster(this, 'Database', { vpc, readers: 2, maxCapacity: 32 });
 * database.grants.admin(migration);
 */
export class CqrsAuroraCluster extends Construct implements ICqrsDatabase {
  /** The cluster. */
  public readonly cluster: rds.DatabaseCluster;

  public readonly writerEndpoint: rds.Endpoint;
  public readonly readerEndpoint: rds.Endpoint;
  public readonly databaseName: string;

  /** The credentials of the administrator: JSON with `username` and `password`, made and rotated by RDS. */
  public readonly adminSecret?: secretsmanager.ISecret;

  /** The credentials of the command role: JSON with `username`, `password`, `engine`, `host`, `port` and `dbname`. */
  public readonly commandSecret: secretsmanager.ISecret;

  /** The credentials of the query role: JSON with `username`, `password`, `engine`, `host`, `port` and `dbname`. */
  public readonly querySecret: secretsmanager.ISecret;

  public readonly commandEnvironment: { [name: string]: string };
  public readonly queryEnvironment: { [name: string]: string };
  public readonly adminEnvironment?: { [name: string]: string };
  public readonly connections: ec2.Connections;
  public readonly grants: CqrsDatabaseGrants;

  constructor(scope: Construct, id: string, props: CqrsAuroraClusterProps) {
    super(scope, id);

    this.databaseName = props.databaseName ?? 'orders';
    const port = props.port ?? 5433;
    const minCapacity = props.minCapacity ?? 0.5;
    const maxCapacity = props.maxCapacity ?? 16;
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.SNAPSHOT;
    this.validateDatabaseName();
    requireInteger(this, 'port', port, 1150, 65535);
    requireInteger(this, 'readers', props.readers, 0, 15);
    requireDuration(this, 'backupRetention', props.backupRetention, Duration.days(1), Duration.days(35));
    this.validateCapacity(minCapacity, maxCapacity);

    const engine = rds.DatabaseClusterEngine.auroraPostgres({
      // The constants of this version came after the oldest aws-cdk-lib that this package works with.
      version: props.engineVersion ?? rds.AuroraPostgresEngineVersion.of('18.4', '18'),
    });
    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc: props.vpc,
      description: `Connections to the database ${this.databaseName}`,
      // A database only answers.
      allowAllOutbound: false,
    });
    this.cluster = new rds.DatabaseCluster(this, 'Cluster', {
      engine,
      parameters: { 'rds.force_ssl': '1' },
      writer: rds.ClusterInstance.serverlessV2('Writer', { publiclyAccessible: false }),
      readers: Array.from({ length: props.readers ?? 1 }, (_, index) =>
        rds.ClusterInstance.serverlessV2(`Reader${index + 1}`, { publiclyAccessible: false, scaleWithWriter: true })),
      serverlessV2MinCapacity: minCapacity,
      serverlessV2MaxCapacity: maxCapacity,
      vpc: props.vpc,
      vpcSubnets: this.selectSubnets(props.vpc, props.vpcSubnets),
      securityGroups: [securityGroup],
      port,
      defaultDatabaseName: this.databaseName,
      credentials: rds.Credentials.fromPassword('cluster_admin', SecretValue.unsafePlainText('replaced by RDS below')),
      iamAuthentication: true,
      storageEncrypted: true,
      storageEncryptionKey: props.encryptionKey,
      backup: { retention: props.backupRetention ?? Duration.days(7) },
      cloudwatchLogsExports: ['postgresql'],
      removalPolicy,
      deletionProtection: removalPolicy !== RemovalPolicy.DESTROY,
    });
    this.writerEndpoint = new rds.Endpoint(this.cluster.clusterEndpoint.hostname, port);
    this.readerEndpoint = new rds.Endpoint(this.cluster.clusterReadEndpoint.hostname, port);
    this.connections = new ec2.Connections({
      securityGroups: [securityGroup],
      // Not the cluster's own: its port is a token, which a network policy and some checks can't take.
      defaultPort: ec2.Port.tcp(port),
    });
    this.adminSecret = this.manageAdminPassword(props.encryptionKey);
    this.commandSecret = this.addRoleSecret('CommandSecret', 'command', props.encryptionKey);
    this.querySecret = this.addRoleSecret('QuerySecret', 'query', props.encryptionKey);
    const environments = databaseEnvironments(this);
    this.commandEnvironment = environments.command;
    this.queryEnvironment = environments.query;
    this.adminEnvironment = environments.admin;
    this.grants = CqrsDatabaseGrants.fromDatabase(this);
  }

  /**
   * How far the reader that is furthest behind lags behind the writer, in milliseconds; the maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricReplicaLag(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('AuroraReplicaLagMaximum', { statistic: 'Maximum', ...options });
  }

  /** Lets RDS make and rotate the administrator's password. */
  private manageAdminPassword(encryptionKey?: kms.IKey): secretsmanager.ISecret {
    // On the L1, as the prop of the L2 came after the oldest aws-cdk-lib that this package works with.
    const cluster = this.cluster.node.defaultChild as rds.CfnDBCluster;
    cluster.masterUserPassword = undefined;
    cluster.manageMasterUserPassword = true;
    cluster.masterUserSecret = encryptionKey && { kmsKeyId: encryptionKey.keyArn };
    return secretsmanager.Secret.fromSecretAttributes(this, 'AdminSecret', {
      secretCompleteArn: cluster.attrMasterUserSecretSecretArn,
      encryptionKey,
    });
  }

  private addRoleSecret(id: string, role: string, encryptionKey?: kms.IKey): secretsmanager.Secret {
    const secret = new secretsmanager.Secret(this, id, {
      description: `The ${role} role of the database ${this.databaseName}`,
      encryptionKey,
      generateSecretString: {
        generateStringKey: 'password',
        passwordLength: 32,
        excludePunctuation: true,
        secretStringTemplate: Stack.of(this).toJsonString({
          username: `${this.databaseName}_${role}`,
          // What rotation needs. The host is the writer's for both, as a password can't be changed on a reader.
          engine: 'postgres',
          host: this.writerEndpoint.hostname,
          port: this.writerEndpoint.port,
          dbname: this.databaseName,
        }),
      },
    });
    // Metadata only; it is read by cdk-nag if that is in use.
    acknowledge(secret, 'AwsSolutions::AwsSolutions-SMG4',
      'Rotating a database password takes a function in the VPC with a way to Secrets Manager, which only the owner of the VPC ' +
        'can choose. The secret has the form that addRotationSchedule() with a hosted rotation needs.');
    return secret;
  }

  private selectSubnets(vpc: ec2.IVpc, chosen?: ec2.SubnetSelection): ec2.SubnetSelection {
    if (chosen) {
      if (vpc.selectSubnets(chosen).hasPublic) {
        throw invalid(this, 'vpcSubnets selects public subnets: a database belongs into private or isolated ones');
      }
      return chosen;
    }
    if (vpc.isolatedSubnets.length > 0) { return { subnetType: ec2.SubnetType.PRIVATE_ISOLATED }; }
    if (vpc.privateSubnets.length > 0) { return { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }; }
    throw invalid(this, 'vpc has neither isolated nor private subnets: a database belongs into one of these');
  }

  private validateDatabaseName(): void {
    if (!Token.isUnresolved(this.databaseName) && !/^[a-z][a-z0-9_]{0,54}$/.test(this.databaseName)) {
      throw invalid(this, 'databaseName must be a small letter, then at most 54 small letters, digits and underscores, ' +
        `got '${this.databaseName}'`);
    }
  }

  private validateCapacity(min: number, max: number): void {
    const allowed = (value: number, least: number) => Token.isUnresolved(value)
      || (value >= least && value <= MAX_CAPACITY && Number.isInteger(value * 2));
    if (!allowed(min, 0)) { throw invalid(this, `minCapacity must be between 0 and ${MAX_CAPACITY} in steps of 0.5, got ${min}`); }
    if (!allowed(max, 1)) { throw invalid(this, `maxCapacity must be between 1 and ${MAX_CAPACITY} in steps of 0.5, got ${max}`); }
    if (!Token.isUnresolved(min) && !Token.isUnresolved(max) && min > max) {
      throw invalid(this, `minCapacity (${min}) must not be greater than maxCapacity (${max})`);
    }
  }
}
