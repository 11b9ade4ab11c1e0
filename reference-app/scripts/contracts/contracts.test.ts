import assert from 'node:assert/strict';
import { relative } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { arbitraryEvent } from './arbitrary.ts';
import { APP, BUNDLE, currentContracts, outdated, publishedContracts } from './documents.ts';
import { fileOf } from './published.ts';
import { bundleHead, bundleOf, EVENT_DATA, newEvent, parseEnvelope, parseMessage, type EventType } from '../../services/shared/events/index.ts';

const contracts = currentContracts();
const all = await publishedContracts();
const published = all.filter(({ name }) => name !== BUNDLE);
const bundles = all.filter(({ name }) => name === BUNDLE);

/** A consumer that knows a published file and nothing of our code. */
function otherConsumer(schema: object): (event: unknown) => void {
  const ajv = new Ajv2020({ strict: true, allErrors: true });
  addFormats.default(ajv);
  const validate = ajv.compile(schema);
  return (event) => assert.ok(validate(event), JSON.stringify(validate.errors));
}

test('contracts and documents are what the code says, and the code bears what is in the archive', async () => {
  const { files, problems } = await outdated();
  assert.equal(problems.join('\n'), '');
  const wrong = [...files.keys()].map((path) => relative(APP, path));
  assert.deepEqual(wrong, [], 'Run `node scripts/contracts.ts` in reference-app and commit what it writes.');
});

test('every event has a published contract', () => {
  assert.ok(published.length >= contracts.length);
  for (const { name, major, type } of contracts) assert.ok(published.some((one) => one.name === name && one.major === major), type);
});

for (const version of published) {
  describe(fileOf(version), () => {
    test('its samples are read by the services and by others', () => {
      const other = otherConsumer(version.schema);
      for (const sample of version.schema.examples!) {
        other(sample);
        assert.deepEqual(parseEnvelope(JSON.stringify(sample)), sample);
      }
    });

    const now = contracts.find(({ name, major }) => name === version.name && major === version.major);
    test('any event of it is read by the services of now', () => {
      fc.assert(fc.property(arbitraryEvent(version.schema, { unknownFields: true }), (event) => {
        parseEnvelope(JSON.stringify(event));
      }), { numRuns: 100 });
    });

    test('any event of now is read by a consumer that knows only this version', () => {
      const other = otherConsumer(version.schema);
      fc.assert(fc.property(arbitraryEvent(now!.schema), (event) => other(event)), { numRuns: 100 });
    });
  });
}

for (const contract of contracts) {
  const type = contract.type as EventType;

  test(`what is made as ${type} is what its consumers read`, () => {
    const other = otherConsumer(contract.schema);
    fc.assert(fc.property(arbitraryEvent(contract.schema), (values) => {
      const { source, subject, sequence, causationid, correlationid, data } = values as Record<string, string>;
      const cause = { id: causationid!, correlationid: correlationid! };
      const event = newEvent({ type, source: source!, subject: subject!, sequence: sequence!, cause, data: data as never });
      const text = JSON.stringify(event);
      other(JSON.parse(text));
      assert.deepEqual(parseEnvelope(text), JSON.parse(text));
    }), { numRuns: 100 });
  });

  test(`nothing is made as ${type} that its consumers refuse`, () => {
    const spoilt = arbitraryEvent(contract.schema).chain((event) => fc.tuple(fc.constant(event), spoilings(event.data as object)));
    let refused = 0;
    fc.assert(fc.property(spoilt, ([event, data]) => {
      const { source = '', subject = '', sequence = '', causationid: id = '' } = event as Record<string, string>;
      const make = () => newEvent({ type, source, subject, sequence, cause: { id }, data: data as never });
      const text = JSON.stringify({ ...event, data });
      let readable = true;
      try {
        parseEnvelope(text);
      } catch {
        readable = false;
        refused++;
      }
      if (readable) make();
      else assert.throws(make, { name: 'EventFormatError' });
    }), { numRuns: 100 });
    assert.ok(refused > 20, `only ${refused} were refused`);
  });
}

for (const version of bundles) {
  describe(fileOf(version), () => {
    const other = otherConsumer(version.schema);

    test('its samples are read by the services and by others', () => {
      for (const sample of version.schema.examples as { events: unknown[] }[]) {
        other(sample);
        assert.deepEqual(parseMessage(JSON.stringify(sample)), sample.events);
      }
    });

    for (const { type, schema } of contracts) {
      test(`the relay bundles events of ${type} as it says, and the services read them all`, () => {
        fc.assert(fc.property(fc.array(arbitraryEvent(schema), { minLength: 1, maxLength: 5 }), (events) => {
          const groups = Map.groupBy(events.map((event) => JSON.stringify(event)), (event) => bundleHead(event)!);
          for (const [head, texts] of groups) {
            const text = bundleOf(head, texts);
            const bundle = JSON.parse(text) as { type: string; source: string; dataschema: string; data: object; events: typeof events };
            other(bundle);
            assert.deepEqual(parseMessage(text), bundle.events);
            assert.deepEqual(bundle.events, texts.map((event) => JSON.parse(event) as object));
            for (const event of bundle.events) {
              assert.deepEqual([bundle.type, bundle.source, bundle.dataschema], [event.type, event.source, event.dataschema]);
              for (const [name, value] of Object.entries(bundle.data)) assert.equal(value, (event.data as Record<string, unknown>)[name]);
            }
          }
        }), { numRuns: 50 });
      });
    }
  });
}

test('bundles have a published contract', () => {
  assert.ok(bundles.length > 0);
});

/** The data with one field gone, or with another value. */
function spoilings(data: object): fc.Arbitrary<object> {
  return fc.tuple(fc.constantFrom(...Object.keys(data)), fc.option(fc.jsonValue()), fc.boolean()).map(([field, value, gone]) => {
    const { [field]: _gone, ...rest } = data as Record<string, unknown>;
    return gone ? rest : { ...rest, [field]: value };
  });
}

test('each type of EVENT_DATA is tested', () => {
  assert.deepEqual(contracts.map(({ type }) => type), Object.keys(EVENT_DATA));
});
