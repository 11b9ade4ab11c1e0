import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { WorkloadImage } from 'cdk-order-pipeline';
import { ENTRIES } from '../services/bundle.ts';
import { OrderPipelineStack } from './order-pipeline-stack.ts';
import { defaultSettings, type Settings } from './settings.ts';

interface Resource {
  readonly Type: string;
  // Templates are read as they are.
  readonly Properties: any;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: any;
}

const scratch = mkdtempSync(join(tmpdir(), 'order-pipeline-'));

const image = join(scratch, 'image');
mkdirSync(image);
writeFileSync(join(image, 'Dockerfile'), 'FROM scratch\n');
after(() => rmSync(scratch, { recursive: true }));

function synthesize(settings?: Settings, checks = false) {
  const app = new cdk.App({ context: recommendedFlags, outdir: mkdtempSync(join(scratch, 'assembly-')) });
  if (checks) { cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app)); }
  new OrderPipelineStack(app, 'OrderPipeline', { image: WorkloadImage.fromDirectory(image), settings });
  const assembly = app.synth();
  const resources: { [logicalId: string]: Resource } = assembly.getStackByName('OrderPipeline').template.Resources;
  const ofType = (type: string) => Object.values(resources).filter(resource => resource.Type === type).map(resource => resource.Properties);
  const manifests = ofType('Custom::AWSCDK-EKS-KubernetesResource').flatMap(({ Manifest }): Manifest[] => JSON.parse(render(Manifest)));
  return { directory: assembly.directory, resources, ofType, ofKind: (kind: string) => manifests.filter(m => m.kind === kind) };
}

