import { setTimeout as sleep } from 'node:timers/promises';
import type { Screen, Style } from 'cdk-local-run/cli/screen';
import type pg from 'pg';
import type { AcceptedOrder } from '../../load/feed.ts';
import { readCatalog } from '../../load/orders.ts';

const POLL_MS = 40;

/** Every event that an order has caused so far, by its order's clock: the database's. */
const EVENTS_OF_ORDERS = `
  SELECT o.order_id AS "orderId", o.status, o.shortages, e.detail_type AS type,
         (extract(epoch FROM e.created_at - o.created_at) * 1000)::float8 AS "afterMs"
    FROM orders.orders o
    JOIN messaging.outbox e ON e.aggregate_id = o.order_id::text
   WHERE o.order_id = ANY($1::uuid[])
   ORDER BY e.xid, e.id`;

interface Row {
  readonly orderId: string;
  readonly status: string;
  readonly shortages: { sku: string; requested: number; available: number }[] | null;
  readonly type: string;
  readonly afterMs: number;
}

interface Journey {
  readonly order: AcceptedOrder;
  status: string;
  why: string;
  readonly after: Map<string, number>;
}

const COLUMNS = [['order', 9], ['customer', 10], ['items', 36], ['accepted', 10], ['validated', 10]] as const;
const COLOURS: Record<string, Style> = { CONFIRMED: 'green', REJECTED: 'yellow', FAILED: 'red' };

/** Shows orders on their way, one line each: live on a terminal while they move, for good when they are terminal. */
export class Journeys {
  private readonly open = new Map<string, Journey>();
  private readonly names = new Map(readCatalog().map(({ sku, name }) => [sku, name]));
  private readonly out: Screen;
  private readonly database: pg.Pool;
  private polling: Promise<void> | undefined;
  private failure: unknown;

  constructor(out: Screen, database: pg.Pool) {
    this.out = out;
    this.database = database;
    out.line(out.paint('bold', [...COLUMNS.map(([title, width]) => title.padEnd(width)), 'result'].join('  ')));
  }

  add(order: AcceptedOrder): void {
    this.open.set(order.orderId, { order, status: 'PENDING', why: '', after: new Map() });
    this.draw();
    this.polling ??= this.poll()
      .catch((error: unknown) => (this.failure ??= error))
      .then(() => (this.polling = undefined));
  }

  /** Resolves when no order is on its way any more, or the time is up; those still open are shown as they are. */
  async settled(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.open.size > 0 && this.failure === undefined && performance.now() < deadline) await sleep(POLL_MS);
    const left = [...this.open.values()];
    this.open.clear();
    await this.polling;
    this.out.status([]);
    for (const journey of left) this.out.line(this.row(journey));
    if (this.failure !== undefined) throw this.failure;
  }

  private async poll(): Promise<void> {
    while (this.open.size > 0) {
      const { rows } = await this.database.query<Row>(EVENTS_OF_ORDERS, [[...this.open.keys()]]);
      for (const row of rows) {
        const journey = this.open.get(row.orderId);
        if (!journey) continue;
        journey.status = row.status;
        journey.after.set(row.type, row.afterMs);
        const shortages = row.shortages ?? [];
        journey.why = shortages.map(({ sku, requested, available }) => `${sku}: ${requested} ordered, ${available} left`).join('; ');
      }
      for (const [id, journey] of this.open) {
        if (journey.status === 'PENDING') continue;
        this.open.delete(id);
        this.out.line(this.row(journey));
      }
      this.draw();
      await sleep(POLL_MS);
    }
  }

  private draw(): void {
    this.out.status([...this.open.values()].map((journey) => this.row(journey)));
  }

  private row({ order, status, why, after }: Journey): string {
    const { body } = order.planned;
    const items = (body.items as { sku?: string; product_id?: string; quantity: number }[])
      .map(({ sku, product_id, quantity }) => `${quantity} × ${this.names.get(sku ?? product_id ?? '') ?? sku}`)
      .join(' + ');
    const cells = [
      order.orderId.slice(-8),
      String(body.customerId ?? body.customer_id),
      items,
      `${Math.round(order.latencyMs)} ms`,
      time(after.get('StockValidated')),
    ].map((cell, index) => fit(cell, COLUMNS[index]![1]));
    const result = `${status.toLowerCase()} ${time(after.get('OrderConfirmed') ?? after.get('OrderRejected'))}`.trimEnd();
    const colour = COLOURS[status];
    return `${cells.join('  ')}  ${colour ? this.out.paint(colour, result) : result}${why && `  ${this.out.paint('dim', why)}`}`;
  }
}

function time(ms: number | undefined): string {
  return ms === undefined ? '' : `+${Math.round(ms)} ms`;
}

function fit(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}
