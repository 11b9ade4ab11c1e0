import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import {
  BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, IConsumerTarget, LambdaConsumerOptions, QueueScaling, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { manifestOf } from '../kubernetes-manifests';
import { unacknowledgedFindings } from '../nag';

const eventPattern = { detailType: ['OrderCreated'] };
let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test');
});

function consumerOf(target: IConsumerTarget, props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', { eventPattern, target, ...props });
}

const CONSUME = ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'];

/** Every statement of the stack's identity policies. */
function granted(from = stack): { Action: unknown; Resource: unknown }[] {
  return Object.values(Template.fromStack(from).findResources('AWS::IAM::Policy'))
    .flatMap((policy) => policy.Properties.PolicyDocument.Statement)
    .map(({ Action, Resource }) => ({ Action, Resource }));
}

describe('a Lambda function', () => {
  const functionOf = (scope = stack, props: Partial<lambda.FunctionProps> = {}) => new lambda.Function(scope, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
    role: new iam.Role(scope, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') }),
    timeout: Duration.seconds(20),
    ...props,
  });

  test('gets batches and reports failed messages one by one', () => {
    const fn = functionOf();
    const consumer = consumerOf(ConsumerTarget.lambdaFunction(fn, {
      batchSize: 100, maxBatchingWindow: Duration.seconds(5), maxConcurrency: 20,
    }));
    const template = Template.fromStack(stack);
    const [policy] = Object.keys(template.findResources('AWS::IAM::Policy'));
    template.hasResource('AWS::Lambda::EventSourceMapping', {
      Properties: {
        FunctionName: stack.resolve(fn.functionName),
        EventSourceArn: stack.resolve(consumer.queue.queueArn),
        FunctionResponseTypes: ['ReportBatchItemFailures'],
        BatchSize: 100,
        MaximumBatchingWindowInSeconds: 5,
        ScalingConfig: { MaximumConcurrency: 20 },
      },
      // Lambda checks the permission when the mapping is made.
      DependsOn: [policy],
    });
    template.hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 6 * 20 + 5 });
  });

  test('may consume this queue and nothing else', () => {
    const consumer = consumerOf(ConsumerTarget.lambdaFunction(functionOf()));
    expect(granted()).toEqual([{ Action: CONSUME, Resource: stack.resolve(consumer.queue.queueArn) }]);
  });

  test('may decrypt with a customer managed key', () => {
    const key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
    consumerOf(ConsumerTarget.lambdaFunction(functionOf()), { encryptionKey: key });
    expect(granted()).toContainEqual({ Action: 'kms:Decrypt', Resource: stack.resolve(key.keyArn) });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('makes nine resources in all, without findings', () => {
    consumerOf(ConsumerTarget.lambdaFunction(functionOf()));
    expect(Object.keys(Template.fromStack(stack).toJSON().Resources)).toHaveLength(9);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('gets the environment, but no queue to poll', () => {
    consumerOf(ConsumerTarget.lambdaFunction(functionOf()), { environment: { DB_NAME: 'orders' } });
    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { DB_NAME: 'orders' } } });
    expect(JSON.stringify(Template.fromStack(stack).toJSON())).not.toContain('QUEUE_URL');
  });

  test('with another value of a variable is an error, with the same it is not', () => {
    const fn = functionOf(stack, { environment: { DB_NAME: 'orders' } });
    const target = () => ConsumerTarget.lambdaFunction(fn);
    expect(() => new BufferedEventConsumer(stack, 'Other', { eventPattern, target: target(), environment: { DB_NAME: 'catalog' } }))
      .toThrow("the function 'Test/Function' has another DB_NAME already, of its own or of another consumer: give each consumer its own function, or "
        + "remove the variable from one of them (in 'Test/Other')");
    const environment = { DB_NAME: 'orders', REGION: stack.region };
    expect(() => consumerOf(target(), { environment })).not.toThrow();
    expect(() => new BufferedEventConsumer(stack, 'Again', { eventPattern, target: target(), environment })).not.toThrow();
  });

  test('without a timeout has three seconds', () => {
    consumerOf(ConsumerTarget.lambdaFunction(functionOf(stack, { timeout: undefined })));
    Template.fromStack(stack).hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 18 });
  });

  test('can be an alias', () => {
    const fn = functionOf();
    const alias = fn.addAlias('live');
    consumerOf(ConsumerTarget.lambdaFunction(alias), { environment: { DB_NAME: 'orders' } });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 120 });
    template.hasResourceProperties('AWS::Lambda::EventSourceMapping', { FunctionName: Match.not(stack.resolve(fn.functionName)) });
    template.hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { DB_NAME: 'orders' } } });
  });

  test('is the grantee, and has connections in a VPC only', () => {
    const outside = functionOf();
    const { targetConfig } = consumerOf(ConsumerTarget.lambdaFunction(outside));
    expect(targetConfig.grantee).toBe(outside);
    expect(targetConfig.connections).toBeUndefined();

    const vpc = new ec2.Vpc(stack, 'Vpc');
    const inside = functionOf(new Stack(app, 'Inside'), { vpc });
    const config = new BufferedEventConsumer(stack, 'Second', { eventPattern, target: ConsumerTarget.lambdaFunction(inside) }).targetConfig;
    expect(config.connections).toBe(inside);
  });

  describe('of another stack', () => {
    let functions: Stack;
    let fn: lambda.Function;
    beforeEach(() => {
      functions = new Stack(app, 'Functions');
      fn = functionOf(functions);
    });

    test('together with the bus leaves everything in the consumer\'s stack', () => {
      const eventBus = new events.EventBus(functions, 'Bus');
      consumerOf(ConsumerTarget.lambdaFunction(fn), { eventBus });
      Template.fromStack(stack).resourceCountIs('AWS::Lambda::EventSourceMapping', 1);
      Template.fromStack(functions).resourceCountIs('AWS::Lambda::EventSourceMapping', 0);
      expect(granted()).toHaveLength(1);
      expect(granted(functions)).toEqual([]);
    });

    test('owns mapping and policy if its environment names something of the consumer\'s stack', () => {
      const secret = new kms.Key(stack, 'Something');
      consumerOf(ConsumerTarget.lambdaFunction(fn), { environment: { SOMETHING: secret.keyArn } });
      Template.fromStack(stack).resourceCountIs('AWS::Lambda::EventSourceMapping', 0);
      const template = Template.fromStack(functions);
      template.resourceCountIs('AWS::Lambda::EventSourceMapping', 1);
      template.hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { SOMETHING: Match.anyValue() } } });
      expect(granted(functions)).toHaveLength(1);
    });

    test('can consume two queues that way', () => {
      const secret = new kms.Key(stack, 'Something');
      for (const id of ['First', 'Second']) {
        new BufferedEventConsumer(stack, id, {
          eventPattern, target: ConsumerTarget.lambdaFunction(fn), environment: { SOMETHING: secret.keyArn },
        });
      }
      Template.fromStack(functions).resourceCountIs('AWS::Lambda::EventSourceMapping', 2);
    });
  });

  describe('that is imported', () => {
    const arn = 'arn:aws:lambda:eu-west-1:111122223333:function:orders';

    test('needs a processing time', () => {
      expect(() => consumerOf(ConsumerTarget.lambdaFunction(lambda.Function.fromFunctionArn(stack, 'Imported', arn))))
        .toThrow("processingTime must be given to ConsumerTarget.lambdaFunction for the function 'Test/Imported', which is imported, so that its "
          + "timeout is unknown (in 'Test/Consumer')");
    });

    test('without its role is warned of', () => {
      const fn = lambda.Function.fromFunctionArn(stack, 'Imported', arn);
      consumerOf(ConsumerTarget.lambdaFunction(fn, { processingTime: Duration.seconds(10) }));
      expect(granted()).toEqual([]);
      Annotations.fromStack(stack).hasWarning('/Test/Consumer', Match.stringLikeRegexp(
        "the function 'Test/Imported' was imported without its role.*cdk-order-pipeline:functionRoleUnknown"));
    });

    test('with its role is allowed to consume', () => {
      const fn = lambda.Function.fromFunctionAttributes(stack, 'Imported', {
        functionArn: arn, role: iam.Role.fromRoleArn(stack, 'Role', 'arn:aws:iam::111122223333:role/orders'),
      });
      consumerOf(ConsumerTarget.lambdaFunction(fn, { processingTime: Duration.seconds(10) }));
      expect(granted()).toHaveLength(1);
      Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', { Roles: ['orders'] });
      Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
    });

    test('is warned of if it would need an environment', () => {
      const fn = lambda.Function.fromFunctionArn(stack, 'Imported', arn);
      consumerOf(ConsumerTarget.lambdaFunction(fn, { processingTime: Duration.seconds(10) }), { environment: { DB_NAME: 'orders', DB_PORT: '1' } });
      Annotations.fromStack(stack).hasWarning('/Test/Consumer', Match.stringLikeRegexp(
        'its environment stays as it is: it has to have DB_NAME, DB_PORT.*cdk-order-pipeline:functionEnvironmentNotSet'));
    });
  });

  test.each<[LambdaConsumerOptions, string]>([
    [{ batchSize: 11 }, 'batchSize of more than 10 needs maxBatchingWindow of at least 1 second, got 11'],
    [{ batchSize: 0 }, 'batchSize must be a whole number between 1 and 10000, got 0'],
    [{ batchSize: 10_001, maxBatchingWindow: Duration.seconds(1) }, 'batchSize must be a whole number between 1 and 10000, got 10001'],
    [{ maxBatchingWindow: Duration.minutes(6) }, 'maxBatchingWindow must be between 0 seconds and 5 minutes, got 6 minutes'],
    [{ maxConcurrency: 1 }, 'maxConcurrency must be a whole number between 2 and 1000, got 1'],
  ])('refuses %j', (options, message) => {
    const target = ConsumerTarget.lambdaFunction(functionOf(), options);
    expect(() => consumerOf(target)).toThrow(`${message} (in 'Test/Consumer')`);
  });

  test('takes numbers that are only known at deployment', () => {
    consumerOf(ConsumerTarget.lambdaFunction(functionOf(), {
      batchSize: Token.asNumber({ Ref: 'Size' }), maxConcurrency: Token.asNumber({ Ref: 'Concurrency' }),
    }));
    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::EventSourceMapping', {
      BatchSize: { Ref: 'Size' }, ScalingConfig: { MaximumConcurrency: { Ref: 'Concurrency' } },
    });
  });
});

