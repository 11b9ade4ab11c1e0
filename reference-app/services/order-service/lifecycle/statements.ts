import type { Change, Items, Order } from './decide.ts';
import type { Status } from './transitions.ts';
import type { Queryable } from '../../shared/database.ts';
import type { EventEnvelope } from '../../shared/events/index.ts';
import type { Caller } from '../../shared/http/caller.ts';
import { publishValues } from '../../shared/messaging/outbox.ts';
import { arrayOf, lines, numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';

// Each is one call of a function, which stands in the file of its name beside this one: orders.states.sql.

const STATES = {
  name: 'orders-states',
  text: `SELECT handled::text, order_ids::text, statuses::text, versions::text, customer_ids::text, created_ms::text, last_event_ids::text,
           changing_ids::text, changing_items, changing_requested, changing_reasons::text,
           inventory.unfounded($2::text::uuid[], $3::text::uuid[], $4::text::bigint[], $5::text::text[])::text AS unfounded
         FROM orders.states($1, $2::text::uuid[], $3::text::uuid[])`,
};
const changes = (first: number) => [
  '', '::text::int[]', '::text::text[]', '::text::text[]', '', '', '::text::text[]', '', '', '::text::text[]', '::text::uuid[]', '::text::text[]', '',
].map((cast, i) => `$${first + i}${cast}`).join(', ');
const SETTLE = { name: 'orders-settle', text: `SELECT orders.settle($1, $2::text::uuid[], ${changes(3)})` };
const COMMAND = { name: 'orders-command', text: `SELECT orders.command($1, $2, ${changes(3)}, $16)` };
const COMMAND_STATE = { name: 'orders-command-state', text: 'SELECT * FROM orders.command_state($1, $2, $3::text::text[], $4, $5)' };
const OVERDUE = { name: 'orders-overdue', text: 'SELECT * FROM orders.overdue($1, make_interval(secs => $2), $3)' };

const COUNT_OVERDUE = { name: 'orders-count-overdue', text: 'SELECT status, count::int AS count FROM orders.count_overdue($1, make_interval(secs => $2))' };

export interface Known {
  readonly handled: ReadonlySet<string>;
  /** Those that are not what the ledger says. */
  readonly unfounded: ReadonlySet<string>;
  readonly orders: ReadonlyMap<string, Order>;
}

/** The kind of a line of the ledger that makes an outcome. */
const LEDGER: Readonly<Record<EventEnvelope<'inventory.updated'>['data']['outcome'], string>> = {
  RESERVED: 'RESERVE', REJECTED: 'REJECT', DEDUCTED: 'COMMIT', RELEASED: 'RELEASE', RETURNED: 'RETURN',
};

export async function readStates(database: Queryable, consumer: string, events: readonly EventEnvelope<'inventory.updated'>[]): Promise<Known> {
  const { rows: [row] } = await database.query<Record<
    'handled' | 'unfounded' | 'order_ids' | 'statuses' | 'versions' | 'customer_ids' | 'created_ms' | 'last_event_ids'
    | `changing_${'ids' | 'items' | 'requested' | 'reasons'}`, string | null>>({
    ...STATES,
    values: [
      consumer, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ data }) => data.orderId)),
      numberArray(events.map(({ sequence }) => Math.min(Number(sequence), Number.MAX_SAFE_INTEGER))),
      textArray(events.map(({ data }) => LEDGER[data.outcome])),
    ],
  });
  const { statuses, versions, customer_ids, created_ms, last_event_ids } = row!;
  const [status, version, customerId, created, lastEvent] = [
    statuses, versions, customer_ids, created_ms, last_event_ids,
  ].map(arrayOf) as [string[], string[], string[], string[], string[]];
  const orders = new Map(arrayOf(row!.order_ids).map((orderId, i): [string, Order] => [orderId, {
    orderId,
    status: status[i] as Status,
    version: Number(version[i]),
    customerId: customerId[i]!,
    createdAt: new Date(Number(created[i])),
    lastEventId: lastEvent[i] === 'NULL' ? undefined : lastEvent[i],
  }]));
  const [items, requested, reasons] = [row!.changing_items?.split('\n') ?? [], row!.changing_requested?.split('\n') ?? [], arrayOf(row!.changing_reasons)];
  arrayOf(row!.changing_ids).forEach((orderId, i) => {
    orders.set(orderId, {
      ...orders.get(orderId)!, items: JSON.parse(items[i]!) as Items, requested: JSON.parse(requested[i]!) as Items, reason: reasons[i]!,
    });
  });
  return { handled: new Set(arrayOf(row!.handled)), unfounded: new Set(arrayOf(row!.unfounded)), orders };
}

