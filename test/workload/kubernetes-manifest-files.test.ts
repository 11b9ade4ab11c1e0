import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { parse } from 'yaml';
import { KubernetesAccess, KubernetesJob, KubernetesManifestFiles, KubernetesWorkload, ServiceExposure, WorkloadImage } from '../../src';
import { expectLogicalIds } from '../logical-ids';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let app: App;
let stack: Stack;
let kubernetes: KubernetesAccess;
let bucket: s3.IBucket;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test');
  kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'platform', namespace: 'orders' });
  bucket = s3.Bucket.fromBucketName(stack, 'Bucket', 'manifests');
});

function make(environment: { [name: string]: string } = {}) {
  new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api', environment, exposure: ServiceExposure.clusterInternal() });
  new KubernetesJob(stack, 'Migration', { kubernetes, image, serviceName: 'migration' });
  kubernetes.applyManifest(stack, 'Own', [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'own' }, data: { answer: 'yes' } }]);
  return new KubernetesManifestFiles(stack, 'Files', { kubernetes, bucket });
}

/** The files as the deployment writes them: the function puts the values into the places of the markers. */
function filesOf(values: (intrinsic: any) => string): { [name: string]: any } {
  const { artifacts } = JSON.parse(readFileSync(join(app.synth().directory, 'manifest.json'), 'utf8'));
  expect(artifacts).toBeDefined();
  const [deployment] = Object.values(Template.fromStack(stack).findResources('Custom::CDKBucketDeployment'));
  const markers: { [marker: string]: unknown }[] = deployment!.Properties.SourceMarkers;
  return Object.fromEntries(deployment!.Properties.SourceObjectKeys.map((key: string, index: number) => {
    const folder = join(app.outdir, `asset.${key.replace('.zip', '')}`);
    expect(existsSync(folder)).toBe(true);
    const [name] = readdirSync(folder);
    let text = readFileSync(join(folder, name!), 'utf8');
    for (const [marker, value] of Object.entries(markers[index] ?? {})) { text = text.replaceAll(marker, JSON.stringify(values(value))); }
    return [name, parse(text)];
  }));
}

test('every service has a file with its objects, whose values are resolved at deployment', () => {
  const { keys } = make({ QUEUE_URL: new sqs.Queue(stack, 'Queue').queueUrl, FLAG: 'yes', NUMBER: '1' });
  expect(keys).toEqual(['orders/api.yaml', 'orders/migration.yaml', 'orders/configmap-own.yaml']);
  const files = filesOf((intrinsic) => typeof intrinsic === 'string' ? intrinsic : Object.values(intrinsic).flat().join('.'));
  expect(Object.keys(files)).toEqual(['api.yaml', 'migration.yaml', 'configmap-own.yaml']);
  expect(files['api.yaml']).toMatchObject({ apiVersion: 'v1', kind: 'List' });
  expect(files['api.yaml'].items.map(({ kind }: { kind: string }) => kind)).toEqual([
    'ServiceAccount', 'NetworkPolicy', 'Deployment', 'PodDisruptionBudget', 'Service', 'HorizontalPodAutoscaler',
  ]);
  const { env } = files['api.yaml'].items[2].spec.template.spec.containers[0];
  expect(env).toEqual(expect.arrayContaining([
    { name: 'AWS_REGION', value: 'AWS::Region' },
    { name: 'QUEUE_URL', value: expect.stringMatching(/^Queue/) },
    { name: 'FLAG', value: 'yes' },
    { name: 'NUMBER', value: '1' },
  ]));
  expect(files['migration.yaml'].items[2].metadata.name).toMatch(/^migration-[0-9a-f]{10}$/);
  expect(files['configmap-own.yaml'].items).toEqual([expect.objectContaining({ data: { answer: 'yes' } })]);
});

test('the files of removed services, and of a removed stack, are deleted', () => {
  make();
  Template.fromStack(stack).hasResourceProperties('Custom::CDKBucketDeployment', {
    DestinationBucketName: 'manifests', DestinationBucketKeyPrefix: 'orders', Prune: true, RetainOnDelete: false, SourceObjectKeys: Match.anyValue(),
  });
});

test('the folder may be another', () => {
  new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api' });
  expect(new KubernetesManifestFiles(stack, 'Files', { kubernetes, bucket, prefix: 'clusters/platform' }).keys).toEqual(['clusters/platform/api.yaml']);
});

test('they come after all workloads, of which there is at least one', () => {
  expect(() => new KubernetesManifestFiles(stack, 'Early', { kubernetes, bucket }))
    .toThrow("the KubernetesAccess has no objects yet: make its workloads before their files (in 'Test/Early')");
  kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'platform', namespace: 'orders' });
  make();
  expect(() => new KubernetesWorkload(stack, 'Late', { kubernetes, image }))
    .toThrow("the objects of the KubernetesAccess are in files of 'Test/Files' already: make the files after all workloads (in 'Test/Late')");
});

test('keeps its logical ids', () => {
  make();
  expectLogicalIds(stack, `${__dirname}/kubernetes-manifest-files.ids.json`);
});
