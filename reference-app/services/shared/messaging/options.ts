import type { SQSClient } from '@aws-sdk/client-sqs';
import type { Pool } from '../database.ts';
import type { EventKeys } from '../event-keys.ts';
import type { EventType } from '../events/index.ts';
import type { Logger } from '../telemetry.ts';
import type { Handler } from './handler.ts';

/** The keys whose signatures are believed. */
export type KeySource = Pick<EventKeys, 'ready' | 'accepted' | 'known' | 'renewed'>;

export interface ConsumerOptions<T extends EventType> {
  readonly handler: Handler<T>;
  readonly queueUrl: string;
  readonly pool: Pool;
  readonly logger: Logger;
  readonly sqs?: SQSClient;
  /** Only messages that one of them has signed are believed. @default - all are */
  readonly keys?: KeySource;
  /** The most receive calls at once, of at most ten messages. One is always open, further ones while more is waiting. @default 4 */
  readonly receivers?: number;
  /** The milliseconds that a receive call waits after one that brought few events, and in which others gather. @default 10 */
  readonly lingerMs?: number;
  /** The most events of one transaction. @default 500 */
  readonly batchSize?: number;
  /** Transactions at once. @default 2 */
  readonly concurrency?: number;
  /** A long poll, in seconds. @default 20 */
  readonly waitTimeSeconds?: number;
  /** A failed message comes back after this many seconds, doubled with each failure. @default 1 */
  readonly firstBackOffSeconds?: number;
  /** @default 300 */
  readonly maxBackOffSeconds?: number;
  /** The hours after which an event is a dead letter if its earlier version has not come. @default 24 */
  readonly parkedHours?: number;
}
