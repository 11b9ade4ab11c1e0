import { Duration, RemovalPolicy, SecretValue, Token } from 'aws-cdk-lib';
import type * as appscaling from 'aws-cdk-lib/aws-applicationautoscaling';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { ICqrsDatabase } from './cqrs-database';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { CqrsEngine } from './cqrs-engine';
import { CqrsReaders } from './cqrs-readers';
import { databaseEnvironments } from './private/database-environment';
import { acknowledge } from '../private/acknowledge';
import { coming } from '../private/coming';
import { invalid, requireDuration, requireInteger } from '../private/validation';

/** The greatest capacity of an instance in Aurora capacity units. */
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
   * The name of the database: a lowercase letter, then lowercase letters, digits and underscores, at most 55 characters.
   * The roles are named after it: `orders_command` and `orders_query`. Changing it replaces the cluster.
   *
   * @default 'orders'
   */
  readonly databaseName?: string;

  /**
   * The number of readers, and how they are scaled.
   *
   * @default - `CqrsReaders.withWriter(1)`: one reader, which grows and shrinks with the writer
   */
  readonly readers?: CqrsReaders;

  /**
   * The least capacity of each instance in Aurora capacity units of about 2 GiB memory, in steps of 0.5.
   * With 0, the cluster pauses when no client is connected; an outbox relay that polls prevents that. It is an error together with
   * readers that aren't serverless.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 0.5
   */
  readonly minCapacity?: number;

  /**
   * The most capacity of each instance in Aurora capacity units, 1 to 256 in steps of 0.5. It limits the cost, and the number of
   * connections follows from it. It is an error together with readers that aren't serverless.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 16
   */
  readonly maxCapacity?: number;

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
   * True if connections go through an RDS Proxy. It is not available yet: `true` is an error.
   *
   * @default false
   */
  readonly proxy?: boolean;

  /**
   * The retention period of the database's log in CloudWatch Logs. RDS makes the log group, so it is not a resource of the stack and stays
   * when the stack is deleted. With a value, the CDK adds a Lambda function and its role to the stack, which set the retention.
   *
   * @default - the log is never deleted
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

/**
 * An Aurora cluster for CQRS: one writer for commands, readers for queries, and a database role for each. It is serverless, unless
 * it has `CqrsReaders.autoscaled`.
 *
 * No client can connect until `connections` or a pipeline opens the security group. TLS is required. RDS makes and rotates the
 * administrator's password. The passwords of the two roles are generated and not rotated: rotation needs a function in the VPC with
 * a route to Secrets Manager, which you have to choose. Their secrets have the format that
 * `commandSecret.addRotationSchedule('Rotation', { hostedRotation: HostedRotation.postgreSqlSingleUser({ vpc }) })` needs.
 *
 * The roles are created by a migration job, which gets `adminEnvironment`: without one, only the administrator can log in.
 *
 * @example
 * declare const vpc: ec2.IVpc;
 * declare const migration: iam.IGrantable;
 *
 * const database = new CqrsAuroraCluster(this, 'Database', { vpc, readers: CqrsReaders.withWriter(2), maxCapacity: 32 });
 * database.grants.admin(migration);
 */
@propertyInjectable
export class CqrsAuroraCluster extends Construct implements ICqrsDatabase {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.CqrsAuroraCluster';

  /** The cluster. */
  public readonly cluster: rds.IDatabaseCluster;

  /** The security group of the instances. `connections` opens it. */
  public readonly securityGroup: ec2.ISecurityGroup;

  /** The subnets of the instances. */
  public readonly subnetGroup: rds.ISubnetGroup;

  /** The parameters of the cluster; `addParameter` adds more. */
  public readonly parameterGroup: rds.IParameterGroup;

  /** The log of the database in CloudWatch Logs. RDS makes the group. */
  public readonly logGroup: logs.ILogGroup;

  /**
   * The scalable target for the number of readers.
   *
   * @default - undefined: the number of readers is fixed
   */
  public readonly readerScaling?: appscaling.ScalableTarget;

