import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { KubernetesReader } from './kubernetes.ts';
import { prepared } from '../../test/prepared.ts';
import { temporaryFolder } from '../../test/temporary.ts';
import type { Assembly, TemplateResource } from '../assembly/assembly.ts';
import type { JobSpec, ServiceSpec, WorkloadSpec } from '../processes/specs.ts';

interface Read {
  readonly jobs: readonly JobSpec[];
  readonly workloads: readonly WorkloadSpec[];
  readonly services: readonly ServiceSpec[];
  readonly warnings: readonly string[];
  readonly withoutMeaning: ReadonlyMap<string, number>;
  readonly folder: string;
}

async function read(context: TestContext, objects: unknown, resources: Record<string, TemplateResource> = {}): Promise<Read> {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, 'Dockerfile'), 'FROM node:24\nWORKDIR /app\nENV FROM_IMAGE=1 MODE=image\nEXPOSE 8080\nENTRYPOINT ["node", "/app/main.js"]\nCMD ["serve"]\n');
  writeFileSync(join(folder, 'main.js'), '');
  const assembly: Assembly = {
    directory: '/elsewhere',
    images: new Map([['abc123', { directory: folder, dockerFile: 'Dockerfile' }]]),
    files: new Map(),
    stacks: [{
      id: 'Shop',
      name: 'Shop',
      account: undefined,
      region: undefined,
      directory: folder,
      template: { Resources: { Manifest: { Type: 'Custom::AWSCDK-EKS-KubernetesResource', Properties: { Manifest: objects } }, ...resources } },
    }],
  };
  const run = await prepared(context, assembly);
  const before = run.warnings.length;
  const reader = new KubernetesReader(run.context);
  reader.read(run.model);
  const { jobs, specs: workloads } = run.context.workloads;
  return { jobs, workloads, services: reader.services, warnings: run.warnings.slice(before), withoutMeaning: run.withoutMeaning, folder };
}

const image = 'x.dkr.ecr.us-east-1.amazonaws.com/assets:abc123';
const deployment = (container: object, spec: object = {}, name = 'web') => ({
  kind: 'Deployment', metadata: { name }, spec: { ...spec, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image, ...container }] } } },
});

test('the number of replicas is the autoscaler\'s minimum, else the Deployment\'s, else one', async (context) => {
  const scaler = (kind: string, name: string, spec: object) => ({ kind, metadata: { name }, spec: { scaleTargetRef: { name }, ...spec } });
  const { workloads } = await read(context, JSON.stringify([
    deployment({}, { replicas: 9 }, 'scaled'), scaler('HorizontalPodAutoscaler', 'scaled', { minReplicas: 3 }),
    deployment({}, { replicas: 9 }, 'by-default'), scaler('HorizontalPodAutoscaler', 'by-default', {}),
    deployment({}, {}, 'keda'), scaler('ScaledObject', 'keda', { minReplicaCount: 0 }),
    deployment({}, {}, 'keda-two'), scaler('ScaledObject', 'keda-two', { minReplicaCount: 2, fallback: { replicas: 4 }, triggers: [{ type: 'aws-sqs-queue' }, { type: 'cpu' }] }),
    deployment({}, { replicas: 4 }, 'fixed'),
    deployment({}, {}, 'single'),
    deployment({}, { replicas: 0 }, 'none'),
  ]));
  assert.deepEqual(Object.fromEntries(workloads.map(({ name, replicas }) => [name, replicas])), {
    'scaled': 3, 'by-default': 1, 'keda': 1, 'keda-two': 2, 'fixed': 4, 'single': 1, 'none': 0,
  });
});

test('command and arguments replace entry point and command of the image, and its paths are those of the folder', async (context) => {
  const { workloads, folder } = await read(context, JSON.stringify([
    deployment({}, {}, 'image'),
    deployment({ args: ['other'] }, {}, 'args'),
    deployment({ command: ['sh', '-c', 'echo $(MODE) $$(MODE)'], env: [{ name: 'MODE', value: 'own' }] }, {}, 'command'),
  ]));
  assert.deepEqual(Object.fromEntries(workloads.map(({ name, pod }) => [name, pod.containers[0]?.command])), {
    image: ['node', `${folder}/main.js`, 'serve'],
    args: ['node', `${folder}/main.js`, 'other'],
    command: ['sh', '-c', 'echo own $(MODE)'],
  });
  assert.deepEqual(workloads[2]?.pod.containers[0]?.environment, { FROM_IMAGE: '1', MODE: 'own' });
});

