import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { arbitraryOf } from './arbitrary.ts';
import { closedObjects, conflicts } from './compatibility.ts';
import { currentContracts } from './documents.ts';
import type { JsonSchema } from './json-schema.ts';
import { changedSince, planContracts, type Contract, type Published } from './published.ts';
import { parseEnvelope } from '../../services/shared/events/index.ts';

const created = currentContracts().find(({ type }) => type === 'order.created')!;
type Mutable = { -readonly [K in keyof JsonSchema]: any };

type Data = { properties: Record<string, Mutable>; required: string[] } & Mutable;

/** The same with a change made to its data. */
function changed(contract: Contract, change: (data: Data) => void): Contract {
  const schema = structuredClone(contract.schema) as Mutable;
  change(schema.properties.data);
  return { ...contract, schema };
}

const bears = (event: unknown) => void event;
function publish(contract: Contract, before: readonly Published[] = []): Published[] {
  const { writes, problems } = planContracts([contract], before, bears);
  assert.deepEqual(problems, []);
  return [...before, ...[...writes].map(([path, text]) => {
    const [, name, major, minor] = /^(.+)\/(\d+)\.(\d+)\.json$/.exec(path)!;
    return { name: name!, major: Number(major), minor: Number(minor), schema: JSON.parse(text) as JsonSchema };
  })];
}

