import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import type { LocalRun } from 'cdk-local-run';
import { countProcessorTime } from './processor-time.ts';
import { atEnd, eventually } from '../../packages/local-run/test/temporary.ts';

test('counts the time of a workload with its children, and the time of this process', { skip: process.platform !== 'linux' }, async (context) => {
  const script = 'require("node:child_process").spawn(process.execPath, ["-e", "for (;;);"]); setInterval(() => {}, 1000);';
  const service = spawn(process.execPath, ['-e', script], { detached: true });
  atEnd(context, () => process.kill(-service.pid!, 'SIGKILL'));
  const shared = spawn('sleep', ['600']);
  atEnd(context, () => shared.kill('SIGKILL'));
  const workloads = [['busy', service.pid], ['stock', shared.pid], ['relay', shared.pid]].map(([name, pid]) => ({ name, pids: () => [pid] }));
  const run = { workloads } as unknown as LocalRun;
  const used = countProcessorTime(run);
  const began = process.cpuUsage();
  const own = () => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1e6;
  };
  while (own() < 0.2);
  const programs = await eventually(() => {
    const found = new Map(used?.().programs.map(({ name, seconds }) => [name, seconds]));
    return (found.get('busy') ?? 0) > 0.3 && found;
  }, 'the processor time of the child');
  const here = programs.get('SQS, EventBridge') ?? 0;
  assert.ok(here > 0.15 && here <= own() + 0.02, `${here} s on the main thread, ${own()} s by Node.js's own count`);
  assert.equal(programs.get('PostgreSQL'), undefined);
  assert.deepEqual([...programs.keys()].filter((name) => /stock|relay|workloads/.test(name)), ['2 workloads in one process']);
});
