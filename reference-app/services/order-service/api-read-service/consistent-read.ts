import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import type { Logger } from 'pino';
import { isRetryable, isUnavailable } from '../../shared/database.ts';
import type { ConsistencyToken } from '../../shared/http/consistency-token.ts';
import { unavailable } from '../../shared/http/problem.ts';
import { orderVersion } from './statements.ts';

export type Source = 'replica' | 'writer';
export type Query<T> = (db: PoolClient) => Promise<T | undefined>;

export interface Answer<T> {
  readonly value: T | undefined;
  readonly source: Source;
}

export interface ConsistentReadOptions {
  readonly reader: Pool;
  /** The writer as the query role. Its size bounds what fallbacks may cost the writer. */
  readonly writer: Pool;
  readonly logger: Logger;
  onFallback(): void;
}

/** How long a replica may take to show what its client wrote before the writer is asked. */
const WAIT_MS = 200;
const POLL_MS = 10;
/** A replica that has not answered by then is treated as away. */
const REPLICA_TIMEOUT_MS = 1_500;
/** After a failure one request in this time tries the replica again, so that not every one waits for the same failure. */
const REST_MS = 2_000;
/** Fallbacks in line for a connection beyond this are refused: the writer is there for orders first. */
const MAX_WAITING = 200;

const BEHIND = Symbol('behind');

/**
 * Reads from the replica, and from the writer when the replica doesn't show (yet) what the client may know of: what its
 * token names, or anything at all that the replica misses. So "not found" is only ever the writer's word.
 */
export function consistentReader({ reader, writer, logger, onFallback }: ConsistentReadOptions) {
  let down = false;
  let nextTry = 0;

  async function fromReplica<T>(token: ConsistencyToken | undefined, query: Query<T>): Promise<T | undefined> {
    if (down) {
      if (Date.now() < nextTry) return undefined;
      nextTry = Date.now() + REST_MS;
    }
    try {
      const value = await within(REPLICA_TIMEOUT_MS, untilShown(token, query));
      down = false;
      return value;
    } catch (error) {
      if (!isTemporary(error)) throw error;
      down = true;
      nextTry = Date.now() + REST_MS;
      logger.warn({ err: error }, 'the replica did not answer; asking the writer');
      return undefined;
    }
  }

  async function untilShown<T>(token: ConsistencyToken | undefined, query: Query<T>): Promise<T | undefined> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const value = await attempt(reader, token, query);
      if (value !== BEHIND) return value;
      if (Date.now() >= deadline) return undefined;
      await delay(POLL_MS);
    }
  }

  async function fromWriter<T>(token: ConsistencyToken | undefined, query: Query<T>): Promise<T | undefined> {
    if (writer.waitingCount >= MAX_WAITING) throw unavailable('Too many reads wait for the writer; try again in a moment.');
    try {
      const value = await attempt(writer, token, query);
      if (value !== BEHIND) return value;
    } catch (error) {
      if (!isTemporary(error)) throw error;
      throw unavailable('Neither the replica nor the writer could answer; try again in a moment.', error);
    }
    throw unavailable('What the Consistency-Token names can not be seen yet; try again in a moment.');
  }

  return async function read<T>(token: ConsistencyToken | undefined, query: Query<T>): Promise<Answer<T>> {
    const value = await fromReplica(token, query);
    if (value !== undefined) return { value, source: 'replica' };
    onFallback();
    return { value: await fromWriter(token, query), source: 'writer' };
  };
}

/** Token and query go over one connection: behind a reader endpoint two connections may be two replicas. */
async function attempt<T>(pool: Pool, token: ConsistencyToken | undefined, query: Query<T>): Promise<T | undefined | typeof BEHIND> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    if (token) {
      const { rows } = await client.query<{ version: number }>(orderVersion(token.orderId));
      if ((rows[0]?.version ?? 0) < token.version) return BEHIND;
    }
    return await query(client);
  } catch (error) {
    broken ??= error as Error;
    throw error;
  } finally {
    client.removeListener('error', onError);
    client.release(broken);
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`timeout: no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function isTemporary(error: unknown): boolean {
  return isUnavailable(error) || isRetryable(error) || (error instanceof Error && /timeout/i.test(error.message));
}