test('the environment comes from values, config maps, secrets and fields', async (context) => {
  const { workloads, warnings } = await read(context, JSON.stringify([
    { kind: 'ConfigMap', metadata: { name: 'settings' }, data: { a: '1', b: '2' } },
    { kind: 'Secret', metadata: { name: 'login' }, data: { user: Buffer.from('me').toString('base64') }, stringData: { password: 'pw' } },
    deployment({
      envFrom: [{ prefix: 'S_', configMapRef: { name: 'settings' } }, { secretRef: { name: 'absent', optional: true } }],
      resources: { limits: { memory: '256Mi' } },
      env: [
        { name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'a' } } },
        { name: 'USER', valueFrom: { secretKeyRef: { name: 'login', key: 'user' } } },
        { name: 'URL', value: 'http://$(USER):$(PASSWORD)@$(HOST)/$(A)' },
        { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'login', key: 'password' } } },
        { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'settings', key: 'zzz', optional: true } } },
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory' } } },
      ],
    }),
  ]));
  assert.deepEqual(warnings, []);
  assert.deepEqual(workloads[0]?.pod.containers[0]?.environment, {
    FROM_IMAGE: '1',
    MODE: 'image',
    S_a: '1',
    S_b: '2',
    A: '1',
    USER: 'me',
    PASSWORD: 'pw',
    IP: '127.0.0.1',
    MEMORY: '256Mi',
    // As in Kubernetes: only what stands before it is known, the rest stays as it is.
    URL: 'http://me:$(PASSWORD)@$(HOST)/1',
  });
});

test('a value that only AWS knows stops the one workload that needs it, and names the place', async (context) => {
  const resources = { Balancer: { Type: 'AWS::ElasticLoadBalancingV2::LoadBalancer' } };
  const objects = JSON.stringify([
    deployment({ env: [{ name: 'HOSTNAME', value: 'HOLE' }] }, {}, 'needs-it'),
    { ...deployment({}, {}, 'does-not'), metadata: { name: 'does-not', annotations: { host: 'HOLE' } } },
  ]).split('HOLE');
  const manifest = { 'Fn::Join': ['', [objects[0], { 'Fn::GetAtt': ['Balancer', 'DNSName'] }, objects[1], { 'Fn::GetAtt': ['Balancer', 'DNSName'] }, objects[2]]] };
  const { workloads, warnings } = await read(context, manifest, resources);
  assert.deepEqual(workloads.map(({ name }) => name), ['does-not']);
  assert.deepEqual(warnings, [
    'Deployment needs-it is not started: Shop.Manifest.Manifest[1]: the local run does not know DNSName of Shop.Balancer (AWS::ElasticLoadBalancingV2::LoadBalancer).',
  ]);
});

test('jobs, init containers, probes and what needs nothing', async (context) => {
  const { jobs, workloads, services, withoutMeaning, warnings } = await read(context, JSON.stringify([
    { kind: 'Job', metadata: { name: 'migrate' }, spec: { backoffLimit: 2, activeDeadlineSeconds: 60, template: { spec: { containers: [{ name: 'main', image }] } } } },
    {
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: {
        template: {
          spec: {
            terminationGracePeriodSeconds: 7,
            initContainers: [{ name: 'init', image, args: ['init'] }],
            containers: [{
              name: 'main', image, ports: [{ name: 'http', containerPort: 80 }], livenessProbe: { httpGet: { port: 'http' } },
            }],
          },
        },
      },
    },
    { kind: 'Service', metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } },
    { kind: 'NetworkPolicy', metadata: { name: 'web' } },
    { kind: 'SecurityGroupPolicy', apiVersion: 'vpcresources.k8s.aws/v1beta1', metadata: { name: 'web' } },
    { kind: 'ConfigMap', metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system' }, data: {} },
    { kind: 'Ingress', metadata: { name: 'web' } },
  ]));
  assert.deepEqual(jobs.map(({ name, backoffLimit, deadlineSeconds }) => ({ name, backoffLimit, deadlineSeconds })), [{ name: 'migrate', backoffLimit: 2, deadlineSeconds: 60 }]);
  const [pod] = workloads.map((workload) => workload.pod);
  assert.deepEqual([pod?.terminationGracePeriodSeconds, pod?.initContainers[0]?.command.at(-1)], [7, 'init']);
  assert.deepEqual(pod?.containers[0]?.livenessProbe, { kind: 'http', path: '/', port: 'http', initialDelaySeconds: 0, periodSeconds: 10, timeoutSeconds: 1, failureThreshold: 3 });
  assert.deepEqual(services[0]?.ports, [{ port: 80, targetPort: 80 }]);
  // NetworkPolicy, SecurityGroupPolicy, and a ConfigMap of the cluster.
  assert.deepEqual([...withoutMeaning], [['Kubernetes objects for the cluster itself: namespaces, accounts, policies and the like', 3]]);
  assert.deepEqual(warnings, [
    'The local run cannot make Ingress web (Kubernetes manifest Shop.Manifest): no request comes through it; ask its Services at their own ports.',
  ]);
});

