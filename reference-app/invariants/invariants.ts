import type { ClientBase } from 'pg';
import { CHECKS, COUNTS, HANDLED_UNPUBLISHED, POPULATION, PUBLISHED_PAGE, RELAY_CURSOR } from './sql.ts';
import type { Check } from './sql.ts';
import { UUID } from '../services/shared/events/ids.ts';

export type InvariantId = keyof typeof POPULATION;

/** One rule's way to one consumer. */
export interface Subscription {
  readonly rule: string;
  readonly queue: string;
  /** The name under which the consumer of the queue keeps its inbox. */
  readonly consumer: string;
  /** Events up to this place in the outbox are not its concern: it is younger. @default - from the beginning */
  readonly since?: Position;
  /** Whether the rule's pattern matches an event that is published with this detail-type and this detail. */
  matches(detailType: string, detail: Record<string, unknown>): boolean;
}

/** A place in the outbox. */
export interface Position {
  readonly xid: string;
  readonly id: string;
}

/** Bodies of the messages that lie in the queues now, looked at without receiving them. */
export interface QueueContents {
  /** Waiting, delayed or in flight, by queue name. */
  readonly queued: ReadonlyMap<string, readonly string[]>;
  /** In the dead-letter queue of each queue, by the queue's name. */
  readonly dead: ReadonlyMap<string, readonly string[]>;
}

export interface FeedRecord {
  readonly accepted: readonly { readonly orderId: string; readonly key: string }[];
  readonly keyPrefix: string;
}

export interface InvariantOptions {
  /** A connection to the writer, with a role that may read every table. It gets one read-only transaction. */
  readonly database: Pick<ClientBase, 'query'>;
  readonly subscriptions: readonly Subscription[];
  readonly inspectQueues: () => QueueContents | Promise<QueueContents>;
  /** The orders that got a 202, for I1. @default - every order in the database counts as accepted */
  readonly feed?: FeedRecord;
}

export interface Violation {
  readonly what: string;
  readonly count: number;
  /** The first few offenders. */
  readonly sample: readonly string[];
}

export interface InvariantResult {
  readonly id: InvariantId;
  readonly ok: boolean;
  /** The number of things that were looked at; `population` is their name. */
  readonly checked: number;
  readonly population: string;
  readonly violations: readonly Violation[];
}

const HANDLED_OF = 'SELECT event_id::text AS id FROM messaging.inbox WHERE event_id = ANY ($2::uuid[]) AND consumer = ANY ($1)';
const SAMPLE = 5;
const PAGE = 5_000;

interface Parameters {
  readonly acceptedOrders: readonly string[];
  readonly acceptedKeys: readonly string[];
  readonly keyPrefix: string;
  readonly deadOrders: readonly string[];
}

/**
 * Checks the invariants of a system at rest, local or deployed. Statements prove the contents of the database. Deliveries are proven by
 * comparing sets: the published events that match a rule, with those that its consumer has handled, has waiting, or gave up.
 */
export async function checkInvariants(options: InvariantOptions): Promise<InvariantResult[]> {
  const { database, subscriptions, feed } = options;
  // In this order, an event is seen at least once on its way, even if the system does not rest: what is published now
  // is in a queue then, or handled by the time of the snapshot.
  const published = (await database.query<Position>(RELAY_CURSOR)).rows[0];
  const contents = await options.inspectQueues();
  const letters = readLetters(contents);

  await database.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    const findings = new Map<InvariantId, Violation[]>();
    const found = (id: InvariantId, finding: Violation | undefined) => {
      if (finding) findings.set(id, [...(findings.get(id) ?? []), finding]);
    };
    const parameters: Parameters = {
      acceptedOrders: feed?.accepted.map(({ orderId }) => orderId) ?? [],
      acceptedKeys: feed?.accepted.map(({ key }) => key) ?? [],
      keyPrefix: feed?.keyPrefix ?? '',
      deadOrders: await ordersOfDeadLetters(database, subscriptions, contents),
    };
    for (const check of CHECKS) {
      if (check.invariant === 'I1' && !feed) continue;
      found(check.invariant, await runCheck(database, check, parameters));
    }
    if (feed) found('I1', twice(feed));

    const deliveries = await checkDeliveries(database, subscriptions, letters, published, feed);
    for (const { invariant, ...finding } of deliveries.violations) found(invariant, finding);

    const counts = (await database.query<Record<string, number>>(COUNTS)).rows[0] ?? {};
    const checked: Record<string, number> = { ...counts, I1: feed?.accepted.length ?? counts.I6 ?? 0, I11: deliveries.checked };
    return (Object.keys(POPULATION) as InvariantId[]).map((id) => ({
      id,
      ok: !findings.has(id),
      checked: checked[id] ?? 0,
      population: POPULATION[id],
      violations: findings.get(id) ?? [],
    }));
  } finally {
    await database.query('ROLLBACK');
  }
}

