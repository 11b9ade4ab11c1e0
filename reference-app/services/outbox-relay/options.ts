import type { Gathering } from './gathering.ts';
import type { Retention } from './maintenance.ts';
import type { PublisherOptions } from './publisher.ts';
import type { Pool } from '../shared/database.ts';
import type { SigningKey } from '../shared/events/index.ts';
import type { Logger } from '../shared/telemetry.ts';

export interface RelayOptions extends PublisherOptions {
  /** The relay keeps a connection of it for each shard, and uses one more from time to time. */
  readonly pool: Pool;
  readonly logger: Logger;
  /** Rows of one read. @default 1000 */
  readonly pageSize?: number;
  /** Events held in memory: how far the fast may run ahead of an event that fails. @default 10 000 */
  readonly windowSize?: number;
  /** PutEvents calls at once. @default 16 */
  readonly concurrency?: number;
  /**
   * Bytes to which an entry is filled with events that can share one. With 0 every entry is one event; with more every entry is a bundle,
   * even of one event. @default 0
   */
  readonly bundleBytes?: number;
  /** The longest time for which events gather with bundles, from one sending to the next; half of it if many come. @default 40 ms */
  readonly lingerMs?: number;
  /** The kinds of events whose bundles gather for longer, and go together. @default - none */
  readonly gathering?: readonly Gathering[];
  /** The key that signs entries now. @default - nothing is signed */
  readonly signingKey?: () => SigningKey;
  /** The longest wait before an empty outbox is read again. @default 25 ms */
  readonly idleMs?: number;
  /** The interval at which a relay that does not lead asks whether it may. @default 500 ms */
  readonly standbyMs?: number;
  /** An entry that fails is sent again after this, doubled with each failure. @default 50 ms */
  readonly firstBackOffMs?: number;
  /** @default 2 s */
  readonly maxBackOffMs?: number;
  /** An entry that fails so often for reasons that are not known to pass counts as refused; other failures don't count. @default 60 */
  readonly maxAttempts?: number;
  /** A transaction that holds events back for so long is named in the log; ours live for milliseconds. @default 10 */
  readonly heldBackWarningSeconds?: number;
  /** The time for which history is kept, by the leader of the first shard. @default - everything, forever */
  readonly retention?: Retention;
  /** The connections for the retention, whose statements may take longer. @default - pool */
  readonly maintenancePool?: Pool;
}

/** The options with their defaults. */
export type Settings = Required<Omit<RelayOptions, Open>> & Pick<RelayOptions, Open>;

/** Without a default. */
type Open = 'retention' | 'maintenancePool' | 'signingKey';
