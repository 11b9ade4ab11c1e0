import type { DatabaseSide } from '../cqrs';
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
