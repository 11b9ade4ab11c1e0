import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { BUNDLES, eventsIn, type Bundles } from './bundles.ts';
import { runRelay } from '../../services/outbox-relay/relay.ts';
import { commandPool, silent, type DatabaseLocation } from '../database/server.ts';
import { countRoundTrips } from '../measure/counts.ts';

/** A bus that takes every event at once. */
function freeBus(onEvents: (entries: NonNullable<PutEventsCommand['input']['Entries']>) => void): EventBridgeClient {
  return {
    async send({ input }: PutEventsCommand) {
      onEvents(input.Entries!);
      return { FailedEntryCount: 0, Entries: input.Entries!.map(() => ({ EventId: '0' })) };
    },
  } as unknown as EventBridgeClient;
}

export interface RelayRun {
  /** Events that were published. */
  readonly count: number;
  /** Seconds from the first to the last event. */
  readonly seconds: number;
  /** Calls of PutEvents. */
  readonly calls: number;
  readonly roundTrips: number;
}

export interface RelayRunOptions {
  /** @default - those of the reference app */
  readonly bundles?: Bundles;
  /** Called with the detail of each entry. */
  seen?(detail: string): void;
}

/**
 * Runs the service's own relay until `done`.
 *
 * @param done asked after each call, with the events so far and the milliseconds since the first one
 */
export async function relayUntil(
  location: DatabaseLocation, done: (count: number, elapsedMs: number) => boolean, { bundles = BUNDLES, seen }: RelayRunOptions = {},
): Promise<RelayRun> {
  const pool = commandPool(location, 1, 'outbox-relay');
  const roundTrips = countRoundTrips(pool);
  let count = 0;
  let calls = 0;
  let first = 0;
  let last = 0;
  const ended = Promise.withResolvers<void>();
  const relay = runRelay({
    pool,
    busName: 'bench',
    source: 'com.example.orders',
    logger: silent,
    ...bundles,
    client: freeBus((entries) => {
      last = performance.now();
      first ||= last;
      calls++;
      for (const { Detail } of entries) {
        count += eventsIn(Detail!);
        seen?.(Detail!);
      }
      if (done(count, last - first)) ended.resolve();
    }),
  });
  await ended.promise;
  const result = { count, seconds: (last - first) / 1000, calls, roundTrips: roundTrips() };
  await relay.stop();
  await pool.end();
  return result;
}
