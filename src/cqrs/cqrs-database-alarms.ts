import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { CqrsAuroraCluster } from './cqrs-aurora-cluster';
import { alarmsWith } from '../private/alarm-actions';
import { requireDuration, requireInteger } from '../private/validation';

/**
 * Options of the alarms of a database.
 */
export interface CqrsDatabaseAlarmsOptions {
  /**
   * The actions when an alarm goes off, such as an `SnsAction`.
   *
   * @default - none: the alarms are only visible in CloudWatch, which is the warning `alarmsWithoutActions`
   */
  readonly actions?: cloudwatch.IAlarmAction[];

  /**
   * The actions when an alarm is over. Tools that open an incident use them to close it.
   *
   * @default - nothing
   */
  readonly okActions?: cloudwatch.IAlarmAction[];

  /**
   * The greatest allowed lag of the readers. It is usually well below 100 milliseconds.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Replication.html
   * @default Duration.seconds(1)
   */
  readonly acceptableReplicaLag?: Duration;

  /**
   * The greatest number of connections of an instance (`max_connections`), if you set that parameter.
   *
   * @default - computed from the greatest capacity or from the instance type, as Aurora does. If that isn't known, there is no alarm
   */
  readonly maxConnections?: number;
}

/**
 * Properties of the alarms of a database.
 */
export interface CqrsDatabaseAlarmsProps extends CqrsDatabaseAlarmsOptions {
  /** The database that is watched. */
  readonly database: CqrsAuroraCluster;

  /** True if the database has readers, whose lag is watched. */
  readonly readers: boolean;

  /** True if the instances are serverless. */
  readonly serverless: boolean;
}

const MINUTE = Duration.minutes(1);

/**
 * The alarms that every database should have, each with a description of what to do.
 *
 * Missing data is treated as good, except that of the capacity: without it, the whole cluster is gone.
 *
 * There is no alarm for the volume, which Aurora extends itself, and none for a failover, which has no metric: see
 * `CqrsAuroraCluster.notifyEvents`.
 *
 * @example
 * declare const database: CqrsAuroraCluster;
 * declare const topic: sns.Topic;
 *
 * database.addAlarms({ actions: [new cloudwatch_actions.SnsAction(topic)] });
 * database.notifyEvents(topic);
 */
