import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Row } from '../context.ts';
import type { HttpServerData, Kind } from '../http-server.ts';
import type { LoadData, LoadResult } from '../http-load.ts';
import { assertInvariants } from '../invariants.ts';
import { PLENTY, stockUp, UNIFORM } from '../load.ts';
import { atLeast, number, perSecond, times } from '../report.ts';
import { processorPerOrder, ratesOf, ratios, type Variant } from '../slices.ts';
import { median, summarize } from '../statistics.ts';

const CONNECTIONS = 256;

export const httpRow: Row = {
  name: 'http',
  title: 'Intake over HTTP, one process',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_http');
    const processes: ChildProcess[] = [];
    const threads: Worker[] = [];
    let accepted = 0;
    const latencies: Record<string, { p50: number[]; p99: number[] }> = {};
    const variant = async (name: string, kind: Kind, connections: number): Promise<Variant> => {
      const data: HttpServerData = { kind, target: database.target, connections };
      const child = fork(fileURLToPath(new URL('../http-server.ts', import.meta.url)), [JSON.stringify(data)]);
      processes.push(child);
      const [{ url }] = await once(child, 'message') as [{ url: string }];
      const workerData: LoadData = { port: Number(new URL(url).port), connections: CONNECTIONS, seed: 1 };
      const load = new Worker(new URL('../http-load.ts', import.meta.url), { workerData });
      threads.push(load);
      await once(load, 'message');
      const seen = (latencies[name] = { p50: [] as number[], p99: [] as number[] });
      return {
        name,
        async run(ms) {
          load.postMessage({ ms });
          const [result] = await once(load, 'message') as [LoadResult];
          if (result.refused > 0) throw new Error(`${name}: ${result.refused} requests were not answered with 202`);
          if (kind !== 'no database') accepted += result.count;
          seen.p50.push(result.p50);
          seen.p99.push(result.p99);
          return { count: result.count, seconds: result.seconds };
        },
      };
    };
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const baseline = await variant('naive, 10 connections', 'naive', 10);
      const service = await variant('write API', 'service', 8);
      const ceiling = await variant('write API without database', 'no database', 8);
      const slices = await context.slices('intake over HTTP', {
        baseline, variants: [service, ceiling], meter: context.meter(server, () => processes.flatMap(({ pid }) => pid ?? [])),
      });
      await assertInvariants(database.admin, { orders: 'pending', published: false }, { orders: { sql: 'SELECT count(*) FROM orders.orders', value: accepted } });
      const over = summarize(ratios(slices, service.name, baseline.name));
      const rates = summarize(ratesOf(slices, service.name));
      const share = 100 * rates.median / median(ratesOf(slices, ceiling.name));
      return {
        figures: [{
          id: 'http', name: 'intake over HTTP, one process, vs naive', naive: perSecond(summarize(ratesOf(slices, baseline.name))), value: over.median,
          text: `${times(over)}, ${perSecond(rates)}`, must: atLeast(4), stretch: atLeast(8),
          note: 'the stretch figure of performance.md is for two processes',
        }, {
          id: 'http-share', name: 'intake over HTTP, share of the framework without database', naive: '–', value: share,
          text: `${number(share)} % of ${perSecond(summarize(ratesOf(slices, ceiling.name)))}`, must: atLeast(80, ' %'),
        }],
        raw: {}, slices,
        variants: [baseline, service, ceiling].map(({ name }) => ({
          row: 'intake over HTTP', variant: name, rate: summarize(ratesOf(slices, name)),
          ...(name !== baseline.name && { ratio: summarize(ratios(slices, name, baseline.name)) }),
          processorMicros: processorPerOrder(slices, name),
          note: `p50 ${number(median(latencies[name]!.p50))} ms, p99 ${number(median(latencies[name]!.p99))} ms; processor time with the load generator's`,
        })),
      };
    } finally {
      await Promise.all(threads.map((thread) => thread.terminate()));
      for (const child of processes) child.kill('SIGTERM');
      await database.drop();
    }
  },
};
