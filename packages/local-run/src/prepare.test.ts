import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { prepareRun } from './prepare.ts';
import { Leftovers } from './processes/leftovers.ts';
import type { LocalService } from './service.ts';
import { temporaryFolder } from '../test/temporary.ts';

test('the first service that has a receiver for an ARN is the last that is asked', (context) => {
  const dataDir = temporaryFolder(context);
  const asked: string[] = [];
  const service = (name: string, arns: readonly string[]): LocalService => ({
    name,
    title: name,
    types: {},
    start: async () => undefined,
    stop: async () => undefined,
    receiver: (arn) => {
      asked.push(name);
      return arns.includes(arn) ? { deliver: async () => undefined } : undefined;
    },
  });
  const services = [service('first', ['arn:a']), service('second', ['arn:a', 'arn:b'])].map((each) => () => each);
  const surroundings = { dataDir, logDir: dataDir, leftovers: new Leftovers(join(dataDir, 'processes.json')), log: () => undefined };
  const { context: { receiver } } = prepareRun({ directory: '/', stacks: [], images: new Map(), files: new Map() }, { services }, surroundings);
  const found = ['arn:a', 'arn:b', 'arn:c'].map((arn) => receiver(arn) !== undefined);
  assert.deepEqual(found, [true, true, false]);
  assert.deepEqual(asked, ['first', 'first', 'second', 'first', 'second']);
});
