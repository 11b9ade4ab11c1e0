import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { reference, type Result } from './gate-reference.ts';
import { afterPrevious, afterVersion, applyInTurn, asDecided, atVersion, gateIds, splitByTurn, type Strategy } from './gate.ts';
import { newEvent, newId, type EventEnvelope } from '../events/index.ts';

const ORDERS = 3;
const VERSIONS = 6;

/** The histories of some orders; each event names the one before it. */
function histories(): EventEnvelope[][] {
  return Array.from({ length: ORDERS }, () => {
    const orderId = newId();
    const events: EventEnvelope[] = [];
    for (let version = 1; version <= VERSIONS; version++) {
      events.push(newEvent({
        type: 'order.confirmed',
        source: '/order-service',
        subject: orderId,
        sequence: version,
        previous: events.at(-1)?.id,
        cause: { id: newId() },
        data: { orderId, customerId: 'c', version, confirmedAt: new Date().toISOString() },
      }));
    }
    return events;
  });
}

/** What a strategy knows between batches, as its database would keep it. */
interface Consumer {
  readonly inbox: Set<string>;
  readonly versions: Map<string, number>;
}

/** The database's part of `asDecided`, as fan_out.take does it. */
function decided(batch: readonly EventEnvelope[], { versions, inbox }: Consumer): Strategy<EventEnvelope> {
  const before = new Map(versions);
  const results = reference(batch, before);
  const ids = (result: Result) => new Set(batch.filter(({ id }, i) => results[i] === result && !inbox.has(id)).map(({ id }) => id));
  return asDecided({ early: ids('parked'), late: ids('duplicate') });
}

const STRATEGIES: Record<string, (batch: readonly EventEnvelope[], consumer: Consumer) => Strategy<EventEnvelope>> = {
  afterPrevious: (batch, { inbox }) => afterPrevious(new Set(gateIds(batch).filter((id) => inbox.has(id)))),
  afterVersion: (_, { versions }) => afterVersion(({ subject }) => versions.get(subject) ?? 0),
  asDecided: decided,
};

const batches = fc.array(
  fc.array(fc.tuple(fc.nat(ORDERS - 1), fc.nat(VERSIONS - 1)), { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 12 },
);

for (const [name, create] of Object.entries(STRATEGIES)) {
  test(`${name}: whatever comes together and in which order, each event passes in the turn of the reference`, () => {
    fc.assert(fc.property(batches, (picks) => {
      const all = histories();
      const consumer: Consumer = { inbox: new Set(), versions: new Map() };
      const model = new Map<string, number>();
      for (const pick of picks) {
        const batch = [...new Map(pick.map(([order, version]) => all[order]![version]!).map((event) => [event.id, event])).values()];
        const applied: EventEnvelope[] = [];
        const outcomes = applyInTurn(batch, consumer.inbox, create(batch, consumer), (event) => {
          applied.push(event);
          consumer.versions.set(event.subject, Math.max(consumer.versions.get(event.subject) ?? 0, Number(event.sequence)));
          return { eventId: event.id, result: 'ok' };
        });
        assert.deepEqual(outcomes.map(({ eventId }) => eventId), batch.map(({ id }) => id));
        assert.deepEqual(outcomes.map(({ result }) => result), reference(batch, model));
        for (const { eventId, result, reason } of outcomes) {
          const version = Number(batch.find(({ id }) => id === eventId)!.sequence);
          if (result === 'parked') assert.equal(reason, `version ${version - 1} of the order comes first`);
          if (result === 'ok') consumer.inbox.add(eventId);
        }
        // Those of an order by their versions; `asDecided` lets the caller sort them.
        if (name !== 'asDecided') for (const one of all) assert.deepEqual(applied.filter((event) => one.includes(event)), one.filter((event) => applied.includes(event)));
      }
      assert.deepEqual(consumer.versions, model);
    }));
  });
}

test('of two events of one version the first counts, for who keeps the versions', () => {
  const [[first]] = histories() as [[EventEnvelope]];
  const again = { ...first, id: newId() };
  let applied = 0;
  const outcomes = applyInTurn([first, again], new Set(), afterVersion(() => applied), ({ id }) => {
    applied++;
    return { eventId: id, result: 'ok' };
  });
  assert.deepEqual(outcomes, [{ eventId: first.id, result: 'ok' }, { eventId: again.id, result: 'duplicate', reason: 'version 1 of the order was applied before' }]);
});

test('what is applied without a new version keeps the next one waiting', () => {
  const [[first, second]] = histories() as [[EventEnvelope, EventEnvelope]];
  const outcomes = applyInTurn([second, first], new Set(), afterVersion(() => 0), ({ id }) => ({ eventId: id, result: 'ignored' }));
  assert.deepEqual(outcomes.map(({ result }) => result), ['parked', 'ignored']);
});

test('who gets an order from its second version on does not wait for the first', () => {
  const [events] = histories() as [EventEnvelope[]];
  const [, second, third, fourth] = events as [EventEnvelope, EventEnvelope, EventEnvelope, EventEnvelope];
  const { turn, others } = splitByTurn([fourth, second], new Set(), afterPrevious(new Set(), 2));
  assert.deepEqual(turn, [second]);
  assert.deepEqual(others, [{ eventId: fourth.id, result: 'parked', reason: 'version 3 of the order comes first' }]);
  assert.deepEqual(gateIds([second, fourth], 2), [second.id, fourth.id, third.id]);
});

test('the owner of the orders applies the answer to the present version, once, and forgets the others', () => {
  fc.assert(fc.property(batches, fc.nat(VERSIONS), (picks, start) => {
    const all = histories();
    const versions = new Map(all.slice(1).map(([event]) => [event!.subject, start]));
    const model = new Map(versions);
    const inbox = new Set<string>();
    for (const pick of picks) {
      const batch = [...new Map(pick.map(([order, version]) => all[order]![version]!).map((event) => [event.id, event])).values()];
      const expected = batch.map(({ id, subject, sequence }): Result => {
        if (inbox.has(id)) return 'duplicate';
        if (!model.has(subject)) return 'retry';
        if (model.get(subject) !== Number(sequence)) return 'ignored';
        model.set(subject, Number(sequence) + 1);
        return 'ok';
      });
      const outcomes = applyInTurn(batch, inbox, atVersion(({ subject }) => versions.get(subject)), ({ id, subject, sequence }) => {
        versions.set(subject, Number(sequence) + 1);
        return { eventId: id, result: 'ok' };
      });
      assert.deepEqual(outcomes.map(({ result }) => result), expected);
      for (const { eventId, result } of outcomes) if (result !== 'retry') inbox.add(eventId);
    }
  }));
});
