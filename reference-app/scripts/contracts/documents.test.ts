import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import pg from 'pg';
import { Registry } from 'prom-client';
import { arbitraryOf } from './arbitrary.ts';
import { documents, DOCS } from './documents.ts';
import { jsonSchema } from './json-schema.ts';
import { createReadApi } from '../../services/order-service/api-read-service/api.ts';
import { routes as readRoutes } from '../../services/order-service/api-read-service/routes.ts';
import { createWriteApi } from '../../services/order-service/api-write-service/api.ts';
import { parseBatch, parseEntries, parseOrderRequest } from '../../services/order-service/api-write-service/order-request.ts';
import { routes as writeRoutes } from '../../services/order-service/api-write-service/routes.ts';
import { newEvent, newId } from '../../services/shared/events/index.ts';
import { withoutAuthorization as authentication } from '../../services/shared/http/caller.ts';
import { Problem } from '../../services/shared/http/problem.ts';
import type { Routes } from '../../services/shared/http/route.ts';
import { silentLogger } from '../../services/shared/testing.ts';

const { openapi, asyncapi } = await documents();

/** Everything in a document, with where it stands. */
function* nodes(value: unknown, path: readonly string[] = []): Generator<{ path: readonly string[]; node: Record<string, unknown> }> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield { path, node: value as Record<string, unknown> };
  for (const [key, inner] of Object.entries(value)) yield* nodes(inner, [...path, key]);
}

function at(document: object, pointer: string): unknown {
  const keys = pointer.replace(/^#\//, '').split('/').map((key) => key.replaceAll('~1', '/'));
  return keys.reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document);
}

const specification = async (name: string) => JSON.parse(await readFile(join(import.meta.dirname, 'specifications', name), 'utf8')) as object;

test('the OpenAPI document is one', async () => {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addFormat('media-range', true);
  const validate = ajv.compile(await specification('openapi-3.1.json'));
  assert.ok(validate(openapi), JSON.stringify(validate.errors?.slice(0, 5), undefined, 1));
  assert.equal(validate({ ...openapi, paths: { orders: {} } }), false);
});

test('patterns of the OpenAPI document are such that Python and Go know them, too', () => {
  const patterns = new Set([...nodes(openapi)].flatMap(({ node }) => (typeof node.pattern === 'string' ? [node.pattern] : [])));
  assert.ok(patterns.size > 5);
  for (const pattern of patterns) assert.doesNotMatch(pattern, /\\[pPuUk]|\(\?[^:]/, 'classes by name, code points by number, lookaround');
});

test('the AsyncAPI document is one', async () => {
  const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false });
  addFormats.default(ajv);
  const validate = ajv.compile(await specification('asyncapi-3.0.json'));
  assert.ok(validate(asyncapi), JSON.stringify(validate.errors?.slice(0, 5), undefined, 1));
  assert.equal(validate({ ...asyncapi, operations: { publish: { action: 'publish' } } }), false);
});

for (const [name, document] of Object.entries({ openapi, asyncapi })) {
  test(`${name}: what is referred to is there`, () => {
    const refs = [...nodes(document)].flatMap(({ node }) => (typeof node.$ref === 'string' ? [node.$ref] : []));
    assert.ok(refs.length > 20);
    for (const ref of refs) assert.ok(at(document, ref), ref);
  });

  test(`${name}: schemas are JSON Schema, and their examples are right`, () => {
    const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false });
    addFormats.default(ajv);
    const { schemas } = (document as { components: { schemas: Record<string, { examples?: unknown[] }> } }).components;
    ajv.addSchema({ $id: 'document', $defs: JSON.parse(JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/$defs/')) as object });
    for (const [title, { examples = [] }] of Object.entries(schemas)) {
      const validate = ajv.getSchema(`document#/$defs/${title}`)!;
      for (const example of examples) assert.ok(validate(example), `${title}: ${JSON.stringify(validate.errors)}`);
    }
    for (const { path, node } of nodes(document)) {
      if ('payload' in node && 'examples' in node) {
        const validate = ajv.getSchema(`document${(node.payload as { $ref: string }).$ref.replace('#/components/schemas/', '#/$defs/')}`)!;
        for (const { payload } of node.examples as { payload: unknown }[]) {
          assert.ok(validate(payload), `${path.join('/')}: ${JSON.stringify(validate.errors)}`);
        }
      }
    }
  });
}

test('the OpenAPI document: names of operations differ, and parameters of paths are described', () => {
  type Operation = { operationId: string; parameters?: { name: string; in: string }[] };
  const { paths } = openapi as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, ...operation })));
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  for (const { path, parameters = [] } of operations) {
    assert.deepEqual(parameters.filter((one) => one.in === 'path').map(({ name }) => name), [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
  }
});

