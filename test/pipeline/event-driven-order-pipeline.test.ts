import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  Autoscaling,
  BufferedEventConsumer,
  ConsumerTarget,
  CqrsDatabase,
  DatabaseSide,
  EventDrivenOrderPipeline,
  EventDrivenOrderPipelineProps,
  ICqrsDatabase,
  KubernetesAccess,
  ServiceExposure,
  WorkloadImage,
} from '../../src';
import { testCluster, testKubernetes } from '../cluster';
import { Manifest, manifestOf, manifestsOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let stack: Stack;
let kubernetes: KubernetesAccess;
let vpc: ec2.IVpc;

beforeEach(() => {
  stack = new Stack(new App(), 'Shop');
  kubernetes = testKubernetes(stack);
  vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
});

function pipelineOf(props: Partial<EventDrivenOrderPipelineProps> = {}) {
  return new EventDrivenOrderPipeline(stack, 'Pipeline', {
    kubernetes,
    image,
    ...props.database ? {} : { vpc },
    commandApi: { serviceName: 'command-api', command: ['node', 'write.js'] },
    queryApi: { serviceName: 'query-api', command: ['node', 'read.js'] },
    outboxRelay: { serviceName: 'outbox-relay', command: ['node', 'relay.js'] },
    ...props,
  });
}

function existingDatabase(scope: Construct = stack, options: { adminSecret?: boolean } = {}): ICqrsDatabase {
  const secret = (name: string) => secretsmanager.Secret.fromSecretCompleteArn(
    scope, name, `arn:aws:secretsmanager:eu-west-1:111111111111:secret:${name}-AbCdEf`);
  return CqrsDatabase.fromAttributes({
    writerEndpointAddress: 'writer.example',
    readerEndpointAddress: 'reader.example',
    databaseName: 'shop',
    commandSecret: secret('command'),
    querySecret: secret('query'),
    adminSecret: options.adminSecret ? secret('admin') : undefined,
    securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(scope, 'DatabaseGroup', 'sg-database')],
  });
}

function environmentOf(manifest: Manifest): { [name: string]: string } {
  const variables: { name: string; value: string }[] = manifest.spec.template.spec.containers[0].env;
  return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
}

function statementsOf(template: Template, role: RegExp): unknown[] {
  return Object.values(template.findResources('AWS::IAM::Policy'))
    .filter(policy => policy.Properties.Roles[0].Ref.match(role))
    .flatMap(policy => policy.Properties.PolicyDocument.Statement);
}

