import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { processStart } from './identity.ts';
import { Leftovers } from './leftovers.ts';
import { RunningProgram } from './program.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';

test('a process that has the number of one of an earlier run is not ended', async (context) => {
  const file = join(temporaryFolder(context), 'processes.json');
  const other = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  atEnd(context, () => other.kill('SIGKILL'));
  writeFileSync(file, JSON.stringify([{ pid: other.pid, started: 'some time ago' }]));
  assert.equal(await new Leftovers(file).clean(), 0);
  assert.ok(processStart(other.pid ?? 0));
});

test('a program that ends by itself takes with it what it has started', async (context) => {
  const folder = temporaryFolder(context);
  const log = join(folder, 'log');
  const program = new RunningProgram({
    command: ['node', '-e', 'console.log(require("node:child_process").spawn("sleep", ["600"], { stdio: "ignore" }).pid); process.exit(3)'],
    folder,
    environment: {},
    logFile: log,
  }, new Leftovers(join(folder, 'processes.json')));
  assert.equal((await program.exited).code, 3);
  const child = Number(readFileSync(log, 'utf8'));
  assert.ok(child > 0);
  await eventually(() => processStart(child) === undefined, 'the end of its child');
});
