import { Annotations, CfnOutput } from 'aws-cdk-lib';
import type * as acm from 'aws-cdk-lib/aws-certificatemanager';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct, IDependable } from 'constructs';
import { PipelineAlarms, PipelineAlarmsOptions } from './pipeline-alarms';
import { PipelineDashboard, PipelineDashboardOptions } from './pipeline-dashboard';
import { PipelineConsumerOptions, PipelineServiceOptions } from './pipeline-options';
import { IEventSubscription } from '../consumer';
import { CqrsAuroraCluster, DatabaseAccess, DatabaseLogins, DatabaseSide, ICqrsDatabase } from '../cqrs';
import { invalid, refuseSecondCall, refuseWith, refuseWithout } from '../private/validation';
import { ApiAuthorizer, IServiceHost, ServiceKind } from '../service';
import { EventSigning, EventTransport, IEventChannel, IEventTransport } from '../transport';
import { IHostedService } from '../workload';
import { EventSignatures } from './private/event-signatures';
import { outsidePublisher } from './private/outside-publisher';
import { PipelineLogins, workloadOf } from './private/pipeline-logins';
import { PipelineMetrics } from './private/pipeline-metrics';

/**
 * Properties of an `EventDrivenOrderPipeline`.
 */
export interface EventDrivenOrderPipelineProps {
  /**
   * The VPC of a new database.
   *
   * @default - no new database is made
   */
  readonly vpc?: ec2.IVpc;

  /**
   * The database.
   *
   * @default - a `CqrsAuroraCluster` in `vpc`, or none without it
   */
  readonly database?: ICqrsDatabase;

  /**
   * The job that brings the database schema up to date and makes the database roles; services and consumers are applied after it.
   * It gets the credentials of the database's administrator and of both roles.
   *
   * @default - none: the schema and the roles are made outside the pipeline
   */
  readonly migration?: IServiceHost;

  /**
   * The API that accepts orders. It uses the writer, and port 3000 unless its host sets another.
   *
   * @default - none
   */
  readonly commandApi?: IServiceHost;

  /**
   * The API that shows orders. It uses the readers, and port 3001 unless its host sets another.
   *
   * @default - none
   */
  readonly queryApi?: IServiceHost;

  /**
   * The authorization of both APIs: who may call them.
   *
   * @default - unknown, which is a warning: the programs of the APIs decide
   */
  readonly authorizer?: ApiAuthorizer;

  /**
   * The certificate of both APIs, with which their load balancers take TLS. It is for the exposure that the hosts choose: give it to an
   * `exposure` of your own there.
   *
   * @default - none, which is a warning for an API whose exposure is not said either
   */
  readonly certificate?: acm.ICertificate;

  /**
   * The relay that publishes the events of the outbox table.
   *
   * @default - none: events are published outside the pipeline
   */
  readonly outboxRelay?: IServiceHost;

  /**
   * The transport of events from the outbox to the consumers.
   *
   * @default - `EventTransport.eventBridge()`: a new event bus with an archive of 30 days
   */
  readonly transport?: IEventTransport;

  /**
   * The `source` of the pipeline's events.
   *
   * @default 'com.example.orders'
   */
  readonly eventSource?: string;

  /**
   * The signatures of the events, with which consumers recognize what the pipeline has published.
   *
   * The relay, services that publish, and the consumers get the ARN of the secret in `EVENT_SIGNING_SECRET_ARN` and may read it. Consumers
   * that can't verify don't: with `verify: false`, with a `ruleInput` other than the detail, or with events of other sources only.
   *
   * @default - `EventSigning.generated()`; without an `outboxRelay` it is `EventSigning.none()`, since others publish then
   */
  readonly eventSigning?: EventSigning;

  /**
   * The logins of the services and consumers at the database of the pipeline.
   *
   * @default - `DatabaseLogins.perSide()`: one for all that write, and one for all that only read
   */
  readonly databaseLogins?: DatabaseLogins;