async function runCheck(database: Pick<ClientBase, 'query'>, check: Check, parameters: Parameters): Promise<Violation | undefined> {
  return offenders(database, check.what, check.sql, (check.parameters ?? []).map((name) => parameters[name]));
}

async function offenders(database: Pick<ClientBase, 'query'>, what: string, sql: string, values: readonly unknown[]): Promise<Violation | undefined> {
  const { rows } = await database.query<{ id: string; detail: string | null; count: number }>(
    `SELECT id, detail, count(*) OVER ()::int AS count FROM (${sql}) AS offender ORDER BY id LIMIT ${SAMPLE}`,
    [...values],
  );
  const count = rows[0]?.count;
  if (count === undefined) return undefined;
  return { what, count, sample: rows.map(({ id, detail }) => (detail ? `${id} (${detail})` : id)) };
}

/** Two keys are two orders: an id given out for both is an order lost. */
function twice({ accepted }: FeedRecord): Violation | undefined {
  const keys = new Map<string, number>();
  for (const { orderId } of accepted) keys.set(orderId, (keys.get(orderId) ?? 0) + 1);
  return violation('one order was the answer to several idempotency keys', [...keys].filter(([, count]) => count > 1).map(([id]) => id));
}

function violation(what: string, ids: readonly string[]): Violation | undefined {
  return ids.length === 0 ? undefined : { what, count: ids.length, sample: ids.slice(0, SAMPLE) };
}

/** The ids of the events in the queues, by queue. */
interface Letters {
  readonly queued: ReadonlyMap<string, ReadonlySet<string>>;
  readonly dead: ReadonlyMap<string, ReadonlySet<string>>;
}

function readLetters(contents: QueueContents): Letters {
  const idsOf = (list: readonly string[]) => new Set(list.flatMap(identify).flatMap(({ event }) => event ?? []));
  const ids = (bodies: QueueContents['queued']) => new Map([...bodies].map(([queue, list]) => [queue, idsOf(list)]));
  return { queued: ids(contents.queued), dead: ids(contents.dead) };
}

/** A dead letter may bring events that were handled: the neighbours, in its bundle, of the one that failed. They excuse nothing. */
async function ordersOfDeadLetters(
  database: Pick<ClientBase, 'query'>, subscriptions: readonly Subscription[], { dead }: QueueContents,
): Promise<string[]> {
  const orders = new Set<string>();
  for (const [queue, bodies] of dead) {
    const events = bodies.flatMap(identify).filter(({ order }) => order !== undefined);
    const consumers = subscriptions.filter((subscription) => subscription.queue === queue).map(({ consumer }) => consumer);
    const ids = events.flatMap(({ event }) => (event !== undefined && UUID.test(event) ? event : []));
    const { rows } = await database.query<{ id: string }>(HANDLED_OF, [consumers, ids]);
    const handled = new Set(rows.map(({ id }) => id));
    for (const { event, order } of events) if (event === undefined || !handled.has(event.toLowerCase())) orders.add(order!);
  }
  return [...orders];
}

/** An event and its order, as far as a message says. */
interface Identity {
  readonly event?: string | undefined;
  readonly order?: string | undefined;
}

/**
 * Events and orders of a message body: the EventBridge envelope, or its detail if the rule transformed it; in either the event, or a
 * bundle of events. Poison has neither.
 */
export function identify(body: string): Identity[] {
  const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return [];
  }
  const detail = isRecord(json) ? json.detail ?? json : undefined;
  const events: unknown[] = isRecord(detail) && Array.isArray(detail.events) ? detail.events : [detail];
  return events.filter(isRecord).map(({ id, data, correlationid, subject }) => ({
    event: text(id),
    order: (isRecord(data) ? text(data.orderId) : undefined) ?? text(correlationid) ?? text(subject),
  }));
}

interface Delivery {
  readonly subscription: Subscription;
  readonly lost: string[];
  readonly unexplained: string[];
  readonly acceptedWithout: string[];
}

