import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import { FAN_OUT_IMAGE } from './image.ts';
import { FanOutStack } from './stack.ts';
import { defaultSettings, type Settings } from '../../lib/settings.ts';
import { synthesizer } from '../../test/stacks.ts';

const synthesizeApp = synthesizer();

function synthesize(settings?: Settings, checks = false) {
  const { assembly } = synthesizeApp((app, images) => new FanOutStack(app, 'FanOut', { images, settings }), checks);
  // Templates are read as they are.
  const template: any = assembly.getStackByName('FanOut').template;
  const resources: [string, any][] = Object.entries(template.Resources);
  const ofType = (type: string) => resources.filter(([, resource]) => resource.Type === type)
    .map(([id, { Properties, DependsOn }]) => ({ id, DependsOn, ...Properties }));
  return { directory: assembly.directory, outputs: template.Outputs, ofType };
}

/** A manifest, with the logical ids in the place of what only the deployment knows. */
function render({ 'Fn::Join': [, parts] }: { 'Fn::Join': [string, any[]] }) {
  return JSON.parse(parts.map((part) => (typeof part === 'string' ? part : String(part.Ref ?? part['Fn::GetAtt']?.join('.')))).join(''));
}

const QUEUES = { OrderProcessingQueue: 'order-consumer', AnalyticsQueue: 'analytics-consumer', NotificationQueue: 'notification-consumer' };
const VARIABLES = { OrderProcessingQueue: 'ORDER_PROCESSING_QUEUE_URL', AnalyticsQueue: 'ANALYTICS_QUEUE_URL', NotificationQueue: 'NOTIFICATION_QUEUE_URL' };

