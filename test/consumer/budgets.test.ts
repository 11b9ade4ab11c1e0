import * as cdk from 'aws-cdk-lib';
import { App, CfnResource, Duration, NestedStack, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import type { Construct } from 'constructs';
import { BufferedEventConsumer, ConsumerTarget, IConsumerTarget, QueueScaling, WorkloadImage } from '../../src';
import { testKubernetes } from '../cluster';
import { rawConsumer } from './raw-consumer';

let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Shop');
});

const eventPattern = { detailType: ['OrderCreated'] };

function lambdaFunction(scope: Construct, id: string): lambda.Function {
  return new lambda.Function(scope, id, {
    runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
  });
}

function resourcesOf(of: Stack): { [type: string]: number } {
  const types = Object.values(Template.fromStack(of).toJSON().Resources as { [id: string]: { Type: string } }).map(({ Type }) => Type);
  return Object.fromEntries([...new Set(types)].sort().map((type) => [type, types.filter((other) => other === type).length]));
}

/** Those of nested stacks too, as they have no messages of their own. */
function warnings(): unknown[][] {
  return Annotations.fromStack(stack).findWarning('*', Match.anyValue()).map(({ id, entry }) => [id, entry.data]);
}

const total = (counts: { [type: string]: number }) => Object.values(counts).reduce((sum, count) => sum + count, 0);

describe('resources of one consumer', () => {
  test('with a Lambda function, its key and its alarms: at most 12 beside the key', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    new BufferedEventConsumer(stack, 'Stock', { eventPattern, encryptionKey, target: ConsumerTarget.lambdaFunction(lambdaFunction(stack, 'Fn')) })
      .addAlarms({ actions: [] });
    const { 'AWS::KMS::Key': _, ...resources } = resourcesOf(stack);
    expect(resources).toEqual({
      'AWS::CloudWatch::Alarm': 3,
      'AWS::Events::Rule': 1,
      'AWS::IAM::Policy': 1,
      'AWS::IAM::Role': 1,
      'AWS::Lambda::EventSourceMapping': 1,
      'AWS::Lambda::Function': 1,
      'AWS::SQS::Queue': 2,
      'AWS::SQS::QueuePolicy': 2,
    });
    expect(total(resources)).toBeLessThanOrEqual(12);
  });

  const own = (target: (role: iam.Role) => IConsumerTarget) => {
    const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
    new BufferedEventConsumer(stack, 'Stock', { eventPattern, target: target(role) });
    return total(resourcesOf(stack)) - 1;
  };
  const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
  const latency = { acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(1) };

  test.each<[string, number, (role: iam.Role) => IConsumerTarget]>([
    ['elsewhere', 6, (role) => ConsumerTarget.external(role, { processingTime: Duration.seconds(10) })],
    ['on Kubernetes', 11, () => ConsumerTarget.kubernetes(testKubernetes(stack), { image, scaling: QueueScaling.fixed(1) })],
    ['on Kubernetes with KEDA', 12, (operatorRole) => ConsumerTarget.kubernetes(testKubernetes(stack), {
      image, scaling: QueueScaling.keda({ operatorRole, ...latency }),
    })],
  ])('%s: %d', (_, count, target) => {
    expect(own(target)).toBe(count);
  });

  test('as many as the same made by hand', () => {
    rawConsumer(stack, 'Stock', lambdaFunction(stack, 'Fn'));
    const raw = resourcesOf(stack);
    stack = new Stack(new App(), 'Shop');
    new BufferedEventConsumer(stack, 'Stock', { eventPattern, target: ConsumerTarget.lambdaFunction(lambdaFunction(stack, 'Fn')) });
    expect(resourcesOf(stack)).toEqual(raw);
  });
});

