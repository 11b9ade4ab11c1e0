import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratch } from './system.ts';
import { loadProfiles } from '../profiles/index.ts';

// A profile is one folder: test/profiles/toy, which no other file names.

const START = fileURLToPath(new URL('profiles/start.ts', import.meta.url));

function start(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, NODE_OPTIONS: '' };
  return new Promise((resolve) => {
    execFile(process.execPath, [START, ...args], { env }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
  });
}

test('the default profile is the first, and every profile has a part in the help', async () => {
  assert.deepEqual([...(await loadProfiles()).keys()].slice(0, 2), ['order-pipeline', 'fan-out']);
  const { code, out } = await start('--help');
  assert.equal(code, 0);
  for (const words of ['  toy                  letters on a bus', 'The profile toy\n  It puts letters on the bus', '--profile toy --orders 7 --exit']) {
    assert.ok(out.includes(words), words);
  }
});

test('a new profile is a folder: it is synthesized, runs, is fed, checked and stopped', { timeout: 60_000 }, async (t) => {
  const folder = await scratch();
  t.after(() => folder.remove());
  const data = join(folder.path, 'data');
  const fed = await start('--profile', 'toy', '--data', data, '--orders', '7', '--exit', '--json');
  assert.equal(fed.code, 0, fed.err);
  const { letters, expected } = JSON.parse(fed.out) as { letters: number; expected: number };
  assert.deepEqual([letters, expected], [7, 7]);
  assert.match(fed.err, /7 letters in the queue, 7 expected\n[^]*Processor time per order/);

  const kept = await start('--profile', 'toy', '--data', data, '--app', join(data, 'assembly'), '--orders', '0', '--exit');
  assert.equal(kept.code, 0, kept.out);
  assert.match(kept.out, /\n7 letters in the queue, 7 expected\n/);
  const wrong = await start('--profile', 'toys', '--exit');
  assert.deepEqual([wrong.code, wrong.err], [2, "--profile expects order-pipeline or fan-out or toy, not 'toys'.\n"]);
});
