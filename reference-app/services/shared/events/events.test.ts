import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DETAIL_TYPES, EVENT_TYPES, EventFormatError, newEvent, newId, parseEnvelope, type EventEnvelope, type EventType } from './index.ts';

const orderId = newId();
const created: EventEnvelope<'order.created'> = newEvent({
  type: 'order.created', source: '/order-service', subject: orderId, sequence: 1, cause: { id: 'request-1' },
  data: { orderId, customerId: 'jane', items: [{ sku: 'SKU-123', quantity: 2 }], createdAt: '2026-11-21T10:00:00.000Z' },
});
const busEnvelope = (detail: unknown) => ({ 'version': '0', 'id': newId(), 'detail-type': 'OrderCreated', 'source': 'com.example.orders', detail });

test('an event is a CloudEvent that names its aggregate, its cause and its trace', () => {
  const { id, time, traceparent, ...rest } = newEvent({
    type: 'inventory.updated', source: '/inventory-service', subject: orderId, sequence: 1, cause: created,
    data: { orderId, reservationId: orderId, outcome: 'RESERVED', lines: [], shortages: [] },
  });
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
  const [, traceId, spanId] = traceparent!.split('-');
  assert.equal(traceId, created.traceparent!.split('-')[1]);
  assert.notEqual(spanId, created.traceparent!.split('-')[2]);
  assert.deepEqual(rest, {
    specversion: '1.0', source: '/inventory-service', type: 'inventory.updated', subject: orderId, datacontenttype: 'application/json',
    dataschema: 'urn:cdk-order-pipeline:inventory.updated:1', partitionkey: orderId, sequence: '1', correlationid: orderId, causationid: created.id,
    data: { orderId, reservationId: orderId, outcome: 'RESERVED', lines: [], shortages: [] },
  });
});

test('reads an event as text or value, within the envelope of the bus or bare', () => {
  for (const body of [created, JSON.stringify(created), busEnvelope(created), JSON.stringify(busEnvelope(created))]) {
    assert.equal(parseEnvelope(body).id, created.id);
  }
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
  ['text that PostgreSQL can not hold', { ...created, data: { ...created.data, customerId: 'a\u0000b' } }, 'data.customerId'],
  ['no items', { ...created, data: { ...created.data, items: [] } }, 'data.items'],
  ['another order in the data than in the subject', { ...created, subject: newId() }, 'subject'],
];
for (const [name, body, field] of refusals) {
  test(`refuses ${name}, and names ${field}`, () => {
    assert.throws(() => parseEnvelope(typeof body === 'string' ? body : JSON.stringify(body)), (error) => error instanceof EventFormatError && error.field === field);
  });
}

test('whatever a message holds, it is an event or it is refused with a field', () => {
  fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.string(), fc.record({ 'detail-type': fc.string(), 'detail': fc.jsonValue() })), (body) => {
    assert.throws(() => parseEnvelope(body), EventFormatError);
  }));
});

test('every type has one detail-type, and back', () => {
  for (const type of Object.keys(DETAIL_TYPES) as EventType[]) assert.equal(EVENT_TYPES[DETAIL_TYPES[type]], type);
});

test('ids grow with time', () => {
  const ids = Array.from({ length: 1_000 }, newId);
  assert.deepEqual([...ids].sort(), ids);
});
