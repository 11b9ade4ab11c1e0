import assert from 'node:assert/strict';
import { CONSUMERS, Queues, STOCK, subscriptionsOf, type Look, type Mode, type Plant, type Reached, type Subscriptions, type World } from './world.ts';
import { decide as decideStock, type Caused } from '../../services/inventory-service/decide.ts';
import type { Entry, Level } from '../../services/inventory-service/ledger.ts';
import { decideAnswer, decideCommand, decideExpiry, type Change, type Items, type Order } from '../../services/order-service/lifecycle/decide.ts';
import { TRANSITIONS, type Command, type Status } from '../../services/order-service/lifecycle/transitions.ts';
import { decide as decideAnswers } from '../../services/order-service/order-status/handler.ts';
import { newEvent, newId, type EventEnvelope } from '../../services/shared/events/index.ts';
import { afterPrevious, splitByTurn } from '../../services/shared/messaging/gate.ts';
import { isOpen, type Outcome } from '../../services/shared/messaging/handler.ts';

interface Stored extends Omit<Order, 'status' | 'version'> { status: Status; version: number }
interface Step { readonly version: number; readonly from: Status | null; readonly to: Status; readonly eventId: string }

/** The decisions of the services with maps instead of tables. */
export class MemoryWorld implements World {
  readonly #plant: Plant;
  readonly #reached: Reached;
  readonly #ids: string[] = [];
  readonly #orders = new Map<string, Stored>();
  readonly #history = new Map<string, Step[]>();
  readonly #outbox: EventEnvelope[] = [];
  #stock: Level[] = STOCK.map((level) => ({ ...level, reserved: 0 }));
  readonly #ledger: (Entry & { readonly type: string })[] = [];
  readonly #subscriptions: Subscriptions;
  readonly #queues: Queues;
  readonly #inbox = new Map<string, Set<string>>(CONSUMERS.map((name) => [name, new Set()]));
  readonly #parked = new Map<string, Map<string, EventEnvelope>>(CONSUMERS.map((name) => [name, new Map()]));
  /** Versions in the order in which a consumer applied them, by consumer and order. */
  readonly #applied = new Map<string, number[]>();
  /** What the listeners made of each event. */
  readonly #effects = new Map<string, number>();

  constructor(plant: Plant, reached: Reached, mode: Mode = 'advised') {
    this.#plant = plant;
    this.#reached = reached;
    this.#subscriptions = subscriptionsOf(mode);
    this.#queues = new Queues(async (consumer, batch) => this.#handle(consumer, batch), this.#subscriptions);
  }

  get orders(): number {
    return this.#ids.length;
  }