interface Published extends Position {
  readonly eventId: string;
  readonly aggregateId: string;
  readonly detailType: string;
  readonly envelope: string;
  readonly handled: readonly string[];
}

const BEGINNING: Position = { xid: '0', id: '0' };

function isUpTo(a: Position, b: Position | undefined): boolean {
  if (!b) return false;
  return BigInt(a.xid) < BigInt(b.xid) || (BigInt(a.xid) === BigInt(b.xid) && BigInt(a.id) <= BigInt(b.id));
}

interface Deliveries {
  readonly checked: number;
  readonly violations: readonly (Violation & { readonly invariant: InvariantId })[];
}

async function checkDeliveries(
  database: Pick<ClientBase, 'query'>,
  subscriptions: readonly Subscription[],
  letters: Letters,
  end: Position | undefined,
  feed: FeedRecord | undefined,
): Promise<Deliveries> {
  const consumers = [...new Set(subscriptions.map(({ consumer }) => consumer))];
  const accepted = feed && new Set(feed.accepted.map(({ orderId }) => orderId));
  const reports: Delivery[] = subscriptions.map((subscription) => ({ subscription, lost: [], unexplained: [], acceptedWithout: [] }));
  const nobody: string[] = [];
  let checked = 0;

  // Nothing before the oldest beginning concerns anybody.
  let after = subscriptions
    .map(({ since = BEGINNING }) => since)
    .reduce((oldest, since) => (isUpTo(since, oldest) ? since : oldest), end ?? BEGINNING);
  while (end) {
    const { rows } = await database.query<Published>(PUBLISHED_PAGE, [after.xid, after.id, end.xid, end.id, consumers, PAGE]);
    for (const event of rows) checked += checkEvent(event, reports, letters, accepted, nobody);
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = { xid: last.xid, id: last.id };
  }
  return {
    checked,
    violations: [
      ...reports.flatMap(violationsOf),
      ...ofInvariant('I10', violation('the relay has passed an event, but none of its subscribers ever got it', nobody)),
      ...ofInvariant('I11', await offenders(database, 'handled although it was never published', HANDLED_UNPUBLISHED, [consumers])),
    ],
  };
}

/**
 * Adds an event to the reports of those who should have it and do not, or have it and should not, and to `nobody` if all of them miss it:
 * then it was probably never given to the bus. Returns the number of its deliveries.
 */
function checkEvent(
  event: Published, reports: readonly Delivery[], letters: Letters, accepted: ReadonlySet<string> | undefined, nobody: string[],
): number {
  const { eventId, aggregateId, detailType, envelope, handled } = event;
  const detail = JSON.parse(envelope) as Record<string, unknown>;
  // Several rules may lead to one consumer; its inbox has to be explained by one of them.
  const explained = new Set<string>();
  let checked = 0;
  let missing = 0;
  for (const { subscription, lost, acceptedWithout } of reports) {
    const { consumer, queue, since } = subscription;
    const older = isUpTo(event, since);
    if (!older && !subscription.matches(detailType, detail)) continue;
    explained.add(consumer);
    if (older) continue;
    checked++;
    if (handled.includes(consumer) || letters.dead.get(queue)?.has(eventId)) continue;
    if (!letters.queued.get(queue)?.has(eventId)) {
      lost.push(eventId);
      missing++;
    }
    if (detailType === 'OrderCreated' && (accepted?.has(aggregateId) ?? true)) acceptedWithout.push(aggregateId);
  }
  if (missing > 0 && missing === checked) nobody.push(eventId);
  for (const consumer of handled) {
    if (!explained.has(consumer)) reports.find(({ subscription }) => subscription.consumer === consumer)?.unexplained.push(eventId);
  }
  return checked;
}

function violationsOf({ subscription: { rule, consumer }, lost, unexplained, acceptedWithout }: Delivery): Deliveries['violations'] {
  const without = `accepted, but ${consumer} has its OrderCreated neither in its inbox nor in its dead-letter queue`;
  return [
    ...ofInvariant('I11', violation(`published for ${consumer} by rule ${rule}, but neither handled nor waiting nor dead`, lost)),
    ...ofInvariant('I11', violation(`handled by ${consumer} although no rule sends it there`, unexplained)),
    ...ofInvariant('I1', violation(without, acceptedWithout)),
  ];
}

function ofInvariant(invariant: InvariantId, finding: Violation | undefined): Deliveries['violations'] {
  return finding ? [{ invariant, ...finding }] : [];
}