  /**
   * The customer managed key for the new resources of the pipeline: bus, archive, queues, database and secrets.
   *
   * @default - keys that AWS owns or manages
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * A pipeline for orders and their events: a command API that writes orders and events in one transaction, a relay that publishes the
 * events, consumers with one queue each, and a query API on the readers. Each part is optional.
 *
 * @example
 * declare const cluster: eksv2.ICluster;
 * const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' });
 * new KubernetesPrerequisites(this, 'Prerequisites', { kubernetes });
 * const services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromDirectory('services'));
 *
 * const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
 *   vpc: cluster.vpc,
 *   migration: services.job(['node', 'migrate.js']),
 *   commandApi: services.run(['node', 'api-write-service.js']),
 *   queryApi: services.run(['node', 'api-read-service.js']),
 *   outboxRelay: services.run(['node', 'outbox-relay.js']),
 * });
 * pipeline.addConsumer('Inventory', {
 *   events: ['inventory.validated', 'order.confirmed'],
 *   database: DatabaseSide.COMMAND,
 *   target: services.consume(['node', 'inventory-service.js']),
 * });
 */
@propertyInjectable
export class EventDrivenOrderPipeline extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.EventDrivenOrderPipeline';

  /** The channel of the events, which the transport made. */
  public readonly channel: IEventChannel;

  /** The event bus; undefined if the transport has none. */
  public readonly eventBus?: events.IEventBus;

  /** The archive of the event bus; undefined if the bus existed already or the transport has none. */
  public readonly archive?: events.Archive;

  /** The database, if there is one. */
  public readonly database?: ICqrsDatabase;

  /** The job that brings the database schema up to date, if there is one. */
  public readonly migration?: IHostedService;

  /** The API that accepts orders, if there is one. */
  public readonly commandApi?: IHostedService;

  /** The API that shows orders, if there is one. */
  public readonly queryApi?: IHostedService;

  /** The relay from the outbox to the transport, if there is one. */
  public readonly outboxRelay?: IHostedService;

  /** The `source` of the pipeline's events. */
  public readonly eventSource: string;

  /** The secret with the key of the signatures; undefined with `EventSigning.none()`. */
  public readonly eventSigningSecret?: secretsmanager.ISecret;

  // Separate scopes: ids of users never conflict with ids of the pipeline, now or later.
  private readonly consumerScope: Construct;
  private readonly serviceScope: Construct;
  private readonly migrationScope: Construct;
  private readonly _consumers = new Map<string, IEventSubscription>();
  private readonly metrics: PipelineMetrics;
  private dashboard?: PipelineDashboard;
  private alarmOptions?: PipelineAlarmsOptions;
  private readonly signatures: EventSignatures;
  private readonly logins?: PipelineLogins;
  private readonly migrations = new Map<ICqrsDatabase, IHostedService>();
  /** The first service or consumer that was added for each database. */
  private readonly users = new Map<ICqrsDatabase, string>();

  constructor(scope: Construct, id: string, props: EventDrivenOrderPipelineProps = {}) {
    super(scope, id);
    this.eventSource = props.eventSource ?? 'com.example.orders';
    this.channel = (props.transport ?? EventTransport.eventBridge()).bindTransport(new Construct(this, 'Transport'), {
      eventSource: this.eventSource,
      encryptionKey: props.encryptionKey,
    });
    this.eventBus = this.channel.eventBus;
    this.archive = this.channel.archive;
    this.signatures = new EventSignatures(this, {
      signing: props.eventSigning,
      hasRelay: props.outboxRelay !== undefined,
      eventSource: this.eventSource,
      encryptionKey: props.encryptionKey,
    });
    this.eventSigningSecret = this.signatures.secret;
    this.database = this.databaseOf(props);
    this.logins = this.loginsOf(props.databaseLogins);
    this.consumerScope = new Construct(this, 'Consumers');
    this.serviceScope = new Construct(this, 'Services');
    this.migrationScope = new Construct(this, 'Migrations');
    this.migration = props.migration && this.migrate(this, 'Migration', props.migration, 'migration', this.database);

    const { commandApi, queryApi, outboxRelay } = props;
    this.checkCallers(props);
    this.commandApi = commandApi && this.addApi('CommandApi', commandApi, 3000, 'commandApi', DatabaseSide.COMMAND, props);
    this.queryApi = queryApi && this.addApi('QueryApi', queryApi, 3001, 'queryApi', DatabaseSide.QUERY, props);
    this.metrics = new PipelineMetrics(this, outboxRelay !== undefined);
    this.outboxRelay = outboxRelay && this.run(this, 'OutboxRelay', outboxRelay, {
      kind: ServiceKind.RELAY,
      access: this.access('outboxRelay', DatabaseSide.COMMAND, nameOf('OutboxRelay', outboxRelay)),
      publishes: true,
      environment: this.metrics.environment,
    });
    if (this.outboxRelay) { this.metrics.allowReports(this.outboxRelay); }
  }

