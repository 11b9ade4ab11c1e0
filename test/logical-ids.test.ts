import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { expectLogicalIds } from './logical-ids';

let folder: string;
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'logical-ids-')); });
afterEach(() => rmSync(folder, { recursive: true }));

test.each<[string, object, RegExp | undefined]>([
  ['the promised one', { Queue: 'AWS::SQS::Queue' }, undefined],
  ['another name', { Renamed: 'AWS::SQS::Queue' }, /^This is a breaking change: CloudFormation deletes these resources of deployed stacks.*\s+lost: Renamed\s+new: Queue/],
  ['another type', { Queue: 'AWS::SNS::Topic' }, /^This is a breaking change.*\s+lost: Queue/],
  ['none yet', {}, /^These logical ids are not promised yet.*: Queue\./],
])('a logical id is compared with %s', (_, promised, message) => {
  const stack = new Stack(new App(), 'Test');
  new sqs.CfnQueue(stack, 'Queue');
  const manifest = join(folder, 'ids.json');
  writeFileSync(manifest, JSON.stringify(promised));
  const compare = () => expectLogicalIds(stack, manifest);
  if (message) { expect(compare).toThrow(message); } else { expect(compare).not.toThrow(); }
});
