import { WriteApis } from './http.ts';
import { summarize } from '../../load/statistics.ts';
import type { Row } from '../context.ts';
import { assertInvariants } from '../measure/assert-invariants.ts';
import { processorPerOrder, ratios } from '../measure/slices.ts';
import { PLENTY, stockUp, UNIFORM } from '../pipeline/orders.ts';
import type { Kind } from '../pipeline/write-api-process.ts';
import { number, times } from '../report/results.ts';

/** The same write API with and without tokens, in pairs: with its database, and without, where nothing else hides the difference. */
export const tokensRow: Row = {
  name: 'tokens',
  title: 'The cost of authentication',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_tokens');
    const apis = new WriteApis(database);
    const compared = async (kind: Kind, name: string) => {
      const open = await apis.start(`${name}, open`, kind, 8);
      const asking = await apis.start(`${name}, with tokens`, kind, 8, true);
      const slices = await context.slices(name, { baseline: open, variants: [asking], meter: context.meter(server, () => apis.pids) });
      const [before, after] = [open, asking].map((variant) => processorPerOrder(slices, variant.name));
      const ratio = summarize(ratios(slices, asking.name, open.name));
      const more = before && after
        ? `; ${number(after.node)} µs of processor time with the load generator's, ${number(before.node)} without tokens` : '';
      return { slices, ratio, figure: { name: `${name}: throughput with tokens`, measured: `${times(ratio)} of that without${more}` } };
    };
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const whole = await compared('service', 'write API');
      const alone = await compared('no database', 'write API without database');
      await assertInvariants(database.admin, { orders: 'pending', published: false }, {
        orders: { sql: 'SELECT count(*) FROM orders.orders', value: apis.accepted },
      });
      return {
        figures: [whole.figure, alone.figure],
        raw: { whole: whole.ratio, alone: alone.ratio },
        slices: [...whole.slices, ...alone.slices],
      };
    } finally {
      await apis.stop();
      await database.drop();
    }
  },
};
