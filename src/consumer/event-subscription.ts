import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { IDependable } from 'constructs';
import type { ConsumerAlarmsOptions } from './consumer-alarms';

/**
 * Grants permissions on a subscription to operators.
 *
 * @subclassable
 */
export interface ISubscriptionGrants {
  /**
   * Grants permission to move dead letters back, to watch the move and to cancel it.
   *
   * @param grantee the identity that gets the permission
   */
  redrive(grantee: iam.IGrantable): iam.Grant;

  /**
   * Grants permission to read dead letters without deleting them.
   *
   * @param grantee the identity that gets the permission
   */
  inspectDeadLetters(grantee: iam.IGrantable): iam.Grant;
}

/**
 * The alarms of a subscription.
 *
 * @subclassable
 */
export interface ISubscriptionAlarms {
  /** The alarm for an oldest waiting event that is older than `acceptableLatency`. */
  readonly oldestMessageAge: cloudwatch.Alarm;

  /** The alarm for dead letters. */
  readonly deadLetters: cloudwatch.Alarm;

  /**
   * The alarm for an event that could not be delivered to the subscription.
   *
   * @default - undefined: the transport reports none
   */
  readonly failedDeliveries?: cloudwatch.Alarm;
}

/**
 * A subscription to events with the target that handles them: grant it permissions, open connections to it, watch it.
 *
 * Permissions and connections are those of the target.
 *
 * @subclassable
 */
export interface IEventSubscription extends iam.IGrantable, ec2.IConnectable, IDependable {
  /** Permissions for operators. */
  readonly grants: ISubscriptionGrants;

  /** The environment variables of the target. Use them to configure a target that runs elsewhere. */
  readonly environment: { [name: string]: string };

  /**
   * The number of events that wait for the target. The maximum over five minutes by default.
   */
  metricBacklog(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * The age of the oldest waiting event, in seconds. The maximum over five minutes by default.
   */
  metricOldestMessageAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * The number of dead letters. The maximum over five minutes by default. Any value except 0 needs attention.
   */
  metricDeadLetters(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * Adds the alarms that every subscription should have.
   */
  addAlarms(options?: ConsumerAlarmsOptions): ISubscriptionAlarms;
}
