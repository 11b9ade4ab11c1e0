import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { UsageError } from '../options.ts';
import { checkOut } from './checkout.ts';
import { readCompareOptions } from './options.ts';
import { programOf } from './process-times.ts';
import { figuresOf } from './run.ts';
import type { Figures, StartJson } from './run.ts';
import { comparisonTable, keepsUp, saturationOf } from './table.ts';

const LOAD = { orders: 1_500, rate: 200 };
const JSON_OF_START: StartJson = { ok: true, ordersPerSecond: 195, endToEndMs: { p50: 900, p99: 1_000 } };

function figures(relay: number, more: Partial<Figures> = {}): Figures {
  return { load: LOAD, ok: true, ordersPerSecond: 199, endToEndMs: { p50: 50, p99: 90 }, micros: { 'outbox-relay': relay }, ...more };
}

test('the processor time of a state that counts it itself is that of its warm processes', () => {
  const all = { programs: [{ name: 'outbox-relay', seconds: 4 }] };
  const warm = { programs: [{ name: 'outbox-relay', seconds: 1 }] };
  const found = figuresOf({ ...JSON_OF_START, warm: { endToEndMs: { p50: 20, p99: 40 } }, processorTime: { all, warm } }, LOAD, new Map([['outbox-relay', 2]]));
  assert.deepEqual(found.micros, { 'outbox-relay': 1_000 });
  assert.deepEqual(found.warmEndToEndMs, { p50: 20, p99: 40 });
});

test('for an older state, the time of the first orders that was seen from outside is taken off', () => {
  const found = figuresOf({ ...JSON_OF_START, processorTime: { programs: [{ name: 'outbox-relay', seconds: 4 }] } }, LOAD, new Map([['outbox-relay', 2]]));
  assert.deepEqual(found.micros, { 'outbox-relay': 2_000 });
  assert.equal(found.warmEndToEndMs, undefined);
});

test('the table has the medians of both sides, and a dash for what one does not measure', () => {
  const before = { name: 'before', runs: [figures(900), figures(1_100), figures(5_000)] };
  const after = { name: 'after', runs: [figures(300, { warmEndToEndMs: { p50: 21, p99: 44 }, micros: { 'several workloads': 300 } })] };
  const lines = comparisonTable(before, after).split('\n');
  assert.deepEqual(lines.filter((line) => /relay|several|\*\*all|p50/.test(line)), [
    '| outbox-relay | 1100 µs | – |',
    '| several workloads | – | 300 µs |',
    '| **all** | **1100 µs** | **300 µs** |',
    '| accept → decided p50, all orders | 50 ms | 50 ms |',
    '| accept → decided p50 | – | 21 ms |',
  ]);
});

test('saturation is the most that was decided per second, and a run below nine tenths of its rate does not keep up', () => {
  assert.deepEqual([199, 179].map((ordersPerSecond) => keepsUp(figures(1, { ordersPerSecond }))), [true, false]);
  assert.equal(keepsUp(figures(1, { ok: false })), false);
  assert.equal(saturationOf([figures(1), figures(1, { ordersPerSecond: 231 }), figures(1, { ordersPerSecond: 190 })]), 231);
});

test('a program is known by its file, PostgreSQL by its folder', () => {
  assert.equal(programOf('/usr/bin/node\0--cpu-prof\0stock-service.js\0'), 'stock-service');
  assert.equal(programOf('/opt/pg/bin/postgres\0-D\0/data/replica-test/primary\0-c\0wal_level=replica\0'), 'PostgreSQL');
  assert.equal(programOf('/opt/pg/bin/postgres\0-D\0/data/replica\0'), 'PostgreSQL, replica');
  assert.equal(programOf('/usr/bin/node\0guard-process.ts\0'), undefined);
});

test('options are read, and a wrong one is refused in a sentence', async () => {
  assert.deepEqual(readCompareOptions(['--before', 'v1', '--saturation']), { before: 'v1', orders: 3000, rate: 100, rounds: 3, saturation: true, record: false });
  assert.equal(readCompareOptions(['-h']), undefined);
  for (const args of [['--orders', '900'], ['--rate', 'fast'], ['--saturation', '--record'], ['--nonsense']]) {
    assert.throws(() => readCompareOptions(args), UsageError);
  }
  const script = join(import.meta.dirname, '../compare.ts');
  const command = promisify(execFile)(process.execPath, [script, '--before', 'no-such-commit']);
  await assert.rejects(command, { code: 2, stderr: /--before expects a commit, .*, not 'no-such-commit'\./ });
  await assert.rejects(checkOut('no-such-commit', '--after'), /--after expects a commit, .*, not 'no-such-commit'\./);
});
