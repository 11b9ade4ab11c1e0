import { App, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  ConsumerTarget, EventDrivenOrderPipeline, EventDrivenOrderPipelineProps, EventSigning, IConsumerTarget, IServiceHost,
  PipelineConsumerOptions, QueueScaling, ServiceBindOptions, ServiceHost, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { externalTarget, functionOf, ownTarget, roleOf } from '../consumer/targets';
import { existingDatabase } from '../database';
import { evaluate } from '../evaluate';
import { manifestOf } from '../kubernetes-manifests';

const env = { account: '111122223333', region: 'eu-west-1' };
let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Shop', { env });
});

/** A host that keeps what it is bound with. */
class Host implements IServiceHost {
  public bound?: ServiceBindOptions;

  constructor(private readonly role?: iam.IRole) {
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions) {
    this.bound = options;
    const service = new Construct(scope, id);
    return Object.assign(service, { grantPrincipal: this.role ?? roleOf(service), connections: new ec2.Connections() });
  }
}

function pipelineOf(props: EventDrivenOrderPipelineProps = {}, scope: Construct = stack): EventDrivenOrderPipeline {
  return new EventDrivenOrderPipeline(scope, 'Pipeline', { database: existingDatabase(scope), outboxRelay: new Host(), ...props });
}

/** All statements about secrets that are no login, by the role that has them. */
function secretStatements(of = stack): { [role: string]: object[] } {
  const policies = Object.values(Template.fromStack(of).findResources('AWS::IAM::Policy')).map(({ Properties }) => Properties);
  return Object.fromEntries(policies.map(({ Roles, PolicyDocument }) => [
    String(Roles[0].Ref ?? Roles[0]).replace(/[0-9A-F]{8}$/, ''),
    (evaluate(PolicyDocument.Statement) as { Resource: string }[]).filter(({ Resource }) => /Signing/.test(Resource)),
  ] as const).filter(([, statements]) => statements.length > 0));
}

const KEY = '${PipelineEventSigningKey2CBC1D88}';
const READ = { Effect: 'Allow', Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'], Resource: KEY };
const warned = (id: string) => Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp(`cdk-order-pipeline:${id}`));

describe('the key', () => {
  test('is a generated text in a secret of its own, which goes with the stack', () => {
    const pipeline = pipelineOf();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::SecretsManager::Secret', 1);
    template.hasResource('AWS::SecretsManager::Secret', {
      Properties: { GenerateSecretString: { PasswordLength: 64, ExcludePunctuation: true }, Description: 'Signs the events of Shop/Pipeline' },
      DeletionPolicy: 'Delete',
      UpdateReplacePolicy: 'Delete',
    });
    expect(evaluate(stack.resolve(pipeline.eventSigningSecret!.secretArn))).toBe(KEY);
  });

  test('stays if that is said, and has the key of the pipeline, which readers may use for it', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    pipelineOf({ encryptionKey, eventSigning: EventSigning.generated({ removalPolicy: RemovalPolicy.RETAIN }) });
    Template.fromStack(stack).hasResource('AWS::SecretsManager::Secret', {
      Properties: { KmsKeyId: stack.resolve(encryptionKey.keyArn) }, DeletionPolicy: 'Retain',
    });
    const all = JSON.stringify(evaluate(Template.fromStack(stack).findResources('AWS::IAM::Policy', {
      Properties: { Roles: [{ Ref: Match.stringLikeRegexp('OutboxRelay') }] },
    })));
    expect(all).toContain('{"Action":"kms:Decrypt","Condition":{"StringEquals":{"kms:ViaService":"secretsmanager.eu-west-1.amazonaws.com"}}');
  });

  test('can exist already', () => {
    const arn = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:Signing-AbCdEf';
    const relay = new Host();
    pipelineOf({ outboxRelay: relay, eventSigning: EventSigning.secret(secretsmanager.Secret.fromSecretCompleteArn(stack, 'Given', arn)) });
    Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::Secret', 0);
    expect(relay.bound!.environment.EVENT_SIGNING_SECRET_ARN).toBe(arn);
    expect(secretStatements()).toEqual({ PipelineOutboxRelayRole: [{ ...READ, Resource: arn }] });
  });

  test.each<[string, EventDrivenOrderPipelineProps]>([
    ['if that is said', { eventSigning: EventSigning.none() }],
    ['of a pipeline without a relay, since others publish', { outboxRelay: undefined }],
  ])('is none %s', (_, props) => {
    const pipeline = pipelineOf(props);
    const service = new Host();
    pipeline.addService('Gateway', service, { publishes: true });
    const consumer = pipeline.addConsumer('Stock', { events: ['order.created'], target: externalTarget(roleOf(stack)) });
    pipeline.allowPublish(roleOf(stack, 'Outside'));
    Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::Secret', 0);
    expect(pipeline.eventSigningSecret).toBeUndefined();
    expect([service.bound!.environment, consumer.environment].filter((each) => 'EVENT_SIGNING_SECRET_ARN' in each)).toEqual([]);
    expect(secretStatements()).toEqual({});
  });
});

