import './strict-mode';
import { App, Stack } from 'aws-cdk-lib';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { app as existingPlatform } from '../../examples/existing-platform';
import { app as gitops } from '../../examples/gitops';
import { app as newPipeline } from '../../examples/new-pipeline';
import { unacknowledgedFindings } from '../nag';

describe.each([
  ['new-pipeline', newPipeline, /^Shop\/Pipeline\//, 60],
  ['existing-platform', existingPlatform, /^Orders\/Pipeline\//, 15],
  ['gitops', gitops, /^Loyalty\/Points\//, 5],
])('%s', (_name, app, ofTheLibrary, resources) => {
  test('passes the strict CloudFormation rules', () => {
    const [stack] = app.synth().stacks;
    // An empty app has no findings either.
    expect(Object.keys(stack.template.Resources).length).toBeGreaterThan(resources);
  });

  test('has no findings of AwsSolutions in what the library makes', () => {
    const stack = app.node.children.find((child): child is Stack => Stack.isStack(child))!;
    expect(unacknowledgedFindings(stack).filter(finding => ofTheLibrary.test(finding.split(' at ')[1]))).toEqual([]);
  });
});

test('the strict rules are on', () => {
  const app = new App();
  const stack = new Stack(app, 'Wrong');
  const deadLetterQueue = new sqs.CfnQueue(stack, 'DeadLetterQueue');
  new sqs.CfnQueue(stack, 'Queue', { fifoQueue: true, redrivePolicy: { deadLetterTargetArn: deadLetterQueue.attrArn, maxReceiveCount: 5 } });
  expect(() => app.synth()).toThrow(/E3502/);
});