const commandSide = {
  DB_SECRET_ARN: expect.stringMatching(/^\$\{PipelineDatabaseCommandSecret/),
  DB_WRITER_ENDPOINT: expect.stringMatching(/\.Endpoint\.Address\}$/),
  DB_READER_ENDPOINT: expect.stringMatching(/\.ReadEndpoint\.Address\}$/),
  DB_PORT: '5433',
  DB_NAME: 'orders',
  EVENT_BUS_NAME: expect.stringMatching(/^\$\{PipelineBus/),
  EVENT_SOURCE: 'com.example.orders',
  AWS_REGION: '${AWS::Region}',
};
const querySide = { ...commandSide, DB_SECRET_ARN: expect.stringMatching(/^\$\{PipelineDatabaseQuerySecret/) };

describe('services', () => {
  test('find the database, the bus and their own name in the environment', () => {
    pipelineOf();
    const template = Template.fromStack(stack);
    expect(environmentOf(manifestOf(template, 'Deployment', 'command-api'))).toEqual({ ...commandSide, SERVICE_NAME: 'command-api', PORT: '3000' });
    expect(environmentOf(manifestOf(template, 'Deployment', 'query-api'))).toEqual({ ...querySide, SERVICE_NAME: 'query-api', PORT: '3001' });
    expect(environmentOf(manifestOf(template, 'Deployment', 'outbox-relay'))).toEqual({ ...commandSide, SERVICE_NAME: 'outbox-relay', PORT: '8080' });
  });

  test('have internal load balancers in front of the APIs, none in front of the relay', () => {
    pipelineOf();
    const services = manifestsOf(Template.fromStack(stack)).filter(m => m.kind === 'Service');
    expect(services.map(({ metadata, spec }) => [metadata.name, spec.type, spec.ports[0].port]))
      .toEqual([['command-api', 'LoadBalancer', 3000], ['query-api', 'LoadBalancer', 3001]]);
  });

  test('may do what they do, and nothing else', () => {
    pipelineOf();
    const template = Template.fromStack(stack);
    const readSecret = (secret: RegExp) => expect.objectContaining({
      Action: 'secretsmanager:GetSecretValue', Resource: { Ref: expect.stringMatching(secret) },
    });
    expect(statementsOf(template, /CommandApiRole/)).toEqual([readSecret(/CommandSecret/)]);
    expect(statementsOf(template, /QueryApiRole/)).toEqual([readSecret(/QuerySecret/)]);
    expect(statementsOf(template, /OutboxRelayRole/)).toEqual([
      readSecret(/CommandSecret/),
      { Effect: 'Allow', Action: 'events:PutEvents', Resource: { 'Fn::GetAtt': [expect.stringMatching(/^PipelineBusEventBus/), 'Arn'] } },
    ]);
  });

  test('can be reached and named otherwise, scaled otherwise and run another image', () => {
    pipelineOf({
      commandApi: {
        serviceName: 'intake',
        port: 8000,
        image: WorkloadImage.fromRegistry('public.ecr.aws/team/intake:2'),
        exposure: ServiceExposure.clusterInternal(),
        scaling: Autoscaling.fixed(1),
        environment: { EVENT_SOURCE: 'com.example.intake' },
      },
    });
    const template = Template.fromStack(stack);
    const deployment = manifestOf(template, 'Deployment', 'intake');
    expect(deployment.spec).toMatchObject({ replicas: 1, template: { spec: { containers: [{ image: 'public.ecr.aws/team/intake:2' }] } } });
    expect(environmentOf(deployment)).toMatchObject({ PORT: '8000', EVENT_SOURCE: 'com.example.intake' });
    expect(manifestOf(template, 'Service', 'intake').spec.type).toBe('ClusterIP');
  });

  test('reach the database by the security group of the pods and by their network policy', () => {
    pipelineOf();
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      SourceSecurityGroupId: 'sg-cluster', FromPort: 5433, ToPort: 5433,
    });
    expect(manifestOf(template, 'NetworkPolicy', 'query-api').spec.egress[1].ports).toEqual([
      { protocol: 'TCP', port: 443 }, { protocol: 'TCP', port: 5433 },
    ]);
  });
});

describe('migration', () => {
  test('is there only if asked for', () => {
    expect(pipelineOf().migration).toBeUndefined();
    expect(manifestsOf(Template.fromStack(stack)).map(m => m.kind)).not.toContain('Job');
  });

  test('has the credentials of the administrator and of both roles', () => {
    pipelineOf({ migration: { serviceName: 'migration', command: ['node', 'migrate.js'], environment: { SEED_FILE: 'data.json' } } });
    const template = Template.fromStack(stack);
    expect(environmentOf(manifestOf(template, 'Job'))).toEqual({
      SERVICE_NAME: 'migration',
      AWS_REGION: '${AWS::Region}',
      DB_SECRET_ARN: expect.stringMatching(/MasterUserSecret/),
      DB_COMMAND_SECRET_ARN: expect.stringMatching(/CommandSecret/),
      DB_QUERY_SECRET_ARN: expect.stringMatching(/QuerySecret/),
      DB_WRITER_ENDPOINT: commandSide.DB_WRITER_ENDPOINT,
      DB_READER_ENDPOINT: commandSide.DB_READER_ENDPOINT,
      DB_PORT: '5433',
      DB_NAME: 'orders',
      SEED_FILE: 'data.json',
    });
    expect(statementsOf(template, /MigrationRole/)).toEqual([
      { 'Fn::GetAtt': [expect.stringMatching(/DatabaseCluster/), 'MasterUserSecret.SecretArn'] },
      { Ref: expect.stringMatching(/CommandSecret/) },
      { Ref: expect.stringMatching(/QuerySecret/) },
    ].map(Resource => ({ Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource })));
  });

  test('is applied before services and consumers', () => {
    const pipeline = pipelineOf({ migration: {} });
    pipeline.addConsumer('Stock', { eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }) });
    const manifests = Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource');
    const migration = Object.keys(manifests).find(id => id.includes('Migration'))!;
    const others = Object.entries(manifests).filter(([id]) => id !== migration);
    expect(others).toHaveLength(4);
    for (const [, manifest] of others) { expect(manifest.DependsOn).toContain(migration); }
  });

  test('needs an administrator', () => {
    expect(() => pipelineOf({ database: existingDatabase(), migration: {} })).toThrow('migration needs the credentials of an administrator: give adminSecret');
    const database = existingDatabase(new Construct(stack, 'Existing'), { adminSecret: true });
    expect(() => new EventDrivenOrderPipeline(stack, 'Other', {
      kubernetes, image, database, commandApi: {}, queryApi: {}, outboxRelay: {}, migration: {},
    })).not.toThrow();
  });
});

