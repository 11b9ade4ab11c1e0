import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Deadlines } from './deadlines.ts';

interface Item {
  time: number | undefined;
}

test('what is due comes out in order, once, and by the time that it has now', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), at: fc.nat(100) }),
    fc.record({ kind: fc.constant('change' as const), index: fc.nat(), at: fc.option(fc.nat(100), { nil: undefined }) }),
    fc.record({ kind: fc.constant('due' as const), now: fc.nat(100) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const deadlines = new Deadlines<Item>(({ time }) => time);
    const items: Item[] = [];
    for (const each of steps) {
      if (each.kind === 'add') {
        const item = { time: each.at };
        items.push(item);
        deadlines.add(each.at, item);
      } else if (each.kind === 'change') {
        const item = items[each.index % items.length];
        if (item?.time === undefined || item.time === each.at) continue;
        item.time = each.at;
        deadlines.outdated();
        if (each.at !== undefined) deadlines.add(each.at, item);
      } else {
        const expected = items.filter(({ time }) => time !== undefined && time <= each.now);
        const times: number[] = [];
        for (const item of deadlines.due(each.now)) {
          times.push(item.time!);
          item.time = undefined;
        }
        assert.equal(times.length, expected.length);
        assert.deepEqual(times, [...times].sort((one, other) => one - other));
      }
    }
  }));
});

test('what has no time any more does not fill the memory', () => {
  const deadlines = new Deadlines<Item>(({ time }) => time);
  for (let count = 0; count < 10_000; count++) {
    const item: Item = { time: count };
    deadlines.add(count, item);
    item.time = undefined;
    deadlines.outdated();
  }
  assert.ok(deadlines.size < 600, `${deadlines.size} entries are left`);
});
