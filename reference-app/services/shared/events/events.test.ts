import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import Format from 'typebox/format';
import {
  bundleHead, bundleOf, DETAIL_TYPES, EventFormatError, EventRefusedError, keyIdOf, newEvent, newId, parseEnvelope, parseMessage,
  SIGNATURE_BYTES, soundText, versionOf, withSignature,
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

const idsOrFields = (body: unknown) => parseMessage(body).map((read) => (
  read instanceof Error ? (read as EventFormatError).field : read.id));

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

// --- signatures ---

const keyOf = (version: string, secret: string) => ({ id: keyIdOf(version), secret: createSecretKey(Buffer.from(secret)) });
const KEY = keyOf('0f3c5a92-7f6e-4b6f-9a1e-0d7d0c1a2b3c', 'a generated string of 32 characters or more');
const OTHER = keyOf('11111111-7f6e-4b6f-9a1e-0d7d0c1a2b3c', 'the one before, which counts as long as it has a label');
const KEYS = new Map([[KEY.id, [KEY.secret]], [OTHER.id, [OTHER.secret]]]);
const single = (event: object, key = KEY) => withSignature(JSON.stringify(event), JSON.stringify(event), key);
const bundled = (events: readonly object[], key = KEY) => {
  const texts = events.map((event) => JSON.stringify(event));
  return withSignature(bundleOf(bundleHead(texts[0]!)!, texts), texts.join(','), key);
};
/** The ways in which a message may come. */
const FORMS: [string, (message: string) => unknown][] = [
  ['as it was sent', (message) => message],
  ['in the envelope of the bus', (message) => `{"version":"0","id":"${newId()}","detail-type":"X","source":"com.example.orders","detail":${message}}`],
  ['written anew, with spaces', (message) => JSON.stringify({ 'detail-type': 'X', 'detail': JSON.parse(message) as unknown }, undefined, 1)],
  ['as a value', (message) => ({ 'detail-type': 'X', 'detail': JSON.parse(message) as unknown })],
];
const others = Array.from({ length: 3 }, (): EventEnvelope => ({ ...created, id: newId() }));
const causes = (body: unknown, keys = KEYS) => parseMessage(body, keys).map((read) => (
  read instanceof EventRefusedError ? read.cause : read instanceof EventFormatError ? read.field : read));

test('what the relay has signed is read, in each form and with each key that counts, as it was before', () => {
  for (const [name, form] of FORMS) {
    for (const key of [KEY, OTHER]) {
      assert.deepEqual(causes(form(single(created, key))), [created], name);
      assert.deepEqual(causes(form(bundled(others, key))), others, name);
    }
  }
  assert.equal(Buffer.byteLength(single(created)), Buffer.byteLength(JSON.stringify(created)) + SIGNATURE_BYTES);
  // Texts of any kind, also those that JSON.stringify would write otherwise.
  fc.assert(fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 }), fc.jsonValue(), (texts, more) => {
    const events = texts.map((text): object => ({ ...created, id: newId(), extension: text, more }));
    for (const [, form] of FORMS) {
      for (const read of [...parseMessage(form(bundled(events)), KEYS), ...parseMessage(form(single(events[0]!)), KEYS)]) {
        assert.ok(!(read instanceof Error), String(read));
      }
    }
  }), { numRuns: 100 });
});

test('a text that others wrote into the outbox is signed as consumers write it', () => {
  const written = JSON.stringify({ ...created, customer: 'Ä"ö' }, undefined, 1).replaceAll('Ä', '\\u00c4');
  const compact = JSON.stringify({ ...created, customer: 'Ä' }).replaceAll('Ä', '\\u00C4');
  for (const text of [written, compact]) {
    const { text: plain, problem } = soundText(text, 'OrderCreated');
    assert.deepEqual([plain, problem], [JSON.stringify(JSON.parse(text)), undefined]);
    const signed = withSignature(plain, plain, KEY);
    for (const [name, form] of FORMS) assert.equal(parseMessage(form(signed), KEYS)[0] instanceof Error, false, name);
  }
  assert.deepEqual(soundText(JSON.stringify(created), 'OrderCreated'), { text: JSON.stringify(created) });
});

test('a text of the outbox says nothing that its detail type does not', () => {
  const text = JSON.stringify(created);
  const confirmed = text.replace('order.created', 'order.confirmed');
  const wrong: [string, RegExp][] = [
    [confirmed, /of the type order.confirmed, whose detail type is OrderConfirmed, not OrderCreated/],
    [`${text.slice(0, -1)},"type":"order.confirmed"}`, /of the type order.confirmed/],
    [`${text.slice(0, -1)},"t\\u0079pe":"order.confirmed"}`, /of the type order.confirmed/],
    [`${text.slice(0, -1)}, "type" : "order.confirmed"}`, /of the type order.confirmed/],
    [`${text.slice(0, -1)},"events":[${confirmed}]}`, /is a bundle/],
    [text.replace('"type":"order.created",', '$&"type":"order.confirmed",'), /of the type order.confirmed/],
    [`${text},${confirmed}`, /is not JSON/],
  ];
  for (const [envelope, problem] of wrong) {
    // As a program whose JSON has its fields in another order, too.
    for (const one of [envelope, `{ ${envelope.slice(1)}`]) assert.match(soundText(one, 'OrderCreated').problem ?? '', problem, one);
  }
  for (const right of [text, JSON.stringify({ ...created, name: 'type', type: 'order.created' }), text.replace('order.created', 'ours.alone')]) {
    assert.deepEqual(soundText(right, 'OrderCreated'), { text: right });
  }
});