/** What only the deployment knows becomes a word; a number among it is quoted. */
function render(value: string | { 'Fn::Join': [string, unknown[]] }): string {
  if (typeof value === 'string') { return value; }
  return value['Fn::Join'][1].reduce<string>((text, part) => text + (typeof part === 'string' ? part : /[:[,]$/.test(text) ? '"?"' : '?'), '');
}

describe('the stack', () => {
  const { ofType, ofKind } = synthesize();

  test('has a cluster that nobody outside of the VPC can reach, with all logs', () => {
    // cdk-nag can't tell: its rules for EKS don't know the clusters of aws-eks-v2.
    const [cluster, ...others] = ofType('AWS::EKS::Cluster');
    assert.deepEqual(others, []);
    assert.equal(cluster.ResourcesVpcConfig.EndpointPublicAccess, false);
    assert.equal(cluster.ResourcesVpcConfig.EndpointPrivateAccess, true);
    assert.deepEqual(
      cluster.Logging.ClusterLogging.EnabledTypes.map((type: { Type: string }) => type.Type).sort(),
      ['api', 'audit', 'authenticator', 'controllerManager', 'scheduler'],
    );
    assert.deepEqual(cluster.EncryptionConfig[0].Resources, ['secrets']);
    assert.ok(cluster.EncryptionConfig[0].Provider.KeyArn);
  });

  test('runs one workload per program of the image, with an autoscaler, a budget and a network policy of its own', () => {
    const names = (kind: string) => ofKind(kind).map(m => m.metadata.name).sort();
    const programs = Object.keys(ENTRIES).filter(program => program !== 'migrate').sort();
    assert.deepEqual(names('Deployment'), programs);
    assert.deepEqual(names('HorizontalPodAutoscaler'), programs);
    assert.deepEqual(names('PodDisruptionBudget'), programs);
    assert.deepEqual(names('NetworkPolicy'), [...programs, 'migration'].sort());
    for (const { metadata, spec } of ofKind('Deployment')) {
      assert.deepEqual(spec.template.spec.containers[0].command, ['node', `${metadata.name}.js`]);
    }
    assert.deepEqual(ofKind('Job').map(m => m.spec.template.spec.containers[0].command), [['node', 'migrate.js']]);
  });

  test('keeps at least two replicas of everything', () => {
    assert.deepEqual([...new Set(ofKind('HorizontalPodAutoscaler').map(m => m.spec.minReplicas))], [2]);
  });

  test('exposes the two APIs by internal load balancers, and nothing else', () => {
    const services = ofKind('Service').map(({ metadata, spec }) => [metadata.name, spec.type, spec.ports[0].port]);
    assert.deepEqual(services, [['api-write-service', 'LoadBalancer', 3000], ['api-read-service', 'LoadBalancer', 3001]]);
    assert.ok(JSON.stringify(ofKind('Service')).includes('"service.beta.kubernetes.io/aws-load-balancer-scheme":"internal"'));
  });

  test('has Kubernetes enforce its pods\' restrictions and network policies', () => {
    const [namespace] = ofKind('Namespace');
    assert.equal((namespace?.metadata as { labels?: object } | undefined)?.labels?.['pod-security.kubernetes.io/enforce' as never], 'restricted');
    const [settings] = ofKind('ConfigMap') as unknown as { data: { [key: string]: string } }[];
    assert.equal(settings?.data['enable-network-policy-controller'], 'true');
  });

  test('gives every consumer its own queue with dead letters', () => {
    assert.equal(ofType('AWS::Events::Rule').length, Object.keys(defaultSettings.consumers).length);
    const queues = ofType('AWS::SQS::Queue').filter(queue => queue.RedrivePolicy);
    assert.deepEqual(queues.map(queue => queue.RedrivePolicy.maxReceiveCount), Object.keys(defaultSettings.consumers).map(() => 5));
  });

  test('has three alarms for every consumer, which tell nobody unless a topic is named', () => {
    const alarms = ofType('AWS::CloudWatch::Alarm');
    assert.equal(alarms.length, 3 * Object.keys(defaultSettings.consumers).length);
    assert.deepEqual(alarms.filter(({ AlarmActions, OKActions }) => AlarmActions || OKActions), []);
  });
});

test('the alarms tell the topic that the settings name', () => {
  const alarmTopicArn = 'arn:aws:sns:eu-west-1:111111111111:on-call';
  const alarms = synthesize({ ...defaultSettings, alarmTopicArn }).ofType('AWS::CloudWatch::Alarm');
  assert.ok(alarms.length > 0);
  for (const { AlarmActions, OKActions } of alarms) { assert.deepEqual([AlarmActions, OKActions], [[alarmTopicArn], [alarmTopicArn]]); }
});

test('the settings decide about patterns, retries and replicas', () => {
  const { ofType, ofKind } = synthesize({
    ...defaultSettings,
    consumers: { 'stock-service': { eventPattern: { detailType: ['OrderUpdated'] }, maxReceiveCount: 3, processingSeconds: 7, replicas: { minReplicas: 4, maxReplicas: 5 } } },
  });
  assert.deepEqual(ofType('AWS::Events::Rule').map(rule => rule.EventPattern['detail-type']), [['OrderUpdated']]);
  assert.deepEqual(ofType('AWS::SQS::Queue').flatMap(queue => queue.RedrivePolicy?.maxReceiveCount ?? []), [3]);
  assert.deepEqual(ofType('AWS::SQS::Queue').flatMap(queue => queue.VisibilityTimeout ?? []), [42]);
  const autoscaler = ofKind('HorizontalPodAutoscaler').find(m => m.metadata.name === 'stock-service');
  assert.equal(autoscaler?.spec.minReplicas, 4);
  assert.equal(autoscaler?.spec.maxReplicas, 5);
});

test('the checks find nothing, and what was accepted stands in the report with its reason', () => {
  const { directory } = synthesize(undefined, true);
  const report = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8'));
  const reports: { pluginName: string; violations: unknown[]; suppressedViolations?: { ruleName: string; reason: string }[] }[] = report.pluginReports;
  assert.deepEqual(reports.map(({ pluginName, violations }) => [pluginName, violations]), [['AwsSolutions', []], ['CloudFormation Validate', []]]);

  const accepted = reports.flatMap(({ suppressedViolations }) => suppressedViolations ?? []);
  assert.deepEqual(accepted.filter(({ reason }) => !reason), []);
  const perRule = Object.groupBy(accepted, ({ ruleName }) => ruleName.replace(/\[.*/, ''));
  assert.deepEqual(Object.keys(perRule).sort(), ['AwsSolutions-IAM4', 'AwsSolutions-IAM5', 'AwsSolutions-L1', 'AwsSolutions-SMG4', 'W9009']);
});
