import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardProcess } from './guard.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';

test('a guard that cannot start is started again after a pause only', { skip: process.platform === 'win32' && 'there is no sh' }, async (context) => {
  const folder = temporaryFolder(context);
  const [program, starts] = [join(folder, 'node'), join(folder, 'starts')];
  writeFileSync(program, `#!/bin/sh\necho started >> '${starts}'\nexit 1\n`, { mode: 0o755 });
  const { execPath } = process;
  atEnd(context, () => { process.execPath = execPath; });
  process.execPath = program;
  const began = performance.now();
  const release = guardProcess(process.pid, 'SIGTERM');
  atEnd(context, release);
  const count = () => (existsSync(starts) ? readFileSync(starts, 'utf8').trim().split('\n').length : 0);
  await eventually(() => count() >= 2, 'another start');
  assert.ok(performance.now() - began >= 1000);
});