describe('a Kubernetes workload', () => {
  const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
  const scaling = QueueScaling.fixed(2);

  test('polls the queue with what it needs, and may consume it and nothing else', () => {
    const kubernetes = testKubernetes(stack);
    const consumer = consumerOf(ConsumerTarget.kubernetes(kubernetes, {
      image, scaling, command: ['node', 'stock.js'], environment: { LOG_LEVEL: 'debug' }, egressPorts: [6379],
    }), { environment: { DB_NAME: 'orders' }, egressPorts: [5433] });

    const pod = manifestOf(Template.fromStack(stack), 'Deployment').spec.template.spec;
    expect(pod.containers[0].command).toEqual(['node', 'stock.js']);
    const environment = Object.fromEntries(pod.containers[0].env.map(({ name, value }: { name: string; value: unknown }) => [name, value]));
    expect(environment).toMatchObject({ DB_NAME: 'orders', LOG_LEVEL: 'debug' });
    expect(environment).toHaveProperty('QUEUE_URL');
    expect(JSON.stringify(manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec.egress)).toMatch(/5433.*6379/);
    expect(granted()).toEqual([{ Action: CONSUME, Resource: stack.resolve(consumer.queue.queueArn) }]);
    Template.fromStack(stack).hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 180 });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('has time to finish its batch when it is stopped', () => {
    consumerOf(ConsumerTarget.kubernetes(testKubernetes(stack), { image, scaling, processingTime: Duration.minutes(2) }));
    expect(manifestOf(Template.fromStack(stack), 'Deployment').spec.template.spec.terminationGracePeriodSeconds).toBe(135);
    Template.fromStack(stack).hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 720 });
  });

  test('scales by CPU from two to ten replicas', () => {
    consumerOf(ConsumerTarget.kubernetes(testKubernetes(stack), { image, scaling: QueueScaling.cpu() }));
    expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 2, maxReplicas: 10 });
  });

  test('scales as told', () => {
    consumerOf(ConsumerTarget.kubernetes(testKubernetes(stack), {
      image, scaling: QueueScaling.cpu({ minReplicas: 3, maxReplicas: 30 }),
    }));
    expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 3, maxReplicas: 30 });
  });

  test('can have a fixed number of replicas', () => {
    consumerOf(ConsumerTarget.kubernetes(testKubernetes(stack), { image, scaling: QueueScaling.fixed(4) }));
    expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec.minReplicas).toBe(4);
  });
});

describe('a process that runs elsewhere', () => {
  test('may consume the queue, and finds its address', () => {
    const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
    const consumer = consumerOf(ConsumerTarget.external(role, { processingTime: Duration.minutes(1) }));
    expect(granted()).toEqual([{ Action: CONSUME, Resource: stack.resolve(consumer.queue.queueArn) }]);
    expect(consumer.environment).toEqual({ QUEUE_URL: consumer.queue.queueUrl });
    expect(consumer.targetConfig.grantee).toBe(role);
    Template.fromStack(stack).hasResourceProperties('AWS::SQS::Queue', { VisibilityTimeout: 360 });
  });
});
