import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  Autoscaling,
  BufferedEventConsumer,
  ConsumerTarget,
  CqrsAuroraCluster,
  DatabaseAccess,
  DatabaseSide,
  EventArchive,
  EventDrivenOrderPipeline,
  EventDrivenOrderPipelineProps,
  EventTransport,
  KubernetesAccess,
  KubernetesConsumerSettings,
  KubernetesJob,
  KubernetesServices,
  KubernetesWorkload,
  OrderEventBus,
  QueueScaling,
  ServiceExposure,
  ServiceHost,
  WorkloadImage,
} from '../../src';
import { testCluster, testKubernetes } from '../cluster';
import { existingDatabase } from '../database';
import { evaluate } from '../evaluate';
import { Manifest, manifestOf, manifestsOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let stack: Stack;
let kubernetes: KubernetesAccess;
let services: KubernetesServices;
let vpc: ec2.IVpc;

beforeEach(() => {
  stack = new Stack(new App(), 'Shop');
  useCluster(testKubernetes(stack));
  vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
});

function useCluster(access: KubernetesAccess) {
  kubernetes = access;
  services = ServiceHost.kubernetesServices(access, image);
}

function pipelineOf(props: Partial<EventDrivenOrderPipelineProps> = {}) {
  return new EventDrivenOrderPipeline(stack, 'Pipeline', {
    ...props.database ? {} : { vpc },
    commandApi: services.run(['node', 'write.js'], { serviceName: 'command-api' }),
    queryApi: services.run(['node', 'read.js'], { serviceName: 'query-api' }),
    outboxRelay: services.run(['node', 'relay.js'], { serviceName: 'outbox-relay' }),
    ...props,
  });
}

function migration() {
  return services.job(['node', 'migrate.js'], { serviceName: 'migration', environment: { SEED_FILE: 'data.json' } });
}

function consume(settings: KubernetesConsumerSettings = {}) {
  return services.consume(['node', 'consumer.js'], { scaling: QueueScaling.fixed(1), ...settings });
}

/** With the transport of the default, a subscription is a consumer with a queue. */
function addConsumer(pipeline: EventDrivenOrderPipeline, ...[id, options]: Parameters<EventDrivenOrderPipeline['addConsumer']>) {
  return pipeline.addConsumer(id, options) as BufferedEventConsumer;
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
  DB_READER_PORT: '5433',
  DB_ENGINE: 'postgres',
  DB_NAME: 'orders',
  EVENT_BUS_NAME: expect.stringMatching(/^\$\{PipelineTransportBus/),
  EVENT_SOURCE: 'com.example.orders',
  AWS_REGION: '${AWS::Region}',
};
const signing = { EVENT_SIGNING_SECRET_ARN: '${PipelineEventSigningKey2CBC1D88}' };
const readKey = {
  Effect: 'Allow',
  Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
  Resource: { Ref: 'PipelineEventSigningKey2CBC1D88' },
};
const querySide = { ...commandSide, DB_SECRET_ARN: expect.stringMatching(/^\$\{PipelineDatabaseQuerySecret/) };

describe('services', () => {
  test('find the database, the bus and their own name in the environment', () => {
    pipelineOf();
    const template = Template.fromStack(stack);
    const environment = (name: string) => environmentOf(manifestOf(template, 'Deployment', name));
    expect(environment('command-api')).toEqual({ ...commandSide, SERVICE_NAME: 'command-api', PORT: '3000', MANAGEMENT_PORT: '8080' });
    expect(environment('query-api')).toEqual({ ...querySide, SERVICE_NAME: 'query-api', PORT: '3001', MANAGEMENT_PORT: '8080' });
    expect(environment('outbox-relay')).toEqual({
      ...commandSide,
      ...signing,
      SERVICE_NAME: 'outbox-relay',
      PORT: '8080',
      METRICS_NAMESPACE: 'OrderPipeline',
      METRICS_PIPELINE: expect.stringMatching(/^ShopPipeline/),
    });
  });

  test('have internal load balancers in front of the APIs, none in front of the relay', () => {
    pipelineOf();
    const exposed = manifestsOf(Template.fromStack(stack)).filter(m => m.kind === 'Service');
    expect(exposed.map(({ metadata, spec }) => [metadata.name, spec.type, spec.ports[0].port]))
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
      { Effect: 'Allow', Action: 'events:PutEvents', Resource: { 'Fn::GetAtt': [expect.stringMatching(/^PipelineTransportBusEventBus/), 'Arn'] } },
      readKey,
      expect.objectContaining({ Action: 'cloudwatch:PutMetricData' }),
    ]);
  });

  test('can be reached and named otherwise, scaled otherwise and run another image', () => {
    pipelineOf({
      commandApi: ServiceHost.kubernetes(kubernetes, {
        serviceName: 'intake',
        port: 8000,
        image: WorkloadImage.fromRegistry('public.ecr.aws/team/intake:2'),
        exposure: ServiceExposure.clusterInternal(),
        scaling: Autoscaling.fixed(1),
        environment: { EVENT_SOURCE: 'com.example.intake' },
      }),
    });
    const template = Template.fromStack(stack);
    const deployment = manifestOf(template, 'Deployment', 'intake');
    expect(deployment.spec).toMatchObject({ template: { spec: { containers: [{ image: 'public.ecr.aws/team/intake:2' }] } } });
    expect(manifestOf(template, 'HorizontalPodAutoscaler', 'intake').spec.maxReplicas).toBe(1);
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
    pipelineOf({ migration: migration() });
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
      DB_READER_PORT: '5433',
      DB_ENGINE: 'postgres',
      DB_NAME: 'orders',
      SEED_FILE: 'data.json',
    });
    expect(statementsOf(template, /MigrationRole/)).toEqual([
      { 'Fn::GetAtt': [expect.stringMatching(/DatabaseCluster/), 'MasterUserSecret.SecretArn'] },
      { Ref: expect.stringMatching(/CommandSecret/) },
      { Ref: expect.stringMatching(/QuerySecret/) },
    ].map(Resource => ({ Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource })));
  });

  test('has succeeded before the services and consumers that use its database are applied', () => {
    const pipeline = pipelineOf({ migration: migration() });
    pipeline.addConsumer('Stock', { events: ['order.created'], target: consume(), database: DatabaseSide.COMMAND });
    pipeline.addConsumer('Mail', { events: ['order.confirmed'], target: consume() });
    pipeline.addService('Report', services.run(['node', 'report.js']), { database: DatabaseSide.QUERY });
    pipeline.addService('Pages', services.run(['node', 'pages.js']));
    const template = Template.fromStack(stack);
    const manifests = template.findResources('Custom::AWSCDK-EKS-KubernetesResource');
    const job = Object.keys(template.findResources('Custom::AWSCDK-EKS-KubernetesObjectValue')).find(id => id.startsWith('PipelineMigrationSucceeded'))!;
    const after = Object.entries(manifests).filter(([, { DependsOn }]) => DependsOn.includes(job)).map(([id]) => id.replace(/^Pipeline|Manifest.*$/g, ''));
    expect(after.sort()).toEqual(['CommandApi', 'ConsumersStockWorkload', 'OutboxRelay', 'QueryApi', 'ServicesReport']);
  });

  test('and whatever connects wait for the writer, the readers, and the rules that let them in', () => {
    const pipeline = pipelineOf({ migration: migration() });
    pipeline.addConsumer('Stock', { events: ['order.created'], target: consume(), database: DatabaseSide.QUERY });
    const template = Template.fromStack(stack);
    const [rule, ...others] = Object.keys(template.findResources('AWS::EC2::SecurityGroupIngress'));
    const instances = Object.keys(template.findResources('AWS::RDS::DBInstance'));
    expect([instances.length, others]).toEqual([2, []]);
    const manifests = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).filter(([id]) => id.includes('Manifest'));
    expect(manifests).toHaveLength(5);
    for (const [id, { DependsOn }] of manifests) {
      expect({ id, DependsOn }).toEqual({ id, DependsOn: expect.arrayContaining([rule, ...instances]) });
    }
  });

  test('is for those, too, who go through the proxy of the database', () => {
    const database = new CqrsAuroraCluster(stack, 'Proxied', { vpc, proxy: {} });
    const databaseAccess = DatabaseAccess.command(database.proxy!);
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', { database, migration: migration() });
    pipeline.addConsumer('Stock', { events: ['order.created'], target: consume(), databaseAccess });
    const [[, { DependsOn }]] = Object.entries(Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource'))
      .filter(([id]) => id.startsWith('PipelineConsumersStockWorkloadManifest')) as [[string, { DependsOn: string[] }]];
    expect(DependsOn).toContainEqual(expect.stringMatching(/^PipelineMigrationSucceeded/));

    const late = new EventDrivenOrderPipeline(stack, 'Late', {});
    const other = new CqrsAuroraCluster(stack, 'Other', { vpc, proxy: {} });
    late.addService('Early', services.run(['node', 'early.js']), { databaseAccess: DatabaseAccess.query(other.proxy!) });
    expect(() => late.addMigration('Late', services.job(['node', 'x.js']), other)).toThrow("the migration 'Late' comes after the service 'Early'");
  });

  test('of a target that is written elsewhere comes before the objects that it returns', () => {
    let started: sqs.CfnQueue;
    pipelineOf({ migration: migration() }).addConsumer('Stock', {
      events: ['order.created'],
      database: DatabaseSide.COMMAND,
      target: { bind: (scope) => ({ dependable: started = new sqs.CfnQueue(scope, 'Started') }) },
    });
    const { DependsOn } = Template.fromStack(stack).toJSON().Resources[stack.getLogicalId(started!)];
    expect(DependsOn).toEqual(expect.arrayContaining([
      expect.stringMatching(/^PipelineMigrationManifest/), expect.stringMatching(/^PipelineDatabaseClusterWriter/),
    ]));
  });

  test('needs an administrator and a database', () => {
    expect(() => pipelineOf({ database: existingDatabase(stack), migration: migration() }))
      .toThrow('migration needs the credentials of an administrator: give adminSecret');
    const database = existingDatabase(new Construct(stack, 'Existing'), { adminSecret: true });
    expect(() => new EventDrivenOrderPipeline(stack, 'Other', { database, migration: migration() })).not.toThrow();
    expect(() => new EventDrivenOrderPipeline(stack, 'None', { migration: migration() }))
      .toThrow("migration needs a database: give the pipeline vpc to make one, or give an existing one as database (in 'Shop/None')");
  });

  test('is missed if the database is new', () => {
    const warning = Match.stringLikeRegexp('so the roles .* are not made.*cdk-order-pipeline:databaseWithoutMigration');
    pipelineOf();
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline', warning);
    new EventDrivenOrderPipeline(stack, 'Brought', { database: existingDatabase(stack) });
    new EventDrivenOrderPipeline(stack, 'Migrated', { vpc, migration: migration() });
    Annotations.fromStack(stack).hasNoWarning('/Shop/Brought', warning);
    Annotations.fromStack(stack).hasNoWarning('/Shop/Migrated', warning);
  });

  test('is a Job, and nothing else is', () => {
    expect(() => pipelineOf({ migration: services.run(['node', 'migrate.js']) })).toThrow(
      'migration runs to its end, but a Deployment runs all the time: use ServiceHost.kubernetesJob()');
    expect(() => new EventDrivenOrderPipeline(stack, 'Other', { vpc, commandApi: services.job(['node', 'write.js']) }))
      .toThrow('CommandApi runs all the time, but a Job runs to its end: use ServiceHost.kubernetes()');
  });
});