  /** The consumers, in the order in which they were added. */
  public get consumers(): IEventSubscription[] {
    return [...this._consumers.values()];
  }

  /**
   * Adds a consumer of the pipeline's events: a subscription with a dead-letter queue, and the target that consumes it.
   *
   * `events`, and a pattern without `source`, select events of the pipeline. With `EventTransport.eventBridge()` the subscription is a
   * `BufferedEventConsumer`.
   *
   * @param id the id of the consumer, under `Consumers` of the pipeline
   */
  public addConsumer(id: string, options: PipelineConsumerOptions): IEventSubscription {
    const { database: _database, workload: _workload, ...subscription } = options;
    const access = this.accessOf(`the consumer '${id}'`, options, nameOf(id, options.target));
    const verifies = this.signatures.verifiedBy(id, subscription);
    const consumer = this.channel.addSubscription(this.consumerScope, id, {
      ...subscription,
      environment: { ...verifies ? this.signatures.environment : {}, ...options.environment },
      databaseAccess: access,
      dependencies: [...this.migrationOf(access), ...options.dependencies ?? []],
    });
    if (verifies) { this.signatures.allow(consumer); }
    this._consumers.set(id, consumer);
    this.watchConsumer(consumer);
    this.dashboard?.addConsumer(id, consumer);
    return consumer;
  }

  /**
   * Adds a service in addition to the APIs and the relay.
   *
   * @param id the id of the service, under `Services` of the pipeline
   * @param host the host that runs it
   */
  public addService(id: string, host: IServiceHost, options: PipelineServiceOptions = {}): IHostedService {
    const { publishes, dependencies } = options;
    const access = this.accessOf(`the service '${id}'`, options, nameOf(id, host));
    return this.run(this.serviceScope, id, host, { kind: ServiceKind.SERVICE, access, publishes, dependencies });
  }

  /**
   * Lets an identity publish events that is no service of the pipeline, such as a function or a role of another team: it may put events on
   * the channel, and read the key of the signatures. Nobody else may put events on a bus that the pipeline has made.
   *
   * It needs the variables of `channel.environment`, and the ARN of `eventSigningSecret` in `EVENT_SIGNING_SECRET_ARN`.
   */
  public allowPublish(publisher: iam.IGrantable): void {
    this.allowSigned(outsidePublisher(publisher));
  }

  /**
   * Adds the migration of another database than the pipeline's. Services and consumers with access to that database that are added
   * later, start after it.
   *
   * @param id the id of the migration, under `Migrations` of the pipeline
   * @param host the host that runs it
   * @param database the database whose schema and roles it makes
   */
  public addMigration(id: string, host: IServiceHost, database: ICqrsDatabase): IHostedService {
    if (this.migrations.has(database)) { throw invalid(this, `the database of the migration '${id}' has a migration already: give it one`); }
    const user = this.users.get(database) ?? (database.proxy && this.users.get(database.proxy));
    if (user) {
      throw invalid(this, `the migration '${id}' comes after ${user}, which works with its database and would not wait for it: add the migration `
        + 'before');
    }
    return this.migrate(this.migrationScope, id, host, `the migration '${id}'`, database);
  }

  /**
   * Adds the alarms that every pipeline should have: those of the relay and its outbox; of each consumer, also of one that is added later;
   * and of the database, if the pipeline made it. Consumers and databases that have alarms keep theirs. So a consumer with other limits,
   * and its own `addAlarms()`, come before this call. It can be called once.
   *
   * Without an `outboxRelay`, which reports the metrics, there are none of the relay and its outbox.
   *
   * @returns the alarms of the relay and its outbox; undefined without an `outboxRelay`
   */
  public addAlarms(options: PipelineAlarmsOptions = {}): PipelineAlarms | undefined {
    if (this.alarmOptions) { throw invalid(this, 'addAlarms() can be called once'); }
    this.alarmOptions = options;
    this.consumers.forEach((consumer) => this.watchConsumer(consumer));
    const { actions, okActions } = options;
    const made = this.node.tryFindChild('Database');
    if (made instanceof CqrsAuroraCluster && !hasAlarms(made)) { made.addAlarms({ actions, okActions }); }
    return this.outboxRelay && new PipelineAlarms(this, 'Alarms', { ...options, pipeline: this });
  }