test('an init container that stays is one of the containers; what a pod has and does not get is named', async (context) => {
  const pod = (kind: string, name: string, spec: object) => ({ kind, metadata: { name }, spec: { template: { metadata: { annotations: { team: 'blue' } }, spec } } });
  const main = { name: 'main', image };
  const { workloads, warnings } = await read(context, JSON.stringify([
    pod('Deployment', 'sidecar', { containers: [main], initContainers: [{ name: 'proxy', image, restartPolicy: 'Always' }, { name: 'init', image }] }),
    pod('Deployment', 'probed', { containers: [{ ...main, readinessProbe: { exec: { command: ['ready'] } } }] }),
    pod('Deployment', 'mounting', {
      containers: [{ ...main, volumeMounts: [{ name: 'config', mountPath: '/etc/shop' }, { name: 'cache', mountPath: '/tmp' }] }],
      volumes: [{ name: 'config', configMap: { name: 'shop' } }, { name: 'cache', emptyDir: {} }],
    }),
    pod('Deployment', 'annotated', { containers: [{ ...main, env: [{ name: 'TEAM', valueFrom: { fieldRef: { fieldPath: 'metadata.annotations[\'team\']' } } }] }] }),
    pod('Job', 'migrate', { containers: [main, { name: 'log-shipper', image }] }),
  ]));
  const names = workloads.map(({ name, pod: { containers, initContainers } }) => (
    [name, [...containers, ...initContainers].map((container) => container.name)]));
  assert.deepEqual(names, [['sidecar', ['main', 'proxy', 'init']], ['probed', ['main']], ['mounting', ['main']], ['annotated', ['main']]]);
  assert.deepEqual(workloads[0]?.pod.initContainers.map(({ name }) => name), ['init']);
  assert.equal(workloads[3]?.pod.containers[0]?.environment.TEAM, 'blue');
  assert.deepEqual(warnings, [
    'Deployment probed has a probe by exec or grpc: the local run asks by HTTP and TCP only, so without another probe it is ready at once.',
    'Deployment mounting mounts volumes at /etc/shop: the local run has no volumes, so it does not find their files.',
    'Job migrate runs its first container only, and not log-shipper.',
  ]);
});

test('nobody sleeps before a stop: a process gets what is left of its grace period, as in the cluster', async (context) => {
  const stopping = (name: string, preStop: object, whole?: number) => {
    const { spec, ...rest } = deployment({ lifecycle: { preStop } }, {}, name);
    const grace = whole !== undefined && { terminationGracePeriodSeconds: whole };
    return { ...rest, spec: { template: { ...spec.template, spec: { ...spec.template.spec, ...grace } } } };
  };
  const { workloads, warnings } = await read(context, JSON.stringify([
    stopping('balanced', { sleep: { seconds: 120 } }, 150), stopping('by-default', { sleep: { seconds: 5 } }), stopping('short', { sleep: { seconds: 60 } }, 30),
    stopping('hook', { exec: { command: ['/bin/drain'] } }, 20),
  ]));
  assert.deepEqual(workloads.map(({ name, pod }) => [name, pod.terminationGracePeriodSeconds]), [['balanced', 30], ['by-default', 25], ['short', 1], ['hook', 20]]);
  assert.deepEqual(warnings, ['Deployment hook has a preStop hook that is not only a sleep: the local run does not call it.']);
});

