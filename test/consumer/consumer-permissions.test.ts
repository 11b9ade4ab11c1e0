import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { externalTarget, functionOf, kubernetesTarget, ownTarget, roleOf, vpcOf } from './targets';
import { BufferedEventConsumer, ConsumerTarget, IConsumerTarget } from '../../src';

let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test');
});

const consumerOf = (target: IConsumerTarget) => new BufferedEventConsumer(stack, 'Consumer', { eventPattern: { detailType: ['OrderCreated'] }, target });

/** A host of each kind, with a part of the logical id of its role. */
const HOSTS: [string, RegExp, () => IConsumerTarget][] = [
  ['a Lambda function', /^FunctionServiceRole/, () => ConsumerTarget.lambdaFunction(functionOf(stack))],
  ['an alias of a function', /^FunctionServiceRole/, () => ConsumerTarget.lambdaFunction(functionOf(stack).addAlias('live'))],
  ['a workload on Kubernetes', /^ConsumerWorkloadRole/, () => kubernetesTarget(stack)],
  ['a process elsewhere', /^Role/, () => externalTarget(roleOf(stack))],
  ['a target of one\'s own', /^Role/, () => ownTarget({ grantee: roleOf(stack) })],
];

/** What the identity policies allow on anything but the queue, and to whom. */
function granted(from = stack): { Action: unknown; Resource: unknown; role: string }[] {
  return Object.values(Template.fromStack(from).findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => {
    const statements: { Action: unknown; Resource: unknown }[] = Properties.PolicyDocument.Statement;
    return statements.filter(({ Action }) => !JSON.stringify(Action).includes('sqs:'))
      .map(({ Action, Resource }) => ({ Action: [Action].flat(), Resource, role: Properties.Roles[0].Ref }));
  });
}

describe.each(HOSTS)('what is granted to a consumer is granted to %s', (_, role, target) => {
  test('for a bucket with a key', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const bucket = new s3.Bucket(stack, 'Bucket', { encryptionKey });
    const consumer = consumerOf(target());
    expect(bucket.grantRead(consumer).success).toBe(true);
    const arn = stack.resolve(bucket.bucketArn);
    expect(granted()).toEqual([
      {
        Action: expect.arrayContaining(['s3:GetObject*']),
        Resource: [arn, { 'Fn::Join': ['', [arn, '/*']] }],
        role: expect.stringMatching(role),
      },
      { Action: expect.arrayContaining(['kms:Decrypt']), Resource: stack.resolve(encryptionKey.keyArn), role: expect.stringMatching(role) },
    ]);
    // In one account nothing has to let them in.
    Template.fromStack(stack).resourceCountIs('AWS::S3::BucketPolicy', 0);
  });

  test('for a table, beside the permission to consume', () => {
    const table = new dynamodb.TableV2(stack, 'Table', { partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING } });
    const consumer = consumerOf(target());
    table.grant(consumer, 'dynamodb:GetItem');
    expect(granted()).toEqual([{
      Action: ['dynamodb:GetItem'],
      Resource: stack.resolve(table.tableArn),
      role: expect.stringMatching(role),
    }]);
    expect(consumer.grantPrincipal).toBe(consumer.targetConfig.grantee!.grantPrincipal);
  });

  test('for a bucket of another stack, which needs nothing of this one', () => {
    const storage = new Stack(app, 'Storage');
    new s3.Bucket(storage, 'Bucket').grantRead(consumerOf(target()));
    expect(granted().map((grant) => grant.role)).toEqual([expect.stringMatching(role)]);
    app.synth();
    expect(storage.dependencies).toEqual([]);
    expect(stack.dependencies).toEqual([storage]);
  });
});

