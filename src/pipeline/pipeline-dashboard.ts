import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { EventDrivenOrderPipeline } from './event-driven-order-pipeline';
import type { IEventSubscription } from '../consumer';
import { CqrsAuroraCluster } from '../cqrs';

/**
 * Options of the dashboard of a pipeline.
 */
export interface PipelineDashboardOptions {
  /**
   * The types of events whose number is the business of the pipeline. The relay counts each type that it publishes.
   *
   * @default ['order.created', 'order.confirmed', 'order.rejected']
   */
  readonly businessEvents?: string[];
}

/**
 * Properties of the dashboard of a pipeline.
 */
export interface PipelineDashboardProps extends PipelineDashboardOptions {
  /** The pipeline that is shown. */
  readonly pipeline: EventDrivenOrderPipeline;
}

const period = Duration.minutes(1);
/** The columns of a dashboard. */
const COLUMNS = 24;

/**
 * A dashboard in layers: the business, the way of the events, the database, and the queue of each consumer.
 *
 * A layer without a source is left out: the first two need an `outboxRelay`, which reports them, and the database has to be a
 * `CqrsAuroraCluster`. `EventDrivenOrderPipeline.addDashboard()` makes it and adds all consumers, those that come later, too.
 *
 * @example
 * declare const pipeline: EventDrivenOrderPipeline;
 *
 * pipeline.addDashboard().dashboard.addWidgets(new cloudwatch.GraphWidget({ left: [pipeline.metricEventsPublished('order.cancelled')] }));
 */
@propertyInjectable
export class PipelineDashboard extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.PipelineDashboard';

  /** The dashboard, to which you can add widgets. */
  public readonly dashboard: cloudwatch.Dashboard;

  constructor(scope: Construct, id: string, props: PipelineDashboardProps) {
    super(scope, id);
    const { pipeline, businessEvents = ['order.created', 'order.confirmed', 'order.rejected'] } = props;
    this.dashboard = new cloudwatch.Dashboard(this, 'Dashboard', { defaultInterval: Duration.hours(3) });
    if (pipeline.outboxRelay) { this.addBusinessAndEvents(pipeline, businessEvents); }
    if (pipeline.database instanceof CqrsAuroraCluster) { this.addDatabase(pipeline.database); }
  }

  /**
   * Adds the queue of a consumer.
   *
   * @param title the title above its graphs
   * @param consumer the consumer that is shown
   */
  public addConsumer(title: string, consumer: IEventSubscription): void {
    this.addLayer(title, {
      'Waiting messages': [consumer.metricBacklog({ period, label: 'messages' })],
      'Age of the oldest message, seconds': [consumer.metricOldestMessageAge({ period, label: 'seconds' })],
      'Dead letters': [consumer.metricDeadLetters({ period, label: 'messages' })],
    });
  }

  private addBusinessAndEvents(pipeline: EventDrivenOrderPipeline, businessEvents: string[]): void {
    this.addLayer('Business', {
      'Events per minute': businessEvents.map((type) => pipeline.metricEventsPublished(type, { period, label: type })),
      'Orders past their deadline': [pipeline.metricOverdueOrders({ period, label: 'orders' })],
    });
    this.addLayer('Events', {
      'Outbox, seconds': [
        pipeline.metricOutboxAge({ period, label: 'oldest event' }), pipeline.metricHeldBack({ period, label: 'held back by a transaction' }),
      ],
      'Waits for an earlier event, seconds': [pipeline.metricParkedAge({ period, label: 'oldest event' })],
      'Refused by the bus': [pipeline.metricDeadEvents({ period, label: 'events' })],
      'Relay': [pipeline.metricRelayLeader({ period, label: 'leads' }), pipeline.metricRelayHalted({ period, label: 'has halted' })],
    });
  }

  private addDatabase(database: CqrsAuroraCluster): void {
    this.addLayer('Database', {
      'CPU, percent': [database.metricCpuUtilization({ period, label: 'CPU' })],
      'Connections': [database.metricConnections({ period, label: 'connections' })],
      'Lag of the readers, milliseconds': [database.metricReplicaLag({ period, label: 'lag' })],
    });
  }

  /** A title, and a row of graphs below it. */
  private addLayer(title: string, graphs: { [title: string]: cloudwatch.IMetric[] }): void {
    const width = COLUMNS / Object.keys(graphs).length;
    this.dashboard.addWidgets(new cloudwatch.TextWidget({ markdown: `## ${title}`, width: COLUMNS, height: 1 }));
    this.dashboard.addWidgets(...Object.entries(graphs).map(([graph, left]) => (
      new cloudwatch.GraphWidget({ title: graph, left, width, leftYAxis: { min: 0, showUnits: false } }))));
  }
}
