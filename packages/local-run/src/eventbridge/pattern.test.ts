import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseJson } from './json.ts';
import { compilePattern, matchesPattern } from './pattern.ts';

const matches = (pattern: string | object, event: string | object) =>
  matchesPattern(compilePattern(pattern), (typeof event === 'string' ? parseJson(event) : event) as object);

const refuses = (pattern: string | object, reason: RegExp) =>
  assert.throws(() => compilePattern(pattern), { name: 'InvalidEventPatternException', message: reason });

describe('event patterns', () => {
  it('judges every recorded pattern and event as event-ruler does', () => {
    const file = join(import.meta.dirname, 'oracle', 'vectors.json');
    const vectors = parseJson(readFileSync(file, 'utf8')) as [object, [object, boolean][] | undefined][];
    let matched = 0;
    let refused = 0;
    for (const [pattern, events] of vectors) {
      if (events === undefined) {
        refuses(pattern, /^Event pattern is not valid\. Reason: /);
        refused++;
        continue;
      }
      for (const [event, expected] of events) {
        assert.equal(matches(pattern, event), expected, `${JSON.stringify(pattern)} with ${JSON.stringify(event)}`);
        if (expected) matched++;
      }
    }
    assert.ok(
      vectors.length >= 800 && refused > 100 && matched > 500,
      `only ${vectors.length} vectors, ${refused} refused, ${matched} matched`,
    );
  });

  it('does not take fields from different elements of one array', () => {
    const pattern = { detail: { lines: { sku: ['SKU-1'], quantity: [{ numeric: ['>', 1] }] } } };
    assert.equal(
      matches(pattern, {
        detail: {
          lines: [
            { sku: 'SKU-1', quantity: 2 },
            { sku: 'SKU-2', quantity: 1 },
          ],
        },
      }),
      true,
    );
    assert.equal(
      matches(pattern, {
        detail: {
          lines: [
            { sku: 'SKU-1', quantity: 1 },
            { sku: 'SKU-2', quantity: 2 },
          ],
        },
      }),
      false,
    );
  });

  it('matches an array when one of its values is wanted', () => {
    assert.equal(matches({ resources: ['b'] }, { resources: ['a', 'b'] }), true);
    assert.equal(matches({ resources: [{ 'anything-but': 'a' }] }, { resources: ['a', 'b'] }), true);
    assert.equal(matches({ resources: [{ exists: true }] }, { resources: [] }), false);
  });

  it('keeps numbers apart that a double would merge', () => {
    assert.equal(matches('{"id":[12345678901234567890]}', '{"id":12345678901234567890}'), true);
    assert.equal(matches('{"id":[12345678901234567890]}', '{"id":12345678901234567891}'), false);
    assert.equal(matches('{"id":[1e2]}', '{"id":100.0}'), true);
  });

  it('keeps IPv4 and IPv6 ranges apart', () => {
    assert.equal(matches({ ip: [{ cidr: '0.0.0.0/0' }] }, { ip: '203.0.113.9' }), true);
    assert.equal(matches({ ip: [{ cidr: '0.0.0.0/0' }] }, { ip: '2001:db8::1' }), false);
    assert.equal(matches({ ip: [{ cidr: '16.0.0.0/4' }] }, { ip: 12345678 }), false);
  });

  it('matches wildcards in time that grows with the text only', () => {
    const text = 'a'.repeat(50_000);
    const started = performance.now();
    assert.equal(matches({ a: [{ wildcard: '*a*a*a*a*a*a*a*b' }] }, { a: text }), false);
    assert.equal(matches({ a: [{ wildcard: '*a*a*a*a*a*a*a*' }] }, { a: text }), true);
    assert.ok(performance.now() - started < 2000);
  });

  it('names the field and what is wrong with it', () => {
    refuses('{', /Reason: Invalid JSON$/);
    refuses('[]', /Reason: Filter is not an object$/);
    refuses('{}', /Reason: Empty objects are not allowed$/);
    refuses({ detail: { status: 'NEW' } }, /"status" must be an object or an array \(field: detail\.status\)$/);
    refuses({ detail: { status: [] } }, /Empty arrays are not allowed \(field: detail\.status\)$/);
    refuses({ detail: { status: [{ starts: 'N' }] } }, /Unrecognized match type starts \(field: detail\.status\)$/);
    refuses({ detail: { count: [{ numeric: ['>', 5, '<', 1] }] } }, /Bottom must be less than top \(field: detail\.count\)$/);
    refuses({ detail: { path: [{ wildcard: 'a**' }] } }, /Consecutive wildcard characters at pos 2 \(field: detail\.path\)$/);
    refuses({ $or: [{ source: ['a'] }] }, /at least 2 Objects in \$or/);
    refuses({ source: ['x'.repeat(5000)] }, /more than 4096/);
  });
});
