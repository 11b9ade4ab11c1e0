import './strict-mode';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { app as existingPlatform } from '../../examples/existing-platform';
import { app as gitops } from '../../examples/gitops';
import { app as newPipeline } from '../../examples/new-pipeline';
import { app as ownTarget } from '../../examples/own-target';
import { unacknowledgedFindings } from '../nag';

describe.each([
  ['new-pipeline', newPipeline, /^Shop\/Pipeline\//, 60],
  ['existing-platform', existingPlatform, /^Orders\/Pipeline\//, 15],
  ['gitops', gitops, /^Loyalty\/Points\//, 5],
  // What the target makes is the user's own.
  ['own-target', ownTarget, /^Shipping\/Labels\/(Rule|Queue|DeadLetterQueue|Alarms)/, 15],
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

describe('a target that is written outside of the library', () => {
  let template: Template;
  let queue: string;
  beforeAll(() => {
    template = Template.fromJSON(ownTarget.synth().stacks[0].template);
    [queue] = Object.keys(template.findResources('AWS::SQS::Queue', { Properties: { RedrivePolicy: Match.anyValue() } }));
  });

  test('has the queue and what the consumer is given in its environment', () => {
    template.hasResourceProperties('AWS::ECS::TaskDefinition', {
      ContainerDefinitions: [Match.objectLike({ Environment: [{ Name: 'QUEUE_URL', Value: { Ref: queue } }, { Name: 'LABEL_FORMAT', Value: 'A6' }] })],
    });
  });

  test('says how long its processing takes, from which follows the visibility timeout', () => {
    expect(template.findResources('AWS::SQS::Queue')[queue].Properties.VisibilityTimeout).toBe(360);
  });

  test('may consume the queue, and scales by it', () => {
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: [Match.objectLike({ Resource: { 'Fn::GetAtt': [queue, 'Arn'] }, Action: Match.arrayWith(['sqs:ReceiveMessage']) })] },
      Roles: [{ Ref: Match.stringLikeRegexp('^LabelsTaskTaskRole') }],
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmActions: [{ Ref: Match.stringLikeRegexp('^LabelsServiceTaskCountTargetBacklog') }],
      Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [queue, 'QueueName'] } }],
    });
  });
});

test('the strict rules are on', () => {
  const app = new App();
  const stack = new Stack(app, 'Wrong');
  const deadLetterQueue = new sqs.CfnQueue(stack, 'DeadLetterQueue');
  new sqs.CfnQueue(stack, 'Queue', { fifoQueue: true, redrivePolicy: { deadLetterTargetArn: deadLetterQueue.attrArn, maxReceiveCount: 5 } });
  expect(() => app.synth()).toThrow(/E3502/);
});