  #order(order: number): Stored {
    return this.#orders.get(this.#ids[order]!)!;
  }

  async look(): Promise<Look[]> {
    for (const { sku, location, onHand, reserved } of this.#stock) assert.ok(reserved >= 0 && reserved <= onHand, `I3: ${sku} at ${location}: ${reserved} of ${onHand} reserved`);
    return this.#ids.map((id) => {
      const { status, version } = this.#orders.get(id)!;
      return { status, version };
    });
  }

  async create(items: Items): Promise<void> {
    const orderId = newId();
    const createdAt = new Date();
    const event = newEvent({
      type: 'order.created',
      source: '/order-service',
      subject: orderId,
      sequence: 1,
      cause: { id: newId() },
      data: { orderId, customerId: 'c', items: [...items], createdAt: createdAt.toISOString() },
    });
    this.#ids.push(orderId);
    this.#orders.set(orderId, { orderId, status: 'PENDING', version: 1, customerId: 'c', createdAt, items, lastEventId: event.id });
    this.#history.set(orderId, [{ version: 1, from: null, to: 'PENDING', eventId: event.id }]);
    this.#emit(event);
  }

  async command(order: number, command: Command, items: Items, version: number | '*'): Promise<number> {
    const stored = this.#order(order);
    if (version !== '*' && version !== stored.version) return 412;
    // Without the guard, every status seems to allow it.
    const seen = this.#plant.guard === false ? { ...stored, status: 'CONFIRMED' as const } : stored;
    const decision = decideCommand(seen, command === 'update' ? { command, items } : { command, reason: 'x' }, { id: newId() }, new Date());
    if (decision.result === 'illegal') return 409;
    if (decision.result === 'change') this.#change(decision.change);
    return 202;
  }

  async expire(order: number): Promise<void> {
    const change = decideExpiry(this.#order(order), new Date());
    if (change) this.#change(change);
  }

  deliver(consumer: string, picks: readonly number[], acknowledge: boolean): Promise<void> {
    return this.#queues.deliver(consumer, picks, acknowledge);
  }

  drain(): Promise<void> {
    return this.#queues.drain();
  }

  async checkAtRest(): Promise<void> {
    for (const { sku, location, onHand, reserved } of this.#stock) {
      const moved = this.#ledger.filter((entry) => entry.sku === sku && entry.location === location);
      const received = STOCK.find((one) => one.sku === sku && one.location === location)!.onHand;
      const balance = [moved.reduce((sum, entry) => sum + entry.onHand, received), moved.reduce((sum, entry) => sum + entry.reserved, 0)];
      assert.deepEqual([onHand, reserved], balance, `I4: ${sku} at ${location}`);
    }
    for (const order of this.#orders.values()) this.#checkOrder(order);
    for (const [key, versions] of this.#applied) {
      const first = key.startsWith('notification-service') ? 2 : 1;
      assert.deepEqual(versions, versions.map((_, i) => i + first), `I7: ${key}`);
    }
    for (const [consumer, parked] of this.#parked) assert.equal(parked.size, 0, `I7: ${consumer} keeps what it could apply`);
    for (const event of this.#outbox) {
      for (const consumer of CONSUMERS) {
        if (!this.#subscriptions[consumer]!.includes(event.type)) continue;
        assert.ok(this.#inbox.get(consumer)!.has(event.id), `I1: ${consumer} has not handled ${event.type}`);
        if (consumer === 'analytics-service' || consumer === 'notification-service') {
          assert.equal(this.#effects.get(`${consumer} ${event.id}`), 1, `I11: effects of ${event.type} on ${consumer}`);
        }
      }
    }
  }

  #checkOrder({ orderId, status, version, items }: Stored): void {
    const steps = this.#history.get(orderId)!;
    assert.deepEqual(steps.map((step) => step.version), steps.map((_, i) => i + 1));
    steps.slice(1).forEach(({ from, to }, i) => {
      assert.equal(from, steps[i]!.to, 'I8: a change follows from the one before');
      assert.ok(TRANSITIONS.some((one) => one.from === from && one.to === to), `I8: ${from} to ${to}`);
    });
    assert.deepEqual([steps.at(-1)!.to, steps.length], [status, version]);
    const own = this.#outbox.filter(({ subject }) => subject === orderId);
    const ofOrder = own.filter(({ source }) => source === '/order-service').map(({ id, sequence }) => [sequence, id]);
    assert.deepEqual(ofOrder, steps.map((step) => [String(step.version), step.eventId]), 'I10: events and changes');
    const entries = this.#ledger.filter((entry) => entry.orderId === orderId);
    assert.deepEqual(
      own.filter(({ type }) => type === 'inventory.updated').map(({ id, sequence }) => [sequence, id]),
      [...new Map(entries.map((entry) => [entry.version, [String(entry.version), entry.eventId]])).values()], 'I10: events and the ledger');
    const has = new Map<string, { held: number; taken: number }>();
    for (const { sku, onHand, reserved } of entries) {
      const before = has.get(sku) ?? { held: 0, taken: 0 };
      has.set(sku, { held: before.held + reserved, taken: before.taken - onHand });
    }
    const pieces = [...has].map(([sku, { held, taken }]) => [sku, held, taken] as const);
    const left = pieces.filter(([, held, taken]) => held !== 0 || taken !== 0).sort();
    const ordered = items!.map(({ sku, quantity }) => [sku, 0, quantity]).sort();
    if (status === 'CONFIRMED') assert.deepEqual(left, ordered, 'I5: the order has what was ordered');
    else assert.deepEqual(left, [], `I9: the order is ${status}`);
  }

  // --- a consumer and its host -----------------------------------------------------------------------------------

  #handle(consumer: string, events: readonly EventEnvelope[]): Outcome[] {
    const outcomes = this.#apply(consumer, events);
    const parked = this.#parked.get(consumer)!;
    for (const event of events) {
      if (outcomes.find(({ eventId }) => eventId === event.id)?.result !== 'parked') continue;
      parked.set(event.id, event);
      this.#reached.count(`parked ${consumer}`);
    }
    for (let orders = new Set(events.map(({ subject }) => subject)); orders.size > 0;) {
      const waiting = [...parked.values()].filter(({ subject }) => orders.has(subject));
      if (waiting.length === 0) break;
      const done = new Set(this.#apply(consumer, waiting).filter((outcome) => !isOpen(outcome)).map(({ eventId }) => eventId));
      done.forEach((id) => parked.delete(id));
      orders = new Set(waiting.filter(({ id }) => done.has(id)).map(({ subject }) => subject));
    }
    return outcomes;
  }

  #apply(consumer: string, events: readonly EventEnvelope[]): Outcome[] {
    const inbox = this.#inbox.get(consumer)!;
    const own = new Set(events.map(({ id }) => id));
    // Without the inbox, none of these was ever seen.
    const handled = this.#plant.inbox === false ? new Set([...inbox].filter((id) => !own.has(id))) : inbox;
    const outcomes = this.#decide(consumer, events, handled);
    for (const outcome of outcomes) if (!isOpen(outcome)) inbox.add(outcome.eventId);
    return outcomes;
  }

  #note(consumer: string, { subject, sequence }: EventEnvelope): void {
    const key = `${consumer} ${subject}`;
    this.#applied.set(key, [...this.#applied.get(key) ?? [], Number(sequence)]);
  }

  #decide(consumer: string, events: readonly EventEnvelope[], handled: ReadonlySet<string>): Outcome[] {
    switch (consumer) {
      case 'stock-service': return this.#advise(events as EventEnvelope<'order.created'>[], handled);
      case 'inventory-service': return this.#reserve(events as EventEnvelope<Caused>[], handled);
      case 'order-status': return this.#answer(events as EventEnvelope<'inventory.updated'>[], handled);
      default: return this.#listen(consumer, events, handled);
    }
  }

  #advise(events: readonly EventEnvelope<'order.created'>[], handled: ReadonlySet<string>): Outcome[] {
    return events.map((event) => {
      if (handled.has(event.id)) return { eventId: event.id, result: 'duplicate' };
      this.#note('stock-service', event);
      const { orderId, items } = event.data;
      const lines = items.map(({ sku, quantity }) => ({ sku, requested: quantity, available: 0 }));
      this.#emit(newEvent({
        type: 'inventory.validated',
        source: '/stock-service',
        subject: orderId,
        sequence: event.sequence,
        cause: event,
        data: { orderId, lines, sufficient: true, asOf: new Date().toISOString() },
      }));
      return { eventId: event.id, result: 'ok' };
    });
  }

  #reserve(events: readonly EventEnvelope<Caused>[], handled: ReadonlySet<string>): Outcome[] {
    // Without the gate, each is taken for the next.
    const last = (order: string) => Math.max(0, ...this.#ledger.filter(({ orderId }) => orderId === order).map(({ version }) => version));
    const seen = this.#plant.gate === false ? events.map((event) => ({ ...event, sequence: String(1 + last(event.subject)) })) : events;
    const decision = decideStock(seen, { handled, unfounded: new Map(), entries: this.#ledger, stock: this.#stock });
    for (const { cause, eventId, version, movements, data } of decision.changes) {
      this.#note('inventory-service', events.find(({ id }) => id === cause.id)!);
      for (const { sku, location, onHand, reserved, type } of movements) {
        this.#ledger.push({ orderId: data.orderId, version, sku, location, onHand, reserved, eventId, type });
      }
      this.#emit(newEvent({ id: eventId, type: 'inventory.updated', source: '/inventory-service', subject: data.orderId, sequence: version, cause, data }));
    }
    this.#stock = this.#stock.map((level) => {
      const moved = decision.stock.find(({ sku, location }) => sku === level.sku && location === level.location);
      return moved ? { ...level, onHand: level.onHand + moved.onHand, reserved: level.reserved + moved.reserved } : level;
    });
    return decision.outcomes;
  }

  #answer(events: readonly EventEnvelope<'inventory.updated'>[], handled: ReadonlySet<string>): Outcome[] {
    const at = new Date();
    if (this.#plant.guard !== false) {
      const { outcomes, changes } = decideAnswers(events, { handled, unfounded: new Set(), orders: this.#orders }, at);
      changes.forEach((change) => this.#change(change));
      return outcomes;
    }
    return events.map((event) => {
      if (handled.has(event.id)) return { eventId: event.id, result: 'duplicate' };
      const stored = this.#orders.get(event.data.orderId)!;
      // Without the guard, every order seems to wait for it.
      const change = decideAnswer({ ...stored, status: 'PENDING', version: Number(event.sequence) }, event, at);
      if (change) this.#change({ ...change, version: stored.version });
      return { eventId: event.id, result: 'ok' };
    });
  }

  #listen(consumer: string, events: readonly EventEnvelope[], handled: ReadonlySet<string>): Outcome[] {
    const first = consumer === 'notification-service' ? 2 : 1;
    const seen = this.#plant.gate === false ? events.map(({ previousid: _, ...event }) => event as EventEnvelope) : events;
    const { turn, others } = splitByTurn(seen, handled, afterPrevious(handled, first));
    for (const event of turn) {
      const key = `${consumer} ${event.id}`;
      this.#effects.set(key, (this.#effects.get(key) ?? 0) + 1);
      if (event.type !== 'inventory.updated') this.#note(consumer, event);
    }
    return [...turn.map(({ id }): Outcome => ({ eventId: id, result: 'ok' })), ...others];
  }

  // --- what is written -------------------------------------------------------------------------------------------

  #change({ orderId, status, items, requested, reason, event }: Change): void {
    const order = this.#orders.get(orderId)!;
    const steps = this.#history.get(orderId)!;
    const version = order.version + 1;
    steps.push({ version, from: order.status, to: status, eventId: event.id });
    this.#reached.count(`${order.status}>${status} ${event.type}`);
    const { requested: _, reason: __, ...rest } = order;
    const changes = { ...(items && { items }), ...(requested && { requested }), ...(reason !== null && { reason }) };
    this.#orders.set(orderId, { ...rest, status, version, lastEventId: event.id, ...changes });
    this.#emit({ ...event, sequence: String(version) });
  }

  #emit(event: EventEnvelope): void {
    this.#outbox.push(event);
    this.#queues.publish(event);
  }
}
