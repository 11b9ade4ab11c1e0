import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import type { Logger } from 'pino';
import { orderVersion, type OrderOf } from './statements.ts';
import { isRetryable, isUnavailable } from '../../shared/database-errors.ts';
import { onClient } from '../../shared/database.ts';
import type { ConsistencyToken } from '../../shared/http/consistency-token.ts';
import { invalid, Problem, unavailable } from '../../shared/http/problem.ts';

/** The order counts for its own customer: that of another one was never written. */
export type TokenOf = ConsistencyToken & OrderOf;

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

/** The time in which a replica has to show the client's own writes. After that, the writer is asked. */
const WAIT_MS = 200;
const POLL_MS = 10;
/** The longest to wait for a connection to the replica; longer than a statement may hold one. */
const CONNECT_TIMEOUT_MS = 2_000;
/** After a failure one request in this time tries the replica again, so that not every one waits for the same failure. */
const REST_MS = 2_000;
/** A slow query is slow again soon after. */
const RETRY_SLOW_SECONDS = 5;
/** Fallbacks in line for a connection beyond this are refused: the writer is there for orders first. */
const MAX_WAITING = 200;

/** PostgreSQL's code when statement_timeout is over. */
const QUERY_CANCELED = '57014';

const BEHIND = Symbol('behind');

/**
 * Reads from the replica, and from the writer when the replica does not show (yet) what the client may know of: the version that
 * its token names, or anything at all that the replica misses. So "not found" is only ever the writer's word. A query that takes too
 * long says nothing about the replica, and would be a burden to the writer: it fails alone.
 */
export function consistentReader({ reader, writer, logger, onFallback }: ConsistentReadOptions) {
  let down = false;
  let nextTry = 0;
  let lastAnswer = -Infinity;

  async function fromReplica<T>(token: TokenOf | undefined, query: Query<T>): Promise<T | undefined> {
    if (down) {
      if (Date.now() < nextTry) return undefined;
      nextTry = Date.now() + REST_MS;
    }
    try {
      return await untilShown(token, query);
    } catch (error) {
      if (error instanceof Problem || !isTemporary(error)) throw error;
      // It had to go out of the way of what the writer sent; the replica is well.
      if (isRetryable(error)) return undefined;
      down = true;
      nextTry = Date.now() + REST_MS;
      logger.warn({ err: error }, 'the replica did not answer; asking the writer');
      return undefined;
    }
  }

  async function untilShown<T>(token: TokenOf | undefined, query: Query<T>): Promise<T | undefined> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const value = await attempt(await connectToReplica(), token, query, onAnswer);
      if (value !== BEHIND) return value;
      if (Date.now() >= deadline) return undefined;
      await delay(POLL_MS);
    }
  }

  async function connectToReplica(): Promise<PoolClient> {
    const start = Date.now();
    const connecting = reader.connect();
    const client = await within(CONNECT_TIMEOUT_MS, connecting);
    if (client) return client;
    connecting.then((late) => late.release(), () => undefined);
    // It answers others: their queries have all of the connections.
    if (lastAnswer >= start) throw unavailable('Too many reads wait for the replica; try again in a moment.');
    throw Object.assign(new Error(`no connection to the replica within ${CONNECT_TIMEOUT_MS} ms`), { code: 'ETIMEDOUT' });
  }

  function onAnswer(): void {
    down = false;
    lastAnswer = Date.now();
  }

  async function fromWriter<T>(token: TokenOf | undefined, query: Query<T>): Promise<T | undefined> {
    if (writer.waitingCount >= MAX_WAITING) throw unavailable('Too many reads wait for the writer; try again in a moment.');
    try {
      const value = await attempt(await writer.connect(), token, query);
      if (value !== BEHIND) return value;
    } catch (error) {
      if (error instanceof Problem || !isTemporary(error)) throw error;
      throw unavailable('Neither the replica nor the writer could answer; try again in a moment.', error);
    }
    // Its own answer gave the token, so it would have it: the token is made up, or older than a restore of the database.
    throw invalid('Consistency-Token', 'names a version that was never written; send the value of an answer unchanged, or leave it out');
  }

  return async function read<T>(token: TokenOf | undefined, query: Query<T>): Promise<Answer<T>> {
    const value = await fromReplica(token, query);
    if (value !== undefined) return { value, source: 'replica' };
    onFallback();
    return { value: await fromWriter(token, query), source: 'writer' };
  };
}

/** Token and query go over one connection: behind a reader endpoint two connections may be two replicas. */
async function attempt<T>(
  client: PoolClient, token: TokenOf | undefined, query: Query<T>, onAnswer = () => {},
): Promise<T | undefined | typeof BEHIND> {
  let looksUp = true;
  try {
    return await onClient(client, async () => {
      if (token) {
        const { rows } = await client.query<{ version: number }>(orderVersion(token));
        onAnswer();
        if ((rows[0]?.version ?? 0) < token.version) return BEHIND;
      }
      looksUp = false;
      const value = await query(client);
      onAnswer();
      return value;
    });
  } catch (error) {
    if (looksUp || !isTimeout(error)) throw error;
    // Ended by the server, which so has answered.
    if (codeOf(error) === QUERY_CANCELED) onAnswer();
    throw unavailable('The query took too long and was ended; ask for less, or try again later.', error, RETRY_SLOW_SECONDS);
  }
}

/** Undefined when it takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function isTemporary(error: unknown): boolean {
  return isUnavailable(error) || isRetryable(error) || isTimeout(error);
}

function isTimeout(error: unknown): boolean {
  return codeOf(error) === QUERY_CANCELED || (error as Error).message === 'Query read timeout';
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