describe('routes', () => {
  const pool = new pg.Pool();
  const common = { logger: silentLogger(), registry: new Registry() };
  const apis: [string, Routes, { served: ReadonlyMap<string, ReadonlySet<string>> }][] = [
    ['write', writeRoutes, createWriteApi({ authentication, ...common, pool })],
    ['read', readRoutes, createReadApi({ authentication, ...common, registry: new Registry(), reader: pool, writer: pool })],
  ];
  for (const [name, routes, app] of apis) {
    test(`what the ${name} service serves is what its routes say`, () => {
      const served = [...app.served].flatMap(([url, methods]) => (
        [...methods].filter((method) => method !== 'HEAD').map((method) => `${method} ${url}`)));
      const said = Object.values(routes).flatMap(({ method, path }) => [`${method} ${path}`, `${method} /api${path}`]);
      assert.deepEqual(served.sort(), said.sort(), 'Register routes with `serve` from the table in routes.ts.');
    });
  }
});

describe('requests that the document allows are taken', () => {
  const requests = arbitraryOf(jsonSchema(writeRoutes.createOrder.body));
  /** A customer may leave its id out, an operator says for whom it is. */
  const callerOf = (body: unknown) => ({ customerId: /^(customerId|customer_id)$/m.test(Object.keys(body as object).join('\n')) ? undefined : 'jane' });
  /** What a schema can't say. */
  const isTaken = (parse: () => unknown): boolean => {
    try {
      parse();
      return true;
    } catch (error) {
      assert.ok(error instanceof Problem && error.errors?.every(({ message }) => message.includes('is the same as')), String(error));
      return false;
    }
  };

  test('a single one, and its event can be published', () => {
    let taken = 0;
    fc.assert(fc.property(requests, (body) => {
      if (!isTaken(() => parseOrderRequest(body, callerOf(body)))) return;
      taken++;
      const { customerId, items } = parseOrderRequest(body, callerOf(body));
      const orderId = newId();
      newEvent({
        type: 'order.created',
        source: '/order-service',
        subject: orderId,
        sequence: 1,
        cause: { id: newId() },
        data: { orderId, customerId, items: [...items], createdAt: new Date().toISOString() },
      });
    }), { numRuns: 300 });
    assert.ok(taken > 200);
  });

  test('a batch', async () => {
    await fc.assert(fc.asyncProperty(arbitraryOf(jsonSchema(writeRoutes.createOrders.body)), async (body) => {
      for (const entry of parseBatch(body)) {
        const [parsed] = await parseEntries([entry], callerOf(entry));
        isTaken(() => {
          if (parsed instanceof Error) throw parsed;
        });
      }
    }), { numRuns: 100 });
  });
});

test('the page needs nothing from elsewhere, and its links lead somewhere', async () => {
  const html = await readFile(join(DOCS, 'index.html'), 'utf8');
  assert.doesNotMatch(html, /<script|<link|<img|<iframe|@import|url\(|(?:src|href)="(?:https?:)?\/\//);
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const [, target] of html.matchAll(/href="#([^"]+)"/g)) assert.ok(ids.includes(target), target);
  for (const [, file] of html.matchAll(/href="([^"#]+)"/g)) await readFile(join(DOCS, file!));
  const open: string[] = [];
  for (const [, end, tag] of html.replace(/<style>[\s\S]*?<\/style>/, '').matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (end) assert.equal(open.pop(), tag);
    else if (tag !== 'meta') open.push(tag!);
  }
  assert.deepEqual(open, []);
});
