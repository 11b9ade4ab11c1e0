import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { guardPid } from './processes/guard.ts';
import { processStart } from './processes/identity.ts';
import { functionTest, RECORD } from '../test/lambda/stack.ts';
import { synthesizeShop } from '../test/shop/app.ts';
import { atEnd, eventually, temporaryFolder } from '../test/temporary.ts';

process.env.CDK_VALIDATION = 'false';

/** The processes with this text in their command or their environment, which every process of a run inherits or gets. */
function processesOf(marker: string): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return processStart(pid) !== undefined && ['cmdline', 'environ'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(marker));
    } catch {
      return false;
    }
  });
}

const skip = process.platform !== 'linux' && 'there is no /proc';

test('when the run has stopped, none of its processes is left: no container, function, database or guard', { skip }, async (context) => {
  const folder = temporaryFolder(context);
  const assemblyDir = synthesizeShop({ outdir: join(folder, 'cdk.out'), seen: join(folder, 'seen'), withDatabase: true, environment: { WITH_CHILD: '1' } });
  const module = (name: string) => JSON.stringify(fileURLToPath(new URL(name, import.meta.url)));
  const child = spawn(process.execPath, ['--input-type=module', '--eval', `
    import { startLocal } from ${module('run.ts')};
    import { guardPid } from ${module('processes/guard.ts')};
    import { processStart } from ${module('processes/identity.ts')};
    const run = await startLocal({ assemblyDir: ${JSON.stringify(assemblyDir)}, dataDir: ${JSON.stringify(join(folder, 'data'))} });
    const pids = { guard: guardPid(), workloads: run.workloads.flatMap((workload) => workload.pids()), database: run.database.pids() };
    await run.stop();
    const all = [pids.guard, ...pids.workloads, ...pids.database];
    console.log(JSON.stringify({ pids, alive: all.filter((pid) => processStart(pid) !== undefined) }));
    // It ends by itself: no timer, thread or socket of the run is left.
  `], { stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(context, () => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (data: Buffer) => { output += data.toString(); });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  const left = processesOf(folder);
  const { pids, alive } = JSON.parse(output) as { pids: { guard: number; workloads: number[]; database: number[] }; alive: number[] };
  assert.equal(code, 0);
  assert.ok(pids.guard > 0 && pids.workloads.length >= 4 && pids.database.length >= 2, output);
  assert.deepEqual(alive, []);
  assert.deepEqual(left, []);
});

test('two runs in one process are independent, and the end of one is not that of the other', async (context) => {
  const begin = () => {
    const given = functionTest(context);
    given.queue(given.function('Fn', { 'index.js': `${RECORD} exports.handler = async (event) => record(bodies(event)[0]);` }), 'work');
    return given.start();
  };
  const [one, other] = await Promise.all([begin(), begin()]);
  await Promise.all([one.send('work', 'a'), other.send('work', 'b')]);
  await eventually(() => one.seen().length > 0 && other.seen().length > 0, 'both functions');
  assert.deepEqual([one.seen(), other.seen()], [['a'], ['b']]);
  await one.run.stop();
  await other.send('work', 'c');
  await eventually(() => other.seen().length > 1, 'the function of the run that is left');
  await other.run.stop();
  assert.deepEqual([...one.run.workloads, ...other.run.workloads].flatMap((workload) => workload.pids()), []);
  assert.equal(guardPid(), undefined);
});
