import { Duration, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct, Dependable } from 'constructs';
import type { EventDrivenOrderPipeline } from './event-driven-order-pipeline';
import { alarmsWith } from '../private/alarm-actions';
import { invalid, requireDuration } from '../private/validation';

/**
 * Options of the alarms of a pipeline.
 */
export interface PipelineAlarmsOptions {
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
   * The greatest allowed age of the oldest event in the outbox. The relay publishes within a second, and another one takes over within some
   * seconds.
   *
   * @default Duration.minutes(1)
   */
  readonly acceptableOutboxAge?: Duration;

  /**
   * The greatest allowed age of a transaction that holds events back. The transactions of the services take milliseconds.
   *
   * @default Duration.minutes(2)
   */
  readonly acceptableTransactionAge?: Duration;

  /**
   * The greatest allowed age of the oldest snapshot, such as that of a report. Busy rows get slow while it is open.
   *
   * @default Duration.minutes(10)
   */
  readonly acceptableSnapshotAge?: Duration;

  /**
   * The longest time for which an event may wait for an earlier one of the same order. The earlier one may be retried for some minutes.
   *
   * @default Duration.minutes(15)
   */
  readonly acceptableParkedAge?: Duration;

  /**
   * The greatest allowed age of the oldest message of each consumer.
   *
   * @default Duration.minutes(5)
   */
  readonly acceptableLatency?: Duration;
}

/**
 * Properties of the alarms of a pipeline.
 */
export interface PipelineAlarmsProps extends PipelineAlarmsOptions {
  /** The pipeline that is watched. It must have an `outboxRelay`, which reports the metrics. */
  readonly pipeline: EventDrivenOrderPipeline;
}

/** A new relay needs less to start, and a deployment replaces one after the other. */
const MINUTES_WITHOUT_LEADER = 3;
/** A restart of the database or of the relay is over by then. */
const LATE_MINUTES = 3;

/**
 * The alarms about the way from the outbox to the transport, each with a description of what to do.
 *
 * Without them, nobody notices a relay that stands still: the API accepts orders, and no queue grows. They use metrics that the relay
 * sends to CloudWatch itself. If no relay reports, `noLeader` goes off: its missing data is bad. That of the others is good, so a relay
 * that is gone is one alarm. A halted one does not lead, so it is two.
 *
 * `EventDrivenOrderPipeline.addAlarms()` makes them, with those of the consumers and of the database.
 */