test('the relay, a service that publishes and an identity outside may read exactly this secret, and no API or other service', () => {
  const hosts = { commandApi: new Host(), queryApi: new Host(), outboxRelay: new Host(), publishes: new Host(), other: new Host() };
  const pipeline = pipelineOf({ commandApi: hosts.commandApi, queryApi: hosts.queryApi, outboxRelay: hosts.outboxRelay });
  pipeline.addService('Gateway', hosts.publishes, { publishes: true });
  pipeline.addService('Timers', hosts.other);
  pipeline.allowPublish(roleOf(stack, 'Outside'));
  expect(Object.entries(hosts).filter(([, { bound }]) => bound!.environment.EVENT_SIGNING_SECRET_ARN !== undefined).map(([name]) => name))
    .toEqual(['outboxRelay', 'publishes']);
  expect(secretStatements()).toEqual({ PipelineOutboxRelayRole: [READ], PipelineServicesGatewayRole: [READ], Outside: [READ] });
});

const kubernetesConsumer = () => ServiceHost.kubernetesServices(testKubernetes(stack), WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1'))
  .consume(['node', 'stock.js'], { serviceName: 'stock', scaling: QueueScaling.fixed(1) });

describe('a consumer finds the secret in its environment and may read it', () => {
  test.each<[string, () => IConsumerTarget, string]>([
    ['on Kubernetes', kubernetesConsumer, 'PipelineConsumersStockWorkloadRole'],
    ['on Lambda', () => ConsumerTarget.lambdaFunction(functionOf(stack)), 'FunctionServiceRole'],
    ['elsewhere', () => externalTarget(roleOf(stack, 'Elsewhere')), 'Elsewhere'],
    ['on a host of its own', () => ownTarget({ grantee: roleOf(stack, 'Own') }), 'Own'],
  ])('%s', (_, target, role) => {
    const consumer = pipelineOf().addConsumer('Stock', { events: ['order.created'], target: target(), environment: { LOG_LEVEL: 'debug' } });
    expect(evaluate(stack.resolve(consumer.environment))).toMatchObject({ EVENT_SIGNING_SECRET_ARN: KEY, LOG_LEVEL: 'debug' });
    expect(secretStatements()[role]).toEqual([READ]);
  });

  test('as a pod, and as a function', () => {
    const pipeline = pipelineOf();
    pipeline.addConsumer('Stock', { events: ['order.created'], target: kubernetesConsumer() });
    pipeline.addConsumer('Mail', { events: ['order.created'], target: ConsumerTarget.lambdaFunction(functionOf(stack)) });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: { EVENT_SIGNING_SECRET_ARN: { Ref: 'PipelineEventSigningKey2CBC1D88' } } },
    });
    const { env: variables } = manifestOf(template, 'Deployment', 'stock').spec.template.spec.containers[0];
    expect(variables).toContainEqual({ name: 'EVENT_SIGNING_SECRET_ARN', value: KEY });
  });

  test('as a function in another stack, which needs this one', () => {
    const other = new Stack(stack.node.root as App, 'Functions', { env });
    pipelineOf().addConsumer('Mail', { events: ['order.created'], target: ConsumerTarget.lambdaFunction(functionOf(other)) });
    (stack.node.root as App).synth();
    expect(other.dependencies).toContain(stack);
    expect(Object.values(secretStatements(other))).toEqual([[{ ...READ, Resource: expect.stringContaining('SigningKey') }]]);
  });

  test('unless it is not known here, which is a warning with the statement', () => {
    pipelineOf().addConsumer('Own', { events: ['order.created'], target: ownTarget() });
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline/Consumers/Own', Match.stringLikeRegexp('secretsmanager:DescribeSecret'));
  });
});