describe('a change', () => {
  const one = publish(created);
  const refusals: [string, Parameters<typeof changed>[1], RegExp][] = [
    ['a new required field', (d) => { d.properties.channel = { type: 'string' }; d.required.push('channel'); },
      /order\.created v1: data\.channel is new and required; events in the archive lack it/],
    ['a field that is not required any more', (d) => { d.required = d.required.filter((name: string) => name !== 'customerId'); },
      /data\.customerId became optional; consumers that run now need it/],
    ['a field that is gone', (d) => { delete d.properties.customerId; d.required = d.required.filter((name: string) => name !== 'customerId'); },
      /data\.customerId was removed; consumers that run now need it/],
    ['a lower maximum', (d) => { d.properties.items!.items.properties.quantity.maximum = 100; },
      /data\.items\[\]\.quantity has a narrower maximum \(10000 → 100\); events in the archive may have it otherwise/],
    ['a higher maximum', (d) => { d.properties.items!.items.properties.quantity.maximum = 20_000; },
      /data\.items\[\]\.quantity has a wider maximum \(10000 → 20000\); consumers that run now would refuse the event/],
    ['a higher minimum', (d) => { d.properties.items!.minItems = 2; }, /data\.items has a narrower minItems \(1 → 2\)/],
    ['no minimum any more', (d) => { delete d.properties.items!.minItems; }, /data\.items has a wider minItems \(1 → none\)/],
    ['another type', (d) => { d.properties.customerId = { type: 'integer' }; }, /data\.customerId has another type \("string" → "integer"\)/],
    ['another pattern', (d) => { d.properties.customerId!.pattern = '^c'; }, /data\.customerId has another pattern/],
    ['another name', (d) => { d.properties.customer = d.properties.customerId!; delete d.properties.customerId; },
      /data\.customerId was removed/],
    ['a closed object', (d) => { d.additionalProperties = false; },
      /data says what other fields it may have; consumers would refuse a field that is added later/],
  ];
  for (const [name, change, expected] of refusals) {
    test(`${name} is refused, and the error says how to make it`, () => {
      const { writes, problems } = planContracts([changed(created, change)], one, bears);
      assert.equal(writes.size, 0);
      assert.match(problems.join('\n'), expected);
      assert.match(problems.join('\n'), /Published as contracts\/order\.created\/1\.0\.json/);
      assert.match(problems.join('\n'), /add 'order\.created\.v2' to EVENT_DATA .* 'order\.created\.v2': 'OrderCreatedV2' to DETAIL_TYPES/);
      assert.match(problems.join('\n'), /writes contracts\/order\.created\/2\.0\.json/);
    });
  }

  test('values of an enum can neither come nor go', () => {
    const updated = currentContracts().find(({ type }) => type === 'inventory.updated')!;
    const lost = changed(updated, (d) => { d.properties.outcome!.enum = ['RESERVED', 'REJECTED', 'DEDUCTED', 'RELEASED', 'LOST']; });
    const { problems } = planContracts([lost], publish(updated), bears);
    assert.match(problems.join('\n'), /data\.outcome can't be "RETURNED" any more; events in the archive may say so/);
    assert.match(problems.join('\n'), /data\.outcome can be "LOST" now; consumers that run now would refuse it/);
  });

  const withNote = changed(created, (d) => { d.properties.note = { type: 'string', maxLength: 200 }; });

  test('an optional field makes a minor version, with samples that have it', () => {
    const two = publish(withNote, one);
    assert.deepEqual(two.map(({ major, minor }) => `${major}.${minor}`), ['1.0', '1.1']);
    assert.ok(two[1]!.schema.examples!.some((event) => 'note' in (event as { data: object }).data));
    assert.deepEqual([...planContracts([withNote], two, bears).writes.keys()], []);
  });

  test('a field that was ever there does not go, and does not come back as another', () => {
    const two = publish(withNote, one);
    assert.match(planContracts([created], two, bears).problems.join('\n'), /data\.note was removed; events in the archive have it/);
    const other = changed(created, (d) => { d.properties.note = { type: 'integer' }; });
    assert.match(planContracts([other], two, bears).problems.join('\n'), /data\.note has another type/);
  });

  test('words can change; the file follows and its samples stay', () => {
    const said = changed(created, (d) => { d.properties.customerId!.description = 'who pays'; });
    const [path, text] = [...planContracts([said], one, bears).writes][0]!;
    assert.equal(path, 'order.created/1.0.json');
    assert.match(text, /who pays/);
    assert.deepEqual((JSON.parse(text) as JsonSchema).examples, one[0]!.schema.examples);
  });

  test('a new major version stands beside the old one', () => {
    const { schema } = changed(created, (d) => { delete d.properties.customerId; d.required = ['orderId', 'items', 'createdAt']; });
    const second: Contract = { ...created, schema, type: 'order.created.v2', major: 2, detailType: 'OrderCreatedV2' };
    const { writes, problems } = planContracts([created, second], one, bears);
    assert.deepEqual(problems, []);
    assert.deepEqual([...writes.keys()], ['order.created/2.0.json']);
    assert.match(writes.get('order.created/2.0.json')!, /"dataschema": "urn:cdk-order-pipeline:order\.created:2"/);
  });
});

describe('what was published', () => {
  const two = publish(changed(created, (d) => { d.properties.note = { type: 'string' }; }), publish(created));
  const now = changed(created, (d) => { d.properties.note = { type: 'string' }; });

  test('stays known to the code', () => {
    assert.match(planContracts([], two, bears).problems.join('\n'),
      /order\.created\/1\.0\.json: the event is not in EVENT_DATA any more, but in the archive/);
  });

  test('stays in its folder, with its samples', () => {
    assert.match(planContracts([now], two.slice(1), bears).problems.join('\n'), /contracts\/order\.created\/1\.0\.json is missing/);
    const bare = two.map((one) => ({ ...one, schema: { ...one.schema, examples: [] } }));
    assert.match(planContracts([now], bare, bears).problems.join('\n'), /order\.created\/1\.1\.json: has no samples/);
  });

  test('stays as it was released', () => {
    const rewritten = two.map((one) => ({ ...one, schema: { ...one.schema, required: [] } }));
    assert.deepEqual(changedSince(two, two), []);
    assert.deepEqual(changedSince(two, two.slice(1)), ['contracts/order.created/1.0.json is gone; events of it are in the archive (restore the file).']);
    assert.equal(changedSince(two, rewritten).length, 2);
    assert.deepEqual(changedSince(two, two.map((one) => ({ ...one, schema: { ...one.schema, description: 'in other words' } }))), []);
  });

  test('stays readable, whatever the code refuses beyond its schema', () => {
    const stricter = (event: unknown) => {
      parseEnvelope(event);
      throw new Error('data.items must be fewer');
    };
    assert.match(planContracts([now], two, stricter).problems.join('\n'), /1\.0\.json: sample 1 would be refused now: data\.items must be fewer/);
  });
});

// --- whatever is called compatible is so ---------------------------------------------------------------------------

const leaf = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })).map(([least, more]) => ({ type: 'integer', minimum: least, maximum: least + more })),
  fc.integer({ min: 0, max: 2 }).map((minLength) => ({ type: 'string', minLength, maxLength: minLength + 2 })),
  fc.uniqueArray(fc.constantFrom('A', 'B', 'C'), { minLength: 1 }).map((values) => ({ enum: values })),
  fc.constant({ type: 'boolean' }),
);
const { schema: anySchema } = fc.letrec<{ schema: JsonSchema; object: JsonSchema }>((tie) => ({
  schema: fc.oneof({ maxDepth: 2 }, leaf, tie('object'), tie('schema').map((items) => ({ type: 'array', items, maxItems: 2 }))),
  object: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.tuple(tie('schema'), fc.boolean())).map((fields) => ({
    type: 'object',
    properties: Object.fromEntries(Object.entries(fields).map(([name, [schema]]) => [name, schema])),
    required: Object.entries(fields).filter(([, [, required]]) => required).map(([name]) => name),
  })),
}));