test.each<[string, () => IConsumerTarget]>([
  ['of one\'s own, that does not say who it is', () => ownTarget()],
  ['that is a function, imported without its role', () => ConsumerTarget.lambdaFunction(
    lambda.Function.fromFunctionAttributes(stack, 'Imported', { functionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:orders', sameEnvironment: true }),
    { processingTime: functionOf(stack).timeout },
  )],
])('a grant to a target %s, has no effect but a warning', (_, target) => {
  const bucket = new s3.Bucket(stack, 'Bucket');
  const consumer = consumerOf(target());
  bucket.grantRead(consumer);
  expect(consumer.grantPrincipal).toBeInstanceOf(iam.UnknownPrincipal);
  expect(granted()).toEqual([]);
  Template.fromStack(stack).resourceCountIs('AWS::S3::BucketPolicy', 0);
  Annotations.fromStack(stack).hasWarning('/Test/Consumer', Match.stringLikeRegexp('Add statement to this resource\'s role: .*s3:GetObject'));
});

test('a policy that has to name a target that does not say who it is, is an error that names the consumer', () => {
  const bucket = s3.Bucket.fromBucketAttributes(stack, 'Bucket', { bucketName: 'orders', account: '999999999999' });
  const consumer = consumerOf(ownTarget());
  expect(() => bucket.grantRead(consumer)).toThrow('a policy has to name the target, whose identity is unknown: give the permission to its role, '
    + "or let your own target return `grantee` (in 'Test/Consumer')");
});

describe('connections', () => {
  const database = () => new ec2.Connections({
    securityGroups: [new ec2.SecurityGroup(stack, 'DatabaseGroup', { vpc: vpcOf(stack) })], defaultPort: ec2.Port.tcp(6432),
  });

  test.each<[string, unknown, () => IConsumerTarget]>([
    ['a function in a VPC', { 'Fn::GetAtt': [expect.stringMatching(/^FunctionSecurityGroup/), 'GroupId'] },
      () => ConsumerTarget.lambdaFunction(functionOf(stack, { vpc: vpcOf(stack) }))],
    ['an alias of a function in a VPC', { 'Fn::GetAtt': [expect.stringMatching(/^FunctionSecurityGroup/), 'GroupId'] },
      () => ConsumerTarget.lambdaFunction(functionOf(stack, { vpc: vpcOf(stack) }).addAlias('live'))],
    ['a version of a function in a VPC', { 'Fn::GetAtt': [expect.stringMatching(/^FunctionSecurityGroup/), 'GroupId'] },
      () => ConsumerTarget.lambdaFunction(functionOf(stack, { vpc: vpcOf(stack) }).currentVersion)],
    ['a workload on Kubernetes', 'sg-cluster', () => kubernetesTarget(stack)],
    ['a target of one\'s own', 'sg-own', () => ownTarget({
      connections: new ec2.Connections({ securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(stack, 'Own', 'sg-own')] }),
    })],
  ])('of a consumer are those of %s', (_, source, target) => {
    database().allowDefaultPortFrom(consumerOf(target()));
    const rules = Object.values(Template.fromStack(stack).findResources('AWS::EC2::SecurityGroupIngress')).map(({ Properties }) => Properties);
    expect(rules).toEqual([expect.objectContaining({
      GroupId: { 'Fn::GetAtt': [expect.stringMatching(/^DatabaseGroup/), 'GroupId'] },
      SourceSecurityGroupId: source,
      IpProtocol: 'tcp',
      FromPort: 6432,
      ToPort: 6432,
    })]);
  });

  test.each<[string, () => IConsumerTarget]>([
    ['a function outside of a VPC', () => ConsumerTarget.lambdaFunction(functionOf(stack))],
    ['a process elsewhere', () => externalTarget(roleOf(stack))],
    ['a target of one\'s own that says none', () => ownTarget()],
  ])('of %s are an error that says what to do', (_, target) => {
    const consumer = consumerOf(target());
    expect(() => database().allowDefaultPortFrom(consumer)).toThrow('the connections of the target are unknown: put its function into '
      + "a VPC, or let your own target return `connections` (in 'Test/Consumer')");
  });
});