test.each<[string, () => EventSigning]>([
  ['a generated key', () => EventSigning.generated({ verify: false })],
  ['an existing key', () => EventSigning.secret(new secretsmanager.Secret(stack, 'Signing'), { verify: false })],
])('consumers have nothing to verify with while signatures begin, with %s, and the relay signs', (_, signing) => {
  const relay = new Host();
  const pipeline = pipelineOf({ outboxRelay: relay, eventSigning: signing() });
  const consumer = pipeline.addConsumer('Stock', { events: ['order.created'], target: externalTarget(roleOf(stack)) });
  expect(relay.bound!.environment.EVENT_SIGNING_SECRET_ARN).toBe(pipeline.eventSigningSecret!.secretArn);
  expect(consumer.environment).not.toHaveProperty('EVENT_SIGNING_SECRET_ARN');
  expect(Object.keys(secretStatements())).toEqual(['PipelineOutboxRelayRole']);
});

describe('a consumer gets the key if it can verify', () => {
  const OTHER = { source: ['com.example.billing'] };
  const BOTH = { source: ['com.example.billing', 'com.example.orders'] };
  const PREFIX = { source: [{ prefix: 'com.example' }] as unknown as string[] };
  const shared = () => EventSigning.secret(new secretsmanager.Secret(stack, 'Signing'));
  type Options = Omit<PipelineConsumerOptions, 'target'>;

  test.each<[string, boolean, Options, (() => EventSigning)?]>([
    ['the whole detail', true, { eventPattern: {}, ruleInput: events.RuleTargetInput.fromEventPath('$.detail') }],
    ['a part of the detail', false, { eventPattern: {}, ruleInput: events.RuleTargetInput.fromEventPath('$.detail.data') }],
    ['some fields', false, { eventPattern: {}, ruleInput: events.RuleTargetInput.fromObject({ id: events.EventField.eventId }) }],
    ['the source of the pipeline', true, { eventPatterns: [{ detailType: ['A'] }, { source: ['com.example.orders'] }] }],
    ['another source', false, { eventPattern: OTHER }],
    ['another source of the same key', true, { eventPattern: OTHER }, shared],
    ['sources that are not known', true, { eventPattern: PREFIX }],
    ['an existing queue', true, { get queue() { return new sqs.Queue(stack, 'Queue'); } }],
  ])('%s: %s', (_, verifies, options, eventSigning) => {
    const consumer = pipelineOf({ eventSigning: eventSigning?.() }).addConsumer('Stock', { ...options, target: externalTarget(roleOf(stack, 'Elsewhere')) });
    expect(['EVENT_SIGNING_SECRET_ARN' in consumer.environment, 'Elsewhere' in secretStatements()]).toEqual([verifies, verifies]);
    expect(warned('foreignEventsRefused')).toEqual([]);
  });

  test.each<[string, Options, RegExp]>([
    ['in one pattern', { eventPattern: BOTH }, /events of com\.example\.billing unless/],
    ['in two patterns', { eventPatterns: [{ detailType: ['A'] }, OTHER] }, /the consumer 'Stock' verifies/],
  ])('events of the pipeline with those of others, which is a warning: %s', (_, options, message) => {
    const consumer = pipelineOf().addConsumer('Stock', { ...options, target: externalTarget(roleOf(stack)) });
    expect(consumer.environment).toHaveProperty('EVENT_SIGNING_SECRET_ARN');
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline', Match.stringLikeRegexp(message.source));
  });
});

describe('a publisher of a pipeline without a relay', () => {
  const publish: [string, (pipeline: EventDrivenOrderPipeline) => unknown][] = [
    ['that is a service', (pipeline) => pipeline.addService('Relay', new Host(), { publishes: true })],
    ['that is outside', (pipeline) => pipeline.allowPublish(roleOf(stack, 'Outside'))],
  ];

  test.each(publish)('%s signs nothing, which is a warning', (_, add) => {
    const pipeline = pipelineOf({ outboxRelay: undefined });
    pipeline.addService('Timers', new Host());
    expect(warned('eventsNotSigned')).toEqual([]);
    add(pipeline);
    expect(warned('eventsNotSigned')).toHaveLength(1);
  });

  test.each(publish)('%s signs or not, as it is said', (_, add) => {
    for (const eventSigning of [EventSigning.generated(), EventSigning.none()]) {
      stack = new Stack(new App(), 'Shop', { env });
      add(pipelineOf({ outboxRelay: undefined, eventSigning }));
      expect(warned('eventsNotSigned')).toEqual([]);
    }
  });
});