describe('consumers', () => {
  test('get the events of the pipeline', () => {
    pipelineOf({ eventSource: 'com.example.shop' }).addConsumer('Stock', {
      eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }),
    });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
      EventBusName: { Ref: Match.stringLikeRegexp('^PipelineBusEventBus') },
      EventPattern: { 'source': ['com.example.shop'], 'detail-type': ['OrderCreated'] },
    });
  });

  test('get the events of another source if they name it', () => {
    pipelineOf().addConsumer('Fraud', {
      eventPattern: { source: ['com.partner'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }), database: DatabaseSide.NONE,
    });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', { EventPattern: { source: ['com.partner'] } });
  });

  test('have the source of the pipeline in each of several patterns', () => {
    const consumer = pipelineOf({ eventSource: 'com.example.shop' }).addConsumer('Mail', {
      eventPatterns: [{ detailType: ['OrderConfirmed'] }, { source: ['com.partner'] }],
      target: ConsumerTarget.kubernetes(kubernetes, { image }),
    });
    const patterns = consumer.rules.map((rule) => stack.resolve((rule.node.defaultChild as events.CfnRule).eventPattern));
    expect(patterns).toEqual([{ 'source': ['com.example.shop'], 'detail-type': ['OrderConfirmed'] }, { source: ['com.partner'] }]);
  });

  test('may only consume a queue that something else fills', () => {
    const queue = new sqs.Queue(stack, 'Queue');
    const consumer = pipelineOf().addConsumer('Labels', { queue, target: ConsumerTarget.kubernetes(kubernetes, { image }) });
    expect(consumer.rules).toEqual([]);
    expect(consumer.queue).toBe(queue);
  });

  test('encrypt the new queue with the key of the pipeline, whatever the brought dead-letter queue has', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const consumer = pipelineOf({ encryptionKey }).addConsumer('Stock', {
      eventPattern: { detailType: ['OrderCreated'] },
      deadLetterQueue: new sqs.Queue(stack, 'Dead'),
      target: ConsumerTarget.kubernetes(kubernetes, { image }),
    });
    expect(consumer.queue.encryptionMasterKey).toBe(encryptionKey);
  });

  test('work with the command side unless told otherwise', () => {
    const pipeline = pipelineOf();
    const add = (name: string, database?: DatabaseSide) => pipeline.addConsumer(name, {
      eventPattern: { detailType: ['OrderCreated'] },
      target: ConsumerTarget.kubernetes(kubernetes, { image, serviceName: name.toLowerCase() }),
      environment: { LOG_LEVEL: 'debug' },
      database,
    });
    add('Stock');
    add('Report', DatabaseSide.QUERY);
    add('Mail', DatabaseSide.NONE);

    const template = Template.fromStack(stack);
    const own = (name: string) => ({
      SERVICE_NAME: name, PORT: '8080', LOG_LEVEL: 'debug', QUEUE_URL: expect.stringMatching(new RegExp(`^\\$\\{Pipeline${name}Queue`, 'i')),
    });
    expect(environmentOf(manifestOf(template, 'Deployment', 'stock'))).toEqual({ ...commandSide, ...own('stock') });
    expect(environmentOf(manifestOf(template, 'Deployment', 'report'))).toEqual({ ...querySide, ...own('report') });
    expect(Object.keys(environmentOf(manifestOf(template, 'Deployment', 'mail'))).filter(key => key.startsWith('DB_'))).toEqual([]);
    expect(manifestOf(template, 'NetworkPolicy', 'stock').spec.egress[1].ports).toHaveLength(2);
    expect(manifestOf(template, 'NetworkPolicy', 'mail').spec.egress[1].ports).toEqual([{ protocol: 'TCP', port: 443 }]);

    const actions = (role: RegExp) => statementsOf(template, role).flatMap(s => (s as { Action: string | string[] }).Action).sort();
    const consume = ['sqs:ChangeMessageVisibility', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes', 'sqs:ReceiveMessage'];
    expect(actions(/StockWorkloadRole/)).toEqual(['secretsmanager:GetSecretValue', ...consume]);
    expect(actions(/MailWorkloadRole/)).toEqual(consume);
    expect(pipeline.consumers.map(c => c.node.id)).toEqual(['Stock', 'Report', 'Mail']);
  });

  test('can be functions', () => {
    const fn = new lambda.Function(stack, 'Fn', {
      runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = () => {}'), vpc,
    });
    pipelineOf().addConsumer('Mail', { eventPattern: { detailType: ['OrderConfirmed'] }, target: ConsumerTarget.lambdaFunction(fn), database: DatabaseSide.QUERY });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ DB_SECRET_ARN: { Ref: Match.stringLikeRegexp('QuerySecret') }, EVENT_SOURCE: 'com.example.orders' }) },
    });
    template.resourceCountIs('AWS::Lambda::EventSourceMapping', 1);
    // Opens the database to the function beside the pods.
    template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 2);
  });

  test('that can not reach the database are warned about', () => {
    const fn = new lambda.Function(stack, 'Fn', {
      runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = () => {}'),
    });
    const pipeline = pipelineOf();
    const eventPattern = { detailType: ['OrderConfirmed'] };
    pipeline.addConsumer('Mail', { eventPattern, target: ConsumerTarget.lambdaFunction(fn), database: DatabaseSide.NONE });
    Annotations.fromStack(stack).hasNoWarning('/Shop/Pipeline/Mail', Match.anyValue());
    pipeline.addConsumer('Stock', { eventPattern, target: ConsumerTarget.lambdaFunction(fn) });
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline/Stock', Match.stringLikeRegexp('has no way to the database: put its function in the VPC'));
  });

  test('of a team can be in a stack of their own', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const pipeline = pipelineOf({ encryptionKey });
    const team = new Stack(stack.node.root as App, 'Team');
    const { targetConfig } = new BufferedEventConsumer(team, 'Loyalty', {
      eventBus: pipeline.eventBus,
      eventPattern: { source: [pipeline.eventSource], detailType: ['OrderConfirmed'] },
      target: ConsumerTarget.kubernetes(kubernetes, { image }),
      environment: pipeline.database.queryEnvironment,
      egressPorts: [pipeline.database.readerEndpoint.port],
    });
    pipeline.database.grants.query(targetConfig.grantee!);
    pipeline.database.connections.allowDefaultPortFrom(targetConfig.connections!);

    const assembly = (stack.node.root as App).synth();
    expect(assembly.getStackByName('Team').dependencies.map(d => d.id)).toContain('Shop');
    expect(assembly.getStackByName('Shop').dependencies.map(d => d.id)).not.toContain('Team');
  });

  test('do not hand out what they have', () => {
    const pipeline = pipelineOf();
    pipeline.consumers.push(undefined as never);
    expect(pipeline.consumers).toEqual([]);
  });
});

