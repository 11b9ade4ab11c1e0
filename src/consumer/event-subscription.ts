import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { IDependable } from 'constructs';
import type { ConsumerAlarmsOptions } from './consumer-alarms';

/**
 * Permissions of operators on a subscription.
 *
 * @subclassable
 */
export interface ISubscriptionGrants {
  /**
   * Move dead letters back, watch the move and cancel it.
   *
   * @param grantee the identity that gets the permission
   */
  redrive(grantee: iam.IGrantable): iam.Grant;

  /**
   * Look at dead letters without deleting any.
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
  /** The oldest waiting event is older than `acceptableLatency`. */
  readonly oldestMessageAge: cloudwatch.Alarm;

  /** There are dead letters. */
  readonly deadLetters: cloudwatch.Alarm;

  /**
   * An event could not be delivered to the subscription.
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

  /** The environment variables of the target. A target that runs elsewhere is configured by them. */
  readonly environment: { [name: string]: string };

  /**
   * How many events wait for the target. The maximum over five minutes by default.
   */
  metricBacklog(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * How old the oldest waiting event is, in seconds. The maximum over five minutes by default.
   */
  metricOldestMessageAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * How many dead letters there are. The maximum over five minutes by default. Anything but 0 needs somebody.
   */
  metricDeadLetters(options?: cloudwatch.MetricOptions): cloudwatch.Metric;

  /**
   * The alarms that every subscription should have.
   */
  addAlarms(options: ConsumerAlarmsOptions): ISubscriptionAlarms;
}