describe('consumers', () => {
  test('get the events of the pipeline', () => {
    pipelineOf({ eventSource: 'com.example.shop' }).addConsumer('Stock', {
      eventPattern: { detailType: ['OrderCreated'] }, target: consume(),
    });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
      EventBusName: { Ref: Match.stringLikeRegexp('^PipelineTransportBusEventBus') },
      EventPattern: { 'source': ['com.example.shop'], 'detail-type': ['OrderCreated'] },
    });
  });

  test.each([
    ['order.created', 'OrderCreated'],
    ['order.update-rejected', 'OrderUpdateRejected'],
    ['order.created.v2', 'OrderCreatedV2'],
    ['inventory.updated', 'InventoryUpdated'],
    ['inventory.validated', 'StockValidated'],
    ['inventory.reserved', 'StockReserved'],
    ['inventory.rejected', 'StockRejected'],
  ])('name events by their type: %s is the detail type %s', (type, detailType) => {
    pipelineOf().addConsumer('Stock', { events: [type], target: consume() });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
      EventPattern: { 'source': ['com.example.orders'], 'detail-type': [detailType] },
    });
  });

  test('and services may have any id, also one of the pipeline itself', () => {
    const pipeline = pipelineOf({ migration: migration() });
    for (const id of ['Bus', ...pipeline.node.children.map(({ node }) => node.id)]) {
      pipeline.addConsumer(id, { events: ['order.created'], target: consume() });
      pipeline.addService(id, services.run(['node', 'service.js']));
    }
    expect(pipeline.consumers.length).toBeGreaterThan(7);
    expect(pipeline.consumers.map((consumer) => (consumer as BufferedEventConsumer).node.path)).toContain('Shop/Pipeline/Consumers/Transport');
    expect(() => Template.fromStack(stack)).not.toThrow();
  });

  test('get the events of another source if they name it', () => {
    pipelineOf().addConsumer('Fraud', {
      eventPattern: { source: ['com.partner'] }, target: consume(),
    });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', { EventPattern: { source: ['com.partner'] } });
  });

  test('have the source of the pipeline in each of several patterns', () => {
    const consumer = addConsumer(pipelineOf({ eventSource: 'com.example.shop' }), 'Mail', {
      eventPatterns: [{ detailType: ['OrderConfirmed'] }, { source: ['com.partner'] }],
      target: consume(),
    });
    const patterns = consumer.rules.map((rule) => stack.resolve((rule.node.defaultChild as events.CfnRule).eventPattern));
    expect(patterns).toEqual([{ 'source': ['com.example.shop'], 'detail-type': ['OrderConfirmed'] }, { source: ['com.partner'] }]);
  });

  test('may only consume a queue that something else fills', () => {
    const queue = new sqs.Queue(stack, 'Queue');
    const consumer = addConsumer(pipelineOf(), 'Labels', { queue, target: consume() });
    expect(consumer.rules).toEqual([]);
    expect(consumer.queue).toBe(queue);
  });

  test('encrypt the new queue with the key of the pipeline, whatever the brought dead-letter queue has', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const consumer = addConsumer(pipelineOf({ encryptionKey }), 'Stock', {
      eventPattern: { detailType: ['OrderCreated'] },
      deadLetterQueue: new sqs.Queue(stack, 'Dead'),
      target: consume(),
    });
    expect(consumer.queue.encryptionMasterKey).toBe(encryptionKey);
  });

  test('work with the side of the database that they name, and with none otherwise', () => {
    const pipeline = pipelineOf();
    const add = (name: string, database?: DatabaseSide) => pipeline.addConsumer(name, {
      eventPattern: { detailType: ['OrderCreated'] },
      target: consume({ serviceName: name.toLowerCase() }),
      environment: { LOG_LEVEL: 'debug' },
      database,
    });
    add('Stock', DatabaseSide.COMMAND);
    add('Report', DatabaseSide.QUERY);
    add('Mail');

    const template = Template.fromStack(stack);
    const { EVENT_BUS_NAME: _bus, EVENT_SOURCE: _source, ...command } = commandSide;
    const query = { ...command, DB_SECRET_ARN: querySide.DB_SECRET_ARN };
    const own = (name: string) => ({
      ...signing,
      SERVICE_NAME: name,
      PORT: '8080',
      LOG_LEVEL: 'debug',
      QUEUE_URL: expect.stringMatching(new RegExp(`^\\$\\{PipelineConsumers${name}Queue`, 'i')),
    });
    expect(environmentOf(manifestOf(template, 'Deployment', 'stock'))).toEqual({ ...command, ...own('stock') });
    expect(environmentOf(manifestOf(template, 'Deployment', 'report'))).toEqual({ ...query, ...own('report') });
    expect(Object.keys(environmentOf(manifestOf(template, 'Deployment', 'mail'))).filter(key => key.startsWith('DB_'))).toEqual([]);
    expect(manifestOf(template, 'NetworkPolicy', 'stock').spec.egress[1].ports).toHaveLength(2);
    expect(manifestOf(template, 'NetworkPolicy', 'mail').spec.egress[1].ports).toEqual([{ protocol: 'TCP', port: 443 }]);

    const actions = (role: RegExp) => statementsOf(template, role).flatMap(s => (s as { Action: string | string[] }).Action).sort();
    const consuming = ['sqs:ChangeMessageVisibility', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes', 'sqs:ReceiveMessage'];
    const verifying = ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'];
    expect(actions(/StockWorkloadRole/)).toEqual([...verifying, 'secretsmanager:GetSecretValue', ...consuming]);
    expect(actions(/MailWorkloadRole/)).toEqual([...verifying, ...consuming]);
    expect(pipeline.consumers.map(c => (c as BufferedEventConsumer).node.path)).toEqual(['Stock', 'Report', 'Mail'].map(id => `Shop/Pipeline/Consumers/${id}`));
  });

  test('can be functions', () => {
    const fn = new lambda.Function(stack, 'Fn', {
      runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = () => {}'), vpc,
    });
    pipelineOf().addConsumer('Mail', { eventPattern: { detailType: ['OrderConfirmed'] }, target: ConsumerTarget.lambdaFunction(fn), database: DatabaseSide.QUERY });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ DB_SECRET_ARN: { Ref: Match.stringLikeRegexp('QuerySecret') }, EVENT_SOURCE: Match.absent() }) },
    });
    template.resourceCountIs('AWS::Lambda::EventSourceMapping', 1);
    // Opens the database to the function beside the pods.
    template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 2);
  });

  test('that cannot reach the database are warned about', () => {
    const fn = new lambda.Function(stack, 'Fn', {
      runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = () => {}'),
    });
    const pipeline = pipelineOf();
    const eventPattern = { detailType: ['OrderConfirmed'] };
    pipeline.addConsumer('Mail', { eventPattern, target: ConsumerTarget.lambdaFunction(fn) });
    Annotations.fromStack(stack).hasNoWarning('/Shop/Pipeline/Consumers/Mail', Match.anyValue());
    pipeline.addConsumer('Stock', { eventPattern, target: ConsumerTarget.lambdaFunction(fn), database: DatabaseSide.COMMAND });
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline/Consumers/Stock', Match.stringLikeRegexp('has no access to the database: put its function in the VPC'));
  });

  test('of a team can be in a stack of their own', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const pipeline = pipelineOf({ encryptionKey });
    const team = new Stack(stack.node.root as App, 'Team');
    new BufferedEventConsumer(team, 'Loyalty', {
      eventBus: pipeline.eventBus,
      eventPattern: { source: [pipeline.eventSource], detailType: ['OrderConfirmed'] },
      target: consume(),
      databaseAccess: DatabaseAccess.query(pipeline.database!),
    });

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

describe('every service is optional', () => {
  test('a pipeline of nothing is a bus with its archive', () => {
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline');
    const { commandApi, queryApi, outboxRelay, database, consumers } = pipeline;
    expect({ commandApi, queryApi, outboxRelay, migration: pipeline.migration, database, consumers }).toEqual({ consumers: [] });
    expect(Object.values(Template.fromStack(stack).toJSON().Resources).map((resource) => (resource as { Type: string }).Type))
      .toEqual(['AWS::Events::EventBus', 'AWS::Events::Archive']);
  });

  test('a service of its own has the environment of the pipeline, its database, and no permission besides', () => {
    const pipeline = pipelineOf();
    const report = pipeline.addService('Report', services.run(['node', 'report.js'], { serviceName: 'report' }), { database: DatabaseSide.COMMAND });
    pipeline.addService('Pages', services.run(['node', 'pages.js'], { serviceName: 'pages' }));
    expect(report).toBeInstanceOf(KubernetesWorkload);
    const template = Template.fromStack(stack);
    const { EVENT_BUS_NAME, EVENT_SOURCE, AWS_REGION } = commandSide;
    expect(environmentOf(manifestOf(template, 'Deployment', 'report'))).toEqual({ ...commandSide, SERVICE_NAME: 'report', PORT: '8080' });
    expect(environmentOf(manifestOf(template, 'Deployment', 'pages'))).toEqual({ EVENT_BUS_NAME, EVENT_SOURCE, AWS_REGION, SERVICE_NAME: 'pages', PORT: '8080' });
    expect(statementsOf(template, /ServicesReportRole/)).toEqual([expect.objectContaining({ Action: 'secretsmanager:GetSecretValue' })]);
    expect(statementsOf(template, /ServicesPagesRole/)).toEqual([]);
    expect(manifestsOf(template).filter(({ kind, metadata }) => kind === 'Service' && /report|pages/.test(metadata.name))).toEqual([]);
  });

  test('another database has a migration of its own, for which those wait that use it, and a service may be its relay', () => {
    const pipeline = pipelineOf({ migration: migration() });
    const catalog = existingDatabase(new Construct(stack, 'Catalog'), { adminSecret: true });
    pipeline.addMigration('CatalogRelay', services.job(['node', 'migrate-catalog.js']), catalog);
    const databaseAccess = DatabaseAccess.command(catalog);
    pipeline.addService('CatalogRelay', services.run(['node', 'relay.js']), { databaseAccess, publishes: true });
    pipeline.addConsumer('Prices', { events: ['price.changed'], target: consume(), databaseAccess });

    const template = Template.fromStack(stack);
    const manifests = template.findResources('Custom::AWSCDK-EKS-KubernetesResource');
    const waitFor = (job: RegExp) => Object.entries(manifests).filter(([, { DependsOn }]) => [DependsOn].flat().some((id) => job.test(id)))
      .map(([id]) => id.replace(/^Pipeline|Manifest.*$/g, '')).sort();
    expect(waitFor(/MigrationsCatalogRelayManifest/)).toEqual(['ConsumersPricesWorkload', 'ServicesCatalogRelay']);
    expect(waitFor(/^PipelineMigrationManifest/)).toEqual(['CommandApi', 'OutboxRelay', 'QueryApi']);
    expect(statementsOf(template, /CatalogRelayRole/)).toContainEqual(expect.objectContaining({ Action: 'events:PutEvents' }));
    expect(() => pipeline.addMigration('Twice', services.job(['node', 'x.js']), catalog)).toThrow("the database of the migration 'Twice' has a migration already");
    const late = existingDatabase(new Construct(stack, 'Late'), { adminSecret: true });
    pipeline.addService('Early', services.run(['node', 'early.js']), { databaseAccess: DatabaseAccess.query(late) });
    expect(() => pipeline.addMigration('Late', services.job(['node', 'x.js']), late)).toThrow("the migration 'Late' comes after the service 'Early', which works "
      + "with its database and would not wait for it: add the migration before (in 'Shop/Pipeline')");
    const brought = existingDatabase(new Construct(stack, 'Brought'), { adminSecret: true });
    const api = new EventDrivenOrderPipeline(stack, 'Api', { database: brought, queryApi: services.run(['node', 'r.js'], { serviceName: 'other' }) });
    expect(() => api.addMigration('Own', services.job(['node', 'x.js']), brought)).toThrow("the migration 'Own' comes after queryApi");
    expect(() => pipeline.addMigration('None', services.job(['node', 'x.js']), existingDatabase(new Construct(stack, 'Other'))))
      .toThrow("the migration 'None' needs the credentials of an administrator");
  });

  test('each is what its host made', () => {
    const pipeline = pipelineOf({ migration: migration() });
    const made = [pipeline.commandApi, pipeline.queryApi, pipeline.outboxRelay];
    expect(made.map((service) => service instanceof KubernetesWorkload)).toEqual([true, true, true]);
    expect(pipeline.migration).toBeInstanceOf(KubernetesJob);
  });

  test('the addresses of the APIs are outputs that are URLs', () => {
    pipelineOf();
    const outputs = Object.entries(Template.fromStack(stack).findOutputs('*')).map(([id, { Value }]) => [id.replace(/[0-9A-F]{8}$/, ''), evaluate(Value)]);
    expect(outputs).toEqual([
      ['PipelineCommandApiUrl', expect.stringMatching(/^http:\/\/\$\{PipelineCommandApi\w+\.Value\}:3000$/)],
      ['PipelineQueryApiUrl', expect.stringMatching(/^http:\/\/\$\{PipelineQueryApi\w+\.Value\}:3001$/)],
    ]);
  });

  test('a host may be written elsewhere', () => {
    const bound: string[] = [];
    const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
    const connections = new ec2.Connections({ securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(stack, 'Tasks', 'sg-tasks')] });
    pipelineOf({
      commandApi: {
        bindService: (scope, id, { kind, port, environment }) => {
          bound.push(`${scope.node.id}/${id} ${kind} ${port} ${environment.DB_NAME}`);
          return Object.assign(new Construct(scope, id), { grantPrincipal: role, connections, url: 'https://orders.example' });
        },
      },
    });
    expect(bound).toEqual(['Pipeline/CommandApi API 3000 orders']);
    const template = Template.fromStack(stack);
    expect(statementsOf(template, /^Role/)).toEqual([expect.objectContaining({ Action: 'secretsmanager:GetSecretValue' })]);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { SourceSecurityGroupId: 'sg-tasks', FromPort: 5433 });
    template.hasOutput('*', { Value: 'https://orders.example' });
  });

  test('a transport may be written elsewhere', () => {
    const subscribed: string[] = [];
    const pipeline = pipelineOf({
      transport: {
        // Its ids meet none of the pipeline.
        bindTransport: (scope, { eventSource }) => new Construct(scope, 'Services') && ({
          environment: { TOPIC: eventSource },
          egressPorts: [9098],
          allowPublish: (publisher) => subscribed.push((publisher as KubernetesWorkload).serviceName),
          addSubscription: (consumers, id, options) => {
            subscribed.push(`${id} ${options.events} ${Object.keys(options.environment ?? {})}`);
            return new BufferedEventConsumer(consumers, id, { eventPattern: { source: ['x'] }, target: options.target });
          },
        }),
      },
    });
    pipeline.addConsumer('Mail', { events: ['order.confirmed'], target: consume() });
    expect(subscribed).toEqual(['outbox-relay', 'Mail order.confirmed EVENT_SIGNING_SECRET_ARN']);
    expect(pipeline.eventBus).toBeUndefined();
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'NetworkPolicy', 'outbox-relay').spec.egress[1].ports.map(({ port }: { port: number }) => port)).toEqual([443, 5433, 9098]);
    expect(manifestOf(template, 'NetworkPolicy', 'command-api').spec.egress[1].ports.map(({ port }: { port: number }) => port)).toEqual([443, 5433]);
  });
});

