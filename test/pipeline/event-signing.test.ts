import { App, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import {
  ConsumerTarget, EventDrivenOrderPipeline, EventDrivenOrderPipelineProps, EventSigning, IConsumerTarget, IServiceHost, QueueScaling,
  ServiceBindOptions, ServiceHost, WorkloadImage,
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
