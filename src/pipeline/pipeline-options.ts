import type { IDependable } from 'constructs';
import type { DatabaseAccess, DatabaseSide } from '../cqrs';
import type { EventSubscriptionOptions } from '../transport';

/**
 * Options of a consumer of the pipeline's events.
 */
export interface PipelineConsumerOptions extends EventSubscriptionOptions {
  /**
   * The side of the pipeline's database that the consumer uses. It gets that side's environment, credentials and network path, and
   * starts after the migration. For another database, give `databaseAccess` instead.
   *
   * @default DatabaseSide.NONE
   */
  readonly database?: DatabaseSide;

  /**
   * The name of the workload, by which the migration knows the rights of its login. It is used with `DatabaseLogins.perWorkload()`.
   *
   * @default - the `serviceName` of the target, or the id: `OrderStatus` is `order-status`
   */
  readonly workload?: string;
}

/**
 * Options of a service of a pipeline, in addition to the APIs and the relay.
 */
export interface PipelineServiceOptions {
  /**
   * The side of the pipeline's database that the service uses. It gets that side's environment, credentials and network path, and starts
   * after the migration. For another database, give `databaseAccess` instead.
   *
   * @default DatabaseSide.NONE
   */
  readonly database?: DatabaseSide;

  /**
   * Another database that the service uses, and the role for it. The service starts after it, and after its migration if that was added
   * with `addMigration()`.
   *
   * @default - none
   */
  readonly databaseAccess?: DatabaseAccess;

  /**
   * The name of the workload, by which the migration knows the rights of its login. It is used with `DatabaseLogins.perWorkload()`.
   *
   * @default - the `serviceName` of the host, or the id: `OrderStatus` is `order-status`
   */
  readonly workload?: string;

  /**
   * True if the service publishes events, such as a separate relay.
   *
   * @default false
   */
  readonly publishes?: boolean;

  /**
   * Constructs that have to be deployed before the service starts.
   *
   * @default - only the database and its migration
   */
  readonly dependencies?: IDependable[];
}
