import './strict-mode';
import { readFileSync } from 'node:fs';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { app as existingPlatform } from '../../examples/existing-platform';
import { app as gitops } from '../../examples/gitops';
import { app as newPipeline } from '../../examples/new-pipeline';
import { app as ownTarget } from '../../examples/own-target';
import { unacknowledgedFindings } from '../nag';

describe.each([
  ['new-pipeline', newPipeline, /^Shop\/(Pipeline|Prerequisites)\//, 80, []],
  // The tags of imported subnets can't be seen.
  ['existing-platform', existingPlatform, /^Orders\/Pipeline\//, 15, ['subnetTagsUnknown']],
  ['gitops', gitops, /^Loyalty\/Points\//, 5, []],
  // What the target makes is the user's own.
  ['own-target', ownTarget, /^Shipping\/Labels\/(Rule|Queue|DeadLetterQueue|Alarms)/, 15, []],
])('%s', (_name, app, ofTheLibrary, resources, warnings) => {
  test('passes the strict CloudFormation rules', () => {
    const [stack] = app.synth().stacks;
    // An empty app has no findings either.
    expect(Object.keys(stack.template.Resources).length).toBeGreaterThan(resources);
  });

  test('warns of nothing that can be done here', () => {
    const messages = app.synth().stacks.flatMap((stack) => stack.messages).filter(({ level }) => level !== 'info');
    const ids = messages.map(({ entry }) => /\[ack: cdk-order-pipeline:(\w+)\]$/.exec(String(entry.data))?.[1] ?? entry.data);
    expect(ids).toEqual(warnings);
  });

  test('has no findings of AwsSolutions in what the library makes', () => {
    const stack = app.node.children.find((child): child is Stack => Stack.isStack(child))!;
    expect(unacknowledgedFindings(stack).filter(finding => ofTheLibrary.test(finding.split(' at ')[1]))).toEqual([]);
  });
});

describe('the shortest program', () => {
  let template: Template;
  beforeAll(() => {
    template = Template.fromJSON(newPipeline.synth().stacks[0].template);
  });
  const idsOf = (type: string) => Object.keys(template.findResources(type));
  /** The resource that applies an object to the cluster. */
  const applying = (text: string) => {
    const found = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).filter(([, { Properties }]) =>
      JSON.stringify(Properties.Manifest).replaceAll('\\', '').includes(text));
    expect(found).toHaveLength(1);
    return { id: found[0][0], dependsOn: found[0][1].DependsOn as string[], manifest: JSON.stringify(found[0][1].Properties.Manifest).replaceAll('\\', '') };
  };

  test('migrates its database, once that has a writer and a reader and lets the job in', () => {
    const [instances, rules] = [idsOf('AWS::RDS::DBInstance'), idsOf('AWS::EC2::SecurityGroupIngress')];
    expect([instances.length, rules.filter((id) => id.startsWith('PipelineDatabase')).length]).toEqual([2, 1]);
    const job = applying('"kind":"Job"');
    expect(job.manifest).toContain('"command":["node","migrate.js"]');
    expect(job.dependsOn).toEqual(expect.arrayContaining([...instances, ...rules.filter((id) => id.startsWith('PipelineDatabase'))]));
    const success = idsOf('Custom::AWSCDK-EKS-KubernetesObjectValue').find((id) => id.startsWith('PipelineMigrationSucceeded'));
    for (const program of ['api-write-service', 'api-read-service', 'outbox-relay', 'inventory-service']) {
      expect({ program, after: applying(`"command":["node","${program}.js"]`).dependsOn }).toEqual({ program, after: expect.arrayContaining([success]) });
    }
  });

  test('has what autoscalers and network policies need of the cluster, before what runs there', () => {
    const [addon] = Object.entries(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: 'metrics-server' } }));
    const configMap = applying('"kind":"ConfigMap"');
    expect(configMap.manifest).toContain('"metadata":{"name":"amazon-vpc-cni","namespace":"kube-system"');
    expect(configMap.manifest).toContain('"data":{"enable-network-policy-controller":"true"}');
    const namespace = applying('"kind":"Namespace","metadata":{"name":"orders"');
    const [keda] = idsOf('Custom::AWSCDK-EKS-HelmChart');
    expect(applying('"kind":"Job"').dependsOn).toEqual(expect.arrayContaining([addon[0], configMap.id, namespace.id, keda]));
    expect(applying('"kind":"ScaledObject"').dependsOn).toEqual(expect.arrayContaining([keda, applying('inventory-service.js').id]));
  });

  test('says where its APIs are', () => {
    template.resourcePropertiesCountIs('Custom::AWSCDK-EKS-KubernetesObjectValue', { ObjectType: 'service' }, 2);
    const outputs = Object.values(template.findOutputs('*')).map(({ Value, Description }) => [Description, Value]);
    const url = (id: string) => ({ 'Fn::Join': ['', ['https://', { 'Fn::GetAtt': [expect.stringContaining(id), 'Value'] }]] });
    expect(outputs).toEqual(expect.arrayContaining([
      ['Address of commandApi', url('CommandApi')],
      ['Address of queryApi', url('QueryApi')],
    ]));
  });

  /** The program as its user writes it: the example is one of several in a folder, and hands its app to this test. */
  const program = () => readFileSync('examples/new-pipeline.ts', 'utf8')
    .replace("import { join } from 'path';\n", '')
    .replace("join(__dirname, 'services')", "'services'")
    .replace('export const app = new App();\n', '')
    .replace('new Stack(app,', 'new Stack(new App(),');

  test('has at most 30 lines with its imports', () => {
    expect(program().split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(30);
  });

  test('stands in the README', () => {
    expect(readFileSync('README.md', 'utf8')).toContain(`\n${program()}\`\`\`\n`);
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
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Resource: { 'Fn::GetAtt': [queue, 'Arn'] }, Action: Match.arrayWith(['sqs:ReceiveMessage']) }),
          // What is granted to the consumer.
          Match.objectLike({ Action: Match.arrayWith(['s3:PutObject']) }),
        ],
      },
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
