import { runRelay } from '../../services/outbox-relay/relay.ts';
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { Row } from '../context.ts';
import { countRoundTrips } from '../counts.ts';
import { assertInvariants, InvariantError } from '../invariants.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../load.ts';
import { acceptOrders } from '../../services/order-service/api-write-service/intake.ts';
import * as naive from '../naive.ts';
import { atLeast, perSecond, times } from '../report.ts';
import { commandPool, silent, warm, type Target } from '../server.ts';
import { processorPerOrder, ratesOf, ratios, type Variant } from '../slices.ts';
import { summarize } from '../statistics.ts';

/** A bus that takes everything at once. */
function freeBus(onEvents: (entries: NonNullable<PutEventsCommand['input']['Entries']>) => void): EventBridgeClient {
  return {
    async send({ input }: PutEventsCommand) {
      onEvents(input.Entries!);
      return { FailedEntryCount: 0, Entries: input.Entries!.map(() => ({ EventId: '0' })) };
    },
  } as unknown as EventBridgeClient;
}

/** The service's relay from its first to its last event within the time. */
export async function relayFor(target: Target, done: (count: number, elapsed: number) => boolean, seen?: (detail: string) => void) {
  const pool = commandPool(target, 1, 'outbox-relay');
  const roundTrips = countRoundTrips(pool);
  let count = 0;
  let calls = 0;
  let first = 0;
  let last = 0;
  const ended = Promise.withResolvers<void>();
  const relay = runRelay({
    pool, busName: 'bench', source: 'com.example.orders', logger: silent,
    client: freeBus((entries) => {
      last = performance.now();
      first ||= last;
      count += entries.length;
      calls++;
      if (seen) for (const { Detail } of entries) seen(Detail!);
      if (done(count, last - first)) ended.resolve();
    }),
  });
  await ended.promise;
  const result = { count, seconds: (last - first) / 1000, calls, roundTrips: roundTrips() };
  await relay.stop();
  await pool.end();
  return result;
}

export const relayRow: Row = {
  name: 'relay',
  title: 'Relay out of the outbox, broker left out',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_relay');
    const pool = commandPool(database.target, 4);
    const backlog = Math.round(Math.min(300_000, 500 * context.sliceMs));
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      await warm(pool, 4);
      for (let made = 0; made < backlog; made += 1_000) {
        if (made % 20_000 === 0) context.progress(`relay  filling the outbox: ${made}`);
        await acceptOrders(Array.from({ length: 1_000 }, () => newOrder(randomOrder(UNIFORM, context.random))), pool);
      }
      await database.admin.query('VACUUM (ANALYZE) messaging.outbox');
      const rewind = () => database.admin.query(`UPDATE messaging.relay_cursor SET xid = '0', id = 0, since = '-infinity'`);
      const baseline: Variant = {
        name: 'naive, one row per transaction',
        async prepare() { await rewind(); },
        async run(ms) {
          const start = performance.now();
          let count = 0;
          while (performance.now() - start < ms) if (await naive.relayOne(pool, () => {})) count++;
          return { count, seconds: (performance.now() - start) / 1000 };
        },
      };
      const relay: Variant = {
        name: 'relay',
        async prepare() { await rewind(); },
        run: (ms) => relayFor(database.target, (count, elapsed) => elapsed >= ms || count >= backlog),
      };
      const slices = await context.slices('relay', { baseline, variants: [relay], meter: context.meter(server) });

      // All of it once, nothing lost: from the beginning, compared with what is there.
      context.progress('relay  checking that nothing is lost');
      await rewind();
      const published = new Set<string>();
      let total = 0;
      await relayFor(database.target, (count) => count >= backlog, (detail) => {
        published.add((JSON.parse(detail) as { id: string }).id);
        total++;
      });
      if (published.size !== backlog || total !== backlog) throw new InvariantError(`${published.size} different events of ${backlog} were published, in ${total} entries`);
      await assertInvariants(database.admin, { orders: 'pending', published: true });

      const rate = summarize(ratesOf(slices, relay.name));
      const over = summarize(ratios(slices, relay.name, baseline.name));
      return {
        figures: [{
          id: 'relay', name: 'relay out of the outbox, broker left out', naive: perSecond(summarize(ratesOf(slices, baseline.name))), value: rate.median,
          text: `${perSecond(rate)}, ${times(over)}`, must: atLeast(100_000, '/s'), stretch: atLeast(300_000, '/s'),
        }],
        raw: { backlog }, slices,
        variants: [baseline, relay].map(({ name }) => ({
          row: 'relay', variant: name, rate: summarize(ratesOf(slices, name)), ...(name === relay.name && { ratio: over }), processorMicros: processorPerOrder(slices, name),
        })),
      };
    } finally {
      await pool.end();
      await database.drop();
    }
  },
};
