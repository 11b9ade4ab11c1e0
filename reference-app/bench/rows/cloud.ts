import { startCloudServer } from '../cloud.ts';
import type { Row } from '../context.ts';
import { HOT, UNIFORM } from '../load.ts';
import { atLeast, number, perSecond, times } from '../report.ts';
import { measureReserve } from './reserve.ts';

export const cloudRow: Row = {
  name: 'cloud',
  title: 'Reserve stage with cloud-like waits',
  cloud: true,
  async run(context) {
    const cloud = await startCloudServer();
    if (typeof cloud === 'string') throw new Error(`The cloud-like profile is not possible here: ${cloud}.`);
    try {
      const waits = `round trip ${number(cloud.roundTripMs)} ms, one-row commit ${number(cloud.commitMs)} ms`;
      // Naive does some 100 orders a second here, so a slice has to be longer to hold enough of them.
      const options = { endpoint: cloud.endpoint, naiveWorkers: [32] };
      const slower = { ...context, sliceMs: context.sliceMs * 1.5 };
      const uniform = await measureReserve(slower, cloud.server, 'reserve, cloud-like, 1,000 SKUs', UNIFORM, { ...options, workers: [1, 4] });
      const hot = await measureReserve(slower, cloud.server, 'reserve, cloud-like, one hot SKU', HOT, { ...options, workers: [4] });
      const figure = (id: string, name: string, result: typeof uniform, variant: string) => {
        const ratio = result.overSerial(variant);
        return {
          id, name, naive: `${perSecond(result.rate(result.serial))}; at best ${perSecond(result.rate(result.best))}`, value: ratio.median,
          text: `${times(ratio)}, ${perSecond(result.rate(variant))}`, note: waits,
        };
      };
      return {
        figures: [
          { ...figure('cloud-1', 'reserve stage with cloud-like waits, one connection', uniform, uniform.batched[0]!), must: atLeast(300), stretch: atLeast(340) },
          { ...figure('cloud-4', 'reserve stage with cloud-like waits, four connections', uniform, uniform.batched[1]!), must: atLeast(600), stretch: atLeast(750) },
          figure('cloud-hot', 'reserve stage with cloud-like waits, one hot SKU, four connections', hot, hot.batched[0]!),
        ],
        raw: { roundTripMs: cloud.roundTripMs, commitMs: cloud.commitMs },
        slices: [...uniform.slices, ...hot.slices], variants: [...uniform.variants, ...hot.variants],
      };
    } finally {
      await cloud.stop();
    }
  },
};