describe('the bus that the pipeline makes', () => {
  const policies = () => Object.values(Template.fromStack(stack).findResources('AWS::Events::EventBusPolicy')).map(({ Properties }) => evaluate(Properties));

  test('denies all but the publishers to put events, and lets EventBridge replay', () => {
    const pipeline = pipelineOf();
    pipeline.addService('Gateway', new Host(), { publishes: true });
    pipeline.allowPublish(iam.Role.fromRoleArn(stack, 'Imported', 'arn:aws:iam::111122223333:role/publisher'));
    expect(policies()).toEqual([{
      EventBusName: expect.stringMatching(/^\$\{PipelineTransportBusEventBus\w+\}$/),
      StatementId: 'OnlyPublishers',
      Statement: {
        Sid: 'OnlyPublishers',
        Effect: 'Deny',
        Principal: '*',
        Action: 'events:PutEvents',
        Resource: expect.stringMatching(/^\$\{PipelineTransportBusEventBus\w+\.Arn\}$/),
        Condition: {
          ArnNotEquals: {
            'aws:PrincipalArn': [
              expect.stringMatching(/^\$\{PipelineOutboxRelayRole\w+\.Arn\}$/),
              expect.stringMatching(/^\$\{PipelineServicesGatewayRole\w+\.Arn\}$/),
              'arn:aws:iam::111122223333:role/publisher',
            ],
          },
          Bool: { 'aws:PrincipalIsAWSService': 'false' },
        },
      },
    }]);
    expect(warned('eventBusOpenToAccount')).toEqual([]);
  });

  test('names a role once, whatever it runs', () => {
    const shared = roleOf(stack, 'Shared');
    pipelineOf({ outboxRelay: new Host(shared) }).addService('Gateway', new Host(shared), { publishes: true });
    const arns = [expect.stringMatching(/^\$\{Shared\w+\.Arn\}$/)];
    expect(policies()).toMatchObject([{ Statement: { Condition: { ArnNotEquals: { 'aws:PrincipalArn': arns } } } }]);
  });

  test('denies nobody without a publisher of the pipeline', () => {
    pipelineOf({ outboxRelay: undefined });
    expect(policies()).toEqual([]);
  });

  test.each<[string, () => iam.IGrantable]>([
    ['an unknown identity', () => ({ grantPrincipal: new iam.UnknownPrincipal({ resource: stack }) })],
    ['an account', () => ({ grantPrincipal: new iam.AccountPrincipal('111122223333') })],
    ['an account by its number', () => ({ grantPrincipal: new iam.ArnPrincipal('111122223333') })],
    ['an account with a condition', () => ({ grantPrincipal: new iam.AccountPrincipal('111122223333').withConditions({ Bool: { 'aws:MFA': 'true' } }) })],
    ['an organization', () => ({ grantPrincipal: new iam.OrganizationPrincipal('o-1234567890') })],
    ['everybody', () => ({ grantPrincipal: new iam.AnyPrincipal() })],
    ['a group', () => new iam.Group(stack, 'Group')],
    ['an imported group', () => iam.Group.fromGroupName(stack, 'Group', 'publishers')],
    ['a session', () => ({ grantPrincipal: new iam.ArnPrincipal('arn:aws:sts::111122223333:assumed-role/publisher/session') })],
    ['a service', () => ({ grantPrincipal: new iam.ServicePrincipal('scheduler.amazonaws.com') })],
    ['a role in another stack, which needs the bus', () => roleOf(new Stack(stack.node.root as App, 'Other', { env }))],
  ])('denies nobody with a publisher that is %s, before and after the others, which is a warning', (_, publisher) => {
    const pipeline = pipelineOf();
    pipeline.allowPublish(publisher());
    pipeline.addService('Gateway', new Host(), { publishes: true });
    (stack.node.root as App).synth();
    expect(policies()).toEqual([]);
    expect(warned('eventBusOpenToAccount')).toHaveLength(1);
  });
});
