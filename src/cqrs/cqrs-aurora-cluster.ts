import { Duration, RemovalPolicy, SecretValue, Token } from 'aws-cdk-lib';
import type * as appscaling from 'aws-cdk-lib/aws-applicationautoscaling';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type * as sns from 'aws-cdk-lib/aws-sns';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { CqrsAuroraClusterProps } from './cqrs-aurora-cluster-props';
import { CqrsCredentials } from './cqrs-credentials';
import type { ICqrsDatabase } from './cqrs-database';
import { CqrsDatabaseAlarms, CqrsDatabaseAlarmsOptions } from './cqrs-database-alarms';
import { CqrsDatabaseGrants } from './cqrs-database-grants';
import { CqrsEngine } from './cqrs-engine';
import { CqrsInstances } from './cqrs-instances';
import { CqrsProxy } from './cqrs-proxy';
import { DatabaseLogin } from './database-login';
import { blocksOf } from './private/database-network';
import { grantEvents } from './private/events';
import type { ClusterInstances } from './private/instance-plans';
import { PasswordRotation } from './private/password-rotation';
import { roleSecret } from './private/role-secret';
import { validateWindows } from './private/windows';
import type { IWorkloadLogins } from './workload-logins';
import { acknowledge } from '../private/acknowledge';
import { invalid, refuseSecondCall, requireBlocks, requireDuration, requireInteger } from '../private/validation';

