import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import Format from 'typebox/format';
import {
  DETAIL_TYPES, EventFormatError, newEvent, newId, parseEnvelope, parseMessage, versionOf,
  type EventEnvelope, type EventType, type NewEvent,
} from './index.ts';

const orderId = newId();
const created: EventEnvelope<'order.created'> = newEvent({
  type: 'order.created',
  source: '/order-service',
  subject: orderId,
  sequence: 1,
  cause: { id: 'request-1' },
  data: { orderId, customerId: 'jane', items: [{ sku: 'SKU-123', quantity: 2 }], createdAt: '2026-11-21T10:00:00.000Z' },
});
const busEnvelope = (detail: unknown) => ({ 'version': '0', 'id': newId(), 'detail-type': 'OrderCreated', 'source': 'com.example.orders', detail });

test('an event is a CloudEvent that names its aggregate, its cause and its trace', () => {
  const { id, time, traceparent, ...rest } = newEvent({
    type: 'inventory.updated',
    source: '/inventory-service',
    subject: orderId,
    sequence: 1,
    cause: created,
    data: { orderId, reservationId: orderId, outcome: 'RESERVED', lines: [], shortages: [] },
  });
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
  const [, traceId, spanId] = traceparent!.split('-');
  assert.equal(traceId, created.traceparent!.split('-')[1]);
  assert.notEqual(spanId, created.traceparent!.split('-')[2]);
  assert.deepEqual(rest, {
    specversion: '1.0',
    source: '/inventory-service',
    type: 'inventory.updated',
    subject: orderId,
    datacontenttype: 'application/json',
    dataschema: 'urn:cdk-order-pipeline:inventory.updated:1',
    partitionkey: orderId,
    sequence: '1',
    correlationid: orderId,
    causationid: created.id,
    data: { orderId, reservationId: orderId, outcome: 'RESERVED', lines: [], shortages: [] },
  });
});

test('reads an event as text or value, within the envelope of the bus or bare', () => {
  for (const body of [created, JSON.stringify(created), busEnvelope(created), JSON.stringify(busEnvelope(created))]) {
    assert.equal(parseEnvelope(body).id, created.id);
  }
});

/** A bundle has attributes of its own, for the patterns of rules. */
const bundle = (events: unknown) => ({
  specversion: '1.0', type: 'order.created', source: '/order-service', dataschema: created.dataschema, data: { outcome: 'RESERVED' }, events,
});

const idsOrFields = (body: unknown) => parseMessage(body).map((read) => (read instanceof EventFormatError ? read.field : read.id));

test('a message has one event or, in a bundle, several; one that cannot be read is no harm to its neighbours', () => {
  const event = fc.boolean().map((readable) => ({ ...created, id: newId(), ...(readable ? {} : { subject: newId() }) }));
  const events = fc.array(event, { minLength: 1, maxLength: 8 });
  const messages = fc.record({ events, wrapped: fc.boolean(), text: fc.boolean(), single: fc.boolean() });
  fc.assert(fc.property(messages, ({ events: sent, wrapped, text, single }) => {
    const detail = single ? sent[0]! : bundle(sent);
    const body = wrapped ? busEnvelope(detail) : detail;
    const path = (i: number) => [...(wrapped ? ['detail'] : []), ...(single ? [] : ['events', i]), 'subject'].join('.');
    const expected = (single ? sent.slice(0, 1) : sent).map(({ id, subject }, i) => (subject === orderId ? id : path(i)));
    assert.deepEqual(idsOrFields(text ? JSON.stringify(body) : body), expected);
  }));
});

test('a bundle is an object with an array of events, whatever else it has', () => {
  assert.deepEqual(idsOrFields(busEnvelope(bundle([]))), ['detail.events']);
  assert.deepEqual(idsOrFields({ events: [created, '{'] }), [created.id, 'events.1']);
  assert.deepEqual(idsOrFields({ ...created, events: 'none' }), [created.id], 'an attribute of an event that is no bundle');
  assert.deepEqual(idsOrFields('{'), ['body']);
});

test('ids are in lower case, however they come', () => {
  const updated = newEvent({
    type: 'inventory.updated',
    source: '/inventory-service',
    subject: orderId,
    sequence: 2,
    previous: newId(),
    cause: created,
    data: { orderId, reservationId: newId(), outcome: 'RESERVED', lines: [], shortages: [] },
  });
  const inCapitals = (event: object) => JSON.stringify(event).replaceAll(/"[0-9a-f]{8}-[0-9a-f-]{27}"/g, (id) => id.toUpperCase());
  const upper = (event: object) => JSON.parse(inCapitals(event)) as { id: string };
  for (const event of [created, updated]) {
    assert.notEqual(upper(event).id, event.id);
    assert.deepEqual(parseEnvelope(upper(event)), event);
    assert.deepEqual(parseEnvelope(busEnvelope({ ...upper(event), subject: event.subject })), event);
  }
  const cause = { ...created, causationid: 'Request A' };
  assert.deepEqual(parseEnvelope(cause), cause);
  assert.equal(parseEnvelope(updated), updated, 'what is normal already is not copied');
});

test('a field that a newer producer adds is no reason to refuse the event', () => {
  const newer = { ...created, extension: 'x', data: { ...created.data, priority: 'high', items: [{ sku: 'A', quantity: 1, gift: true }] } };
  assert.deepEqual(parseEnvelope(newer), newer);
});