test('two copies of a stack in one account have buses of their own', () => {
  const app = new App();
  const copies = ['One', 'Two'].map((id) => new Stack(app, id, { stackName: `shop-${id.toLowerCase()}` }));
  copies.forEach((copy) => new EventDrivenOrderPipeline(copy, 'Pipeline'));
  const names = copies.map((copy) => Object.values(Template.fromStack(copy).findResources('AWS::Events::EventBus'))[0].Properties.Name);
  expect(new Set(names).size).toBe(2);
});

describe('what is brought', () => {
  test('an event bus: gets no archive and the relay may put on it', () => {
    const eventBus = events.EventBus.fromEventBusArn(stack, 'Bus', 'arn:aws:events:eu-west-1:111111111111:event-bus/shop');
    const pipeline = pipelineOf({ transport: EventTransport.eventBridge({ eventBus }) });
    expect(pipeline.eventBus).toBe(eventBus);
    expect(pipeline.archive).toBeUndefined();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Events::EventBus', 0);
    template.resourceCountIs('AWS::Events::Archive', 0);
    expect(statementsOf(template, /OutboxRelayRole/)).toContainEqual({ Effect: 'Allow', Action: 'events:PutEvents', Resource: eventBus.eventBusArn });
  });

  test('a database: is opened on its port and used by its own names', () => {
    pipelineOf({ database: existingDatabase(stack) });
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
      eventPattern: { detailType: ['OrderCreated'] }, target: consume(),
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
      clusterName: 'gitops', loadBalancerClass: 'service.k8s.aws/nlb', podSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods'),
    });
    useCluster(gitops);
    const pipeline = pipelineOf();
    expect(pipeline.commandApi!.url).toBeUndefined();
    Template.fromStack(stack).resourceCountIs('AWS::EKS::PodIdentityAssociation', 3);
    expect(gitops.manifests.filter(m => m.kind === 'Deployment')).toHaveLength(3);
  });

  test('another stack: the cluster and the database may be there without a cycle', () => {
    const app = new App();
    const platform = new Stack(app, 'Platform');
    const shared = KubernetesAccess.fromEksV2(testCluster(platform));
    stack = new Stack(app, 'Orders');
    useCluster(shared);
    vpc = ec2.Vpc.fromVpcAttributes(platform, 'Shared', { vpcId: 'v', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
    pipelineOf();
    expect(() => app.synth()).not.toThrow();
    expect(manifestsOf(Template.fromStack(stack)).filter(m => m.kind === 'Deployment')).toHaveLength(3);
  });
});

