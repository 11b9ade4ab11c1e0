import assert from 'node:assert/strict';
import fc from 'fast-check';
import { analyticsHandler } from '../../services/analytics-service/handler.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { createNotificationHandler } from '../../services/notification-service/handler.ts';
import type { Items } from '../../services/order-service/lifecycle/decide.ts';
import { allowedCommands, STATUSES, TRANSITIONS, transitionOf, type Command, type Status } from '../../services/order-service/lifecycle/transitions.ts';
import { orderStatusHandler } from '../../services/order-service/order-status/handler.ts';
import type { EventEnvelope, EventType } from '../../services/shared/events/index.ts';
import type { Outcome } from '../../services/shared/messaging/handler.ts';

// The system as the model-based test drives it: orders, commands about them, and queues whose messages are delivered in any order, twice,
// or later. It is there twice, as the pure decisions with memory around them and as the services on PostgreSQL.

/** By which event the inventory hears of a new order: the advice about it, the order itself, or both, as while the rules change. */
const FIRST = { advised: ['inventory.validated'], direct: ['order.created'], both: ['inventory.validated', 'order.created'] } as const;
export type Mode = keyof typeof FIRST;
export const MODES = Object.keys(FIRST) as Mode[];
export type Subscriptions = Readonly<Record<string, readonly EventType[]>>;

/** Who gets what; only inventory's rule depends on more than the type, and takes no more than these. */
export function subscriptionsOf(mode: Mode): Subscriptions {
  const first: readonly EventType[] = FIRST[mode];
  return {
    'stock-service': ['order.created'],
    'inventory-service': inventoryHandler.types.filter((type) => first.includes(type) || !(FIRST.both as readonly EventType[]).includes(type)),
    'order-status': orderStatusHandler.types,
    'analytics-service': analyticsHandler.types,
    'notification-service': createNotificationHandler(() => undefined).types,
  };
}
export const SUBSCRIPTIONS = subscriptionsOf('advised');
export const CONSUMERS = Object.keys(SUBSCRIPTIONS);

/** Scarce enough that some orders, and some updates, are refused. */
export const STOCK = [
  { sku: 'A', location: 'EAST', onHand: 4 },
  { sku: 'A', location: 'MAIN', onHand: 5 },
  { sku: 'B', location: 'MAIN', onHand: 6 },
  { sku: 'C', location: 'MAIN', onHand: 2 },
];

/** What is taken out to see whether the test notices. */
export interface Plant {
  readonly gate?: false;
  readonly inbox?: false;
  readonly guard?: false;
}

export interface Look {
  readonly status: Status;
  readonly version: number;
}

/** How often what happened, over all sequences: a test that reaches nothing proves nothing. */
export class Reached {
  readonly #counts = new Map<string, number>();

