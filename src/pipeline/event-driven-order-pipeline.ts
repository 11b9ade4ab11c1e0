import { Annotations } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { PipelineConsumerOptions, PipelineMigrationOptions, PipelineServiceOptions } from './pipeline-options';
import { OrderEventBus } from '../bus';
import { BufferedEventConsumer } from '../consumer';
import { CqrsAuroraCluster, DatabaseSide, ICqrsDatabase } from '../cqrs';
import { invalid, refuseWith } from '../private/validation';
import { Autoscaling, KubernetesAccess, KubernetesJob, KubernetesWorkload, ServiceExposure, WorkloadImage } from '../workload';

/**
 * Properties of an `EventDrivenOrderPipeline`.
 */
export interface EventDrivenOrderPipelineProps {
  /** The cluster that the services run in. */
  readonly kubernetes: KubernetesAccess;

  /** The container image of the services, unless a service names another. */
  readonly image: WorkloadImage;

  /** The API that takes orders: on the writer, with an internal load balancer on port 3000. */
  readonly commandApi: PipelineServiceOptions;

  /** The API that shows orders: on the readers, with an internal load balancer on port 3001. */
  readonly queryApi: PipelineServiceOptions;

  /** The relay that moves events from the outbox table to the bus. */
  readonly outboxRelay: PipelineServiceOptions;

  /**
   * The job that brings the database schema up to date; services and consumers are applied after it.
   * It gets the credentials of the database's administrator and of both roles, which it creates.
   *
   * @default - none: the schema is somebody else's task
   */
  readonly migration?: PipelineMigrationOptions;

  /**
   * The VPC of the database.
   *
   * @default - none; required unless `database` is given
   */
  readonly vpc?: ec2.IVpc;

  /**
   * The database.
   *
   * @default - a `CqrsAuroraCluster` in `vpc`
   */
  readonly database?: ICqrsDatabase;

  /**
   * The event bus.
   *
   * @default - a new event bus with an archive of 30 days
   */
  readonly eventBus?: events.IEventBus;

  /**
   * The `source` of the pipeline's events.
   *
   * @default 'com.example.orders'
   */
  readonly eventSource?: string;

  /**
   * The customer managed key for what the pipeline makes: bus, archive, queues, database and secrets.
   *
   * @default - keys that AWS owns or manages
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * Orders in, events out: a command API that writes orders and their events in one transaction, a relay that publishes the
 * events, consumers with a queue of their own each, and a query API on the readers.
 *
 * @example
 * declare const cluster: eksv2.ICluster;
 * const kubernetes = KubernetesAccess.fromEksV2(cluster);
 * const image = WorkloadImage.fromDirectory('services');
 *
 * const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
 *   vpc: cluster.vpc,
 *   kubernetes,
 *   image,
 *   commandApi: { command: ['node', 'api-write-service.js'] },
 *   queryApi: { command: ['node', 'api-read-service.js'] },
 *   outboxRelay: { command: ['node', 'outbox-relay.js'] },
 * });
 * pipeline.addConsumer('Inventory', {
 *   eventPattern: { detailType: ['StockValidated', 'OrderConfirmed'] },
 *   target: ConsumerTarget.kubernetes(kubernetes, { image, command: ['node', 'inventory-service.js'] }),
 * });
 */
export class EventDrivenOrderPipeline extends Construct {
  /** The event bus. */
  public readonly eventBus: events.IEventBus;

  /** The archive of the event bus; none if the bus was brought. */
  public readonly archive?: events.Archive;

  /** The database. */
  public readonly database: ICqrsDatabase;

  /** The API that takes orders. */
  public readonly commandApi: KubernetesWorkload;

  /** The API that shows orders. */
  public readonly queryApi: KubernetesWorkload;

  /** The relay from the outbox to the bus. */
  public readonly outboxRelay: KubernetesWorkload;

  /** The job that brings the database schema up to date, if there is one. */
  public readonly migration?: KubernetesJob;

  /** The `source` of the pipeline's events. */
  public readonly eventSource: string;

  private readonly encryptionKey?: kms.IKey;
  private readonly _consumers: BufferedEventConsumer[] = [];

  constructor(scope: Construct, id: string, props: EventDrivenOrderPipelineProps) {
    super(scope, id);
    this.eventSource = props.eventSource ?? 'com.example.orders';
    this.encryptionKey = props.encryptionKey;
    if (this.eventSource.startsWith('aws.')) {
      throw invalid(this, `eventSource must not start with 'aws.', which EventBridge keeps for AWS services, got '${this.eventSource}'`);
    }

    if (props.eventBus) {
      this.eventBus = props.eventBus;
    } else {
      const bus = new OrderEventBus(this, 'Bus', { encryptionKey: props.encryptionKey });
      this.eventBus = bus.eventBus;
      this.archive = bus.archive;
    }
    this.database = this.databaseOf(props);
    this.migration = this.migrationOf(props);

    const loadBalancer = ServiceExposure.internalNetworkLoadBalancer();
    this.commandApi = this.service('CommandApi', props, {
      ...props.commandApi,
      port: props.commandApi.port ?? 3000,
      exposure: props.commandApi.exposure ?? loadBalancer,
    }, DatabaseSide.COMMAND);
    this.queryApi = this.service('QueryApi', props, {
      ...props.queryApi,
      port: props.queryApi.port ?? 3001,
      exposure: props.queryApi.exposure ?? loadBalancer,
    }, DatabaseSide.QUERY);
    this.outboxRelay = this.service('OutboxRelay', props, {
      ...props.outboxRelay,
      scaling: props.outboxRelay.scaling ?? Autoscaling.cpu({ maxReplicas: 3 }),
    }, DatabaseSide.COMMAND);
    this.eventBus.grantPutEventsTo(this.outboxRelay);
  }

