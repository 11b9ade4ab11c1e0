import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as ts from 'typescript';
import { text } from './markdown';
import * as library from '../../src';

/** A class that a page defines. That it compiles is the business of pages.test.ts. */
function classOf(page: string, name: string): new (...args: any[]) => any {
  const code = [...text(page).matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1]!).find((block) => block.includes(`class ${name} `))!;
  const { outputText } = ts.transpileModule(`${code}\nexport { ${name} };`, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  const exported: { [name: string]: any } = {};
  const load = (id: string) => id === 'cdk-order-pipeline' ? library : jest.requireActual(id);
  new Function('require', 'exports', outputText)(load, exported);
  return exported[name];
}


const { ConsumerTarget, EventDrivenOrderPipeline } = library;

test('the own host of the page runs an API and a relay, after the database', () => {
  const stack = new Stack(new App(), 'Shop');
  const vpc = new ec2.Vpc(stack, 'Vpc');
  const host = () => new (classOf('docs/service-host.md', 'FargateHost'))(new ecs.Cluster(stack, `Cluster${stack.node.children.length}`, { vpc }),
    ecs.ContainerImage.fromRegistry('public.ecr.aws/example/orders:1.0.0'));
  new EventDrivenOrderPipeline(stack, 'Pipeline', { vpc, commandApi: host(), outboxRelay: host() });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::ECS::Service', 2);
  template.allResources('AWS::ECS::Service', { DependsOn: Match.arrayWith([Match.stringLikeRegexp('DatabaseClusterWriter')]) });
  template.hasResourceProperties('AWS::ECS::TaskDefinition', {
    ContainerDefinitions: [Match.objectLike({ Environment: Match.arrayWith([{ Name: 'PORT', Value: '3000' }]) })],
  });
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: 'events:PutEvents' })]) },
  });
  expect(() => new EventDrivenOrderPipeline(stack, 'Migrated', { vpc, migration: host() })).toThrow('run the migration elsewhere');
});

test('the own transport of the page subscribes a consumer', () => {
  const stack = new Stack(new App(), 'Shop');
  const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', { transport: new (classOf('docs/event-transport.md', 'TopicTransport'))() });
  const fn = new lambda.Function(stack, 'Fn', { runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('1') });
  const target = () => ConsumerTarget.lambdaFunction(fn);
  pipeline.addConsumer('Stock', { events: ['order.created'], maxReceiveCount: 3, target: target() });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::SNS::Subscription', { FilterPolicy: { type: ['order.created'] } });
  template.hasResourceProperties('AWS::SQS::Queue', { RedrivePolicy: Match.objectLike({ maxReceiveCount: 3 }) });
  template.hasResourceProperties('AWS::Lambda::EventSourceMapping', { FunctionResponseTypes: ['ReportBatchItemFailures'] });
  // The topic is for those who publish.
  template.hasResourceProperties('AWS::Lambda::Function', { Environment: Match.absent() });
  Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
  expect(() => pipeline.addConsumer('Other', { eventPattern: { detailType: ['X'] }, target: target() })).toThrow('no pattern of EventBridge');
});
