import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { readAssembly } from './assembly.ts';
import type { StackArtifact, Template } from './assembly.ts';
import { UnresolvedError } from './intrinsics.ts';
import type { Model } from './model.ts';
import { prepared } from '../../test/prepared.ts';
import { temporaryFolder } from '../../test/temporary.ts';

async function run(context: TestContext, templates: Record<string, Template>, directory = '/') {
  const stacks = Object.entries(templates).map(([name, template]): StackArtifact =>
    ({ id: name, name, template, account: undefined, region: undefined, directory }));
  return prepared(context, { directory, stacks, images: new Map(), files: new Map() });
}

async function modelOf(context: TestContext, templates: Record<string, Template>, directory?: string): Promise<Model> {
  return (await run(context, templates, directory)).model;
}

function valueOf(model: Model, value: unknown): unknown {
  return (model.stacks.at(-1) ?? assert.fail()).evaluator.resolve(value, 'here');
}

test('resources are called as AWS calls them', async (context) => {
  const { model, builtIn } = await run(context, {
    Shop: {
      Resources: {
        Queue: { Type: 'AWS::SQS::Queue', Properties: { QueueName: 'orders' } },
        Fifo: { Type: 'AWS::SQS::Queue', Properties: { FifoQueue: true } },
        Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: 'shop' } },
        Rule: { Type: 'AWS::Events::Rule', Properties: { Name: 'created', EventBusName: { Ref: 'Bus' } } },
        Plain: { Type: 'AWS::Events::Rule', Properties: { Name: 'plain' } },
        Secret: { Type: 'AWS::SecretsManager::Secret', Properties: { Name: 'login' } },
        Attached: { Type: 'AWS::SecretsManager::SecretTargetAttachment', Properties: { SecretId: { Ref: 'Secret' } } },
        Function: { Type: 'AWS::Lambda::Function', Properties: { FunctionName: 'fn' } },
        Alias: { Type: 'AWS::Lambda::Alias', Properties: { FunctionName: { Ref: 'Function' }, Name: 'live' } },
        Role: { Type: 'AWS::IAM::Role', Properties: { RoleName: 'writer' } },
        Stream: { Type: 'AWS::Kinesis::Stream', Properties: { StreamName: 'news' } },
        Bucket: { Type: 'AWS::S3::Bucket' },
        Machine: { Type: 'AWS::StepFunctions::StateMachine', Properties: { StateMachineName: 'pay' } },
        Off: { Type: 'AWS::SQS::Queue', Condition: 'Never' },
      },
      Conditions: { Never: { 'Fn::Equals': [1, 2] } },
    },
  });
  const cases: [unknown, unknown][] = [
    [{ Ref: 'Queue' }, `${builtIn.sqs.url}/000000000000/orders`],
    [{ 'Fn::GetAtt': ['Queue', 'Arn'] }, 'arn:aws:sqs:us-east-1:000000000000:orders'],
    [{ Ref: 'Rule' }, 'shop|created'],
    [{ 'Fn::GetAtt': ['Rule', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:rule/shop/created'],
    [{ 'Fn::GetAtt': ['Plain', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:rule/plain'],
    [{ 'Fn::GetAtt': ['Bus', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:event-bus/shop'],
    [{ Ref: 'Attached' }, builtIn.secretsManager.store.arn('login')],
    [{ Ref: 'Alias' }, 'arn:aws:lambda:us-east-1:000000000000:function:fn:live'],
    [{ 'Fn::GetAtt': ['Role', 'Arn'] }, 'arn:aws:iam::000000000000:role/writer'],
    [{ Ref: 'Stream' }, 'news'],
    [{ Ref: 'Machine' }, 'arn:aws:states:us-east-1:000000000000:stateMachine:pay'],
  ];
  for (const [value, expected] of cases) assert.deepEqual(valueOf(model, value), expected, JSON.stringify(value));
  assert.match(String(valueOf(model, { 'Fn::GetAtt': ['Fifo', 'QueueName'] })), /^Shop-Fifo-[0-9a-f]{8}\.fifo$/);
  assert.match(String(valueOf(model, { 'Fn::GetAtt': ['Bucket', 'Arn'] })), /^arn:aws:s3:::shop-bucket-[0-9a-f]{8}$/);
  assert.throws(() => valueOf(model, { Ref: 'Off' }), UnresolvedError);
  assert.throws(() => valueOf(model, { 'Fn::GetAtt': ['Stream', 'StreamId'] }), /here: the local run does not know StreamId of Shop\.Stream \(AWS::Kinesis::Stream\)/);
});

test('generated names are the same at every start, fit, and differ between stacks', async (context) => {
  const Resources = { [`Queue${'x'.repeat(100)}`]: { Type: 'AWS::SQS::Queue' } };
  const names = async () => {
    const model = await modelOf(context, { One: { Resources }, Two: { Resources } });
    return model.ofType('AWS::SQS::Queue').map((queue) => String(queue.attribute('QueueName', 'here')));
  };
  const first = await names();
  assert.deepEqual(await names(), first);
  assert.equal(new Set(first).size, 2);
  for (const name of first) assert.equal(name.length, 80);
});

test('stacks take values from each other by export, by output, and from nested stacks in both directions', async (context) => {
  const directory = temporaryFolder(context);
  const nested: Template = {
    Parameters: { bus: { Type: 'String' } },
    Resources: { Inner: { Type: 'AWS::SQS::Queue', Properties: { QueueName: { 'Fn::Join': ['-', ['for', { Ref: 'bus' }]] } } } },
    Outputs: { name: { Value: { 'Fn::GetAtt': ['Inner', 'QueueName'] } } },
  };
  writeFileSync(join(directory, 'nested.json'), JSON.stringify(nested));
  const model = await modelOf(context, {
    Data: {
      Resources: { Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: 'shop' } } },
      Outputs: { BusName: { Value: { Ref: 'Bus' }, Export: { Name: { 'Fn::Sub': '${AWS::StackName}:bus' } } } },
    },
    Shop: {
      Resources: {
        Nested: { Type: 'AWS::CloudFormation::Stack', Properties: { Parameters: { bus: { 'Fn::ImportValue': 'Data:bus' } } }, Metadata: { 'aws:asset:path': 'nested.json' } },
        Setting: { Type: 'AWS::SSM::Parameter', Properties: { Name: '/shop/bus', Type: 'String', Value: { 'Fn::GetStackOutput': { StackName: 'Data', OutputName: 'BusName' } } } },
      },
    },
  }, directory);
  const shop = model.stacks.find(({ name }) => name === 'Shop') ?? assert.fail();
  assert.deepEqual(model.stacks.map(({ name }) => name), ['Data', 'Shop', 'Shop-Nested']);
  assert.equal(shop.evaluator.resolve({ 'Fn::GetAtt': ['Nested', 'Outputs.name'] }, 'here'), 'for-shop');
  assert.equal(shop.evaluator.resolve('{{resolve:ssm:/shop/bus}}', 'here'), 'shop');
  assert.throws(() => shop.evaluator.resolve({ 'Fn::ImportValue': 'Nobody' }, 'here'), /no stack of this run exports Nobody/);
  assert.throws(() => shop.evaluator.resolve('{{resolve:ssm:/shop/none}}', 'here'), /no stack of this run has the SSM parameter \/shop\/none/);
});

test('an assembly that was not made by the command line of the CDK has the paths of its constructs and the templates of nested stacks, too', async (context) => {
  const app = new cdk.App({ outdir: temporaryFolder(context), analyticsReporting: false });
  const stack = new cdk.Stack(new cdk.Stage(app, 'Prod'), 'Shop');
  const nested = new cdk.NestedStack(stack, 'Nested');
  const queues = [new sqs.Queue(stack, 'Same'), new sqs.Queue(nested, 'Other', { queueName: 'other' }), new sqs.Queue(nested, 'Same')];
  new cdk.CfnOutput(stack, 'Arn', { value: queues[1]!.queueArn });
  const { model, warnings } = await prepared(context, readAssembly(app.synth().directory));
  // The id of two queues tells neither of them.
  assert.deepEqual(model.ofType('AWS::SQS::Queue').map(({ constructPath }) => constructPath.replace(/\.Same\w+$/, '.Same')), [
    'Prod-Shop.Same', 'Prod/Shop/Nested/Other', `${model.stacks[1]?.name}.Same`,
  ]);
  assert.equal(model.stacks[0]?.output('Arn', 'here'), 'arn:aws:sqs:us-east-1:000000000000:other');
  assert.deepEqual(warnings, []);
});

test('the charts that the cluster needs for itself are known by name; any other may hold something that programs would miss', async (context) => {
  const known = ['keda', 'oci://ghcr.io/kedacore/charts/keda', 'aws-load-balancer-controller', 'opentelemetry-collector'];
  const other = ['redis', 'keda-add-ons-http', { Ref: 'Chart' }];
  const resources = [...known, ...other].map((Chart, index) => [`R${index}`, { Type: 'Custom::AWSCDK-EKS-HelmChart', Properties: { Chart } }]);
  const template: Template = { Resources: Object.fromEntries(resources) as NonNullable<Template['Resources']> };
  const { builtIn, model, withoutMeaning, warnings } = await run(context, { Shop: template });
  await builtIn.kubernetes.make(model);
  assert.deepEqual([...withoutMeaning.values()], [2, 1, 1]);
  assert.deepEqual(warnings, ['redis', 'keda-add-ons-http', 'of an unknown name'].map((chart, index) =>
    `The local run cannot make Shop.R${index + known.length} (Helm chart ${chart}): none of its objects is there.`));
});