/**
 * An Aurora cluster for CQRS: one writer for commands, readers for queries, and a database role for each. It is serverless, unless
 * it has `CqrsInstances.provisioned`.
 *
 * No client can connect until `connections` or a pipeline opens the security group. TLS is required. RDS makes and rotates the
 * administrator's password. The passwords of the two roles are generated; see `CqrsCredentials` for rotation, and for tokens of IAM
 * instead.
 *
 * The roles are created by a migration job with `DatabaseAccess.admin`: without one, only the administrator can log in.
 *
 * @example
 * declare const vpc: ec2.IVpc;
 * declare const migration: iam.IGrantable;
 *
 * const database = new CqrsAuroraCluster(this, 'Database', { vpc, instances: CqrsInstances.serverless({ readers: 2, maxCapacity: 32 }) });
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

  /**
   * The security group of the functions that rotate the passwords.
   *
   * @default - undefined: nothing is rotated
   */
  public readonly rotationSecurityGroup?: ec2.ISecurityGroup;

  /**
   * The proxy with its resources and metrics. It is the same as `proxy`.
   *
   * @default - undefined: there is no proxy
   */
  public readonly cqrsProxy?: CqrsProxy;

  /** The database through the proxy. It is undefined without the property `proxy`. */
  public readonly proxy?: ICqrsDatabase;

  /** The blocks of addresses in which it is; undefined for imported subnets whose blocks are not known. */
  public readonly networkCidrs?: string[];

  public readonly engineName: string;
  public readonly writerEndpoint: rds.Endpoint;
  public readonly readerEndpoint: rds.Endpoint;
  public readonly databaseName: string;

  /** The credentials of the administrator: JSON with `username` and `password`, made and rotated by RDS. */
  public readonly adminSecret?: secretsmanager.ISecret;

  /** The login of the command role. Its secret is JSON with `username`, `password`, `engine`, `host`, `port` and `dbname`. */
  public readonly commandLogin: DatabaseLogin;

  /** The login of the query role. Its secret is JSON with `username`, `password`, `engine`, `host`, `port` and `dbname`. */
  public readonly queryLogin: DatabaseLogin;

  /** Makes logins of single workloads, as its `credentials` say. */
  public readonly workloadLogins?: IWorkloadLogins;

  public readonly connections: ec2.Connections;
  public readonly grants: CqrsDatabaseGrants;

  private readonly instances: ClusterInstances;

  constructor(scope: Construct, id: string, props: CqrsAuroraClusterProps) {
    super(scope, id);

    this.databaseName = props.databaseName ?? 'orders';
    const port = props.port ?? 5433;
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.SNAPSHOT;
    const { caCertificate, maintenanceWindow: preferredMaintenanceWindow, autoMinorVersionUpgrade = true } = props;
    this.validate(props);

    const engine = props.engine ?? CqrsEngine.postgres();
    const { clusterEngine, parameters, requiredParameters, log } = engine._bind();
    this.engineName = engine.engineName;
    const databaseInsightsMode = props.databaseInsightsMode ?? rds.DatabaseInsightsMode.STANDARD;
    const insights = {
      enablePerformanceInsights: true,
      performanceInsightRetention: databaseInsightsMode === rds.DatabaseInsightsMode.ADVANCED
        ? rds.PerformanceInsightRetention.MONTHS_15
        : rds.PerformanceInsightRetention.DEFAULT,
      performanceInsightEncryptionKey: props.encryptionKey,
    };
    const plan = props.instances ?? CqrsInstances.serverless();
    this.instances = plan._bind(this, { ...insights, caCertificate, preferredMaintenanceWindow, autoMinorVersionUpgrade });
    const { writer, readers, capacity } = this.instances;
    if (props.proxy && capacity?.min === 0) {
      throw invalid(this, 'minCapacity 0 pauses the cluster, and the connections of proxy prevent that: give at least 0.5, or leave proxy out');
    }
    const vpcSubnets = this.selectSubnets(props.vpc, props.vpcSubnets);
    this.networkCidrs = props.networkCidrs ?? blocksOf(props.vpc, vpcSubnets);
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
      parameters: { ...parameters, ...this.parametersOf(props, requiredParameters) },
      removalPolicy: dataOnly,
    });
    const cluster = new rds.DatabaseCluster(this, 'Cluster', {
      writer,
      readers,
      serverlessV2MinCapacity: capacity?.min,
      serverlessV2MaxCapacity: capacity?.max,
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
      storageType: props.storageType,
      backup: { retention: props.backupRetention ?? Duration.days(7), preferredWindow: props.backupWindow },
      preferredMaintenanceWindow,
      cloudwatchLogsExports: [log],
      cloudwatchLogsRetention: props.logRetention,
      ...insights,
      databaseInsightsMode,
      monitoringInterval: props.monitoringInterval,
      removalPolicy,
      deletionProtection: removalPolicy !== RemovalPolicy.DESTROY,
    });
    this.cluster = cluster;
    if (cluster.monitoringRole) {
      const policy = 'Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole';
      acknowledge(cluster.monitoringRole, `AwsSolutions::AwsSolutions-IAM4[${policy}]`,
        'It is the policy that Amazon RDS documents for Enhanced Monitoring.');
    }
    const scaling = plan._scale(this, this.cluster);
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
    this.adminSecret = this.manageAdminPassword(props);
    const credentials = props.credentials ?? CqrsCredentials.passwords();
    const rotation = credentials._rotation
      && new PasswordRotation(this, { vpc: props.vpc, vpcSubnets, connections: this.connections }, credentials._rotation);
    this.rotationSecurityGroup = rotation?.securityGroup;
    const login = (at: Construct, loginId: string, userName: string, description: string) => (
      this.login(at, loginId, userName, description, credentials, props, rotation));
    this.commandLogin = login(this, 'CommandSecret', `${this.databaseName}_command`, `The command role of the database ${this.databaseName}`);
    this.queryLogin = login(this, 'QuerySecret', `${this.databaseName}_query`, `The query role of the database ${this.databaseName}`);
    this.workloadLogins = {
      addLogin: (at, loginId, userName) => login(at, loginId, userName, `The login ${userName} at the database ${this.databaseName}`),
    };
    this.grants = CqrsDatabaseGrants.fromDatabase(this);
    if (props.proxy) {
      this.cqrsProxy = new CqrsProxy(this, 'Proxy', {
        ...props.proxy,
        database: this,
        cluster: this.cluster,
        vpc: props.vpc,
        vpcSubnets,
        networkCidrs: this.networkCidrs,
        readers: readers.length > 0,
        logRetention: props.logRetention,
      });
      this.proxy = this.cqrsProxy;
    }
  }

  /**
   * Adds the alarms that every database should have: the readers lag, the capacity or the connections are nearly used up, transaction ids
   * run out, and, with a proxy, clients wait for connections.
   *
   * A failover has no metric: see `notifyEvents`.
   */
  public addAlarms(options: CqrsDatabaseAlarmsOptions): CqrsDatabaseAlarms {
    refuseSecondCall(this, 'Alarms', 'addAlarms', ', and addAlarms() of a pipeline calls it for the database that it makes: for other limits, call that '
      + 'of the database before');
    return new CqrsDatabaseAlarms(this, 'Alarms', {
      ...options,
      database: this,
      maxConnections: options.maxConnections ?? this.instances.maxConnections,
      readers: this.instances.readers.length > 0,
      serverless: this.instances.capacity !== undefined,
    });
  }

  /**
   * Sends the events of the cluster and of its instances to a topic: failovers, failures, maintenance, and a shortage of storage.
   *
   * The topic lets Amazon RDS publish. If it has a key, the key does, too.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html
   */
  public notifyEvents(topic: sns.ITopic): void {
    grantEvents(this, topic);
    const subscribe = (id: string, sourceType: string, sourceIds: string[], eventCategories: string[]) => {
      const subscription = new rds.CfnEventSubscription(this, id, { snsTopicArn: topic.topicArn, sourceType, sourceIds, eventCategories });
      // Amazon RDS publishes a test message, which the policy of the topic has to allow.
      subscription.node.addDependency(topic);
    };
    subscribe('ClusterEvents', 'db-cluster', [this.cluster.clusterIdentifier], ['failover', 'failure', 'maintenance', 'notification']);
    subscribe('InstanceEvents', 'db-instance', this.cluster.instanceIdentifiers,
      ['availability', 'failover', 'failure', 'low storage', 'maintenance', 'recovery']);
  }

  /**
   * The greatest replica lag of all readers, in milliseconds. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricReplicaLag(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('AuroraReplicaLagMaximum', { statistic: 'Maximum', ...options });
  }

  /**
   * The number of connections of each instance, of which the greatest is taken. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricConnections(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('DatabaseConnections', { statistic: 'Maximum', ...options });
  }

  /**
   * The used part of the greatest capacity of serverless instances, in percent; 100 for a cluster that can't grow any more. The average
   * over five minutes by default. Instances of a fixed size have none: see `metricCpuUtilization`.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   */
  public metricCapacityUtilization(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('ACUUtilization', { statistic: 'Average', ...options });
  }

  /**
   * The CPU use of the instances in percent. The average over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricCpuUtilization(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metricCPUUtilization(options);
  }

  /**
   * The age of the oldest transaction id, in transactions: at 2 billion PostgreSQL stops to write. The maximum over five minutes by
   * default.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
   */
  public metricUsedTransactionIds(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.cluster.metric('MaximumUsedTransactionIDs', { statistic: 'Maximum', ...options });
  }

  /** Lets RDS make and rotate the administrator's password. */
  private manageAdminPassword({ encryptionKey, snapshotIdentifier }: CqrsAuroraClusterProps): secretsmanager.ISecret {
    // It is set on the L1: the oldest aws-cdk-lib that this package supports has no such prop of the L2.
    const cluster = this.cluster.node.defaultChild as rds.CfnDBCluster;
    cluster.masterUserPassword = undefined;
    cluster.manageMasterUserPassword = true;
    cluster.masterUserSecret = encryptionKey && { kmsKeyId: encryptionKey.keyArn };
    if (snapshotIdentifier !== undefined) {
      // The L2 for snapshots would be another construct with other logical ids.
      cluster.snapshotIdentifier = snapshotIdentifier;
      cluster.masterUsername = undefined;
    }
    return secretsmanager.Secret.fromSecretAttributes(this, 'AdminSecret', {
      secretCompleteArn: cluster.attrMasterUserSecretSecretArn,
      encryptionKey,
    });
  }

  private login(
    scope: Construct, id: string, userName: string, description: string, credentials: CqrsCredentials, props: CqrsAuroraClusterProps,
    rotation?: PasswordRotation,
  ): DatabaseLogin {
    if (credentials._tokens) { return DatabaseLogin.iam(this.cluster, userName); }
    const secret = roleSecret(scope, id, {
      userName,
      description,
      cluster: this.cluster,
      encryptionKey: props.encryptionKey,
      // CloudFormation may delete the secret before a cluster that then refuses its own deletion.
      removalPolicy: props.removalPolicy === RemovalPolicy.DESTROY ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
      rotated: rotation !== undefined,
    });
    rotation?.rotate(secret);
    return DatabaseLogin.password(secret);
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

  private validate(props: CqrsAuroraClusterProps): void {
    if (!Token.isUnresolved(this.databaseName) && !/^[a-z][a-z0-9_]{0,54}$/.test(this.databaseName)) {
      throw invalid(this, `databaseName must be a small letter, then up to 54 small letters, digits and underscores, got '${this.databaseName}'`);
    }
    if (props.snapshotIdentifier === '') {
      throw invalid(this, 'snapshotIdentifier must be the name or the ARN of a snapshot of a cluster: leave it out for a new database');
    }
    requireInteger(this, 'port', props.port, 1150, 65535);
    requireDuration(this, 'backupRetention', props.backupRetention, Duration.days(1), Duration.days(35));
    requireBlocks(this, 'networkCidrs', props.networkCidrs);
    validateWindows(this, props.backupWindow, props.maintenanceWindow);
  }

  private parametersOf({ parameters }: CqrsAuroraClusterProps, required: { [name: string]: string }): { [name: string]: string } {
    const refused = Object.keys(required).find((name) => parameters?.[name] !== undefined && parameters[name] !== required[name]);
    if (refused) { throw invalid(this, `parameters can't change ${refused}, which is ${required[refused]}: leave it out`); }
    return { ...parameters, ...required };
  }
}

/** The resources that a cluster uses stay as long as the cluster: a resource in use can't be deleted. */
function removalOfParts(removalPolicy: RemovalPolicy): RemovalPolicy {
  const retained = [RemovalPolicy.RETAIN, RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE];
  return retained.includes(removalPolicy) ? removalPolicy : RemovalPolicy.DESTROY;
}
