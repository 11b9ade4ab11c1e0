import type { IDependable } from 'constructs';
import type { DatabaseAccess, DatabaseSide } from '../cqrs';
import type { EventSubscriptionOptions } from '../transport';

/**
 * A consumer of the pipeline's events.
 */
export interface PipelineConsumerOptions extends EventSubscriptionOptions {
  /**
   * Which side of the pipeline's database the consumer works with. It gets that side's environment, credentials and network path, and
   * starts after the migration. For another database, give `databaseAccess` instead.
   *
   * @default DatabaseSide.NONE
   */
  readonly database?: DatabaseSide;
}

/**
 * A service beside the APIs and the relay of a pipeline.
 */
export interface PipelineServiceOptions {
  /**
   * Which side of the pipeline's database the service works with. It gets that side's environment, credentials and network path, and starts
   * after the migration. For another database, give `databaseAccess` instead.
   *
   * @default DatabaseSide.NONE
   */
  readonly database?: DatabaseSide;

  /**
   * Another database that the service works with, and as which role. The service starts after it, and after its migration if that is one of
   * `addMigration()`.
   *
   * @default - none
   */
  readonly databaseAccess?: DatabaseAccess;

  /**
   * Whether the service publishes events, as a relay of its own does.
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