describe('the fan-out stack', () => {
  const { ofType, outputs } = synthesize();
  const queues = ofType('AWS::SQS::Queue');
  const named = queues.filter(({ QueueName }) => QueueName in QUEUES);
  const objects: any[] = ofType('Custom::AWSCDK-EKS-KubernetesResource').flatMap(({ Manifest }) => (typeof Manifest === 'string' ? JSON.parse(Manifest) : render(Manifest)));
  const deployments = objects.filter(({ kind }) => kind === 'Deployment');

  test('is less than fifty lines', () => {
    assert.ok(readFileSync(new URL('stack.ts', import.meta.url), 'utf8').trimEnd().split('\n').length < 50);
  });

  test('has no API, and scales its consumers by their queues', () => {
    assert.deepEqual(objects.filter(({ kind }) => kind === 'Service' || kind === 'HorizontalPodAutoscaler'), []);
    assert.deepEqual(objects.filter(({ kind }) => kind === 'ScaledObject').map(({ metadata }) => metadata.name), Object.values(QUEUES));
    assert.doesNotMatch(JSON.stringify(ofType('Custom::AWSCDK-EKS-KubernetesObjectValue').map(({ JsonPath }) => JsonPath)), /loadBalancer/);
  });

  test('starts the consumers when the migration is applied', () => {
    const manifests = ofType('Custom::AWSCDK-EKS-KubernetesResource');
    const [migration] = manifests.filter(({ Manifest }) => JSON.stringify(Manifest).includes('migrate.js'));
    const consumers = manifests.filter(({ Manifest }) => JSON.stringify(Manifest).includes('_QUEUE_URL'));
    assert.equal(consumers.length, 3);
    for (const { DependsOn } of consumers) assert.ok(DependsOn.includes(migration!.id));
  });

  test('has one bus with an archive, and a queue of seed 3\'s name for each consumer', () => {
    assert.equal(ofType('AWS::Events::EventBus').length, 1);
    assert.equal(ofType('AWS::Events::Archive').length, 1);
    assert.deepEqual(named.map(({ QueueName }) => QueueName), Object.keys(QUEUES));
    assert.equal(queues.length, 6);
  });

  test('each queue has dead letters of its own, which let no other queue in', () => {
    const dead = named.map(({ QueueName, RedrivePolicy }) => {
      assert.equal(RedrivePolicy.maxReceiveCount, 5);
      const { id, RedriveAllowPolicy } = queues.find((queue) => queue.id === RedrivePolicy.deadLetterTargetArn['Fn::GetAtt'][0])!;
      assert.equal(RedriveAllowPolicy.redrivePermission, 'byQueue');
      assert.deepEqual(RedriveAllowPolicy.sourceQueueArns.map((arn: { 'Fn::Join': [string, unknown[]] }) => arn['Fn::Join'][1].at(-1)), [`:${QueueName}`]);
      return id;
    });
    assert.equal(new Set(dead).size, 3);
  });

  test('every order event goes to all three, and nobody else\'s', () => {
    const rules = ofType('AWS::Events::Rule');
    assert.deepEqual(rules.map(({ Targets }) => Targets.map(({ Arn }: any) => Arn['Fn::GetAtt'][0])), named.map(({ id }) => [id]));
    const matched = (source: string, detailType: string) => rules.filter(({ EventPattern }) => (
      matchesPattern(compilePattern(EventPattern), { source, 'detail-type': detailType, 'detail': {} }))).length;
    for (const detailType of ['OrderCreated', 'OrderUpdated', 'OrderCancelled']) {
      assert.equal(matched('com.example.orders', detailType), 3);
      assert.equal(matched('com.example.payments', detailType), 0);
    }
  });

  test('every consumer finds its queue by seed 3\'s variable, and only its own', () => {
    const found = named.map(({ id, QueueName }) => {
      const deployment = deployments.find(({ metadata }) => metadata.name === QUEUES[QueueName as keyof typeof QUEUES]);
      const [container] = deployment.spec.template.spec.containers;
      assert.deepEqual(container.command, ['node', `${deployment.metadata.name}.js`]);
      // Kubernetes puts in variables that come before.
      const environment = new Map<string, string>();
      const known = (whole: string, key: string) => environment.get(key) ?? whole;
      for (const { name, value } of container.env) environment.set(name, value.replace(/\$\((\w+)\)/g, known));
      return [...environment].filter(([name]) => name.endsWith('_QUEUE_URL')).map(([name, value]) => [name, value === id]);
    });
    assert.deepEqual(found, Object.values(VARIABLES).map((variable) => [[variable, true]]));
    assert.deepEqual(deployments.map(({ metadata }) => `${metadata.name}`).sort(), Object.keys(FAN_OUT_IMAGE.entries).sort());
  });

  test('says in its outputs what goes into an .env file', () => {
    const variables = Object.values<any>(outputs).map(({ Description }) => Description.split(' ')[0]).filter((word) => /^[A-Z_]+$/.test(word));
    assert.deepEqual(variables, ['EVENT_BUS_NAME', 'EVENT_SIGNING_SECRET_ARN', ...Object.values(VARIABLES)]);
    assert.deepEqual(named.map(({ QueueName }) => outputs[`${QueueName}Url`].Value), named.map(({ id }) => ({ Ref: id })));
  });

  test('takes events of its publisher and of nobody else, and lets only consumers and publisher read the key of their signatures', () => {
    const [publisher] = ofType('AWS::IAM::Role').filter(({ id }) => id.startsWith('PublisherRole'));
    const [bus] = ofType('AWS::Events::EventBusPolicy').map(({ Statement }) => Statement);
    assert.deepEqual([bus.Effect, bus.Action], ['Deny', 'events:PutEvents']);
    assert.match(JSON.stringify(bus.Condition), new RegExp(publisher!.id));
    const [, secret] = outputs.EventSigningSecretArn.Value.Ref.match(/(.*)/);
    const readers = ofType('AWS::IAM::Policy').filter(({ PolicyDocument }) => JSON.stringify(PolicyDocument).includes(`"${secret}"`)).map(({ Roles }) => Roles[0].Ref);
    assert.deepEqual(readers.filter((role) => role === publisher!.id).length, 1);
    assert.equal(readers.length, 4);
  });

  test('watches every consumer', () => {
    const alarms = ofType('AWS::CloudWatch::Alarm');
    const perMetric = (metric: string) => alarms.filter(({ MetricName }) => MetricName === metric).length;
    assert.deepEqual(['ApproximateAgeOfOldestMessage', 'ApproximateNumberOfMessagesVisible', 'FailedInvocations'].map(perMetric), [3, 3, 3]);
    assert.equal(perMetric('status_replicas_unavailable'), deployments.length);
    assert.deepEqual(alarms.filter(({ AlarmActions, OKActions }) => !AlarmActions?.length || !OKActions?.length), []);
  });
});

test('the topic that the settings name gets the alarms, and while signatures begin only the publisher reads the key', () => {
  const alarmTopicArn = 'arn:aws:sns:eu-west-1:111111111111:on-call';
  const { ofType, outputs } = synthesize({ ...defaultSettings, alarmTopicArn, verifyEvents: false });
  for (const { AlarmActions } of ofType('AWS::CloudWatch::Alarm')) assert.deepEqual(AlarmActions, [alarmTopicArn]);
  const secret = JSON.stringify(outputs.EventSigningSecretArn.Value.Ref);
  const readers = ofType('AWS::IAM::Policy').filter(({ PolicyDocument }) => JSON.stringify(PolicyDocument).includes(secret));
  assert.deepEqual(readers.map(({ Roles }) => /^PublisherRole/.test(Roles[0].Ref)), [true]);
});

test('the checks find nothing, and what was accepted stands in the report with its reason', () => {
  const { directory } = synthesize(undefined, true);
  const { pluginReports }: {
    pluginReports: { pluginName: string; violations: unknown[]; suppressedViolations?: { ruleName: string; reason: string }[] }[];
  } = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8'));
  assert.deepEqual(pluginReports.map(({ pluginName, violations }) => [pluginName, violations]), [['AwsSolutions', []], ['CloudFormation Validate', []]]);
  assert.ok(pluginReports.flatMap(({ suppressedViolations }) => suppressedViolations ?? []).every(({ reason }) => reason));
});
