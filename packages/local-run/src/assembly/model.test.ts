import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { StackArtifact, Template } from './assembly.ts';
import { UnresolvedError } from './intrinsics.ts';
import { Model } from './model.ts';
import { isMade, withoutCounterpart } from './types.ts';
import { temporaryFolder } from '../../test/temporary.ts';

function modelOf(templates: Record<string, Template>, directory = '/'): Model {
  const stacks = Object.entries(templates).map(([name, template]): StackArtifact => ({ id: name, name, template, account: undefined, region: undefined, directory }));
  return new Model({ directory, stacks, images: new Map(), files: new Map() }, {
    account: '000000000000', region: 'us-east-1',
    queueUrl: (name) => `http://127.0.0.1:9/000000000000/${name}`,
    database: () => ({ host: '127.0.0.1', port: 1111, readerPort: 2222, database: 'orders', masterSecretArn: 'arn:master' }),
    secretArn: (name) => `arn:${name}`,
    secretValue: () => undefined,
  });
}

function valueOf(model: Model, value: unknown): unknown {
  return (model.stacks.at(-1) ?? assert.fail()).evaluator.resolve(value, 'here');
}

test('resources are called as AWS calls them', () => {
  const model = modelOf({
    Shop: {
      Resources: {
        Queue: { Type: 'AWS::SQS::Queue', Properties: { QueueName: 'orders' } },
        Fifo: { Type: 'AWS::SQS::Queue', Properties: { FifoQueue: true } },
        Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: 'shop' } },
        Rule: { Type: 'AWS::Events::Rule', Properties: { Name: 'created', EventBusName: { Ref: 'Bus' } } },
        Plain: { Type: 'AWS::Events::Rule', Properties: { Name: 'plain' } },
        Secret: { Type: 'AWS::SecretsManager::Secret', Properties: { Name: 'login' } },
        Attached: { Type: 'AWS::SecretsManager::SecretTargetAttachment', Properties: { SecretId: { Ref: 'Secret' } } },
        Database: { Type: 'AWS::RDS::DBCluster' },
        Function: { Type: 'AWS::Lambda::Function', Properties: { FunctionName: 'fn' } },
        Alias: { Type: 'AWS::Lambda::Alias', Properties: { FunctionName: { Ref: 'Function' } } },
        Role: { Type: 'AWS::IAM::Role', Properties: { RoleName: 'writer' } },
        Topic: { Type: 'AWS::SNS::Topic', Properties: { TopicName: 'news' } },
        Off: { Type: 'AWS::SQS::Queue', Condition: 'Never' },
      },
      Conditions: { Never: { 'Fn::Equals': [1, 2] } },
    },
  });
  const cases: [unknown, unknown][] = [
    [{ Ref: 'Queue' }, 'http://127.0.0.1:9/000000000000/orders'],
    [{ 'Fn::GetAtt': ['Queue', 'Arn'] }, 'arn:aws:sqs:us-east-1:000000000000:orders'],
    [{ Ref: 'Rule' }, 'shop|created'],
    [{ 'Fn::GetAtt': ['Rule', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:rule/shop/created'],
    [{ 'Fn::GetAtt': ['Plain', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:rule/plain'],
    [{ 'Fn::GetAtt': ['Bus', 'Arn'] }, 'arn:aws:events:us-east-1:000000000000:event-bus/shop'],
    [{ Ref: 'Attached' }, 'arn:login'],
    [{ 'Fn::GetAtt': ['Database', 'Endpoint.Address'] }, '127.0.0.1'],
    [{ 'Fn::GetAtt': ['Database', 'Endpoint.Port'] }, '1111'],
    [{ 'Fn::GetAtt': ['Database', 'ReadEndpoint.Address'] }, '127.0.0.1:2222'],
    [{ 'Fn::GetAtt': ['Database', 'MasterUserSecret.SecretArn'] }, 'arn:master'],
    [{ Ref: 'Alias' }, 'fn'],
    [{ 'Fn::GetAtt': ['Role', 'Arn'] }, 'arn:aws:iam::000000000000:role/writer'],
    [{ Ref: 'Topic' }, 'news'],
  ];
  for (const [value, expected] of cases) assert.deepEqual(valueOf(model, value), expected, JSON.stringify(value));
  assert.match(String(valueOf(model, { 'Fn::GetAtt': ['Fifo', 'QueueName'] })), /^Shop-Fifo-[0-9a-f]{8}\.fifo$/);
  assert.throws(() => valueOf(model, { Ref: 'Off' }), UnresolvedError);
  assert.throws(() => valueOf(model, { 'Fn::GetAtt': ['Topic', 'TopicName'] }), /here: the local run does not know TopicName of Shop\.Topic \(AWS::SNS::Topic\)/);
});

test('generated names are the same at every start, fit, and differ between stacks', () => {
  const Resources = { [`Queue${'x'.repeat(100)}`]: { Type: 'AWS::SQS::Queue' } };
  const names = () => modelOf({ One: { Resources }, Two: { Resources } }).ofType('AWS::SQS::Queue').map((queue) => String(queue.attribute('QueueName', 'here')));
  assert.deepEqual(names(), names());
  assert.equal(new Set(names()).size, 2);
  for (const name of names()) assert.equal(name.length, 80);
});

test('stacks take values from each other by export, by output, and from nested stacks in both directions', (context) => {
  const directory = temporaryFolder(context);
  const nested: Template = {
    Parameters: { bus: { Type: 'String' } },
    Resources: { Inner: { Type: 'AWS::SQS::Queue', Properties: { QueueName: { 'Fn::Join': ['-', ['for', { Ref: 'bus' }]] } } } },
    Outputs: { name: { Value: { 'Fn::GetAtt': ['Inner', 'QueueName'] } } },
  };
  writeFileSync(join(directory, 'nested.json'), JSON.stringify(nested));
  const model = modelOf({
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

test('every type is made, needs nothing for a reason, or is named as not supported', () => {
  for (const type of ['AWS::SQS::Queue', 'AWS::Events::Archive', 'AWS::RDS::DBInstance']) assert.ok(isMade(type), type);
  for (const type of ['AWS::IAM::Role', 'AWS::EC2::VPC', 'AWS::KMS::Key', 'AWS::EKS::Cluster', 'AWS::Logs::LogGroup']) assert.ok(withoutCounterpart(type), type);
  // The charts that the cluster needs for itself are known by name; any other may hold what programs would miss.
  const chart = (Chart: unknown) => withoutCounterpart('Custom::AWSCDK-EKS-HelmChart', { Chart });
  for (const name of ['keda', 'oci://ghcr.io/kedacore/charts/keda', 'aws-load-balancer-controller']) assert.match(chart(name) ?? '', /^Helm chart (keda|aws-load-balancer-controller): /, name);
  for (const name of ['redis', 'keda-add-ons-http', { Ref: 'Chart' }, undefined]) assert.equal(chart(name), undefined, String(name));
  assert.match(withoutCounterpart('AWS::ApplicationAutoScaling::ScalableTarget') ?? '', /^scaling: /);
  // Close to types that need nothing, but programs would miss these.
  for (const type of ['AWS::DynamoDB::Table', 'AWS::EC2::Instance', 'AWS::Lambda::Url', 'AWS::RDS::DBProxy', 'Custom::Anything']) {
    assert.ok(!isMade(type) && withoutCounterpart(type) === undefined, type);
  }
});