  /** The consumers, in the order in which they were added. */
  public get consumers(): BufferedEventConsumer[] {
    return [...this._consumers];
  }

  /**
   * Add a consumer of the pipeline's events: a rule, a queue, a dead-letter queue and the target that works on them.
   *
   * A pattern without `source` means the pipeline's own events.
   */
  public addConsumer(id: string, options: PipelineConsumerOptions): BufferedEventConsumer {
    const { database, ...consumerOptions } = options;
    const side = database ?? DatabaseSide.COMMAND;
    const own = (pattern: events.EventPattern) => ({ ...pattern, source: pattern.source ?? [this.eventSource] });
    const consumer = new BufferedEventConsumer(this, id, {
      ...consumerOptions,
      eventBus: options.eventPattern || options.eventPatterns ? this.eventBus : undefined,
      encryptionKey: options.encryptionKey ?? (options.queue ? undefined : this.encryptionKey),
      eventPattern: options.eventPattern && own(options.eventPattern),
      eventPatterns: options.eventPatterns?.map(own),
      environment: { ...this.environment(side), ...options.environment },
      egressPorts: [...this.egressPorts(side), ...options.egressPorts ?? []],
    });
    const { grantee, connections } = consumer.targetConfig;
    this.connect(side, grantee, connections);
    if (side !== DatabaseSide.NONE && (!grantee || !connections)) {
      Annotations.of(consumer).addWarningV2('cdk-order-pipeline:consumerWithoutDatabaseAccess',
        `the target doesn't say ${grantee ? 'from where it connects' : 'who it is'}, so it has no way to the database: `
        + 'put its function in the VPC, open database.connections yourself, or say `database: DatabaseSide.NONE`');
    }
    if (this.migration) {
      for (const child of consumer.node.findAll()) {
        if (child instanceof KubernetesWorkload) { child.manifest.node.addDependency(this.migration.manifest); }
      }
    }
    this._consumers.push(consumer);
    return consumer;
  }

  private databaseOf(props: EventDrivenOrderPipelineProps): ICqrsDatabase {
    if (props.database) {
      refuseWith(this, 'database', { vpc: props.vpc });
      return props.database;
    }
    if (!props.vpc) {
      throw invalid(this, 'vpc is required to make the database: give vpc, or bring a database');
    }
    return new CqrsAuroraCluster(this, 'Database', { vpc: props.vpc, encryptionKey: props.encryptionKey });
  }

  private migrationOf(props: EventDrivenOrderPipelineProps): KubernetesJob | undefined {
    if (!props.migration) { return undefined; }
    if (!this.database.adminEnvironment) {
      throw invalid(this, 'migration needs the credentials of an administrator: give adminSecret to the database, or leave migration out');
    }
    const migration = new KubernetesJob(this, 'Migration', {
      kubernetes: props.kubernetes,
      ...props.migration,
      image: props.migration.image ?? props.image,
      environment: { ...this.database.adminEnvironment, ...props.migration.environment },
      egressPorts: [this.database.writerEndpoint.port, ...props.migration.egressPorts ?? []],
    });
    this.database.grants.admin(migration);
    this.database.connections.allowDefaultPortFrom(migration);
    return migration;
  }

  private service(
    id: string, props: EventDrivenOrderPipelineProps, options: PipelineServiceOptions, side: DatabaseSide,
  ): KubernetesWorkload {
    const service = new KubernetesWorkload(this, id, {
      kubernetes: props.kubernetes,
      ...options,
      image: options.image ?? props.image,
      environment: { ...this.environment(side), ...options.environment },
      egressPorts: [...this.egressPorts(side), ...options.egressPorts ?? []],
    });
    this.connect(side, service, service);
    if (this.migration) { service.manifest.node.addDependency(this.migration.manifest); }
    return service;
  }

  private environment(side: DatabaseSide): { [key: string]: string } {
    return {
      EVENT_BUS_NAME: this.eventBus.eventBusName,
      EVENT_SOURCE: this.eventSource,
      ...side === DatabaseSide.COMMAND ? this.database.commandEnvironment : {},
      ...side === DatabaseSide.QUERY ? this.database.queryEnvironment : {},
    };
  }

  private egressPorts(side: DatabaseSide): number[] {
    return side === DatabaseSide.NONE ? [] : [this.database.writerEndpoint.port];
  }

  private connect(side: DatabaseSide, grantee?: iam.IGrantable, connections?: ec2.IConnectable) {
    if (side === DatabaseSide.NONE) { return; }
    if (grantee) {
      if (side === DatabaseSide.COMMAND) { this.database.grants.command(grantee); } else { this.database.grants.query(grantee); }
    }
    if (connections) { this.database.connections.allowDefaultPortFrom(connections); }
  }
}