  count(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times);
  }

  /** Every transition of the profile, and events that were parked. */
  check(): void {
    const counts = JSON.stringify([...this.#counts]);
    for (const { from, to, event } of TRANSITIONS) {
      if (event) assert.ok(this.#counts.has(`${from}>${to} ${event}`), `${from} to ${to} by ${event} never happened: ${counts}`);
    }
    for (const consumer of ['inventory-service', 'analytics-service', 'notification-service']) {
      assert.ok(this.#counts.has(`parked ${consumer}`), `${consumer} never parked anything`);
    }
  }
}

export interface World {
  /** The number of orders. */
  readonly orders: number;
  create(items: Items): Promise<void>;
  /** All orders, in the order of their creation. Throws when what must hold at every moment does not. */
  look(): Promise<Look[]>;
  /** The answer: 202, 409 or 412. */
  command(order: number, command: Command, items: Items, version: number | '*'): Promise<number>;
  /** The deadline of the order's status passes. */
  expire(order: number): Promise<void>;
  /** Some messages of a queue as one batch; not acknowledged, they stay there. */
  deliver(consumer: string, picks: readonly number[], acknowledge: boolean): Promise<void>;
  /** Delivers until nothing moves any more, the newest first. */
  drain(): Promise<void>;
  /** Throws when an invariant is broken, of all, now that everything came to rest. */
  checkAtRest(): Promise<void>;
}

/** The bus and its queues, where a message stays until it is acknowledged. */
export class Queues {
  readonly #messages = new Map<string, EventEnvelope[]>(CONSUMERS.map((name) => [name, []]));
  readonly #handle: (consumer: string, batch: readonly EventEnvelope[]) => Promise<readonly Outcome[]>;

  readonly #subscriptions: Subscriptions;

  constructor(handle: (consumer: string, batch: readonly EventEnvelope[]) => Promise<readonly Outcome[]>, subscriptions = SUBSCRIPTIONS) {
    this.#handle = handle;
    this.#subscriptions = subscriptions;
  }

  publish(event: EventEnvelope): void {
    for (const consumer of CONSUMERS) if (this.#subscriptions[consumer]!.includes(event.type)) this.#messages.get(consumer)!.push(event);
  }

  async deliver(consumer: string, picks: readonly number[], acknowledge: boolean): Promise<void> {
    const queue = this.#messages.get(consumer)!;
    if (queue.length === 0) return;
    const batch = [...new Set(picks.map((pick) => pick % queue.length))].map((index) => queue[index]!);
    const outcomes = await this.#handle(consumer, batch);
    if (!acknowledge) return;
    const done = new Set(outcomes.filter(({ result }) => result !== 'retry').map(({ eventId }) => eventId));
    this.#messages.set(consumer, queue.filter(({ id }) => !done.has(id)));
  }

  async drain(): Promise<void> {
    for (let moved = true; moved;) {
      moved = false;
      for (const consumer of [...CONSUMERS].reverse()) {
        const waiting = this.#messages.get(consumer)!.length;
        if (waiting === 0) continue;
        await this.deliver(consumer, [waiting - 1], true);
        moved = true;
      }
    }
  }
}

/** What the table of transitions allows: the model. */
export class Model {
  readonly seen: Look[] = [];

  /** What the order is now must follow from what it was when it was last looked at. */
  observe(all: readonly Look[]): void {
    all.forEach((now, order) => this.#observe(order, now));
  }

  #observe(order: number, now: Look): void {
    const before = this.seen[order];
    this.seen[order] = now;
    if (!before) {
      assert.deepEqual(now, { status: 'PENDING', version: 1 }, 'an order begins as PENDING');
      return;
    }
    assert.ok(now.version >= before.version, 'versions only grow');
    // As many steps as versions.
    let reachable = new Set<Status>([before.status]);
    for (let version = before.version; version < now.version; version++) {
      reachable = new Set([...reachable].flatMap((from) => TRANSITIONS.filter((one) => one.from === from).map(({ to }) => to)));
    }
    assert.ok(reachable.has(now.status), `I8: ${before.status} cannot become ${now.status} in ${now.version - before.version} steps`);
  }

  expected({ status, version }: Look, command: Command, ifMatch: number | '*'): number {
    if (ifMatch !== '*' && ifMatch !== version) return 412;
    return allowedCommands(status).includes(command) ? 202 : 409;
  }
}

type Step = fc.AsyncCommand<Model, World>;

abstract class OrderStep implements Step {
  readonly #which: number;

  constructor(which: number) {
    this.#which = which;
  }

  check(model: Model): boolean {
    return model.seen.length > 0;
  }

  async run(model: Model, world: World): Promise<void> {
    await this.act(model, world, this.#which % world.orders);
    model.observe(await world.look());
  }

  protected order(): number {
    return this.#which;
  }

  abstract toString(): string;

  protected abstract act(model: Model, world: World, order: number): Promise<void>;
}

class Create implements Step {
  readonly #items: Items;

  constructor(items: Items) {
    this.#items = items;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, world: World): Promise<void> {
    await world.create(this.#items);
    model.observe(await world.look());
  }

  toString(): string {
    return `create ${text(this.#items)}`;
  }
}

class Ask extends OrderStep {
  readonly #command: Command;
  readonly #items: Items;
  readonly #ifMatch: 'now' | 'stale' | 'any';

  constructor(which: number, command: Command, items: Items, ifMatch: 'now' | 'stale' | 'any') {
    super(which);
    this.#command = command;
    this.#items = items;
    this.#ifMatch = ifMatch;
  }

  protected async act(model: Model, world: World, order: number): Promise<void> {
    const before = model.seen[order]!;
    const version = this.#ifMatch === 'any' ? '*' : this.#ifMatch === 'now' ? before.version : before.version - 1;
    assert.equal(await world.command(order, this.#command, this.#items, version), model.expected(before, this.#command, version));
  }

  toString(): string {
    return `${this.#command} ${this.order()} ${this.#ifMatch}${this.#command === 'update' ? ` ${text(this.#items)}` : ''}`;
  }
}

class Expire extends OrderStep {
  protected async act(model: Model, world: World, order: number): Promise<void> {
    const { status } = model.seen[order]!;
    await world.expire(order);
    const after = (await world.look())[order]!;
    assert.equal(after.status, transitionOf(status, 'deadline')?.to ?? status);
  }

  toString(): string {
    return `expire ${this.order()}`;
  }
}

class Deliver extends OrderStep {
  readonly #consumer: string;
  readonly #picks: readonly number[];
  readonly #acknowledge: boolean;

  constructor(consumer: string, picks: readonly number[], acknowledge: boolean) {
    super(0);
    this.#consumer = consumer;
    this.#picks = picks;
    this.#acknowledge = acknowledge;
  }

  protected act(_model: Model, world: World): Promise<void> {
    return world.deliver(this.#consumer, this.#picks, this.#acknowledge);
  }

  toString(): string {
    return `${this.#consumer} ${this.#picks.join(',')}${this.#acknowledge ? '' : ' unacknowledged'}`;
  }
}

/** What happens when nothing goes wrong: each consumer gets all that waits for it, one after the other. */
class Flow extends OrderStep {
  readonly #rounds: number;

  constructor(rounds: number) {
    super(0);
    this.#rounds = rounds;
  }

  protected async act(_model: Model, world: World): Promise<void> {
    const all = Array.from({ length: 10 }, (_, i) => i);
    for (let round = 0; round < this.#rounds; round++) {
      for (const consumer of CONSUMERS) await world.deliver(consumer, all, true);
    }
  }

  toString(): string {
    return `flow ${this.#rounds}`;
  }
}

const text = (items: Items) => items.map(({ sku, quantity }) => `${sku}×${quantity}`).join('+');

const itemArbitrary = fc.record({ sku: fc.constantFrom('A', 'B', 'C'), quantity: fc.integer({ min: 1, max: 4 }) });
const itemsArbitrary = fc.uniqueArray(itemArbitrary, { selector: ({ sku }) => sku, minLength: 1, maxLength: 3 });
const orderArbitrary = fc.nat(3);
const picksArbitrary = fc.array(fc.nat(9), { minLength: 1, maxLength: 4 });
const deliverArbitrary = fc.tuple(fc.constantFrom(...CONSUMERS), picksArbitrary, fc.integer({ min: 0, max: 3 }))
  .map(([consumer, picks, drop]): Step => new Deliver(consumer, picks, drop > 0));

const askArbitrary = (command: Command) => fc.tuple(orderArbitrary, itemsArbitrary, fc.constantFrom('now' as const, 'now' as const, 'stale' as const, 'any' as const))
  .map(([which, items, ifMatch]): Step => new Ask(which, command, items, ifMatch));
const times = (count: number, step: fc.Arbitrary<Step>) => Array.from({ length: count }, () => step);

/** Sequences of steps. Deliveries come most often, or little would happen before the end. */
export const stepsArbitrary: fc.Arbitrary<Iterable<Step>> = fc.commands<Model, World, false>([
  itemsArbitrary.map((items): Step => new Create(items)),
  ...times(8, deliverArbitrary),
  ...times(2, fc.integer({ min: 1, max: 4 }).map((rounds): Step => new Flow(rounds))),
  ...times(3, askArbitrary('update')),
  askArbitrary('cancel'),
  orderArbitrary.chain((which) => fc.constantFrom<Step>(new Expire(which), new Flow(1), new Flow(2))),
], { maxCommands: 60, size: 'max' });

/** One sequence on one world, and then until it rests. */
export async function play(steps: Iterable<Step>, world: World): Promise<void> {
  const model = new Model();
  await fc.asyncModelRun(() => ({ model, real: world }), steps);
  await world.drain();
  const end = await world.look();
  model.observe(end);
  end.forEach(({ status }, i) => assert.ok(STATUSES[status] !== 'waiting', `I6: order ${i} came to rest as ${status}`));
  await world.checkAtRest();
}