const refusals: [string, unknown, string][] = [
  ['not JSON', '{', 'body'],
  ['no object', '[]', 'body'],
  ['no event', { hello: 'world' }, 'specversion'],
  ['no event in the envelope', busEnvelope({}), 'detail.specversion'],
  ['a wrong id', { ...created, id: '1' }, 'id'],
  ['an unknown type', { ...created, type: 'order.exploded' }, 'type'],
  ['a missing field', { ...created, data: { ...created.data, customerId: undefined } }, 'data.customerId'],
  ['a wrong field', busEnvelope({ ...created, data: { ...created.data, items: [{ sku: 'A', quantity: 0 }] } }), 'detail.data.items.0.quantity'],
  ['a fraction', { ...created, data: { ...created.data, items: [{ sku: 'A', quantity: 1.5 }] } }, 'data.items.0.quantity'],
  ['text that PostgreSQL cannot hold', { ...created, data: { ...created.data, customerId: 'a\u0000b' } }, 'data.customerId'],
  ['no items', { ...created, data: { ...created.data, items: [] } }, 'data.items'],
  ['another order in the data than in the subject', { ...created, subject: newId() }, 'subject'],
];
for (const [name, body, field] of refusals) {
  test(`refuses ${name}, and names ${field}`, () => {
    assert.throws(() => parseEnvelope(typeof body === 'string' ? body : JSON.stringify(body)), (error) => error instanceof EventFormatError && error.field === field);
  });
}

test('a time is one that PostgreSQL reads too', () => {
  const isTime = (time: string) => {
    try {
      parseEnvelope({ ...created, time });
      return true;
    } catch {
      return false;
    }
  };
  for (const time of ['2026-11-21T10:00:00Z', '2026-11-21T10:00:00.123456Z', '2024-02-29T23:59:59Z', '2026-01-31T00:00:00Z', '2026-11-21T10:00:00+02:00']) {
    assert.ok(isTime(time), time);
  }
  const wrong = [
    '2026-11-21', '2026-11-21T10:00:00', '2026-02-29T10:00:00Z', '2026-04-31T10:00:00Z', '2026-13-01T10:00:00Z', '2026-00-01T10:00:00Z',
    '2026-11-00T10:00:00Z', '2026-11-21T24:00:00Z', '2026-11-21T10:60:00Z', '2026-11-21T10:00:00Z[Europe/Berlin]', '', 'now',
  ];
  for (const time of wrong) assert.ok(!isTime(time), time);
  // The short way says yes only where the thorough one does.
  fc.assert(fc.property(fc.stringMatching(/^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z$/), (time) => {
    assert.equal(isTime(time), Format.IsDateTime(time), time);
  }), { numRuns: 1_000 });
  const digits = (value: number) => String(value).padStart(2, '0');
  for (const year of [2023, 2024]) {
    for (let day = 0; day <= 13 * 32; day++) {
      const time = `${year}-${digits(Math.floor(day / 32))}-${digits(day % 32)}T10:00:00Z`;
      assert.equal(isTime(time), Format.IsDateTime(time), time);
    }
  }
});

test('nothing is made that would be refused', () => {
  const make = (values: Partial<NewEvent<'order.created'>>) => newEvent({
    type: 'order.created', source: '/order-service', subject: orderId, sequence: 1, cause: { id: 'request-1' }, data: created.data, ...values,
  });
  const wrong: [Partial<NewEvent<'order.created'>>, string][] = [
    [{ source: '' }, 'source'], [{ subject: newId() }, 'subject'], [{ sequence: 1.5 }, 'sequence'], [{ cause: { id: '' } }, 'causationid'], [{ id: '1' }, 'id'],
    [{ data: { ...created.data, items: [] } }, 'data.items'], [{ data: { ...created.data, customerId: undefined as never } }, 'data.customerId'],
    [{ data: { ...created.data, createdAt: new Date() as never } }, 'data.createdAt'],
  ];
  for (const [values, field] of wrong) {
    assert.throws(() => make(values), (error) => error instanceof EventFormatError && error.field === field, field);
  }
  assert.equal(make({}).type, 'order.created');
});

test('whatever a message holds, it is an event or it is refused with a field', () => {
  fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.string(), fc.record({ 'detail-type': fc.string(), 'detail': fc.jsonValue() })), (body) => {
    assert.throws(() => parseEnvelope(body), EventFormatError);
    assert.ok(parseMessage(body).every((read) => read instanceof EventFormatError));
  }));
});

test('every type has a detail-type of its own: its words, except the one that is published otherwise', () => {
  assert.equal(new Set(Object.values(DETAIL_TYPES)).size, Object.keys(DETAIL_TYPES).length);
  const words = (type: string) => type.split(/[.-]/).map((word) => `${word[0]!.toUpperCase()}${word.slice(1)}`).join('');
  assert.deepEqual(Object.entries(DETAIL_TYPES).filter(([type, detailType]) => words(type) !== detailType), [['inventory.validated', 'StockValidated']]);
});

test('a type says its version', () => {
  assert.deepEqual(versionOf('order.created'), { name: 'order.created', major: 1 });
  assert.deepEqual(versionOf('order.created.v12' as EventType), { name: 'order.created', major: 12 });
});

test('ids grow with time', () => {
  const ids = Array.from({ length: 1_000 }, newId);
  assert.deepEqual([...ids].sort(), ids);
});
