import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HELP, readOptions, UsageError } from '../options.ts';
import { niceMaximum } from './chart.ts';
import { comparisons } from './comparison.ts';
import { compare, fastest, number, ratioTo } from './results.ts';
import { documents, readDocument, readResults } from './store.ts';

const results = readResults()!;

describe('pages and pictures', () => {
  for (const [path, text] of documents(results)) {
    test(`docs/${path} is made of the stored results`, () => {
      assert.equal(readDocument(path), text, 'Write it again with: npm run bench -- --pages');
    });
  }

  test('show what was measured, the naive design and the limit, and no wishes', () => {
    const wishes = /\b(targets?|missed|goals?|stretch|must)\b/i;
    for (const [path, text] of documents(results)) if (path !== 'scaling.md') assert.doesNotMatch(text, wishes, path);
    assert.doesNotMatch(HELP, wishes);
    for (const { title, naive, limit, limitedBy, command } of comparisons(results)) {
      assert.ok(naive.length > 0 && limit !== undefined && limitedBy.length > 0, title);
      assert.ok(results.rows[command], title);
    }
  });

  test('a measured rate is below its limit', () => {
    for (const { title, services, limit } of comparisons(results)) assert.ok(services.rate.median <= limit!, title);
  });
});

describe('the picture of the stages', () => {
  const svg = documents(results).get('images/performance.svg')!;
  const [width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.slice(1).map(Number) as [number, number];
  const texts = [...svg.matchAll(/<text(?: class="([a-z]*)")? x="([\d.-]+)" y="([\d.-]+)"(?: text-anchor="(\w+)")?>([^<]*)<\/text>/g)]
    .map(([, kind = '', x, y, anchor = 'start', text]) => ({ kind, x: Number(x), y: Number(y), anchor, text: text! }));

  test('has six pairs', () => {
    assert.equal([...svg.matchAll(/<g class="pair">/g)].length, 6);
    assert.equal([...svg.matchAll(/<circle class="a"/g)].length, 6 + 1, 'and one in the legend');
    assert.equal([...svg.matchAll(/<circle class="b ring"/g)].length, 6 + 1);
  });

  test('clips no text, and no text lies over another', () => {
    assert.equal(texts.length, [...svg.matchAll(/<text/g)].length, 'every text was read');
    // Wider than the average letter of these fonts.
    const boxes = texts.map(({ kind, x, y, anchor, text }) => {
      const wide = [...text].length * (kind === 'title' ? 8.2 : 7.2);
      const from = anchor === 'end' ? x - wide : anchor === 'middle' ? x - wide / 2 : x;
      return { text, from, to: from + wide, top: y - 11, bottom: y + 4 };
    });
    for (const { text, from, to, top, bottom } of boxes) assert.ok(from >= 0 && to <= width && top >= 0 && bottom <= height, text);
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
      assert.ok(a.to <= b.from || b.to <= a.from || a.bottom <= b.top || b.bottom <= a.top, `${a.text} and ${b.text}`);
    }));
  });
});

test('a comparison takes the baseline first, and the ratio to another variant is the quotient of both ratios', () => {
  const slice = (variant: string, rate: number) => ({ round: 0, variant, count: rate, seconds: 1, rate });
  const slices = [slice('one', 10), slice('four', 40), slice('one', 10), slice('services', 200), slice('one', 10)];
  const variants = compare('stage', slices, [
    { name: 'one', design: 'naive' }, { name: 'four', design: 'naive' }, { name: 'services', design: 'services', note: 'p50 1 ms' },
  ]);
  const [one, four, services] = variants as [typeof variants[0], typeof variants[0], typeof variants[0]];
  assert.equal(one.ratio, undefined);
  assert.deepEqual([ratioTo(services, one), ratioTo(services, four)], [20, 5]);
  assert.equal(services.note, 'p50 1 ms');
  assert.equal(fastest(variants, 'naive'), four);
  assert.equal(fastest(variants, 'part'), undefined);
});

test('numbers keep three digits that mean something', () => {
  assert.deepEqual([1234.5, 123.45, 12.345, 1.2345, NaN].map(number), ['1,235', '123', '12.3', '1.23', '–']);
});

test('axes end at round numbers', () => {
  assert.deepEqual([0, 1, 1.1, 3, 7, 10, 12_000].map(niceMaximum), [1, 1, 2, 5, 10, 10, 20_000]);
});

test('options are read, and a wrong one is named', () => {
  assert.equal(readOptions(['--help'], []), undefined);
  assert.deepEqual(readOptions(['--only', 'a', '--rounds', '3', '--record'], ['a', 'b']), {
    quick: false,
    curves: false,
    pages: false,
    cloud: false,
    record: true,
    only: ['a'],
    minutes: undefined,
    rate: undefined,
    rounds: 3,
    sliceMs: 400,
    seed: 1,
    json: undefined,
  });
  assert.equal(readOptions(['--minutes', '0.5', '--rate', '100'], [])!.minutes, 0.5);
  for (const [args, message] of [
    [['--only', 'c'], /--only expects one of a, b, not 'c'/],
    [['--rounds', 'x'], /--rounds expects a whole number from 1, not 'x'/],
    [['--rate', '5'], /--rate .* needs --minutes/],
    [['--quick', '--pages'], /--quick and --pages exclude each other/],
    [['--nonsense'], /nonsense/],
  ] as const) assert.throws(() => readOptions(args, ['a', 'b']), (error) => error instanceof UsageError && message.test(error.message));
});
