import { App, CfnParameter, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import {
  Autoscaling, IManifestTransform, KubernetesAccess, KubernetesJob, KubernetesJobProps, KubernetesWorkload, KubernetesWorkloadProps,
  QueueScaling, ServiceExposure, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { manifestOf, manifestsOfResource } from '../kubernetes-manifests';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
const WAIT = 'Custom::AWSCDK-EKS-KubernetesObjectValue';
const APPLY = 'Custom::AWSCDK-EKS-KubernetesResource';

function kubernetesStack(options: { namespace?: string } = { namespace: 'orders' }) {
  const stack = new Stack(new App(), 'Test');
  return { stack, kubernetes: testKubernetes(stack, options) };
}

function workload(props: (stack: Stack, kubernetes: KubernetesAccess) => Partial<KubernetesWorkloadProps> = () => ({}), namespace = 'orders'): Template {
  const { stack, kubernetes } = kubernetesStack({ namespace });
  new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api', ...props(stack, kubernetes) });
  return Template.fromStack(stack);
}

function job(props: Partial<KubernetesJobProps> = {}): Template {
  const { stack, kubernetes } = kubernetesStack();
  new KubernetesJob(stack, 'Migration', { kubernetes, image, serviceName: 'migration', ...props });
  return Template.fromStack(stack);
}

/** The resources that wait, by id without the hash of their version. */
const waitsOf = (template: Template): { [id: string]: { id: string; Properties: any } } => Object.fromEntries(
  Object.entries(template.findResources(WAIT)).map(([id, resource]) => [id.replace(/[0-9A-F]{8}[0-9a-f]{10}$/, ''), { id, ...resource, Properties: resource.Properties }]));

describe('a change of a workload', () => {
  const keda = (minReplicas: number) => (stack: Stack, kubernetes: KubernetesAccess) => ({
    scaling: QueueScaling.keda({
      acceptableLatency: Duration.minutes(1),
      messageProcessingTime: Duration.seconds(1),
      operatorRole: iam.Role.fromRoleArn(stack, 'Operator', 'arn:aws:iam::111111111111:role/keda'),
      minReplicas,
    }).bind(stack, { queue: new sqs.Queue(stack, 'Queue'), kubernetes }),
  });
  const externalMetric = (stack: Stack, kubernetes: KubernetesAccess) => ({
    scaling: QueueScaling.externalMetric({
      metricName: 'queue', acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(1),
    }).bind(stack, { queue: new sqs.Queue(stack, 'Queue'), kubernetes }),
  });
  const VARIANTS: { [name: string]: Template } = {
    'CPU': workload(),
    'CPU, another namespace': workload(undefined, 'shop'),
    'CPU, another name': workload(() => ({ serviceName: 'web' })),
    'external metric': workload(externalMetric),
    'KEDA from 0': workload(keda(0)),
    'KEDA from 1, another name': workload((...scope) => ({ serviceName: 'web', ...keda(1)(...scope) })),
    'fixed': workload(() => ({ scaling: Autoscaling.fixed(3) })),
    'stopped, in the cluster': workload(() => ({ scaling: Autoscaling.fixed(0), exposure: ServiceExposure.clusterInternal() })),
    'in the cluster': workload(() => ({ exposure: ServiceExposure.clusterInternal() })),
    'load balancer': workload(() => ({ exposure: ServiceExposure.internalNetworkLoadBalancer() })),
    'security group': workload((stack) => ({ podSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods') })),
  };
  const names = Object.keys(VARIANTS);

  /** The kinds of this library that `kubectl apply --prune` deletes. The server decides; `npm run test:kubernetes` asks a real one. */
  const PRUNED = ['Deployment', 'Service', 'Job'];

  /** The objects in the cluster after CloudFormation has changed one template into another: it makes, changes, then deletes. */
  function deploy(cluster: Map<string, string>, from: Template | undefined, to: Template): void {
    const resourcesOf = (template?: Template) => Object.entries(template?.findResources(APPLY) ?? {}).map(([id, resource]) => ({
      id, overwrite: resource.Properties.Overwrite, keys: manifestsOfResource(resource).map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`),
    }));
    const before = resourcesOf(from);
    for (const { id, overwrite, keys } of resourcesOf(to)) {
      const update = before.some((other) => other.id === id);
      for (const key of keys) {
        if (!update && !overwrite && cluster.has(key)) { throw new Error(`${key} already exists`); }
        cluster.set(key, id);
      }
      for (const [key, owner] of update ? [...cluster] : []) {
        if (owner === id && !keys.includes(key) && PRUNED.includes(key.split(' ')[0]!)) { cluster.delete(key); }
      }
    }
    for (const { keys } of before.filter(({ id }) => !resourcesOf(to).some((other) => other.id === id))) {
      for (const key of keys) { cluster.delete(key); }
    }
  }

  test.each(names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to])))('from %s to %s leaves exactly the new objects', (from, to) => {
    const [changed, created] = [new Map<string, string>(), new Map<string, string>()];
    deploy(changed, undefined, VARIANTS[from!]!);
    deploy(changed, VARIANTS[from!], VARIANTS[to!]!);
    deploy(created, undefined, VARIANTS[to!]!);
    expect([...changed.keys()].sort()).toEqual([...created.keys()].sort());
  });

  test('never states a number of replicas, so no deployment resets it', () => {
    for (const template of Object.values(VARIANTS)) {
      const objects = Object.values(template.findResources(APPLY)).flatMap(manifestsOfResource);
      for (const { spec } of objects.filter(({ kind }) => kind === 'Deployment')) { expect(spec).not.toHaveProperty('replicas'); }
    }
  });

  test('from KEDA with no replica gives the next autoscaler one to begin with', () => {
    expect(manifestOf(VARIANTS['KEDA from 0']!, 'ScaledObject').spec.advanced).toEqual({ restoreToOriginalReplicaCount: true });
    expect(manifestOf(VARIANTS['KEDA from 1, another name']!, 'ScaledObject').spec).not.toHaveProperty('advanced');
  });

  test('to KEDA is accepted by its admission while the other autoscaler is there', () => {
    for (const name of ['CPU', 'fixed', 'external metric']) {
      const { metadata } = manifestOf(VARIANTS[name]!, 'HorizontalPodAutoscaler') as { metadata: object };
      expect(metadata).toMatchObject({ annotations: { 'validations.keda.sh/hpa-ownership': 'false' } });
    }
  });

  test('keeps the label of the service on every object', () => {
    for (const [name, template] of Object.entries(VARIANTS)) {
      for (const { metadata } of Object.values(template.findResources(APPLY)).flatMap(manifestsOfResource)) {
        expect(metadata.labels).toMatchObject({ 'app.kubernetes.io/name': name.endsWith('another name') ? 'web' : 'api' });
      }
    }
  });

  test('of a name that only the deployment knows keeps its ids', () => {
    const template = workload((stack) => ({ serviceName: new CfnParameter(stack, 'Name').valueAsString }));
    expect(Object.keys(template.findResources(APPLY)).map((id) => id.slice(0, -8)).sort()).toEqual(['ApiAutoscalingorders', 'ApiManifestorders']);
  });
});

describe('the rollout of a workload', () => {
  test('is waited for, after its autoscaler', () => {
    const template = workload();
    const { Rollout } = Object.fromEntries(Object.entries(waitsOf(template)).map(([id, wait]) => [id.replace(/^Api/, ''), wait]));
    expect(Rollout).toEqual({
      id: expect.stringMatching(/^ApiRollout[0-9A-F]{8}[0-9a-f]{10}$/),
      Type: WAIT,
      Properties: {
        ServiceToken: 'arn:aws:lambda:eu-west-1:111111111111:function:kubectl',
        ClusterName: 'test-cluster',
        ObjectType: 'deployment',
        ObjectName: '--field-selector=metadata.name=api',
        ObjectNamespace: 'orders',
        JsonPath: '.items[?(@.metadata.generation==@.status.observedGeneration)].status.conditions[?(@.reason=="NewReplicaSetAvailable")].reason',
        TimeoutSeconds: 600,
        Version: Rollout!.id.slice(-10),
      },
      DependsOn: [expect.stringMatching(/^ApiAutoscaling/), expect.stringMatching(/^ApiManifest/)],
      UpdateReplacePolicy: 'Delete',
      DeletionPolicy: 'Delete',
    });
  });

  const idOf = (template: Template) => Object.keys(template.findResources(WAIT)).find((id) => id.startsWith('ApiRollout'));
  test('is another resource for another version, and only then, so that a rollback doesn\'t wait', () => {
    const versions = [
      workload(), workload(() => ({ command: ['other'] })), workload(() => ({ environment: { A: 'b' } })),
      workload(() => ({ image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.1') })), workload(() => ({ serviceName: 'web' })),
    ].map(idOf);
    expect(new Set(versions).size).toBe(versions.length);
    expect(idOf(workload(() => ({ scaling: Autoscaling.fixed(2), rolloutTimeout: Duration.minutes(1) })))).toBe(versions[0]);
  });

  test('is waited for again if a value changes that only the deployment knows', () => {
    const template = workload((stack) => ({ image: WorkloadImage.fromRegistry(`team/orders:${new CfnParameter(stack, 'Tag').valueAsString}`) }));
    const { Version } = Object.values(waitsOf(template))[0]!.Properties;
    expect(Version).toEqual({ 'Fn::Join': ['-', [expect.stringMatching(/^[0-9a-f]{10}$/), { Ref: 'Tag' }]] });
  });

  test('has a time limit, and 0 is none', () => {
    const limits = (rolloutTimeout: Duration) => Object.values(waitsOf(workload(() => ({ rolloutTimeout }))))
      .map(({ Properties }) => Properties.TimeoutSeconds);
    expect([limits(Duration.minutes(14)), limits(Duration.seconds(0))]).toEqual([[840], []]);
    expect(() => workload(() => ({ rolloutTimeout: Duration.minutes(15) })))
      .toThrow("rolloutTimeout must be between 0 seconds and 14 minutes, got 15 minutes (in 'Test/Api')");
  });

  test('is not waited for where others apply the manifests', () => {
    const { stack } = kubernetesStack();
    const access = KubernetesAccess.manifestsOnly({ clusterName: 'c' });
    new KubernetesWorkload(stack, 'Other', { kubernetes: access, image });
    new KubernetesJob(stack, 'Job', { kubernetes: access, image });
    Template.fromStack(stack).resourceCountIs(WAIT, 0);
    expect(access.manifests.map(({ kind }) => kind)).toEqual([
      'ServiceAccount', 'NetworkPolicy', 'Deployment', 'PodDisruptionBudget', 'HorizontalPodAutoscaler', 'ServiceAccount', 'NetworkPolicy', 'Job',
    ]);
  });
});

describe('the end of a job', () => {
  test('is waited for, and then its success', () => {
    const template = job({ timeout: Duration.minutes(5) });
    const { MigrationEnded: ended, MigrationSucceeded: succeeded } = waitsOf(template);
    const { name } = manifestOf(template, 'Job').metadata;
    expect(ended).toMatchObject({
      Properties: {
        ObjectType: 'job', ObjectNamespace: 'orders', TimeoutSeconds: 330, JsonPath: '.status.conditions[?(@.status=="True")].type',
      },
      DependsOn: [expect.stringMatching(/^MigrationManifest/)],
    });
    expect(succeeded).toMatchObject({
      Properties: { ObjectType: 'job', TimeoutSeconds: 60, JsonPath: '.status.conditions[?(@.type=="Complete")].type' },
      DependsOn: [ended!.id],
    });
    expect([ended!.Properties.ObjectName, succeeded!.Properties.ObjectName]).toEqual([name, name]);
  });

  test.each<[string, Partial<KubernetesJobProps>, number]>([
    ['10 minutes', {}, 2],
    ['14 minutes', { timeout: Duration.minutes(14) }, 2],
    ['an hour, for which no deployment waits', { timeout: Duration.hours(1) }, 0],
    ['10 minutes, and is not to be waited for', { waitForCompletion: false }, 0],
  ])('may take %s', (_, props, count) => {
    job(props).resourceCountIs(WAIT, count);
  });

  test('can\'t be waited for in vain', () => {
    expect(() => job({ waitForCompletion: true, timeout: Duration.hours(1) }))
      .toThrow("waitForCompletion needs a timeout of at most 14 minutes, got 1 hour: a deployment can't wait longer. Give a shorter timeout, or set "
        + "waitForCompletion to false (in 'Test/Migration')");
  });

  test('is at once with exit codes that another attempt can\'t change', () => {
    expect(manifestOf(job({ failFastExitCodes: [70, 65, 70] }), 'Job').spec.podFailurePolicy).toEqual({
      rules: [{ action: 'FailJob', onExitCodes: { containerName: 'main', operator: 'In', values: [65, 70] } }],
    });
    expect(manifestOf(job(), 'Job').spec).not.toHaveProperty('podFailurePolicy');
    expect(() => job({ failFastExitCodes: [0] })).toThrow('failFastExitCodes must be a whole number between 1 and 255, got 0');
  });
});

describe('a transform', () => {
  const transform = (change: (manifest: any, path: string) => any): IManifestTransform => ({
    transform: (manifest, scope) => change(manifest, scope.node.path),
  });

  test('changes every object before it is applied, in the order of the transforms', () => {
    const { stack, kubernetes } = kubernetesStack();
    const seen: string[] = [];
    kubernetes.transform(transform((manifest, path) => { seen.push(`${path} ${manifest.kind}`); return manifest; }));
    kubernetes.transform(transform((manifest) => ({ ...manifest, metadata: { ...manifest.metadata, annotations: { step: '1' } } })));
    kubernetes.transform(transform((manifest) => { manifest.metadata.annotations.step += '2'; return manifest; }));
    new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api', exposure: ServiceExposure.clusterInternal() });
    kubernetes.applyManifest(stack, 'Own', [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'own' } }]);

    const objects = Object.values(Template.fromStack(stack).findResources(APPLY)).flatMap(manifestsOfResource);
    expect(objects.map(({ metadata }) => (metadata as any).annotations)).toEqual(objects.map(() => ({ step: '12' })));
    expect(seen.sort()).toEqual([
      'Test ConfigMap', 'Test/Api Deployment', 'Test/Api HorizontalPodAutoscaler', 'Test/Api NetworkPolicy', 'Test/Api PodDisruptionBudget',
      'Test/Api Service', 'Test/Api ServiceAccount',
    ]);
    expect(kubernetes.manifests).toContainEqual(expect.objectContaining({ kind: 'ConfigMap', metadata: expect.objectContaining({ annotations: { step: '12' } }) }));
  });

  test('of a job is another job, and of a Deployment another rollout', () => {
    const tolerate = transform((manifest) => {
      if (manifest.spec?.template) { manifest.spec.template.spec.tolerations = [{ key: 'spot', operator: 'Exists' }]; }
      return manifest;
    });
    const idsOf = (transforms: IManifestTransform[]) => {
      const { stack, kubernetes } = kubernetesStack();
      transforms.forEach((one) => kubernetes.transform(one));
      new KubernetesJob(stack, 'Migration', { kubernetes, image, serviceName: 'migration' });
      new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api' });
      const template = Template.fromStack(stack);
      return [manifestOf(template, 'Job').metadata.name, ...Object.keys(template.findResources(WAIT))];
    };
    const [plain, changed] = [idsOf([]), idsOf([tolerate])];
    expect(changed).toHaveLength(4);
    expect(changed.filter((id) => plain.includes(id))).toEqual([]);
  });

  test('that comes too late is an error that names the first object', () => {
    const { stack, kubernetes } = kubernetesStack();
    new KubernetesWorkload(stack, 'Api', { kubernetes, image });
    expect(() => kubernetes.transform(transform((manifest) => manifest))).toThrow('a transform of the KubernetesAccess must be added before the first '
      + "object is applied, which is here: call transform() right after the access is made (in 'Test/Api')");
  });

  test.each<[string, (manifest: any) => any, string]>([
    ['another name', (manifest) => ({ ...manifest, metadata: { ...manifest.metadata, name: 'other' } }), 'got apps/v1 Deployment orders other for apps/v1 Deployment orders api'],
    ['another kind', (manifest) => { manifest.kind = 'Pod'; return manifest; }, 'got apps/v1 Pod orders api for apps/v1 Deployment orders api'],
    ['nothing', () => undefined, 'got undefined for apps/v1 Deployment orders api'],
  ])('must not return %s', (_, change, message) => {
    const { stack, kubernetes } = kubernetesStack();
    kubernetes.transform(transform(change));
    expect(() => new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api' }))
      .toThrow(`must return the object with the same apiVersion, kind, namespace and name: ${message} (in 'Test/Api')`);
  });
});
