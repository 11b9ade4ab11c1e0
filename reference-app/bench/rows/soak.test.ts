import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, type SoakSample } from './soak.ts';

test('a soak that creeps is seen: latency, memory, and a table that grows faster than its rows', () => {
  const sample = (minute: number, creep: number): SoakSample => {
    const quantiles = { p50: 5, p90: 8, p99: 20 * (1 + creep * minute), max: 50 };
    return {
      minute,
      orders: minute * 1000,
      confirmed: quantiles,
      nodeMemory: 200 * (1 + creep * minute),
      databaseMemory: 100,
      tables: { 'orders.orders': { live: 1000 * (minute + 1), dead: 0, mebibytes: (minute + 1) * (1 + creep * minute) } },
    };
  };
  const of = (creep: number) => judge(Array.from({ length: 61 }, (_, minute) => sample(minute, creep)));
  const flat = of(0);
  assert.ok(Math.abs(flat.drift.p99) < 1e-9 && Math.abs(flat.drift.nodeMemory) < 1e-9 && Math.abs(flat.bloat['orders.orders']! - 1) < 1e-9);
  const creeping = of(0.05);
  assert.ok(creeping.drift.p99 > 0.5 && creeping.drift.nodeMemory > 0.5 && creeping.drift.databaseMemory === 0);
  assert.ok(creeping.bloat['orders.orders']! > 1.3);
});