describe('100 consumers', () => {
  const fill = (scopeOf: (index: number) => Construct, count = 100) => {
    for (let index = 0; index < count; index++) {
      const scope = scopeOf(index);
      new BufferedEventConsumer(scope, `Consumer${index}`, {
        eventPattern, target: ConsumerTarget.lambdaFunction(lambdaFunction(scope, `Fn${index}`)),
      });
    }
  };

  test('in one stack are refused, with what to do', () => {
    fill(() => stack);
    expect(() => Template.fromStack(stack)).toThrow(new RegExp([
      /\[Shop\] The stack 'Shop' has 900 resources, of which 700 are from 100 consumers; CloudFormation allows 500\. /,
      /Make further consumers in nested stacks, at most 57 in each, .* \[cdk-order-pipeline:tooManyResources\]/,
    ].map(({ source }) => source).join('')));
  });

  test('in nested stacks are well, in as many as the message says', () => {
    const groups = Array.from({ length: Math.ceil(100 / 40) }, (_, index) => new NestedStack(stack, `Consumers${index}`));
    fill((index) => groups[Math.floor(index / 40)]!);
    expect(total(resourcesOf(stack))).toBe(3);
    expect(groups.map((group) => total(resourcesOf(group)))).toEqual([360, 360, 180]);
    expect(warnings()).toEqual([]);
  });

  test('in nested stacks of the number that the message says, with their functions outside', () => {
    const groups = ['A', 'B'].map((id) => new NestedStack(stack, id));
    for (let index = 0; index < 100; index++) {
      new BufferedEventConsumer(groups[Math.floor(index / 57)]!, `Consumer${index}`, {
        eventPattern, target: ConsumerTarget.lambdaFunction(lambdaFunction(stack, `Fn${index}`)),
      });
    }
    expect([stack, ...groups].map((each) => total(resourcesOf(each)))).toEqual([202, 399, 301]);
    expect(warnings()).toEqual([]);
  });

  test('make a fifth more constructs than the same by hand, at most', () => {
    const made = (add: (scope: Construct, id: string, fn: lambda.IFunction) => void) => {
      const scope = new Stack(new App(), 'Counted');
      const fn = lambdaFunction(scope, 'Fn');
      const before = scope.node.findAll().length;
      for (let index = 0; index < 100; index++) { add(scope, `Consumer${index}`, fn); }
      return (scope.node.findAll().length - before) / 100;
    };
    const library = made((scope, id, fn) => {
      new BufferedEventConsumer(scope, id, { eventPattern, target: ConsumerTarget.lambdaFunction(fn) });
    });
    expect(library / made(rawConsumer)).toBeLessThan(1.2);
  });
});

describe('a stack that gets full', () => {
  const consumers = (count: number) => {
    const fn = lambdaFunction(stack, 'Fn');
    for (let index = 0; index < count; index++) {
      new BufferedEventConsumer(stack, `Consumer${index}`, { eventPattern, target: ConsumerTarget.lambdaFunction(fn) });
    }
  };
  const others = (count: number) => {
    for (let index = 0; index < count; index++) { new CfnResource(stack, `Other${index}`, { type: 'AWS::CloudFormation::WaitConditionHandle' }); }
  };

  test('warns where CDK itself advises to split', () => {
    consumers(57);
    Template.fromStack(stack);
    expect(warnings()).toEqual([['/Shop', expect.stringMatching(/has 401 resources, of which 399 .*\[ack: cdk-order-pipeline:manyResources\]/)]]);
  });

  test('says nothing before', () => {
    consumers(56);
    expect(warnings()).toEqual([]);
  });

  test('keeps still if that is acknowledged', () => {
    cdk.Annotations.of(stack).acknowledgeWarning('cdk-order-pipeline:manyResources');
    consumers(60);
    expect(warnings()).toEqual([]);
  });

  test('says nothing if others fill it', () => {
    consumers(20);
    others(300);
    expect(warnings()).toEqual([]);
  });

  test('may be of the limit that the app sets', () => {
    stack = new Stack(new App({ context: { '@aws-cdk/core:stackResourceLimit': '20' } }), 'Small');
    consumers(3);
    expect(() => Template.fromStack(stack)).toThrow(/has 23 resources, .* CloudFormation allows 20\. .* at most 2 in each/);
  });

  test('has no limit if the app says so', () => {
    stack = new Stack(new App({ context: { '@aws-cdk/core:stackResourceLimit': '0' } }), 'Endless');
    consumers(80);
    expect(total(resourcesOf(stack))).toBe(562);
  });

  test('doesn\'t count policies that nobody has', () => {
    stack = new Stack(new App({ context: { '@aws-cdk/core:stackResourceLimit': '10' } }), 'Small');
    consumers(1);
    const role = iam.Role.fromRoleArn(stack, 'Elsewhere', `arn:aws:iam::${Token.asString({ Ref: 'AWS::AccountId' })}:role/other`, { mutable: false });
    for (let index = 0; index < 5; index++) {
      role.attachInlinePolicy(new iam.Policy(stack, `Policy${index}`, {
        statements: [new iam.PolicyStatement({ actions: ['sqs:ListQueues'], resources: ['*'] })],
      }));
    }
    expect(total(resourcesOf(stack))).toBe(9);
  });
});
