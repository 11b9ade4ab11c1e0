import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Steps } from './steps.ts';

test('an onProgress that throws keeps nothing from its stop, and is an error of the stop', async () => {
  const stopped: string[] = [];
  const steps = new Steps({
    onProgress: ({ name }) => {
      if (name.startsWith('stop')) throw new Error('no screen');
    },
  });
  await steps.run('start', async () => {
    for (const name of ['lock', 'queues']) steps.stopLater(name, () => stopped.push(name));
  });
  await assert.rejects(steps.stop(), { message: 'Not everything stopped well: queues: no screen; lock: no screen' });
  assert.deepEqual(stopped, ['queues', 'lock']);
});