  /**
   * The policy that scales the number of readers by their CPU use.
   *
   * @default - undefined: the number of readers is fixed
   */
  public readonly readerScalingPolicy?: appscaling.TargetTrackingScalingPolicy;

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

    if (props.proxy) {
      throw coming('RDS Proxy (proxy: true)', 'the finished CqrsAuroraCluster', 'leave proxy out, or add a proxy yourself with database.cluster.addProxy()');
    }
    this.databaseName = props.databaseName ?? 'orders';
    const port = props.port ?? 5433;
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.SNAPSHOT;
    this.validateDatabaseName();
    requireInteger(this, 'port', port, 1150, 65535);
    requireDuration(this, 'backupRetention', props.backupRetention, Duration.days(1), Duration.days(35));

    const engine = props.engine ?? CqrsEngine.postgres();
    const { clusterEngine, parameters, log } = engine._bind();
    const readers = props.readers ?? CqrsReaders.withWriter(1);
    const { serverless, ...instances } = readers._bind(this);
    const vpcSubnets = this.selectSubnets(props.vpc, props.vpcSubnets);
    const dataOnly = removalOfParts(removalPolicy);
    this.securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc: props.vpc,
      description: `Connections to the database ${this.databaseName}`,
      // A database opens no connections itself.
      allowAllOutbound: false,
    });
    this.securityGroup.applyRemovalPolicy(dataOnly);
    this.subnetGroup = new rds.SubnetGroup(this, 'SubnetGroup', {
      vpc: props.vpc,
      vpcSubnets,
      description: `Subnets of the database ${this.databaseName}`,
      removalPolicy: dataOnly,
    });
    this.parameterGroup = new rds.ParameterGroup(this, 'ParameterGroup', {
      engine: clusterEngine,
      description: `Parameters of the database ${this.databaseName}`,
      parameters,
      removalPolicy: dataOnly,
    });
    this.cluster = new rds.DatabaseCluster(this, 'Cluster', {
      ...instances,
      ...this.capacityOf(props, serverless),
      engine: clusterEngine,
      parameterGroup: this.parameterGroup,
      vpc: props.vpc,
      vpcSubnets,
      subnetGroup: this.subnetGroup,
      securityGroups: [this.securityGroup],
      port,
      defaultDatabaseName: this.databaseName,
      credentials: rds.Credentials.fromPassword('cluster_admin', SecretValue.unsafePlainText('replaced by RDS below')),
      iamAuthentication: true,
      storageEncrypted: true,
      storageEncryptionKey: props.encryptionKey,
      backup: { retention: props.backupRetention ?? Duration.days(7) },
      cloudwatchLogsExports: [log],
      cloudwatchLogsRetention: props.logRetention,
      removalPolicy,
      deletionProtection: removalPolicy !== RemovalPolicy.DESTROY,
    });
    const scaling = readers._scale(this, this.cluster);
    this.readerScaling = scaling?.target;
    this.readerScalingPolicy = scaling?.policy;
    this.logGroup = logs.LogGroup.fromLogGroupName(this, 'LogGroup', `/aws/rds/cluster/${this.cluster.clusterIdentifier}/${log}`);
    this.writerEndpoint = new rds.Endpoint(this.cluster.clusterEndpoint.hostname, port);
    this.readerEndpoint = new rds.Endpoint(this.cluster.clusterReadEndpoint.hostname, port);
    this.connections = new ec2.Connections({
      securityGroups: [this.securityGroup],
      // The port of the cluster is a token, which a network policy and some checks can't use.
      defaultPort: ec2.Port.tcp(port),
    });
    this.adminSecret = this.manageAdminPassword(props.encryptionKey);
    const secrets = { encryptionKey: props.encryptionKey, removalPolicy };
    this.commandSecret = this.addRoleSecret('CommandSecret', 'command', secrets);
    this.querySecret = this.addRoleSecret('QuerySecret', 'query', secrets);
    const environments = databaseEnvironments(engine.engineName, this);
    this.commandEnvironment = environments.command;
    this.queryEnvironment = environments.query;
    this.adminEnvironment = environments.admin;
    this.grants = CqrsDatabaseGrants.fromDatabase(this);
  }

  /**
   * The greatest replica lag of all readers, in milliseconds. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricReplicaLag(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('AuroraReplicaLagMaximum', { statistic: 'Maximum', ...options });
  }

  /** Lets RDS make and rotate the administrator's password. */
  private manageAdminPassword(encryptionKey?: kms.IKey): secretsmanager.ISecret {
    // It is set on the L1: the oldest aws-cdk-lib that this package supports has no such prop of the L2.
    const cluster = this.cluster.node.defaultChild as rds.CfnDBCluster;
    cluster.masterUserPassword = undefined;
    cluster.manageMasterUserPassword = true;
    cluster.masterUserSecret = encryptionKey && { kmsKeyId: encryptionKey.keyArn };
    return secretsmanager.Secret.fromSecretAttributes(this, 'AdminSecret', {
      secretCompleteArn: cluster.attrMasterUserSecretSecretArn,
      encryptionKey,
    });
  }

  private addRoleSecret(
    id: string, role: string, options: { encryptionKey?: kms.IKey; removalPolicy: RemovalPolicy },
  ): secretsmanager.Secret {
    const secret = new secretsmanager.Secret(this, id, {
      description: `The ${role} role of the database ${this.databaseName}`,
      encryptionKey: options.encryptionKey,
      // CloudFormation may delete the secret before a cluster that then refuses its own deletion.
      removalPolicy: options.removalPolicy === RemovalPolicy.DESTROY ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
      generateSecretString: {
        generateStringKey: 'password',
        passwordLength: 32,
        excludePunctuation: true,
        // Nothing here may change: CloudFormation generates another password when the template changes.
        secretStringTemplate: JSON.stringify({ username: `${this.databaseName}_${role}` }),
      },
    });
    // Adds `engine`, `host`, `port` and `dbname`, which rotation needs. The host is the writer for both roles: a reader can't change a
    // password.
    secret.attach(this.cluster);
    // This is only metadata for cdk-nag.
    acknowledge(secret, 'AwsSolutions::AwsSolutions-SMG4',
      'Rotating a database password needs a function in the VPC with a route to Secrets Manager, which only the owner of the VPC ' +
        'can choose. The secret has the format that addRotationSchedule() with a hosted rotation needs.');
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

  /** Returns the range of capacity, which only serverless instances have. */
  private capacityOf(
    props: CqrsAuroraClusterProps, serverless: boolean,
  ): { serverlessV2MinCapacity?: number; serverlessV2MaxCapacity?: number } {
    if (!serverless) {
      const given = (['minCapacity', 'maxCapacity'] as const).find((prop) => props[prop] !== undefined);
      if (given) {
        throw invalid(this, `${given} can't be given together with CqrsReaders.autoscaled, whose instanceType sets the size of the instances`);
      }
      return {};
    }
    const min = props.minCapacity ?? 0.5;
    const max = props.maxCapacity ?? 16;
    const allowed = (value: number, least: number) => Token.isUnresolved(value)
      || (value >= least && value <= MAX_CAPACITY && Number.isInteger(value * 2));
    if (!allowed(min, 0)) { throw invalid(this, `minCapacity must be between 0 and ${MAX_CAPACITY} in steps of 0.5, got ${min}`); }
    if (!allowed(max, 1)) { throw invalid(this, `maxCapacity must be between 1 and ${MAX_CAPACITY} in steps of 0.5, got ${max}`); }
    if (!Token.isUnresolved(min) && !Token.isUnresolved(max) && min > max) {
      throw invalid(this, `minCapacity (${min}) must not be greater than maxCapacity (${max})`);
    }
    return { serverlessV2MinCapacity: min, serverlessV2MaxCapacity: max };
  }
}

/** The resources that a cluster uses stay as long as the cluster: a resource in use can't be deleted. */
function removalOfParts(removalPolicy: RemovalPolicy): RemovalPolicy {
  const retained = [RemovalPolicy.RETAIN, RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE];
  return retained.includes(removalPolicy) ? removalPolicy : RemovalPolicy.DESTROY;
}