test('publishing to a bus of another account needs that account, and says which statement', () => {
  stack = new Stack(new App(), 'Shop', { env: { account: '111111111111', region: 'eu-west-1' } });
  const eventBus = events.EventBus.fromEventBusArn(stack, 'Bus', 'arn:aws:events:eu-west-1:222222222222:event-bus/shop');
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
  const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', { transport: EventTransport.eventBridge({ eventBus }) });
  const none = new ec2.Connections();
  pipeline.addService('Relay', {
    bindService: (scope, id) => Object.assign(new Construct(scope, id), { grantPrincipal: role, connections: none }),
  }, { publishes: true });
  Annotations.fromStack(stack).hasWarning('/Shop/Pipeline/Transport',
    Match.stringLikeRegexp('eventBus is of account 222222222222.*"Action":"events:PutEvents".*event-bus/shop.*cdk-order-pipeline:eventBusDoesNotLetPublish'));
});

describe('refuses', () => {
  test('a VPC beside a database', () => {
    expect(() => pipelineOf({ database: existingDatabase(stack), vpc })).toThrow("vpc can't be given together with database");
  });

  test('neither a VPC nor a database, for what needs one', () => {
    const needs = (what: string) => `${what} needs a database: give the pipeline vpc to make one, or give an existing one as database (in 'Shop/Pipeline`;
    const service = () => services.run(['node', 'service.js']);
    expect(() => new EventDrivenOrderPipeline(stack, 'Pipeline1', { commandApi: service() })).toThrow(needs('commandApi'));
    expect(() => new EventDrivenOrderPipeline(stack, 'Pipeline2', { queryApi: service() })).toThrow(needs('queryApi'));
    expect(() => new EventDrivenOrderPipeline(stack, 'Pipeline3', { outboxRelay: service() })).toThrow(needs('outboxRelay'));
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline4');
    expect(() => pipeline.addConsumer('Stock', { events: ['order.created'], target: consume(), database: DatabaseSide.QUERY })).toThrow(needs("the consumer 'Stock'"));
  });

  test('two databases for a consumer', () => {
    expect(() => pipelineOf().addConsumer('Stock', {
      events: ['order.created'], target: consume(), database: DatabaseSide.QUERY, databaseAccess: DatabaseAccess.query(existingDatabase(stack)),
    })).toThrow("database and databaseAccess of the consumer 'Stock' can't be given together: choose one (in 'Shop/Pipeline')");
  });

  test('an archive beside a bus', () => {
    const { eventBus } = new OrderEventBus(stack, 'Bus');
    expect(() => pipelineOf({ transport: EventTransport.eventBridge({ eventBus, archive: EventArchive.none() }) })).toThrow("archive can't be given together with eventBus");
  });

  test.each<[string, string[], string]>([
    ['none', [], "Mail.events is empty: name at least one type, such as 'order.created' (in 'Shop/Pipeline/Consumers')"],
    [
      'a detail type', ['OrderCreated'],
      "Mail.events[0] must be a type of events, such as 'order.created', got 'OrderCreated': "
      + 'for detail types of EventBridge, give eventPattern instead',
    ],
    ['the same twice', ['order.created', 'order.created'], "Mail.events[1] is named twice: 'order.created'"],
  ])('events: %s', (_, types, message) => {
    expect(() => pipelineOf().addConsumer('Mail', { events: types, target: consume() })).toThrow(message);
  });

  test('events beside a pattern', () => {
    expect(() => pipelineOf().addConsumer('Mail', { events: ['order.created'], eventPattern: { detailType: ['OrderCreated'] }, target: consume() }))
      .toThrow("Mail.events and Mail.eventPattern can't be given together: choose one");
  });

  test('a source that belongs to AWS', () => {
    expect(() => pipelineOf({ eventSource: 'aws.orders' })).toThrow("eventSource must not start with 'aws.'");
  });
});

test('keeps its logical ids', () => {
  pipelineOf({ migration: migration() }).addConsumer('Stock', {
    events: ['order.created'], target: consume(), database: DatabaseSide.COMMAND,
  });
  expectLogicalIds(stack, `${__dirname}/event-driven-order-pipeline.ids.json`);
});

test('has no findings of AwsSolutions without a reason', () => {
  pipelineOf({ migration: migration() }).addConsumer('Stock', {
    events: ['order.created'], target: consume(), database: DatabaseSide.COMMAND,
  });
  expect(unacknowledgedFindings(stack)).toEqual([]);
});