@propertyInjectable
export class CqrsDatabaseAlarms extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.CqrsDatabaseAlarms';

  /**
   * Readers lag behind by more than `acceptableReplicaLag` for five minutes.
   *
   * @default - undefined: there are no readers
   */
  public readonly replicaLag?: cloudwatch.Alarm;

  /** More than 90 % of the greatest capacity are used for 15 minutes, or more than 80 % of the CPU of instances of a fixed size. */
  public readonly capacity: cloudwatch.Alarm;

  /**
   * An instance has more than 80 % of its greatest number of connections for five minutes.
   *
   * @default - undefined: the greatest number isn't known
   */
  public readonly connections?: cloudwatch.Alarm;

  /** More than six deadlocks per minute for five minutes. */
  public readonly deadlocks: cloudwatch.Alarm;

  /** The oldest transaction id is older than a billion transactions. */
  public readonly transactionIds: cloudwatch.Alarm;

  /**
   * An instance has less than 5 GiB of local storage for sorting and logs.
   *
   * @default - undefined: the instances are serverless
   */
  public readonly localStorage?: cloudwatch.Alarm;

  /**
   * Clients of the proxy wait for a connection for more than 100 milliseconds on average, for five minutes.
   *
   * @default - undefined: there is no proxy
   */
  public readonly proxyBorrowLatency?: cloudwatch.Alarm;

  constructor(scope: Construct, id: string, props: CqrsDatabaseAlarmsProps) {
    super(scope, id);
    const { database, maxConnections, acceptableReplicaLag = Duration.seconds(1) } = props;
    requireDuration(this, 'acceptableReplicaLag', acceptableReplicaLag, Duration.millis(10), Duration.minutes(10));
    // The limits of the parameter: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.Managing.html
    requireInteger(this, 'maxConnections', maxConnections, 6, 262143);
    const name = database.node.path;
    const alarm = alarmsWith(this, props);
    const comparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD;

    this.replicaLag = props.readers ? alarm('ReplicaLag', {
      metric: database.metricReplicaLag({ period: MINUTE }),
      threshold: acceptableReplicaLag.toMilliseconds(),
      comparisonOperator,
      evaluationPeriods: 5,
      alarmDescription: `Readers of ${name} lag behind by more than ${acceptableReplicaLag.toHumanString()}, so queries show old data. `
        + 'Look for long queries on the readers and for readers that are smaller than the writer. Aurora restarts a reader that lags too far.',
    }) : undefined;
    this.capacity = props.serverless ? alarm('Capacity', {
      metric: database.metricCapacityUtilization({ period: MINUTE }),
      threshold: 90,
      comparisonOperator,
      evaluationPeriods: 15,
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
      alarmDescription: `${name} uses more than 90 % of maxCapacity, or reports nothing. At 100 % it can't grow, and everything gets slower. `
        + 'Find the statements with the most load in Database Insights; raise maxCapacity if the load is right.',
    }) : alarm('Capacity', {
      metric: database.metricCpuUtilization({ period: MINUTE }),
      threshold: 80,
      comparisonOperator,
      evaluationPeriods: 15,
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
      alarmDescription: `${name} uses more than 80 % of its CPU, or reports nothing. `
        + 'Find the statements with the most load in Database Insights; take a larger instanceType if the load is right.',
    });
    this.connections = maxConnections === undefined ? undefined : alarm('Connections', {
      metric: database.metricConnections({ period: MINUTE }),
      threshold: Math.floor(maxConnections * 0.8),
      comparisonOperator,
      evaluationPeriods: 5,
      alarmDescription: `An instance of ${name} has more than 80 % of its ${maxConnections} connections. When all are used, logins are refused. `
        + 'Look in pg_stat_activity for the workload that has most; make its pool smaller, run fewer replicas, or let it use the proxy.',
    });
    this.deadlocks = alarm('Deadlocks', {
      metric: database.cluster.metricDeadlocks({ period: MINUTE, statistic: cloudwatch.Stats.MAXIMUM }),
      threshold: 0.1,
      comparisonOperator,
      evaluationPeriods: 5,
      alarmDescription: `${name} ends transactions because of deadlocks, more than six per minute. The services try again, so work gets slow. `
        + 'The log of the database has the statements; make all of them lock rows in the same order.',
    });
    this.transactionIds = alarm('TransactionIds', {
      metric: database.metricUsedTransactionIds({ period: Duration.minutes(5) }),
      threshold: 1e9,
      comparisonOperator,
      evaluationPeriods: 3,
      alarmDescription: `${name} has used half of its transaction ids. At 2 billion it stops to write. `
        + 'Vacuum could not clean up: look for old transactions, prepared transactions and replication slots, end them, and run VACUUM (FREEZE).',
    });
    this.localStorage = props.serverless ? undefined : alarm('LocalStorage', {
      metric: database.cluster.metricFreeLocalStorage({ period: MINUTE, statistic: cloudwatch.Stats.MINIMUM }),
      threshold: 5 * 1024 ** 3,
      comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: 5,
      alarmDescription: `An instance of ${name} has less than 5 GiB of local storage. Queries that sort on disk fail when it is full. `
        + 'Look for statements with large temporary files, or take a larger instanceType, which has more.',
    });
    this.proxyBorrowLatency = database.cqrsProxy && alarm('ProxyBorrowLatency', {
      metric: database.cqrsProxy.metricBorrowLatency({ period: MINUTE }),
      // The metric is in microseconds.
      threshold: 100_000,
      comparisonOperator,
      evaluationPeriods: 5,
      alarmDescription: `Clients of the proxy of ${name} wait more than 100 ms for a connection. The pool is used up. `
        + 'Look for pinned connections and long transactions; raise maxConnectionsPercent, or the capacity of the database.',
    });
  }
}