/** `handled` are the ids to be remembered. All changes are made at the same time. */
export async function settle(
  database: Queryable, consumer: string, handled: readonly string[], made: readonly Change[], at: Date,
): Promise<void> {
  if (handled.length === 0 && made.length === 0) return;
  await database.query({ ...SETTLE, values: [consumer, uuidArray(handled), ...valuesOf(made, at)] });
}

/** Writes a client's command, with its key. */
export async function request(
  database: Queryable, key: { subject: string; key: string; fingerprint: Buffer } | undefined, change: Change, at: Date,
): Promise<void> {
  await database.query({ ...COMMAND, values: [key?.key ?? null, key?.fingerprint ?? null, ...valuesOf([change], at), key?.subject ?? ''] });
}

function valuesOf(made: readonly Change[], at: Date): unknown[] {
  // Two batches with the same orders in another order wait for each other instead of both.
  const sorted = [...made].sort((a, b) => (a.orderId < b.orderId ? -1 : 1));
  const [eventIds, orderIds, detailTypes, envelopes] = publishValues(sorted.map(({ event }) => event));
  const documents = (read: (change: Change) => unknown) => lines(sorted.map((change) => {
    const document = read(change);
    return document === null ? '' : JSON.stringify(document);
  }));
  return [
    orderIds, numberArray(sorted.map(({ version }) => version)), textArray(sorted.map(({ from }) => from)),
    textArray(sorted.map(({ status }) => status)),
    documents(({ items }) => items), documents(({ requested }) => requested), textArray(sorted.map(({ reason }) => reason)),
    documents(({ shortages }) => shortages),
    at, textArray(sorted.map(({ causeId }) => causeId)), eventIds, detailTypes, envelopes,
  ];
}

/** The facts that a command rests on. */
export interface CommandState {
  /** undefined: there is no such order of the caller's customer. */
  readonly order: Order | undefined;
  /** The change that the caller made with the key before. */
  readonly key: { readonly orderId: string; readonly version: number; readonly fingerprint: Buffer } | undefined;
  readonly unknownSkus: readonly string[];
}

interface CommandRow {
  readonly status: Status | null;
  readonly version: number;
  readonly customer_id: string;
  readonly created_at: Date;
  readonly items: Items;
  readonly last_event_id: string | null;
  readonly key_order_id: string | null;
  readonly key_version: number;
  readonly key_hash: Buffer;
  readonly unknown_skus: string[];
}

export async function readForCommand(
  database: Queryable,
  { orderId, caller, key, skus }: { orderId: string; caller: Caller; key: string | undefined; skus: readonly string[] },
): Promise<CommandState> {
  const { rows: [row] } = await database.query<CommandRow>({
    ...COMMAND_STATE, values: [orderId, key ?? null, textArray(skus), caller.customerId ?? null, caller.subject],
  });
  const { status, version, customer_id, created_at, items, last_event_id, key_order_id, key_version, key_hash, unknown_skus } = row!;
  return {
    order: status === null ? undefined : {
      orderId, status, version, customerId: customer_id, createdAt: created_at, items, lastEventId: last_event_id ?? undefined,
    },
    key: key_order_id === null ? undefined : { orderId: key_order_id, version: key_version, fingerprint: key_hash },
    unknownSkus: unknown_skus,
  };
}

/** Orders that nobody has answered in time, locked until the end of the transaction. */
export async function claimOverdue(tx: Queryable, statuses: readonly Status[], seconds: number, limit: number): Promise<Order[]> {
  const { rows } = await tx.query<{
    order_id: string; status: Status; version: number; customer_id: string; created_at: Date; last_event_id: string | null;
  }>({
    ...OVERDUE, values: [statuses, seconds, limit],
  });
  return rows.map((row) => ({
    orderId: row.order_id,
    status: row.status,
    version: row.version,
    customerId: row.customer_id,
    createdAt: row.created_at,
    lastEventId: row.last_event_id ?? undefined,
  }));
}

export async function countOverdue(
  database: Queryable, statuses: readonly Status[], seconds: number,
): Promise<{ status: Status; count: number }[]> {
  return (await database.query<{ status: Status; count: number }>({ ...COUNT_OVERDUE, values: [statuses, seconds] })).rows;
}
