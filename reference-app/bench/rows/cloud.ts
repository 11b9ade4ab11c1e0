import type { Row } from '../context.ts';
import { measureReserve } from './reserve.ts';
import { startSlowServer } from '../database/slow-server.ts';
import { HOT, UNIFORM } from '../pipeline/orders.ts';

export const cloudRow: Row = {
  name: 'cloud',
  title: 'Reserve stage with the waits of a cloud',
  cloud: true,
  async run(context) {
    const slow = await startSlowServer();
    if (typeof slow === 'string') throw new Error(`The waits of a cloud cannot be made here: ${slow}.`);
    try {
      // The naive design does some 100 orders a second here, so a slice has to be longer to hold enough of them.
      const longer = { ...context, sliceMs: context.sliceMs * 1.5 };
      const { endpoint } = slow;
      const uniform = await measureReserve(longer, slow.server, {
        endpoint, label: 'reserve, cloud-like, 1,000 SKUs', shape: UNIFORM, workers: [1, 4],
      });
      const hot = await measureReserve(longer, slow.server, { endpoint, label: 'reserve, cloud-like, one hot SKU', shape: HOT, workers: [4] });
      return {
        variants: [...uniform.variants!, ...hot.variants!],
        raw: { roundTripMs: slow.roundTripMs, commitMs: slow.commitMs },
        slices: [...uniform.slices!, ...hot.slices!],
      };
    } finally {
      await slow.stop();
    }
  },
};