@propertyInjectable
export class PipelineAlarms extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.PipelineAlarms';

  /** No relay leads, or none reports, for three minutes. */
  public readonly noLeader: cloudwatch.Alarm;

  /** The relay has stopped itself, since its place in the outbox can't be right. */
  public readonly halted: cloudwatch.Alarm;

  /** The oldest event in the outbox is older than `acceptableOutboxAge` for three minutes. */
  public readonly outboxAge: cloudwatch.Alarm;

  /** A transaction has held events back for longer than `acceptableTransactionAge`. */
  public readonly heldBack: cloudwatch.Alarm;

  /** A snapshot has been open for longer than `acceptableSnapshotAge`. */
  public readonly snapshotAge: cloudwatch.Alarm;

  /** The transport has refused events for good. */
  public readonly deadEvents: cloudwatch.Alarm;

  /** An event has waited for an earlier one of its order for longer than `acceptableParkedAge`. */
  public readonly parkedAge: cloudwatch.Alarm;

  /** Orders have been past their deadline for three minutes. */
  public readonly overdueOrders: cloudwatch.Alarm;

  constructor(scope: Construct, id: string, props: PipelineAlarmsProps) {
    super(scope, id);
    const { pipeline } = props;
    const relay = pipeline.outboxRelay;
    if (!relay) { throw invalid(this, 'PipelineAlarms needs a pipeline with outboxRelay, which reports the metrics: give it'); }
    const {
      acceptableOutboxAge = Duration.minutes(1),
      acceptableTransactionAge = Duration.minutes(2),
      acceptableSnapshotAge = Duration.minutes(10),
      acceptableParkedAge = Duration.minutes(15),
    } = props;
    const limits = { acceptableOutboxAge, acceptableTransactionAge, acceptableSnapshotAge, acceptableParkedAge };
    for (const [prop, value] of Object.entries(limits)) {
      requireDuration(this, prop, value, Duration.seconds(10), Duration.days(1));
    }

    const name = pipeline.node.path;
    const make = alarmsWith(this, props);
    const period = Duration.minutes(1);
    const over = (
      alarmId: string, metric: cloudwatch.IMetric, limit: Duration | number, evaluationPeriods: number, alarmDescription: string,
    ) => make(alarmId, {
      metric,
      threshold: typeof limit === 'number' ? limit : limit.toSeconds({ integral: false }),
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods,
      alarmDescription,
    });

    this.noLeader = make('NoLeader', {
      metric: pipeline.metricRelayLeader({ period }),
      threshold: 1,
      comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: MINUTES_WITHOUT_LEADER,
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
      alarmDescription: `No relay of ${name} publishes events, or none reports: orders are accepted, and nothing happens with them. `
        + 'Check whether the relay runs and whether it reaches the database, in its log. If it does, it may not send metrics: '
        + 'check its network path and its permission for cloudwatch:PutMetricData. No event is lost; they wait in the outbox.',
    });
    this.halted = over('Halted', pipeline.metricRelayHalted({ period }), 0, 1,
      `The relay of ${name} has stopped itself: its place in the outbox can't be right, as after a restore of a dump. `
      + 'Its log has the reason. Find out which events were published, then run SELECT messaging.adopt_outbox() as the owner of the schema.');
    this.outboxAge = over('OutboxAge', pipeline.metricOutboxAge({ period }), acceptableOutboxAge, LATE_MINUTES,
      `Events of ${name} wait in the outbox for longer than ${text(acceptableOutboxAge)}. Look at the log of the relay: the bus refuses `
      + 'or is throttled, a permission is missing, or the database is slow. No event is lost.');
    this.heldBack = over('HeldBack', pipeline.metricHeldBack({ period }), acceptableTransactionAge, 1,
      `A transaction that has written and is still open holds back all events of ${name}. The log of the relay names its session. `
      + 'End it: SELECT pg_terminate_backend(<pid>), or ROLLBACK PREPARED for a prepared one.');
    this.snapshotAge = over('SnapshotAge', pipeline.metricSnapshotAge({ period }), acceptableSnapshotAge, 1,
      `A snapshot in the database of ${name} has been open for longer than ${text(acceptableSnapshotAge)}. Old row versions can't be removed, `
      + 'so busy rows get slow. Look for the oldest backend_xmin in pg_stat_activity, pg_replication_slots and pg_prepared_xacts, and end it.');
    this.deadEvents = over('DeadEvents', pipeline.metricDeadEvents({ period }), 0, 1,
      `The bus refused events of ${name} for good. They are in the table messaging.outbox_dead with the reason, and consumers wait for them. `
      + 'Repair the cause, put the events back into the outbox, and delete their rows.');
    this.parkedAge = over('ParkedAge', pipeline.metricParkedAge({ period }), acceptableParkedAge, 1,
      `An event of ${name} waits for an earlier one of its order for longer than ${text(acceptableParkedAge)}. The earlier one is late or lost: `
      + 'look at the dead letters of its consumer, then at messaging.parked.');
    this.overdueOrders = over('OverdueOrders', pipeline.metricOverdueOrders({ period }), 0, LATE_MINUTES,
      `Orders of ${name} are past their deadline and do not end. Check whether the service that ends them runs, and whether the outbox is late, for `
      + 'which it waits.');
    // Before the relay runs, nobody reports. What is in another stack needs this one for its bus, so this one can't wait for it.
    const near = Dependable.of(relay).dependencyRoots.filter((root) => isWithin(Stack.of(this), Stack.of(root)));
    for (const alarm of this.alarms) { alarm.node.addDependency(...near); }
  }

  /** All alarms. */
  public get alarms(): cloudwatch.Alarm[] {
    return [
      this.noLeader, this.halted, this.outboxAge, this.heldBack, this.snapshotAge, this.deadEvents, this.parkedAge, this.overdueOrders,
    ];
  }
}

/** The stack itself, or one that is nested in it. */
function isWithin(outer: Stack, stack: Stack | undefined): boolean {
  return stack !== undefined && (stack === outer || isWithin(outer, stack.nestedStackParent));
}

function text(limit: Duration): string {
  return limit.isUnresolved() ? 'the acceptable time' : limit.toHumanString();
}