describe('what is brought', () => {
  test('an event bus: gets no archive and the relay may put on it', () => {
    const eventBus = events.EventBus.fromEventBusArn(stack, 'Bus', 'arn:aws:events:eu-west-1:111111111111:event-bus/shop');
    const pipeline = pipelineOf({ eventBus });
    expect(pipeline.eventBus).toBe(eventBus);
    expect(pipeline.archive).toBeUndefined();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Events::EventBus', 0);
    template.resourceCountIs('AWS::Events::Archive', 0);
    expect(statementsOf(template, /OutboxRelayRole/)).toContainEqual({ Effect: 'Allow', Action: 'events:PutEvents', Resource: eventBus.eventBusArn });
  });

  test('a database: is opened on its port and used by its own names', () => {
    pipelineOf({ database: existingDatabase() });
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::RDS::DBCluster', 0);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-database', SourceSecurityGroupId: 'sg-cluster', FromPort: 5432 });
    expect(environmentOf(manifestOf(template, 'Deployment', 'query-api'))).toMatchObject({
      DB_WRITER_ENDPOINT: 'writer.example', DB_READER_ENDPOINT: 'reader.example', DB_PORT: '5432', DB_NAME: 'shop',
    });
  });

  test('a key: encrypts bus, archive, queues, database and secrets', () => {
    const encryptionKey = new kms.Key(stack, 'Key', { enableKeyRotation: true });
    pipelineOf({ encryptionKey }).addConsumer('Stock', {
      eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }),
    });
    const template = Template.fromStack(stack);
    const arn = { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] };
    template.hasResourceProperties('AWS::Events::EventBus', { KmsKeyIdentifier: arn });
    template.hasResourceProperties('AWS::Events::Archive', { KmsKeyIdentifier: arn });
    template.hasResourceProperties('AWS::RDS::DBCluster', { KmsKeyId: arn });
    template.allResourcesProperties('AWS::SQS::Queue', { KmsMasterKeyId: arn });
    template.allResourcesProperties('AWS::SecretsManager::Secret', { KmsKeyId: arn });
  });

  test('a cluster without kubectl: everything but the pods is made', () => {
    const gitops = KubernetesAccess.manifestsOnly({
      clusterName: 'gitops', podSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods'),
    });
    pipelineOf({ kubernetes: gitops });
    Template.fromStack(stack).resourceCountIs('AWS::EKS::PodIdentityAssociation', 3);
    expect(gitops.manifests.filter(m => m.kind === 'Deployment')).toHaveLength(3);
  });

  test('another stack: the cluster and the database may be there without a cycle', () => {
    const app = new App();
    const platform = new Stack(app, 'Platform');
    const shared = KubernetesAccess.fromEksV2(testCluster(platform));
    stack = new Stack(app, 'Orders');
    kubernetes = shared;
    vpc = ec2.Vpc.fromVpcAttributes(platform, 'Shared', { vpcId: 'v', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
    pipelineOf();
    expect(() => app.synth()).not.toThrow();
    expect(manifestsOf(Template.fromStack(stack)).filter(m => m.kind === 'Deployment')).toHaveLength(3);
  });
});

describe('refuses', () => {
  test('a VPC beside a database', () => {
    expect(() => pipelineOf({ database: existingDatabase(), vpc })).toThrow("vpc can't be given together with database");
  });

  test('neither a VPC nor a database', () => {
    expect(() => pipelineOf({ vpc: undefined })).toThrow("vpc is required to make the database: give vpc, or bring a database (in 'Shop/Pipeline')");
  });

  test('a source that belongs to AWS', () => {
    expect(() => pipelineOf({ eventSource: 'aws.orders' })).toThrow("eventSource must not start with 'aws.'");
  });
});

test('keeps its logical ids', () => {
  pipelineOf({ migration: {} }).addConsumer('Stock', {
    eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }),
  });
  expectLogicalIds(stack, `${__dirname}/event-driven-order-pipeline.ids.json`);
});

test('has no findings of AwsSolutions without a reason', () => {
  pipelineOf({ migration: {} }).addConsumer('Stock', {
    eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image }),
  });
  expect(unacknowledgedFindings(stack)).toEqual([]);
});
