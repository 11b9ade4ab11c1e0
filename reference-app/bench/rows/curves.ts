import { summarize, type Summary } from '../../load/statistics.ts';
import { orderById } from '../../services/order-service/api-read-service/statements.ts';
import { acceptOrders } from '../../services/order-service/api-write-service/intake.ts';
import type { Context } from '../context.ts';
import { commandPool, warm } from '../database/server.ts';
import { assertReserved } from '../measure/assert-invariants.ts';
import { processorPerOrder, runSlice, type Slice } from '../measure/slices.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM, type Shape } from '../pipeline/orders.ts';
import { BATCH, reserveVariant } from '../pipeline/reserve-variant.ts';

export interface Curve {
  readonly id: string;
  readonly title: string;
  readonly x: string;
  readonly points: readonly CurvePoint[];
}

export interface CurvePoint {
  readonly x: number;
  /** Orders per second. */
  readonly rate: Summary;
  /** Microseconds per order; missing with readers, whose time would be in it. */
  readonly processorMicros?: number | undefined;
}

interface PointOptions {
  readonly shape: Shape;
  readonly batch: number;
  readonly workers: number;
  /** Orders that are in the database before. @default 0 */
  readonly stored?: number;
  /** Clients that read orders meanwhile. @default 0 */
  readonly readers?: number;
}

/** The reserve stage at one point, in a database of its own so that earlier points have no effect on later ones. */
async function point(context: Context, x: number, options: PointOptions): Promise<CurvePoint> {
  const { shape, batch, workers, stored = 0, readers = 0 } = options;
  const server = await context.server();
  const database = await server.database('bench_curve');
  const pool = commandPool(database.location, workers);
  const readPool = readers > 0 ? commandPool(database.location, readers) : undefined;
  try {
    await stockUp(database.admin, shape.skus, PLENTY);
    await warm(pool, workers);
    const variant = reserveVariant('reserve', pool, shape, context.random, { batch, workers });
    const fill = async (orders: number) => {
      for (let until = variant.taken() + orders; variant.taken() < until;) {
        context.progress(`curves  filling: ${variant.taken()} of ${until} orders`);
        await runSlice(variant, -1, 1_000, undefined);
      }
    };
    await fill(stored > 0 ? stored : 1);
    const orders = readPool ? Array.from({ length: 10_000 }, () => newOrder(randomOrder(UNIFORM, context.random))) : [];
    for (let i = 0; i < orders.length; i += 1_000) await acceptOrders(orders.slice(i, i + 1_000), pool);
    const slices: Slice[] = [];
    let reading = true;
    let reads = 0;
    const loops = Array.from({ length: readers }, async () => {
      while (reading) {
        await readPool!.query(orderById({ orderId: orders[Math.floor(context.random() * orders.length)]!.orderId, customerId: undefined }));
        reads++;
      }
    });
    const meter = context.meter(server);
    for (let round = 0; round < context.rounds; round++) slices.push(await runSlice(variant, round, context.sliceMs, meter));
    reading = false;
    await Promise.all(loops);
    if (orders.length === 0) await assertReserved(database.admin, variant.taken());
    const processor = readers === 0 ? processorPerOrder(slices, variant.name) : undefined;
    return { x, rate: summarize(slices.map(({ rate }) => rate)), ...(processor && { processorMicros: processor.all }) };
  } finally {
    await Promise.all([pool.end(), readPool?.end()]);
    await database.drop();
  }
}

export async function measureCurves(context: Context, onPoint: (curve: string, point: CurvePoint) => void): Promise<Curve[]> {
  const curve = async (
    id: string, title: string, x: string, xs: readonly number[], options: (x: number) => Partial<PointOptions>,
  ): Promise<Curve> => {
    const points: CurvePoint[] = [];
    for (const value of xs) {
      context.progress(`curves  ${title}: ${value}`);
      points.push(await point(context, value, { shape: UNIFORM, batch: BATCH, workers: 2, ...options(value) }));
      onPoint(title, points.at(-1)!);
    }
    return { id, title, x, points };
  };
  return [
    await curve('batch', 'by events per transaction', 'events per transaction', [1, 3, 10, 30, 100, 300, 1_000], (batch) => ({ batch })),
    await curve('skus', 'by number of products', 'products', [1, 10, 100, 1_000, 10_000, 100_000],
      (skus) => ({ shape: { skus, lines: Math.min(2, skus) } })),
    await curve('lines', 'by lines per order', 'lines per order', [1, 2, 5, 10, 20], (lines) => ({ shape: { skus: 1_000, lines } })),
    await curve('consumers', 'by consumers', 'transactions at once', [1, 2, 3, 4, 6, 8], (workers) => ({ workers })),
    await curve('readers', 'by clients that read orders from the same database', 'readers', [0, 1, 2, 4, 8], (readers) => ({ readers })),
    await curve('stored', 'by orders that are stored already', 'stored orders', [1, 100_000, 300_000, 1_000_000],
      (stored) => ({ stored })),
  ];
}