/** The schema with something changed somewhere in it. */
function mutations(schema: JsonSchema): fc.Arbitrary<JsonSchema> {
  const { properties, items, type, required = [] } = schema;
  const here: fc.Arbitrary<JsonSchema>[] = [fc.constant(schema), anySchema];
  if (type === 'object' && properties) {
    const names = Object.keys(properties);
    here.push(fc.tuple(fc.constantFrom('x', 'y'), anySchema).map(([name, added]) => ({ ...schema, properties: { ...properties, [name]: added } })));
    here.push(fc.constant({ ...schema, required: names }), fc.constant({ ...schema, required: required.slice(1) }));
    for (const name of names) {
      here.push(mutations(properties[name]!).map((inner) => ({ ...schema, properties: { ...properties, [name]: inner } })));
      const { [name]: _gone, ...rest } = properties;
      here.push(fc.constant({ ...schema, properties: rest, required: required.filter((one) => one !== name) }));
    }
  }
  if (items) here.push(mutations(items).map((inner) => ({ ...schema, items: inner })));
  if (type === 'integer') here.push(fc.integer({ min: 0, max: 3 }).map((by) => ({ ...schema, minimum: by })));
  return fc.oneof(...here);
}

function validator(schema: JsonSchema): (value: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  return ajv.compile(schema) as (value: unknown) => boolean;
}

test('what is called compatible is: the old reads the new, the new reads the old', () => {
  let compatible = 0;
  fc.assert(fc.property(anySchema.chain((old) => fc.tuple(fc.constant(old), mutations(old))), fc.integer(), ([old, now], seed) => {
    if (conflicts(old, now).length > 0) return;
    if (JSON.stringify(old) !== JSON.stringify(now)) compatible++;
    const [readsOld, readsNew] = [validator(old), validator(now)];
    for (const [made, reads] of [[old, readsNew], [now, readsOld]] as const) {
      for (const value of fc.sample(arbitraryOf(made), { numRuns: 20, seed })) {
        assert.ok(reads(value), `${JSON.stringify(old)} → ${JSON.stringify(now)}: ${JSON.stringify(value)}`);
      }
    }
  }), { numRuns: 300 });
  assert.ok(compatible > 0, `only ${compatible} were compatible changes`);
});

test('what is called a conflict is one: some value tells the two apart, or a name is lost', () => {
  let told = 0;
  fc.assert(fc.property(anySchema.chain((old) => fc.tuple(fc.constant(old), mutations(old))), fc.integer(), ([old, now], seed) => {
    const found = conflicts(old, now);
    if (found.length === 0 || found.some(({ problem }) => problem.includes('must not come back'))) return;
    const [readsOld, readsNew] = [validator(old), validator(now)];
    const differs = fc.sample(arbitraryOf(old), { numRuns: 300, seed }).some((value) => !readsNew(value))
      || fc.sample(arbitraryOf(now), { numRuns: 300, seed }).some((value) => !readsOld(value));
    assert.ok(differs, `${JSON.stringify(old)} → ${JSON.stringify(now)}: ${JSON.stringify(found)}`);
    told++;
  }), { numRuns: 150 });
  assert.ok(told > 10, `only ${told} conflicts`);
});

test('objects are open at every depth', () => {
  const items = { type: 'object', properties: {}, additionalProperties: false };
  assert.deepEqual(closedObjects({ type: 'object', properties: { a: { type: 'array', items } } }).map(({ field }) => field), ['a[]']);
});