test('jobs run in the order of the deployment, wherever they stand in the template', async (context) => {
  const job = (name: string) => JSON.stringify([{ kind: 'Job', metadata: { name }, spec: { template: { spec: { containers: [{ name: 'main', image }] } } } }]);
  const manifest = (name: string, ...DependsOn: string[]) => ({ Type: 'Custom::AWSCDK-EKS-KubernetesResource', Properties: { Manifest: job(name) }, DependsOn });
  const { jobs } = await read(context, job('last'), {
    // By way of another resource, and of each other.
    Manifest: manifest('last', 'Role'),
    Role: { Type: 'AWS::IAM::Role', DependsOn: 'Schema' },
    Data: manifest('data', 'Schema', 'Absent'),
    Schema: manifest('schema'),
    One: manifest('one', 'Two'),
    Two: manifest('two', 'One'),
  });
  assert.deepEqual(jobs.map(({ name }) => name), ['schema', 'last', 'data', 'two', 'one']);
});

test('the host name of a load balancer, read from the cluster, is the Service\'s own; what else is read is not known here', async (context) => {
  const value = (JsonPath: string) => ({
    Type: 'Custom::AWSCDK-EKS-KubernetesObjectValue', Properties: { ObjectType: 'service', ObjectName: 'api', ObjectNamespace: 'shop', JsonPath },
  });
  const objects = JSON.stringify([
    deployment({ env: [{ name: 'API', value: 'http://HOST:3000' }] }, {}, 'caller'), deployment({ env: [{ name: 'IP', value: 'IP' }] }, {}, 'other'),
  ]);
  const [before, between, after] = objects.split(/HOST|(?<="value":")IP/);
  const { workloads, warnings } = await read(context, { 'Fn::Join': ['', [before, { 'Fn::GetAtt': ['Host', 'Value'] }, between, { 'Fn::GetAtt': ['Ip', 'Value'] }, after]] }, {
    Host: value('.status.loadBalancer.ingress[0].hostname'), Ip: value('.spec.clusterIP'),
  });
  assert.deepEqual(workloads.map(({ name, pod }) => [name, pod.containers[0]?.environment.API]), [['caller', 'http://api.shop.svc.cluster.local:3000']]);
  assert.match(warnings.join(), /^Deployment other is not started: .*the local run does not know Value of Shop\.Ip/);
});

test('a port that a Service or a probe names by its number is open, and without any in the manifest those of the image', async (context) => {
  const service = (name: string, targetPort: string | number) => ({ kind: 'Service', metadata: { name }, spec: { selector: { app: name }, ports: [{ port: 80, targetPort }] } });
  const { workloads } = await read(context, JSON.stringify([
    deployment({}, {}, 'exposed'),
    deployment({ readinessProbe: { tcpSocket: { port: 9000 } } }, {}, 'probed'), service('probed', 'http'),
    deployment({ ports: [{ name: 'http', containerPort: 3000 }] }, {}, 'declared'), service('declared', 3000), service('declared', 3001),
  ]));
  assert.deepEqual(Object.fromEntries(workloads.map(({ name, pod }) => [name, pod.containers[0]?.ports])), {
    exposed: [{ port: 8080 }], probed: [{ port: 9000 }, { port: 8080 }], declared: [{ name: 'http', port: 3000 }, { port: 3001 }],
  });
});

test('the working directory of the manifest, and paths of the image in variables', async (context) => {
  const { workloads, folder } = await read(context, JSON.stringify([
    deployment({
      workingDir: '/app',
      env: [
        { name: 'CONFIG', value: '/app/main.js' },
        { name: 'CACHE', value: '/app/cache' },
        { name: 'BASE', value: '/api' },
        { name: 'PATH', value: '/app:/usr/bin' },
      ],
    }),
  ]));
  const { CONFIG, CACHE, BASE, PATH = '' } = workloads[0]?.pod.containers[0]?.environment ?? {};
  assert.deepEqual([CONFIG, CACHE, BASE], [`${folder}/main.js`, `${folder}/cache`, '/api']);
  assert.ok(PATH.startsWith(`${folder}:`) && PATH.endsWith(process.env.PATH ?? ''));
});
