import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Bench } from './conformance/bench.ts';
import { QueueEndpoint } from './conformance/endpoint-under-test.ts';
import { CHECKS, NOT_HELD } from './conformance/index.ts';

describe('the rules of SQS', () => {
  let endpoint: QueueEndpoint;
  let bench: Bench;
  before(async () => {
    endpoint = await QueueEndpoint.start();
    bench = new Bench(endpoint);
  });
  after(async () => {
    bench.close();
    await endpoint.stop();
  });

  for (const { id, rule, run } of CHECKS) {
    if (NOT_HELD.has(id)) test(`not held, as the list says: ${id}: ${rule}`, async () => assert.rejects(run(bench), 'It is held now: take it off the list.'));
    else test(`${id}: ${rule}`, () => run(bench));
  }
});

test('there are at least 100 rules with ids of their own, each with its page, and 95 % are held', () => {
  assert.ok(CHECKS.length >= 100, String(CHECKS.length));
  assert.equal(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  for (const { id, source, rule } of CHECKS) {
    assert.ok(source.startsWith('https://docs.aws.amazon.com/AWSSimpleQueueService/latest/'), id);
    assert.match(source, /\/(APIReference|SQSDeveloperGuide)\/[\w-]+\.html$/, id);
    assert.match(rule, /^\S.*[.)]$/, id);
  }
  assert.ok(NOT_HELD.size <= CHECKS.length * 0.05);
  for (const id of NOT_HELD.keys()) assert.ok(CHECKS.some((check) => check.id === id), id);
});

test('the documentation has the number of rules, and those that are not held with their reasons', () => {
  const page = readFileSync(new URL('../../../../docs/local-run.md', import.meta.url), 'utf8');
  const [, section = ''] = /\n## SQS: how strict\n([\s\S]*?)(?=\n## |$)/.exec(page) ?? [];
  assert.match(section, new RegExp(`\\b${CHECKS.length - NOT_HELD.size} of ${CHECKS.length} rules\\b`));
  const rows = [...section.matchAll(/^\| `([\w-]+)` \| (.*?) \| (.*?) \|$/gm)].map(([, id, rule, reason]) => [id, rule, reason]);
  const expected = CHECKS.filter(({ id }) => NOT_HELD.has(id)).map(({ id, rule }) => [id, rule, NOT_HELD.get(id)]);
  assert.deepEqual(rows, expected);
});
