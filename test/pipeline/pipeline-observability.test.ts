import { App, CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch_actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct, Dependable, IDependable } from 'constructs';
import {
  BufferedEventConsumer, ConsumerTarget, CqrsAuroraCluster, EventDrivenOrderPipeline, EventDrivenOrderPipelineProps, IServiceHost,
  PipelineAlarms, PipelineAlarmsOptions, PipelineDashboard, ServiceBindOptions, ServiceHost, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { existingDatabase } from '../database';
import { manifestOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const NAMESPACE = 'OrderPipeline';
let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Shop', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function services() {
  const scope = new Construct(stack, `Cluster${stack.node.children.length}`);
  return ServiceHost.kubernetesServices(testKubernetes(scope), WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0'));
}

function pipelineOf(props: Partial<EventDrivenOrderPipelineProps> = {}) {
  const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
  return new EventDrivenOrderPipeline(stack, 'Pipeline', {
    ...props.database ? {} : { vpc }, outboxRelay: services().run(['node', 'relay.js'], { serviceName: 'outbox-relay' }), ...props,
  });
}

function addConsumer(pipeline: EventDrivenOrderPipeline, id: string) {
  const role = stack.node.tryFindChild('Elsewhere') as iam.Role ?? new iam.Role(stack, 'Elsewhere', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  const target = ConsumerTarget.external(role, { processingTime: Duration.seconds(1) });
  return pipeline.addConsumer(id, { events: ['order.created'], target }) as BufferedEventConsumer;
}

function topicAction(id = 'Topic') {
  return new cloudwatch_actions.SnsAction(new sns.Topic(stack, id));
}

function alarms() {
  return Object.entries(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm')).map(([id, { Properties, DependsOn }]) => ({ id, DependsOn, ...Properties }));
}

/** A relay that is no Deployment, such as a function that a schedule starts. It makes its role unless it is given. */
class OtherHost implements IServiceHost {
  public bound?: ServiceBindOptions;

  constructor(private readonly role?: iam.IRole, private readonly parts?: IDependable) {
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions) {
    this.bound = options;
    const host = new Construct(scope, id);
    if (this.parts) Dependable.implement(host, Dependable.of(this.parts));
    const role = this.role ?? new iam.Role(host, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    return Object.assign(host, { grantPrincipal: role, connections: new ec2.Connections() });
  }
}

describe('the relay reports', () => {
  const statement = {
    Effect: 'Allow', Action: 'cloudwatch:PutMetricData', Resource: '*', Condition: { StringEquals: { 'cloudwatch:namespace': NAMESPACE } },
  };
  const reporters = () => Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
    .filter(({ Properties }) => JSON.stringify(Properties).includes('PutMetricData')).map(({ Properties }) => [Properties.PolicyDocument, Properties.Roles]);

  test('with a namespace and a name in its environment, and may send metrics of this namespace only', () => {
    const pipeline = pipelineOf({ commandApi: services().run(['node', 'write.js'], { serviceName: 'write' }) });
    pipeline.addService('Other', services().run(['node', 'other.js'], { serviceName: 'other' }), { publishes: true });
    const template = Template.fromStack(stack);
    const variables = (name: string) => Object.fromEntries(
      (manifestOf(template, 'Deployment', name).spec.template.spec.containers[0].env as { name: string; value: string }[])
        .filter((variable) => variable.name.startsWith('METRICS_')).map((variable) => [variable.name, variable.value]));
    expect(variables('outbox-relay')).toEqual({ METRICS_NAMESPACE: NAMESPACE, METRICS_PIPELINE: expect.stringMatching(/^ShopPipeline/) });
    expect([variables('write'), variables('other')]).toEqual([{}, {}]);
    const role = { Ref: expect.stringMatching(/^PipelineOutboxRelayRole/) };
    expect(reporters()).toEqual([[expect.objectContaining({ Statement: [statement] }), [role]]]);
  });

  test('from any host', () => {
    const host = new OtherHost();
    const pipeline = pipelineOf({ database: existingDatabase(stack), outboxRelay: host });
    const { Pipeline } = pipeline.metricRelayLeader().dimensions!;
    expect(host.bound!.environment).toMatchObject({ METRICS_NAMESPACE: NAMESPACE, METRICS_PIPELINE: Pipeline });
    expect(pipeline.addAlarms({ actions: [topicAction()] })).toBeInstanceOf(PipelineAlarms);
    expect(reporters()).toHaveLength(1);
    const dependencies = alarms().map(({ DependsOn }) => DependsOn);
    expect(dependencies).toEqual(Array(8).fill(expect.arrayContaining([expect.stringMatching(/^PipelineOutboxRelayRole/)])));
  });

  test('with a role in another stack, which needs the bus of this one', () => {
    const other = new Stack(Stack.of(stack).node.scope!, 'Relay', { env: { account: stack.account, region: stack.region } });
    const role = new iam.Role(other, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    const host = new OtherHost(role, role);
    const pipeline = pipelineOf({ database: existingDatabase(stack), outboxRelay: host });
    new CfnOutput(other, 'Bus', { value: host.bound!.environment!.EVENT_BUS_NAME! });
    pipeline.addAlarms({ actions: [topicAction()] });
    expect(reporters()).toEqual([]);
    expect(alarms().every(({ DependsOn }) => DependsOn === undefined)).toBe(true);
    stack = other;
    expect(reporters()).toContainEqual([expect.objectContaining({ Statement: [statement] }), [{ Ref: expect.stringMatching(/^Role/) }]]);
    expect(unacknowledgedFindings(other).filter((finding) => JSON.stringify(finding).includes('IAM5'))).toEqual([]);
  });

  test.each([
    ["can't be changed here, so the relay can't send.*\"Action\":\"cloudwatch:PutMetricData\".*Besides, .*account 999999999999", 'arn:aws:iam::999999999999:role/relay', {}],
    ["can't be changed here, so the relay can't send", 'arn:aws:iam::111122223333:role/relay', { mutable: false }],
  ])('not with a role that accepts no policy, or writes into another account, which is a warning: %s', (warning, arn, options) => {
    pipelineOf({ database: existingDatabase(stack), outboxRelay: new OtherHost(iam.Role.fromRoleArn(stack, 'Imported', arn, options)) });
    expect(reporters()).toEqual([]);
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline', Match.stringLikeRegexp(`${warning}.*cdk-order-pipeline:relayMetricsNotAllowed`));
  });

  test('without a warning with an imported role of this account, which gets the policy', () => {
    pipelineOf({ database: existingDatabase(stack), outboxRelay: new OtherHost(iam.Role.fromRoleName(stack, 'Imported', 'relay')) });
    expect(reporters()).toEqual([[expect.objectContaining({ Statement: [statement] }), ['relay']]]);
    Annotations.fromStack(stack).hasNoWarning('*', Match.stringLikeRegexp('relayMetricsNotAllowed'));
  });

  test('under another name in another stack', () => {
    const app = new App();
    const names = ['One', 'Two'].map((id) => {
      stack = new Stack(app, id, { stackName: `shop-${id}` });
      return pipelineOf().metricOutboxAge().dimensions!.Pipeline;
    });
    expect(new Set(names).size).toBe(2);
  });
});

describe('metrics', () => {
  test.each([
    ['metricOutboxAge', 'OutboxOldestEventAge'],
    ['metricHeldBack', 'OutboxHeldBack'],
    ['metricDeadEvents', 'OutboxDeadEvents'],
    ['metricRelayLeader', 'RelayLeader'],
    ['metricRelayHalted', 'RelayHalted'],
    ['metricParkedAge', 'ParkedOldestEventAge'],
    ['metricOverdueOrders', 'OverdueOrders'],
    ['metricSnapshotAge', 'OldestSnapshotAge'],
  ] as const)('%s is the maximum of %s, unless asked otherwise', (method, metricName) => {
    const pipeline = pipelineOf();
    const dimensions = { Pipeline: expect.stringMatching(/^ShopPipeline/) };
    expect(pipeline[method]()).toMatchObject({ namespace: NAMESPACE, metricName, statistic: 'Maximum', dimensions });
    expect(pipeline[method]({ statistic: 'Average', period: Duration.minutes(1), label: 'x' })).toMatchObject({ metricName, statistic: 'Average', label: 'x', dimensions });
  });

  test('events are counted by type', () => {
    expect(pipelineOf().metricEventsPublished('order.confirmed')).toMatchObject({
      namespace: NAMESPACE, metricName: 'EventsPublished', statistic: 'Sum', dimensions: { EventType: 'order.confirmed', Pipeline: expect.anything() },
    });
  });

  test('need a relay, which reports them', () => {
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline');
    expect(() => pipeline.metricOutboxAge()).toThrow(
      "the metric OutboxOldestEventAge is reported by outboxRelay, and the pipeline has none: give it (in 'Shop/Pipeline')");
    expect(() => new PipelineAlarms(stack, 'Alarms', { pipeline })).toThrow('PipelineAlarms needs a pipeline with outboxRelay');
  });
});

describe('alarms', () => {
  test('about the relay are eight, and only a missing leader is bad without data', () => {
    pipelineOf({ database: existingDatabase(stack) }).addAlarms({ actions: [topicAction()] });
    const own = alarms();
    expect(own.map(({ Namespace, Statistic, Period }) => [Namespace, Statistic, Period])).toEqual(Array(8).fill([NAMESPACE, 'Maximum', 60]));
    expect(Object.fromEntries(own.map(({ MetricName, ComparisonOperator, Threshold, EvaluationPeriods, TreatMissingData }) => [
      MetricName, `${ComparisonOperator} ${Threshold}, ${EvaluationPeriods}, ${TreatMissingData}`,
    ]))).toEqual({
      RelayLeader: 'LessThanThreshold 1, 3, breaching',
      RelayHalted: 'GreaterThanThreshold 0, 1, notBreaching',
      OutboxOldestEventAge: 'GreaterThanThreshold 60, 3, notBreaching',
      OutboxHeldBack: 'GreaterThanThreshold 120, 1, notBreaching',
      OldestSnapshotAge: 'GreaterThanThreshold 600, 1, notBreaching',
      OutboxDeadEvents: 'GreaterThanThreshold 0, 1, notBreaching',
      ParkedOldestEventAge: 'GreaterThanThreshold 900, 1, notBreaching',
      OverdueOrders: 'GreaterThanThreshold 0, 3, notBreaching',
    });
  });

  test('wait for the relay, so that they do not go off before it reports', () => {
    pipelineOf().addAlarms({ actions: [topicAction()] });
    const relay = expect.arrayContaining([expect.stringMatching(/^PipelineOutboxRelayRollout/)]);
    for (const { Namespace, DependsOn } of alarms()) if (Namespace === NAMESPACE) expect(DependsOn).toEqual(relay);
  });

  test('have the thresholds and actions that are given, and say the limit', () => {
    const [action, okAction] = [topicAction('Off'), topicAction('Over')];
    const options: PipelineAlarmsOptions = {
      actions: [action],
      okActions: [okAction],
      acceptableOutboxAge: Duration.minutes(5),
      acceptableTransactionAge: Duration.seconds(30),
      acceptableSnapshotAge: Duration.hours(1),
      acceptableParkedAge: Duration.minutes(2),
      acceptableLatency: Duration.minutes(20),
    };
    const pipeline = pipelineOf();
    addConsumer(pipeline, 'Stock');
    pipeline.addAlarms(options);
    const byMetric = Object.fromEntries(alarms().map((alarm) => [alarm.MetricName, alarm]));
    const limits = ['OutboxOldestEventAge', 'OutboxHeldBack', 'OldestSnapshotAge', 'ParkedOldestEventAge', 'ApproximateAgeOfOldestMessage'];
    expect(limits.map((name) => byMetric[name].Threshold)).toEqual([300, 30, 3600, 120, 1200]);
    expect(byMetric.OutboxOldestEventAge.AlarmDescription).toContain('wait in the outbox for longer than 5 minutes');
    const refs = [[{ Ref: expect.stringMatching(/^Off/) }], [{ Ref: expect.stringMatching(/^Over/) }]];
    for (const { AlarmActions, OKActions } of alarms()) expect([AlarmActions, OKActions]).toEqual(refs);
  });

  test('are those of the consumers, too, of early and late ones, and of the database that the pipeline made', () => {
    const pipeline = pipelineOf();
    addConsumer(pipeline, 'Early');
    addConsumer(pipeline, 'Own').addAlarms({ acceptableLatency: Duration.hours(1), actions: [topicAction('OwnTopic')] });
    pipeline.addAlarms({ actions: [topicAction()] });
    const late = addConsumer(pipeline, 'Late');
    expect(() => late.addAlarms({ acceptableLatency: Duration.hours(1) })).toThrow(
      /can be called once, .* add the consumer and its own alarms before those of the pipeline \(in 'Shop\/Pipeline\/Consumers\/Late'\)/);
    const database = pipeline.database as CqrsAuroraCluster;
    expect(() => database.addAlarms({})).toThrow(/call that of the database before \(in 'Shop\/Pipeline\/Database'\)/);
    const ages = alarms().filter(({ MetricName }) => MetricName === 'ApproximateAgeOfOldestMessage')
      .map(({ id, Threshold }) => `${id.replace(/^PipelineConsumers|Alarms.*/g, '')} ${Threshold}`);
    expect(ages.sort()).toEqual(['Early 300', 'Late 300', 'Own 3600']);
    expect(alarms().filter(({ id }) => id.startsWith('PipelineDatabaseAlarms')).length).toBeGreaterThan(3);
    expect(() => pipeline.addAlarms()).toThrow("addAlarms() can be called once (in 'Shop/Pipeline')");
  });

  test('of the relay are left out without a relay', () => {
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline');
    addConsumer(pipeline, 'Stock');
    expect(pipeline.addAlarms({ actions: [topicAction()] })).toBeUndefined();
    expect(new Set(alarms().map(({ Namespace }) => Namespace))).toEqual(new Set(['AWS/SQS', 'AWS/Events']));
  });

  test('without actions are warned about', () => {
    pipelineOf().addAlarms();
    Annotations.fromStack(stack).hasWarning('/Shop/Pipeline/Alarms', Match.stringLikeRegexp('NoLeader.*cdk-order-pipeline:alarmsWithoutActions'));
  });

  test.each(['acceptableOutboxAge', 'acceptableTransactionAge', 'acceptableSnapshotAge', 'acceptableParkedAge'])('%s has limits', (name) => {
    expect(() => pipelineOf().addAlarms({ [name]: Duration.seconds(1) })).toThrow(`${name} must be between 10 seconds and 1 day, got 1 second`);
  });
});

describe('a dashboard', () => {
  interface Widget { readonly properties: { readonly markdown?: string; readonly title?: string; readonly metrics?: unknown[][] } }

  function widgets(): Widget['properties'][] {
    const [dashboard] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard'));
    const body = dashboard!.Properties.DashboardBody as string | { 'Fn::Join': [string, unknown[]] };
    const json = typeof body === 'string' ? body : body['Fn::Join'][1].map((part) => (typeof part === 'string' ? part : 'token')).join('');
    return (JSON.parse(json) as { widgets: Widget[] }).widgets.map(({ properties }) => properties);
  }

  test('has the layers business, events, database, and one for each consumer, also for a late one', () => {
    const pipeline = pipelineOf();
    addConsumer(pipeline, 'Early');
    pipeline.addDashboard();
    addConsumer(pipeline, 'Late');
    expect(() => pipeline.addDashboard()).toThrow("addDashboard() can be called once: make a further one with new PipelineDashboard() (in 'Shop/Pipeline')");
    expect(widgets().flatMap(({ markdown }) => markdown ?? [])).toEqual(['## Business', '## Events', '## Database', '## Early', '## Late']);
    expect(widgets().filter(({ markdown }) => markdown === undefined)).toHaveLength(2 + 4 + 3 + 3 + 3);
  });

  test('shows accepted, confirmed and rejected orders, or the events that are named', () => {
    const pipeline = pipelineOf({ database: existingDatabase(stack) });
    pipeline.addDashboard({ businessEvents: ['order.shipped'] });
    new PipelineDashboard(stack, 'Default', { pipeline });
    const [named] = widgets().filter(({ title }) => title === 'Events per minute');
    expect(JSON.stringify(named)).toContain('"OrderPipeline","EventsPublished","EventType","order.shipped","Pipeline"');
    const bodies = JSON.stringify(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard'));
    for (const type of ['order.created', 'order.confirmed', 'order.rejected']) expect(bodies).toContain(type);
  });

  test('has no layer without a source', () => {
    const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline');
    addConsumer(pipeline, 'Mail');
    pipeline.addDashboard();
    expect(widgets().flatMap(({ markdown }) => markdown ?? [])).toEqual(['## Mail']);
  });
});

test('keep their logical ids, and have no findings of AwsSolutions', () => {
  const pipeline = pipelineOf({ database: existingDatabase(stack), outboxRelay: new OtherHost() });
  pipeline.addAlarms({ actions: [] });
  pipeline.addDashboard();
  expectLogicalIds(stack, `${__dirname}/pipeline-observability.ids.json`);
  expect(unacknowledgedFindings(stack)).toEqual([]);
});