test('whatever is changed in a signed message, nothing of it is read', () => {
  const message = bundled(others);
  const { signature } = JSON.parse(message) as { signature: string };
  const forged: EventEnvelope = { ...created, id: newId() };
  const [id, mac] = signature.split('.') as [string, string];
  const refused: [string, unknown, string][] = [
    ['no signature', JSON.stringify(created), 'unsigned'],
    ['no signature, a bundle', bundleOf(bundleHead(JSON.stringify(created))!, [JSON.stringify(created)]), 'unsigned'],
    ['the signature of others', JSON.stringify({ ...forged, signature }), 'wrong-signature'],
    ['another event in the bundle', JSON.stringify({ ...JSON.parse(message) as object, events: [...others.slice(1), forged], signature }), 'wrong-signature'],
    ['one event less', JSON.stringify({ ...JSON.parse(message) as object, events: others.slice(1), signature }), 'wrong-signature'],
    ['another order of the events', JSON.stringify({ ...JSON.parse(message) as object, events: [...others].reverse(), signature }), 'wrong-signature'],
    ['no events', JSON.stringify({ ...JSON.parse(message) as object, events: [], signature }), 'wrong-signature'],
    ['the events of a bundle as one', `${others.map((event) => JSON.stringify(event)).join().slice(0, -1)},"signature":"${signature}"}`, 'body'],
    ['a bundle of one, as an event', JSON.stringify({ ...created, signature: (JSON.parse(bundled([created])) as typeof created).signature }), 'wrong-signature'],
    ['an event, as a bundle of one', JSON.stringify({ ...bundle([created]), signature: (JSON.parse(single(created)) as typeof created).signature }), 'wrong-signature'],
    ['an event that has events', single({ ...created, events: [forged] }), 'wrong-signature'],
    ['no JSON, by the right key', withSignature('{"specversion":}', '{"specversion":}', KEY), 'body'],
    ['a second list of events', `${message.slice(0, -1)},"events":[${JSON.stringify(forged)}]}`, ''],
    ['a list before', `{"events":[${JSON.stringify(forged)}],${message.slice(1)}`, ''],
    ['a second list of events, written anew', JSON.stringify(JSON.parse(`${message.slice(0, -1)},"events":[${JSON.stringify(forged)}]}`)), 'wrong-signature'],
    ['a second signature', `${message.slice(0, -1)},"signature":"${id}.${'A'.repeat(43)}"}`, 'wrong-signature'],
    ['a key of somebody else', single(created, keyOf(KEY.id, 'another secret that has the same id')), 'wrong-signature'],
    ['a key that nobody knows', single(created, keyOf('99999999', 'another secret')), 'unknown-key'],
    ['the name of a property', JSON.stringify({ ...created, signature: `__proto_.${mac}` }), 'unknown-key'],
    ['a shorter mac', JSON.stringify({ ...created, signature: `${id}.${mac.slice(1)}` }), 'malformed-signature'],
    ['no text', JSON.stringify({ ...created, signature: { [id]: mac } }), 'malformed-signature'],
    ['an empty one', JSON.stringify({ ...created, signature: '' }), 'malformed-signature'],
    ['too deep to be written', `{"signature":"${signature}","data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'wrong-signature'],
  ];
  for (const [name, body, cause] of refused) {
    for (const [form, of] of FORMS.slice(0, 2)) {
      const found = causes(of(body as string));
      if (cause === '') assert.deepEqual(found, others, `${name}: what was signed is what is read`);
      else assert.deepEqual(found, [cause], `${name}, ${form}`);
    }
  }
  // A signed message with another character anywhere: nothing is read of it that was not in it.
  const wanted = new Set(others.map((event) => JSON.stringify(event)));
  fc.assert(fc.property(fc.nat(message.length - 1), fc.constantFrom('', ' ', '"', '}', '{', ',', '0', 'x', ']', '\\'), (at, by) => {
    for (const [, form] of FORMS.slice(0, 2)) {
      for (const read of parseMessage(form(message.slice(0, at) + by + message.slice(at + 1)), KEYS)) {
        assert.ok(read instanceof Error || wanted.has(JSON.stringify(read)));
      }
    }
  }), { numRuns: 500 });
});

test('versions that have the beginning of their names in common are both tried', () => {
  const [one, two] = [keyOf('rotation-1', 'one one one one one one one one one'), keyOf('rotation-2', 'two two two two two two two two two')];
  assert.equal(one.id, two.id);
  const keys = new Map([[one.id, [one.secret, two.secret]]]);
  assert.deepEqual(causes(single(created, two), keys), [created]);
});

test('without keys a signature is only left out', () => {
  assert.deepEqual(parseMessage(single(created)), [created]);
  assert.deepEqual(parseMessage(bundled(others)), others);
});