  /**
   * Adds a dashboard in layers: the business, the way of the events, the database, and the queue of each consumer. It can be called once.
   */
  public addDashboard(options: PipelineDashboardOptions = {}): PipelineDashboard {
    refuseSecondCall(this, 'Dashboard', 'addDashboard', ': make a further one with new PipelineDashboard()');
    const dashboard = new PipelineDashboard(this, 'Dashboard', { ...options, pipeline: this });
    this._consumers.forEach((consumer, id) => dashboard.addConsumer(id, consumer));
    this.dashboard = dashboard;
    return dashboard;
  }

  /** The age of the oldest event in the outbox, in seconds. The maximum over five minutes by default. */
  public metricOutboxAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('OutboxOldestEventAge', options);
  }

  /**
   * The age of the oldest transaction for which events in the outbox wait, in seconds. It is 0 if none waits. The maximum over five
   * minutes by default.
   */
  public metricHeldBack(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('OutboxHeldBack', options);
  }

  /**
   * The number of events that the transport has refused for good, and that nobody has put back. The maximum over five minutes by default.
   * Any value except 0 needs attention.
   */
  public metricDeadEvents(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('OutboxDeadEvents', options);
  }

  /** 1 if a relay leads, which means that it publishes, otherwise 0. The maximum over five minutes by default. */
  public metricRelayLeader(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('RelayLeader', options);
  }

  /**
   * 1 if the relay has stopped itself, since its place in the outbox can't be right, otherwise 0. The maximum over five minutes by
   * default.
   */
  public metricRelayHalted(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('RelayHalted', options);
  }

  /**
   * The longest time for which an event has waited for an earlier one of the same order, in seconds. The maximum over five minutes by
   * default.
   */
  public metricParkedAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('ParkedOldestEventAge', options);
  }

  /** The number of orders that are past their deadline. The maximum over five minutes by default. */
  public metricOverdueOrders(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('OverdueOrders', options);
  }

  /** The age of the oldest open snapshot of the database, in seconds. The maximum over five minutes by default. */
  public metricSnapshotAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.maximum('OldestSnapshotAge', options);
  }

  /**
   * The number of published events of a type. The sum over five minutes by default.
   *
   * @param type the type of the events, such as `order.confirmed`
   */
  public metricEventsPublished(type: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metrics.eventsPublished(type, options);
  }

  private watchConsumer(consumer: IEventSubscription): void {
    if (!this.alarmOptions || hasAlarms(consumer)) { return; }
    const { actions, okActions, acceptableLatency } = this.alarmOptions;
    consumer.addAlarms({ actions, okActions, acceptableLatency });
  }

  private databaseOf(props: EventDrivenOrderPipelineProps): ICqrsDatabase | undefined {
    if (props.database) {
      refuseWith(this, 'database', { vpc: props.vpc });
      return props.database;
    }
    if (!props.vpc) { return undefined; }
    const database = new CqrsAuroraCluster(this, 'Database', { vpc: props.vpc, encryptionKey: props.encryptionKey });
    if (!props.migration) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:databaseWithoutMigration',
        'the new database has no migration, so the roles with which the services log in are not made: give migration, '
        + 'or give a database whose roles and schema exist');
    }
    return database;
  }

  private migrate(scope: Construct, id: string, host: IServiceHost, what: string, database?: ICqrsDatabase): IHostedService {
    if (!database) { throw this.withoutDatabase(what); }
    if (!database.adminSecret) {
      throw invalid(this, `${what} needs the credentials of an administrator: give adminSecret to the database, or leave the migration out`);
    }
    const access = DatabaseAccess.admin(database);
    const logins = database === this.database ? this.logins : undefined;
    const migration = host.bindService(scope, id, {
      kind: ServiceKind.MIGRATION,
      environment: { ...access.environment, ...logins?.environment },
      egressPorts: access.egressPorts,
      egressRules: access.egressRules,
      dependencies: [database, ...logins ? [logins.scope] : []],
    });
    access.connect(migration, migration);
    logins?.allow(migration);
    for (const each of [database, ...database.proxy ? [database.proxy] : []]) { this.migrations.set(each, migration); }
    return migration;
  }

  private loginsOf(logins?: DatabaseLogins): PipelineLogins | undefined {
    if (!logins?._logins) { return undefined; }
    if (!this.database) { throw this.withoutDatabase('databaseLogins'); }
    return new PipelineLogins(new Construct(this, 'Logins'), this.database, logins._logins);
  }

  private checkCallers({ commandApi, queryApi, authorizer, certificate }: EventDrivenOrderPipelineProps): void {
    if (!commandApi && !queryApi) {
      refuseWithout(this, 'commandApi or queryApi', { authorizer, certificate });
    } else if (!authorizer) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:apiWithoutAuthorizer',
        'the APIs have no authorizer, so their programs decide who may call them: give ApiAuthorizer.jwt() with the issuer and the audience of your '
        + 'tokens, or ApiAuthorizer.publicAccess() for everybody who can reach them');
    } else if (authorizer._kind === 'NONE') {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:apiIsPublic',
        'authorizer is ApiAuthorizer.publicAccess(), so everybody who can reach the APIs may read and change all orders: give ApiAuthorizer.jwt(), or '
        + 'acknowledge it if only trusted programs can reach them');
    }
  }

  private addApi(
    id: string, host: IServiceHost, port: number, name: string, side: DatabaseSide,
    { authorizer, certificate }: EventDrivenOrderPipelineProps,
  ): IHostedService {
    const access = this.access(name, side, nameOf(id, host));
    const api = this.run(this, id, host, { kind: ServiceKind.API, port, access, authorizer, certificate });
    if (api.url) {
      new CfnOutput(this, `${id}Url`, { value: api.url, description: `Address of ${name}` });
    }
    return api;
  }

  private run(scope: Construct, id: string, host: IServiceHost, options: ServiceOptions): IHostedService {
    const { access, publishes, environment, dependencies, ...rest } = options;
    const service = host.bindService(scope, id, {
      ...rest,
      environment: { ...this.channel.environment, ...access?.environment, ...publishes ? this.signatures.environment : {}, ...environment },
      egressPorts: [...access?.egressPorts ?? [], ...publishes ? this.channel.egressPorts ?? [] : []],
      egressRules: access?.egressRules,
      dependencies: [...access ? [access.database] : [], ...this.migrationOf(access), ...dependencies ?? []],
    });
    access?.connect(service, service);
    if (publishes) { this.allowSigned(service); }
    return service;
  }

  private allowSigned(publisher: IHostedService): void {
    this.channel.allowPublish(publisher);
    this.signatures.allow(publisher);
    this.signatures.warnOfPublisher();
  }

  /** Services and consumers of a database wait for its schema. */
  private migrationOf(access?: DatabaseAccess): IDependable[] {
    const migration = access && this.migrations.get(access.database);
    return migration ? [migration] : [];
  }

  private accessOf(
    what: string, options: { database?: DatabaseSide; databaseAccess?: DatabaseAccess; workload?: string }, name: string,
  ): DatabaseAccess | undefined {
    const { database: side = DatabaseSide.NONE, databaseAccess } = options;
    if (side === DatabaseSide.NONE) { return databaseAccess && this.used(databaseAccess, what); }
    if (databaseAccess) { throw invalid(this, `database and databaseAccess of ${what} can't be given together: choose one`); }
    return this.access(what, side, options.workload ?? name);
  }

  private access(what: string, side: DatabaseSide, workload: string): DatabaseAccess {
    if (!this.database) { throw this.withoutDatabase(what); }
    if (this.logins) { return this.used(DatabaseAccess.withLogin(this.database, this.logins.add(workload, what)), what); }
    return this.used(side === DatabaseSide.COMMAND ? DatabaseAccess.command(this.database) : DatabaseAccess.query(this.database), what);
  }

  /** They would not wait for a migration that is added later. */
  private used(access: DatabaseAccess, by: string): DatabaseAccess {
    if (!this.users.has(access.database)) { this.users.set(access.database, by); }
    return access;
  }

  private withoutDatabase(what: string): Error {
    return invalid(this, `${what} needs a database: give the pipeline vpc to make one, or give an existing one as database`);
  }
}

/** The name of a workload: that of its host, or one made from its id. */
function nameOf(id: string, host: { readonly serviceName?: string }): string {
  return host.serviceName ?? workloadOf(id);
}

function hasAlarms(watched: object): boolean {
  return Construct.isConstruct(watched) && watched.node.tryFindChild('Alarms') !== undefined;
}

interface ServiceOptions {
  readonly kind: ServiceKind;
  readonly port?: number;
  readonly access?: DatabaseAccess;
  readonly authorizer?: ApiAuthorizer;
  readonly certificate?: acm.ICertificate;
  readonly publishes?: boolean;
  readonly environment?: { [name: string]: string };
  readonly dependencies?: IDependable[];
}
