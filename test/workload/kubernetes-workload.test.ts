import { App, CfnOutput, CfnParameter, Duration, IPropertyInjector, PropertyInjectors, Size, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecr_assets from 'aws-cdk-lib/aws-ecr-assets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import {
  Autoscaling, AutoscalingBindOptions, AutoscalingConfig, KubernetesAccess, KubernetesWorkload, KubernetesWorkloadProps, MetricsAccess,
  ServiceExposure, WorkloadImage, WorkloadProbes,
} from '../../src/workload';
import { testKubernetes } from '../cluster';
import { manifestOf, manifestsOf, manifestsOfResource } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let stack: Stack;
let kubernetes: KubernetesAccess;

beforeEach(() => {
  stack = new Stack();
  kubernetes = testKubernetes(stack, { namespace: 'orders' });
});

function workload(props: Partial<KubernetesWorkloadProps> = {}) {
  return new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api', ...props });
}

/** The kinds of objects in each resource, whose id is without its hash. */
function resourcesOf(template: Template): { [id: string]: string[] } {
  return Object.fromEntries(Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).map(([id, { Properties }]) => [
    id.slice(0, -8), manifestsOfResource({ Properties }).map(({ kind }) => kind),
  ]));
}

function podSpec() {
  return manifestOf(Template.fromStack(stack), 'Deployment').spec.template.spec;
}

describe('Deployment', () => {
  test('runs the command of the image with the environment', () => {
    workload({ command: ['node', 'api.js'], environment: { QUEUE_URL: 'https://queue' }, port: 3000 });

    expect(podSpec().containers).toEqual([expect.objectContaining({
      name: 'main',
      image: 'public.ecr.aws/team/orders:1.0.0',
      command: ['node', 'api.js'],
      ports: [{ name: 'http', containerPort: 3000, protocol: 'TCP' }],
      env: [
        { name: 'SERVICE_NAME', value: 'api' },
        { name: 'AWS_REGION', value: '${AWS::Region}' },
        { name: 'PORT', value: '3000' },
        { name: 'QUEUE_URL', value: 'https://queue' },
      ],
    })]);
  });

  test('lets the environment of the caller win', () => {
    workload({ environment: { AWS_REGION: 'eu-west-1' } });
    expect(podSpec().containers[0].env).toContainEqual({ name: 'AWS_REGION', value: 'eu-west-1' });
  });

  test('leaves the command to the image when none is given', () => {
    workload();
    expect(podSpec().containers[0]).not.toHaveProperty('command');
  });

  test('meets the restricted pod security standard', () => {
    workload();
    expect(podSpec()).toMatchObject({
      securityContext: { runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: { type: 'RuntimeDefault' } },
      automountServiceAccountToken: false,
      containers: [{
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
      }],
    });
  });

  test('requests CPU, memory and disk, and limits all but CPU', () => {
    workload({ cpu: 0.5, memory: Size.gibibytes(1) });
    expect(podSpec().containers[0].resources).toEqual({
      requests: { 'cpu': '500m', 'memory': '1Gi', 'ephemeral-storage': '512Mi' },
      limits: { 'memory': '1Gi', 'ephemeral-storage': '512Mi' },
    });
  });

  test('states quantities and empty variables as the API server stores them, so that a second apply changes nothing', () => {
    workload({ cpu: 2, memory: Size.mebibytes(1536), ephemeralStorage: Size.gibibytes(3), environment: { EMPTY: '' } });
    expect(podSpec().containers[0]).toMatchObject({
      resources: { requests: { 'cpu': '2', 'memory': '1536Mi', 'ephemeral-storage': '3Gi' } }, env: expect.arrayContaining([{ name: 'EMPTY' }]),
    });
  });

  test('has a /tmp that leaves room for logs', () => {
    workload({ ephemeralStorage: Size.gibibytes(2) });
    expect(podSpec()).toMatchObject({
      volumes: [{ name: 'tmp', emptyDir: { sizeLimit: '1920Mi' } }],
      containers: [{ resources: { limits: { 'ephemeral-storage': '2Gi' } } }],
    });
  });

  test('runs as another user', () => {
    workload({ userId: 20000 });
    expect(podSpec().securityContext).toMatchObject({ runAsUser: 20000, runAsGroup: 20000, fsGroup: 20000 });
  });

  test('is probed at /livez and /readyz on the port named http', () => {
    workload();
    expect(podSpec().containers[0]).toMatchObject({
      startupProbe: { httpGet: { path: '/livez', port: 'http' } },
      livenessProbe: { httpGet: { path: '/livez', port: 'http' } },
      readinessProbe: { httpGet: { path: '/readyz', port: 'http' } },
    });
  });

  test('is probed at other paths, or not at all', () => {
    workload({ probes: WorkloadProbes.http({ livenessPath: '/up' }) });
    new KubernetesWorkload(stack, 'Quiet', { kubernetes, image, serviceName: 'quiet', probes: WorkloadProbes.none() });
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'Deployment', 'api').spec.template.spec.containers[0].livenessProbe.httpGet.path).toBe('/up');
    expect(manifestOf(template, 'Deployment', 'quiet').spec.template.spec.containers[0]).not.toHaveProperty('livenessProbe');
  });

  test('is replaced without losing a replica, and stops within the grace period', () => {
    workload({ terminationGracePeriod: Duration.minutes(2) });
    const { spec } = manifestOf(Template.fromStack(stack), 'Deployment');
    expect(spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: '25%' });
    expect(spec.template.spec.terminationGracePeriodSeconds).toBe(120);
  });

  test('spreads over zones and nodes', () => {
    workload();
    expect(podSpec().topologySpreadConstraints.map((c: { topologyKey: string }) => c.topologyKey))
      .toEqual(['topology.kubernetes.io/zone', 'kubernetes.io/hostname']);
  });

  test('carries everything into the namespace of the access', () => {
    workload({ exposure: ServiceExposure.clusterInternal() });
    const manifests = manifestsOf(Template.fromStack(stack));
    expect(manifests.map(m => m.kind).sort()).toEqual(
      ['Deployment', 'HorizontalPodAutoscaler', 'NetworkPolicy', 'PodDisruptionBudget', 'Service', 'ServiceAccount']);
    expect(manifests.map(m => [m.metadata.name, m.metadata.namespace])).toEqual(manifests.map(() => ['api', 'orders']));
  });

  test('keeps the labels of the selector when the cluster adds its own for pruning', () => {
    workload();
    const { spec } = manifestOf(Template.fromStack(stack), 'Deployment');
    expect(spec.selector.matchLabels).toEqual({ 'app.kubernetes.io/name': 'api' });
    expect(spec.template.metadata.labels).toEqual({ 'app.kubernetes.io/name': 'api' });
  });
});

describe('image', () => {
  test('of a directory is an asset of amd64, for nodes of that architecture', () => {
    workload({ image: WorkloadImage.fromDirectory(`${__dirname}/image`) });
    expect(podSpec().nodeSelector).toEqual({ 'kubernetes.io/arch': 'amd64' });
    expect(podSpec().containers[0].image).toMatch(/dkr\.ecr/);
  });

  test('of a directory can be for arm64', () => {
    workload({ image: WorkloadImage.fromDirectory(`${__dirname}/image`, { platform: ecr_assets.Platform.LINUX_ARM64 }) });
    expect(podSpec().nodeSelector).toEqual({ 'kubernetes.io/arch': 'arm64' });
  });

  test('of a registry runs anywhere, or where its platform is', () => {
    workload();
    expect(podSpec()).not.toHaveProperty('nodeSelector');
    const platform = ecr_assets.Platform.LINUX_ARM64;
    expect(WorkloadImage.fromRegistry('team/orders:1', { platform }).bind(stack)).toEqual({ imageUri: 'team/orders:1', architecture: 'arm64' });
    const repository = ecr.Repository.fromRepositoryName(stack, 'Repository', 'orders');
    expect(WorkloadImage.fromEcrRepository(repository, 'v1', { platform }).bind(stack).architecture).toBe('arm64');
    expect(WorkloadImage.fromEcrRepository(repository, 'v1').bind(stack)).not.toHaveProperty('architecture');
  });

  test('runs on the nodes of a pool, and with labels', () => {
    workload({ image: WorkloadImage.fromDirectory(`${__dirname}/image`), nodePool: 'batch', nodeSelector: { disk: 'ssd' } });
    expect(podSpec().nodeSelector).toEqual({ 'kubernetes.io/arch': 'amd64', 'karpenter.sh/nodepool': 'batch', 'disk': 'ssd' });
  });

  test.each<[Partial<KubernetesWorkloadProps>, string]>([
    [{ image: WorkloadImage.fromDirectory(`${__dirname}/image`), nodeSelector: { 'kubernetes.io/arch': 'arm64' } },
      "nodeSelector has kubernetes.io/arch = 'arm64', and the image is for 'amd64': leave one of them out"],
    [{ nodePool: 'one', nodeSelector: { 'karpenter.sh/nodepool': 'two' } },
      "nodeSelector has karpenter.sh/nodepool = 'two', and nodePool is 'one': leave one of them out"],
  ])('can\'t run on contradicting nodes: %#', (props, message) => {
    expect(() => workload(props)).toThrow(message);
  });

  test.each(['orders', 'registry:5000/orders'])('of a registry needs a version: %s', uri => {
    expect(() => WorkloadImage.fromRegistry(uri)).toThrow(`The image '${uri}' has neither a tag nor a digest`);
  });

  test.each(['registry.example/Team/orders:1', 'Team/orders:1', 'Orders:1.0', 'localhost/Orders@sha256:0a'])('of a registry has no capitals: %s', uri => {
    expect(() => WorkloadImage.fromRegistry(uri)).toThrow(`The image '${uri}' has capital letters in its name`);
  });

  test('of a registry has capitals in host name and tag', () => {
    expect(() => WorkloadImage.fromRegistry('Registry.example:5000/orders:1.0-RC1')).not.toThrow();
    expect(() => WorkloadImage.fromRegistry('registry.example/Team/orders:V1'))
      .toThrow("is it 'registry.example/team/orders:V1'?");
  });

  test.each(['orders:1', 'registry:5000/orders@sha256:0a'])('of a registry with its version: %s', uri => {
    expect(() => WorkloadImage.fromRegistry(uri)).not.toThrow();
  });
});

describe('scaling', () => {
  test('is by CPU, from 2 to 10, and leaves the replica count to the autoscaler', () => {
    workload();
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'HorizontalPodAutoscaler').spec).toEqual({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'api' },
      minReplicas: 2,
      maxReplicas: 10,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } }],
    });
    expect(manifestOf(template, 'Deployment').spec).not.toHaveProperty('replicas');
  });

  test('can be fixed', () => {
    workload({ scaling: Autoscaling.fixed(3) });
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'HorizontalPodAutoscaler').spec).toEqual({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'api' }, minReplicas: 3, maxReplicas: 3,
    });
    expect(manifestOf(template, 'Deployment').spec).not.toHaveProperty('replicas');
  });

  test('can be nothing: then there is no Deployment that an autoscaler could start', () => {
    workload({ scaling: Autoscaling.fixed(0), exposure: ServiceExposure.clusterInternal() });
    const template = Template.fromStack(stack);
    expect(manifestsOf(template).map(m => m.kind)).toEqual(['ServiceAccount', 'NetworkPolicy', 'PodDisruptionBudget', 'Service']);
    template.resourceCountIs('Custom::AWSCDK-EKS-KubernetesObjectValue', 0);
  });

  test('of one\'s own comes after the Deployment, by API group, and with the label of the service', () => {
    class Own extends Autoscaling {
      public bind(_: Construct, { deploymentName: name, namespace }: AutoscalingBindOptions): AutoscalingConfig {
        const metadata = { name, namespace };
        return {
          manifests: [
            { apiVersion: 'autoscaling.k8s.io/v1', kind: 'VerticalPodAutoscaler', metadata },
            { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata, spec: {} },
            { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...metadata, labels: { tier: 'one' } } },
          ],
        };
      }
    }
    workload({ scaling: new Own() });
    const template = Template.fromStack(stack);
    expect(resourcesOf(template)).toEqual({
      ApiManifestordersapi: ['ServiceAccount', 'NetworkPolicy', 'Deployment', 'PodDisruptionBudget', 'ConfigMap'],
      ApiAutoscalingk8sioordersapi: ['VerticalPodAutoscaler'],
      ApiAutoscalingordersapi: ['HorizontalPodAutoscaler'],
    });
    expect(manifestOf(template, 'VerticalPodAutoscaler').metadata.labels).toMatchObject({ 'app.kubernetes.io/name': 'api' });
    expect(manifestOf(template, 'ConfigMap').metadata.labels).toMatchObject({ 'app.kubernetes.io/name': 'api', 'tier': 'one' });
    const scalers = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).filter(([id]) => id.startsWith('ApiAuto'));
    for (const [, { Properties, DependsOn }] of scalers) {
      expect(Properties.Overwrite).toBe(true);
      expect(DependsOn).toEqual([expect.stringMatching(/^ApiManifest/)]);
    }
  });

  test('raises the default maximum to a higher minimum', () => {
    workload({ scaling: Autoscaling.cpu({ minReplicas: 20 }) });
    expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 20, maxReplicas: 20 });
  });

  test.each([
    [{ minReplicas: 0 }, 'minReplicas must be a whole number of at least 1, got 0'],
    [{ maxReplicas: 2.5 }, 'maxReplicas must be a whole number of at least 1, got 2.5'],
    [{ minReplicas: 4, maxReplicas: 3 }, 'maxReplicas (3) must not be less than minReplicas (4)'],
    [{ targetCpuUtilizationPercent: 0 }, 'targetCpuUtilizationPercent must be a whole number of at least 1, got 0'],
  ])('refuses %j', (options, message) => {
    expect(() => Autoscaling.cpu(options)).toThrow(message);
  });
});

describe('network policy', () => {
  test('lets nothing in and only names, credentials and HTTPS out', () => {
    workload();
    expect(manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec).toEqual({
      podSelector: { matchLabels: { 'app.kubernetes.io/name': 'api' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [
        { ports: [{ protocol: 'UDP', port: 53 }, { protocol: 'TCP', port: 53 }] },
        { ports: [{ protocol: 'TCP', port: 443 }] },
        {
          to: [{ ipBlock: { cidr: '169.254.170.23/32' } }, { ipBlock: { cidr: 'fd00:ec2::23/128' } }],
          ports: [{ protocol: 'TCP', port: 80 }],
        },
      ],
    });
  });

  test('opens the ports that are asked for', () => {
    workload({ egressPorts: [5433] });
    expect(manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec.egress[1].ports)
      .toEqual([{ protocol: 'TCP', port: 443 }, { protocol: 'TCP', port: 5433 }]);
  });

  test('opens ports at certain addresses only, and HTTPS too if that is said', () => {
    const vpc = new ec2.Vpc(stack, 'Vpc');
    workload({ egressRules: [{ ports: [5432, 5433], cidrs: ['10.0.1.0/24', '10.0.2.0/24'] }], httpsCidrs: [vpc.vpcCidrBlock] });
    const { egress } = manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec;
    const rule = (ports: number[], ...cidrs: unknown[]) => ({
      to: cidrs.map((cidr) => ({ ipBlock: { cidr } })), ports: ports.map((port) => ({ protocol: 'TCP', port })),
    });
    // The first is for names; every other has its addresses.
    expect(egress.slice(1)).toEqual([
      rule([443], '${Vpc8378EB38.CidrBlock}'),
      rule([80], '169.254.170.23/32', 'fd00:ec2::23/128'),
      rule([5432, 5433], '10.0.1.0/24', '10.0.2.0/24'),
    ]);
  });

  test.each<[Partial<KubernetesWorkloadProps>, string]>([
    [{ egressRules: [{ ports: [5432], cidrs: [] }] }, "cidrs of egressRules must have at least one block of addresses such as '10.0.0.0/16', and nothing else, got []"],
    [{ egressRules: [{ ports: [5432], cidrs: ['10.0.0.1'] }] }, 'cidrs of egressRules must have at least one block'],
    [{ egressRules: [{ ports: [], cidrs: ['10.0.0.0/8'] }] }, 'ports of egressRules must have at least one port'],
    [{ egressRules: [{ ports: [0], cidrs: ['10.0.0.0/8'] }] }, 'ports of egressRules must be a whole number between 1 and 65535, got 0'],
    [{ httpsCidrs: [] }, 'httpsCidrs must have at least one block'],
  ])('refuses what Kubernetes would take for everything: %j', (props, message) => {
    expect(() => workload(props)).toThrow(message);
  });
});

describe('management port', () => {
  const annotationsOf = (template: Template) => (manifestOf(template, 'Service').metadata as any).annotations;

  test('has probes and metrics, and no client of the exposure reaches it', () => {
    const exposure = ServiceExposure.internalNetworkLoadBalancer({ plaintext: true });
    const { managementPort, port } = workload({ port: 3000, managementPort: 9000, exposure, metricsAccess: [MetricsAccess.namespace('monitoring')] });
    expect([port, managementPort]).toEqual([3000, 9000]);
    const template = Template.fromStack(stack);
    const [container] = manifestOf(template, 'Deployment').spec.template.spec.containers;
    expect(container.ports.map((one: any) => [one.name, one.containerPort])).toEqual([['http', 3000], ['management', 9000]]);
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) expect(container[probe].httpGet.port).toBe('management');
    expect(container.env).toEqual(expect.arrayContaining([{ name: 'PORT', value: '3000' }, { name: 'MANAGEMENT_PORT', value: '9000' }]));
    expect(manifestOf(template, 'Service').spec.ports.map(({ targetPort }: any) => targetPort)).toEqual(['http']);
    expect(manifestOf(template, 'NetworkPolicy').spec.ingress).toEqual([
      { ports: [{ protocol: 'TCP', port: 3000 }] },
      { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }], ports: [{ protocol: 'TCP', port: 9000 }] },
    ]);
  });

  test('is not for the load balancer, which checks by connections to the port of the requests', () => {
    workload({ port: 3000, managementPort: 9000, exposure: ServiceExposure.internalNetworkLoadBalancer({ plaintext: true }) });
    const checks = Object.entries(annotationsOf(Template.fromStack(stack))).filter(([name]) => name.includes('healthcheck'))
      .map(([name, value]) => [name.split('healthcheck-')[1], value]);
    expect(Object.fromEntries(checks)).toEqual({ port: 'traffic-port', protocol: 'tcp' });
  });

  test('can be the port of the requests: one port for all', () => {
    workload({ port: 3000, managementPort: 3000, exposure: ServiceExposure.internalNetworkLoadBalancer({ plaintext: true }) });
    const template = Template.fromStack(stack);
    const [container] = manifestOf(template, 'Deployment').spec.template.spec.containers;
    expect(container.ports).toHaveLength(1);
    expect(container.readinessProbe.httpGet.port).toBe('http');
    expect(container.env).toContainEqual({ name: 'MANAGEMENT_PORT', value: '3000' });
    expect(annotationsOf(template)['service.beta.kubernetes.io/aws-load-balancer-healthcheck-path']).toBe('/readyz');
  });

  test('is no variable: its own prop sets it', () => {
    expect(() => workload({ environment: { MANAGEMENT_PORT: '9000' } })).toThrow("environment.MANAGEMENT_PORT can't be given");
    stack = new Stack();
    kubernetes = testKubernetes(stack);
    expect(() => workload({ managementPort: 70_000 })).toThrow('managementPort must be a whole number between 1 and 65535, got 70000');
  });
});

describe('TLS', () => {
  const ARN = 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678';
  const certificate = () => acm.Certificate.fromCertificateArn(stack, 'Certificate', ARN);
  const warnings = () => Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('apiWithoutTls')).map(({ id }) => id);

  test('ends at the load balancer, with no other port and no version before 1.2', () => {
    const { url } = workload({ port: 3000, exposure: ServiceExposure.internalNetworkLoadBalancer({ certificate: certificate() }) });
    expect(stack.resolve(url)).toEqual({ 'Fn::Join': ['', ['https://', { 'Fn::GetAtt': [expect.stringMatching(/^ApiAddress/), 'Value'] }]] });
    const template = Template.fromStack(stack);
    const { metadata, spec } = manifestOf(template, 'Service');
    expect(metadata).toMatchObject({
      annotations: {
        'service.beta.kubernetes.io/aws-load-balancer-ssl-cert': ARN,
        'service.beta.kubernetes.io/aws-load-balancer-ssl-ports': '443',
        'service.beta.kubernetes.io/aws-load-balancer-ssl-negotiation-policy': 'ELBSecurityPolicy-TLS13-1-2-2021-06',
      },
    });
    expect(spec.ports).toEqual([{ name: 'https', port: 443, targetPort: 'http', protocol: 'TCP' }]);
    // The policy is about pods: their port stays.
    expect(manifestOf(template, 'NetworkPolicy').spec.ingress).toEqual([{ ports: [{ protocol: 'TCP', port: 3000 }] }]);
    expect(warnings()).toEqual([]);
  });

  test.each<[object, string[]]>([
    [{}, ['/Default/Api']],
    [{ plaintext: false }, ['/Default/Api']],
    [{ plaintext: true }, []],
    [{ annotations: { 'service.beta.kubernetes.io/aws-load-balancer-ssl-cert': ARN } }, []],
  ])('without it, a load balancer is a warning, unless plain text is said: %j', (options, expected) => {
    workload({ exposure: ServiceExposure.internalNetworkLoadBalancer(options) });
    expect(warnings()).toEqual(expected);
    expect(manifestOf(Template.fromStack(stack), 'Service').spec.ports[0].port).toBe(8080);
  });

  test('is said once', () => {
    const both = { certificate: certificate(), plaintext: true };
    expect(() => ServiceExposure.internalNetworkLoadBalancer(both)).toThrow("certificate and plaintext can't be given together: choose one");
    const annotations = { 'service.beta.kubernetes.io/aws-load-balancer-ssl-cert': ARN };
    expect(() => ServiceExposure.internalNetworkLoadBalancer({ certificate: both.certificate, annotations }))
      .toThrow('certificate and the annotation service.beta.kubernetes.io/aws-load-balancer-ssl-cert have the same meaning: give one of them');
  });
});

describe('exposure', () => {
  test('by an internal load balancer of EKS Auto Mode', () => {
    workload({ port: 3000, exposure: ServiceExposure.internalNetworkLoadBalancer() });
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'Service')).toMatchObject({
      metadata: {
        annotations: {
          'service.beta.kubernetes.io/aws-load-balancer-scheme': 'internal',
          'service.beta.kubernetes.io/aws-load-balancer-nlb-target-type': 'ip',
          'service.beta.kubernetes.io/aws-load-balancer-healthcheck-path': '/readyz',
        },
      },
      spec: {
        type: 'LoadBalancer',
        loadBalancerClass: 'eks.amazonaws.com/nlb',
        selector: { 'app.kubernetes.io/name': 'api' },
        ports: [{ name: 'http', port: 3000, targetPort: 'http', protocol: 'TCP' }],
      },
    });
    expect(manifestOf(template, 'NetworkPolicy').spec.ingress).toEqual([{ ports: [{ protocol: 'TCP', port: 3000 }] }]);
    expect(manifestOf(template, 'Deployment').spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: '50%' });
    // The load balancer needs two minutes to stop sending.
    expect(manifestOf(template, 'Deployment').spec.template.spec).toMatchObject({
      terminationGracePeriodSeconds: 150,
      containers: [{ lifecycle: { preStop: { sleep: { seconds: 120 } } } }],
    });
  });

  test.each<[string, WorkloadProbes, { [name: string]: string | undefined }]>([
    ['the path of the readiness probe', WorkloadProbes.http({ readinessPath: '/health/ready' }), { protocol: 'http', path: '/health/ready' }],
    ['connections, if nothing is probed', WorkloadProbes.none(), { protocol: 'tcp', path: undefined }],
  ])('by a load balancer whose health check is by %s', (_, probes, { protocol, path }) => {
    workload({ probes, exposure: ServiceExposure.internalNetworkLoadBalancer() });
    const { annotations } = manifestOf(Template.fromStack(stack), 'Service').metadata as any;
    const prefix = 'service.beta.kubernetes.io/aws-load-balancer-healthcheck';
    expect([annotations[`${prefix}-protocol`], annotations[`${prefix}-path`]]).toEqual([protocol, path]);
  });

  test('by another controller', () => {
    workload({
      exposure: ServiceExposure.internalNetworkLoadBalancer({
        loadBalancerClass: 'service.k8s.aws/nlb',
        annotations: { 'service.beta.kubernetes.io/aws-load-balancer-security-groups': 'sg-1' },
      }),
    });
    const service = manifestOf(Template.fromStack(stack), 'Service');
    expect(service.spec.loadBalancerClass).toBe('service.k8s.aws/nlb');
    expect(service.metadata).toMatchObject({ annotations: { 'service.beta.kubernetes.io/aws-load-balancer-security-groups': 'sg-1' } });
  });

  test('by the class of the access, which an option overrides', () => {
    const access = KubernetesAccess.manifestsOnly({ clusterName: 'c', loadBalancerClass: 'service.k8s.aws/nlb' });
    const classOf = (exposure: ServiceExposure, id: string) => {
      new KubernetesWorkload(stack, id, { kubernetes: access, image, serviceName: id.toLowerCase(), exposure });
      const services: any[] = access.manifests.filter(({ kind }) => kind === 'Service');
      return services[services.length - 1].spec.loadBalancerClass;
    };
    expect(classOf(ServiceExposure.internalNetworkLoadBalancer(), 'One')).toBe('service.k8s.aws/nlb');
    expect(classOf(ServiceExposure.internalNetworkLoadBalancer({ loadBalancerClass: 'example.com/nlb' }), 'Two')).toBe('example.com/nlb');
  });

  test('by a load balancer needs its class', () => {
    const access = KubernetesAccess.manifestsOnly({ clusterName: 'c' });
    expect(() => workload({ kubernetes: access, exposure: ServiceExposure.internalNetworkLoadBalancer() }))
      .toThrow('set loadBalancerClass of the KubernetesAccess, or of ServiceExposure.internalNetworkLoadBalancer()');
  });

  test('takes attributes of the load balancer and its target group', () => {
    workload({
      exposure: ServiceExposure.internalNetworkLoadBalancer({
        loadBalancerAttributes: { 'load_balancing.cross_zone.enabled': 'true', 'access_logs.s3.enabled': 'false' },
        targetGroupAttributes: { 'preserve_client_ip.enabled': 'false' },
      }),
    });
    expect(manifestOf(Template.fromStack(stack), 'Service').metadata).toMatchObject({
      annotations: {
        'service.beta.kubernetes.io/aws-load-balancer-attributes': 'load_balancing.cross_zone.enabled=true,access_logs.s3.enabled=false',
        'service.beta.kubernetes.io/aws-load-balancer-target-group-attributes': 'preserve_client_ip.enabled=false',
      },
    });
  });

  test.each([
    [{ loadBalancerAttributes: { 'a,b': 'c' } }, "loadBalancerAttributes becomes a list of key=value, separated by commas: 'a,b' = 'c'"],
    [{ targetGroupAttributes: { a: 'b,c' } }, "targetGroupAttributes becomes a list of key=value, separated by commas: 'a' = 'b,c'"],
    [
      { loadBalancerAttributes: { a: 'b' }, annotations: { 'service.beta.kubernetes.io/aws-load-balancer-attributes': 'c=d' } },
      'loadBalancerAttributes and the annotation service.beta.kubernetes.io/aws-load-balancer-attributes have the same meaning: give one of them',
    ],
    [{ drainTime: Duration.seconds(0) }, 'drainTime must be known at synthesis and whole seconds, at least one'],
    [{ drainTime: Duration.millis(1500) }, 'drainTime must be known at synthesis and whole seconds, at least one'],
  ])('refuses %j', (options, message) => {
    expect(() => ServiceExposure.internalNetworkLoadBalancer(options)).toThrow(message);
  });

  test('stops within the given time', () => {
    workload({ exposure: ServiceExposure.internalNetworkLoadBalancer({ drainTime: Duration.seconds(20) }) });
    const containers = [{ lifecycle: { preStop: { sleep: { seconds: 20 } } } }];
    expect(podSpec()).toMatchObject({ terminationGracePeriodSeconds: 50, containers });
  });

  test('by nothing stops at once, within 45 seconds', () => {
    workload();
    expect(podSpec().terminationGracePeriodSeconds).toBe(45);
    expect(podSpec().containers[0]).not.toHaveProperty('lifecycle');
  });

  test('of one\'s own drains for 15 seconds', () => {
    class Own extends ServiceExposure {
      public bind() { return { ingressFrom: [] }; }
    }
    const { url } = workload({ exposure: new Own() });
    expect(url).toBeUndefined();
    const containers = [{ lifecycle: { preStop: { sleep: { seconds: 15 } } } }];
    expect(podSpec()).toMatchObject({ terminationGracePeriodSeconds: 45, containers });
  });

  test('inside the cluster only', () => {
    const { url } = workload({ exposure: ServiceExposure.clusterInternal() });
    expect(url).toBe('http://api.orders.svc.cluster.local:8080');
    const template = Template.fromStack(stack);
    template.resourcePropertiesCountIs('Custom::AWSCDK-EKS-KubernetesObjectValue', { ObjectType: 'service' }, 0);
    expect(manifestOf(template, 'Deployment').spec.template.spec).toMatchObject({
      terminationGracePeriodSeconds: 45, containers: [{ lifecycle: { preStop: { sleep: { seconds: 15 } } } }],
    });
    expect(manifestOf(template, 'Service').spec.type).toBe('ClusterIP');
    expect(manifestOf(template, 'NetworkPolicy').spec.ingress)
      .toEqual([{ from: [{ namespaceSelector: {} }], ports: [{ protocol: 'TCP', port: 8080 }] }]);
  });
});

describe('address', () => {
  test('of a load balancer is read from the cluster once it is there, and only if it is asked for', () => {
    const api = workload({ exposure: ServiceExposure.internalNetworkLoadBalancer(), port: 3000 });
    new KubernetesWorkload(stack, 'Other', { kubernetes, image, serviceName: 'other', exposure: ServiceExposure.internalNetworkLoadBalancer() });
    expect(api.url).toBe(api.url);
    new CfnOutput(stack, 'Url', { value: api.url! });

    const template = Template.fromStack(stack);
    template.resourcePropertiesCountIs('Custom::AWSCDK-EKS-KubernetesObjectValue', { ObjectType: 'service' }, 1);
    template.hasResource('Custom::AWSCDK-EKS-KubernetesObjectValue', {
      Properties: {
        ClusterName: 'test-cluster',
        ObjectType: 'service',
        ObjectName: 'api',
        ObjectNamespace: 'orders',
        JsonPath: '.status.loadBalancer.ingress[0].hostname',
        TimeoutSeconds: 600,
      },
      DependsOn: [Match.stringLikeRegexp('^ApiManifest')],
    });
    template.hasOutput('Url', { Value: { 'Fn::Join': ['', ['http://', { 'Fn::GetAtt': [Match.stringLikeRegexp('^ApiAddress'), 'Value'] }, ':3000']] } });
  });

  test('is undefined without an exposure, and where nothing can be read', () => {
    expect(workload().url).toBeUndefined();
    const access = KubernetesAccess.manifestsOnly({ clusterName: 'c', loadBalancerClass: 'service.k8s.aws/nlb' });
    const exposure = ServiceExposure.internalNetworkLoadBalancer();
    expect(new KubernetesWorkload(stack, 'Other', { kubernetes: access, image, exposure }).url).toBeUndefined();
  });
});

describe('metrics', () => {
  test('are read by those who are let in, beside those who reach the port anyway', () => {
    workload({
      exposure: ServiceExposure.clusterInternal(),
      metricsAccess: [MetricsAccess.namespace('monitoring'), MetricsAccess.cidr('10.0.0.0/16')],
    });
    const ports = [{ protocol: 'TCP', port: 8080 }];
    expect(manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec.ingress).toEqual([
      { from: [{ namespaceSelector: {} }], ports },
      { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }, { ipBlock: { cidr: '10.0.0.0/16' } }], ports },
    ]);
  });

  test('are read by nobody from an empty list', () => {
    workload({ metricsAccess: [] });
    expect(manifestOf(Template.fromStack(stack), 'NetworkPolicy').spec).not.toHaveProperty('ingress');
  });

  test('need a namespace or addresses that can be', () => {
    expect(() => MetricsAccess.namespace('Monitoring')).toThrow("expects the name of a namespace, got 'Monitoring'");
    expect(() => MetricsAccess.cidr('10.0.0.1')).toThrow("expects a block of addresses such as '10.0.0.0/16', got '10.0.0.1'");
    expect(() => MetricsAccess.cidr('fd00::/8')).not.toThrow();
  });
});

describe('security group', () => {
  const groups = { groupIds: ['sg-pods', 'sg-cluster'] };

  test('of its own is beside the one of all pods, and is what others open to', () => {
    const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
    const api = workload({ podSecurityGroup });
    expect(api.connections.securityGroups).toEqual([podSecurityGroup]);

    const template = Template.fromStack(stack);
    const labels = { 'app.kubernetes.io/name': 'api', 'cdk-order-pipeline/security-group': groups.groupIds[0] };
    expect(manifestOf(template, 'SecurityGroupPolicy')).toMatchObject({
      apiVersion: 'vpcresources.k8s.aws/v1beta1',
      metadata: { name: 'api', namespace: 'orders' },
      spec: { podSelector: { matchLabels: labels }, securityGroups: groups },
    });
    expect(manifestOf(template, 'Deployment').spec.template.metadata.labels).toEqual(labels);
    expect(manifestOf(template, 'Deployment').spec.selector.matchLabels).toEqual({ 'app.kubernetes.io/name': 'api' });
    // The pods come after it.
    expect(resourcesOf(template)).toMatchObject({ ApiVpcresourcesk8sawsordersapi: ['SecurityGroupPolicy'] });
    const [, main] = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).find(([id]) => id.startsWith('ApiManifest'))!;
    expect(main.DependsOn).toContainEqual(expect.stringMatching(/^ApiVpcresources/));
  });

  test('is alone where no other is known', () => {
    const access = KubernetesAccess.manifestsOnly({ clusterName: 'c' });
    const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
    workload({ kubernetes: access, podSecurityGroup });
    expect(access.manifests).toContainEqual(expect.objectContaining({
      kind: 'SecurityGroupPolicy', spec: expect.objectContaining({ securityGroups: { groupIds: ['sg-pods'] } }),
    }));
  });
});

describe('identity', () => {
  test('is a role that only the service account can assume', () => {
    workload();
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [{
          Action: ['sts:AssumeRole', 'sts:TagSession'],
          Effect: 'Allow',
          Principal: { Service: 'pods.eks.amazonaws.com' },
          Condition: {
            StringEquals: {
              'aws:RequestTag/eks-cluster-name': 'test-cluster',
              'aws:RequestTag/kubernetes-namespace': 'orders',
              'aws:RequestTag/kubernetes-service-account': 'api',
            },
          },
        }],
      },
    });
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', {
      ClusterName: 'test-cluster', Namespace: 'orders', ServiceAccount: 'api', RoleArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('Role'), 'Arn'] },
    });
  });

  test('is there, with its permissions, before the pods are', () => {
    const api = workload();
    new s3.Bucket(stack, 'Bucket').grantRead(api);
    Template.fromStack(stack).hasResource('Custom::AWSCDK-EKS-KubernetesResource', {
      DependsOn: [
        Match.stringLikeRegexp('^ApiPodIdentity'), Match.stringLikeRegexp('^ApiRoleDefaultPolicy'), Match.stringLikeRegexp('^ApiRole'),
      ],
    });
  });

  test('can be brought', () => {
    const role = iam.Role.fromRoleArn(stack, 'Own', 'arn:aws:iam::111111111111:role/own');
    expect(workload({ role }).role).toBe(role);
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::IAM::Role', 0);
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', { RoleArn: 'arn:aws:iam::111111111111:role/own' });
  });

  test('can be a role of another account, which the own role assumes', () => {
    const targetRole = iam.Role.fromRoleArn(stack, 'Target', 'arn:aws:iam::222222222222:role/target');
    const api = workload({ targetRole });
    expect(api.grantPrincipal).toBe(targetRole.grantPrincipal);
    expect(api.podIdentity.targetRoleArn).toBe('arn:aws:iam::222222222222:role/target');

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', {
      RoleArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^ApiRole'), 'Arn'] },
      TargetRoleArn: 'arn:aws:iam::222222222222:role/target',
    });
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [{ Action: ['sts:AssumeRole', 'sts:TagSession'], Effect: 'Allow', Resource: 'arn:aws:iam::222222222222:role/target' }],
      },
      Roles: [{ Ref: Match.stringLikeRegexp('^ApiRole') }],
    });
  });

  test('gets the permissions of a target role of the stack before the pods start', () => {
    const targetRole = new iam.Role(stack, 'Target', { assumedBy: new iam.AccountRootPrincipal() });
    new s3.Bucket(stack, 'Bucket').grantRead(workload({ targetRole }));
    Template.fromStack(stack).hasResource('Custom::AWSCDK-EKS-KubernetesResource', {
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^TargetDefaultPolicy')]),
    });
  });

  test('connects as the cluster security group', () => {
    const database = new ec2.SecurityGroup(stack, 'Database', { vpc: ec2.Vpc.fromVpcAttributes(stack, 'V', { vpcId: 'v', availabilityZones: ['a'] }) });
    database.connections.allowFrom(workload(), ec2.Port.tcp(5432));
    Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', { SourceSecurityGroupId: 'sg-cluster', FromPort: 5432 });
  });
});

test('takes numbers that only the deployment knows', () => {
  const parameter = new CfnParameter(stack, 'Number', { type: 'Number' }).valueAsNumber;
  workload({ port: parameter, egressPorts: [parameter], scaling: Autoscaling.cpu({ minReplicas: parameter, maxReplicas: parameter }) });
  const template = Template.fromStack(stack);
  const [container] = manifestOf(template, 'Deployment').spec.template.spec.containers;
  expect(container.env).toContainEqual({ name: 'PORT', value: '${Number}' });
  expect(container.ports[0].containerPort).toBe('${Number}');
  expect(manifestOf(template, 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: '${Number}', maxReplicas: '${Number}' });
  // Quotes would make a name of it, and Kubernetes would look for a port of that name.
  const [{ Properties }] = Object.values(template.findResources('Custom::AWSCDK-EKS-KubernetesResource'));
  expect(JSON.stringify(Properties.Manifest)).toContain('\\"containerPort\\":",{"Ref":"Number"},",');
});

describe('name', () => {
  test('is derived from the path when none is given', () => {
    const shop = new Stack(new App(), 'Shop');
    const { serviceName } = new KubernetesWorkload(new Construct(shop, 'Orders'), 'Api', { kubernetes: testKubernetes(shop), image });
    // A promise like a logical id: another name is another Deployment.
    expect(serviceName).toBe('shop-orders-api-d813950c');
  });

  test.each(['Api', 'api_write', '-api', 'api-', '4api', 'a', 'a'.repeat(64)])('%s is refused', serviceName => {
    expect(() => workload({ serviceName })).toThrow(`start with a letter and not end with a hyphen, got '${serviceName}' (in 'Default/Api')`);
  });
});

test.each([
  [{ port: 0 }, 'port must be a whole number between 1 and 65535, got 0'],
  [{ ephemeralStorage: Size.mebibytes(128) }, 'ephemeralStorage must be more than the 128 MiB for logs, got 128 MiB'],
  [{ userId: 0 }, 'userId must be a whole number between 1 and 2147483647, got 0'],
  [{ egressPorts: [70000] }, 'egressPorts must be a whole number between 1 and 65535, got 70000'],
  [{ cpu: 0 }, 'cpu is in vCPUs and must be at least 0.001 and no token, got 0'],
  [{ exposure: ServiceExposure.clusterInternal(), terminationGracePeriod: Duration.seconds(10) },
    'terminationGracePeriod must be longer than the 15 seconds that the exposed pods continue to serve (drainTime of the exposure), got 10 seconds'],
  [{ exposure: ServiceExposure.internalNetworkLoadBalancer(), terminationGracePeriod: Duration.minutes(2) },
    'terminationGracePeriod must be longer than the 2 minutes that the exposed pods continue to serve (drainTime of the exposure), got 2 minutes'],
  [{ environment: { '': 'x' } }, 'environment has the name "": a name must not be empty'],
  [{ environment: { 'A=B': 'x' } }, 'environment has the name "A=B": a name must not be empty and must be printable ASCII without \'=\''],
  [{ environment: { 'A\0': 'x' } }, 'environment has the name "A\\u0000"'],
  [{ environment: { PORT: '9000' } }, 'environment.PORT can\'t be given, as probes and Service would use another port: set port instead'],
])('refuses %j', (props, message) => {
  expect(() => workload(props)).toThrow(message);
});

test('refuses a name that is taken, which would change the other workload', () => {
  workload();
  expect(() => new KubernetesWorkload(stack, 'Other', { kubernetes, image, serviceName: 'api' }))
    .toThrow("ServiceAccount 'api' of namespace 'orders' is applied already: give one of the two another name (serviceName) (in 'Default/Other')");
});

test('has no findings of AwsSolutions', () => {
  workload({ exposure: ServiceExposure.internalNetworkLoadBalancer() });
  expect(unacknowledgedFindings(stack)).toEqual([]);
});

test.each<[string, () => Partial<KubernetesWorkloadProps>]>([
  ['kubernetes-workload', () => ({ image: WorkloadImage.fromDirectory(`${__dirname}/image`) })],
  ['kubernetes-workload-load-balancer', () => ({ exposure: ServiceExposure.internalNetworkLoadBalancer() })],
  ['kubernetes-workload-cluster-internal', () => ({ exposure: ServiceExposure.clusterInternal() })],
  ['kubernetes-workload-target-role', () => ({ targetRole: iam.Role.fromRoleArn(stack, 'Target', 'arn:aws:iam::222222222222:role/target') })],
  ['kubernetes-workload-pod-security-group', () => ({ podSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods') })],
])('keeps its logical ids: %s', (name, props) => {
  const { url } = workload(props());
  if (url !== undefined) { new CfnOutput(stack, 'Url', { value: url }); }
  expectLogicalIds(stack, `${__dirname}/${name}.ids.json`);
});

test('can be changed by a property injector', () => {
  const injector: IPropertyInjector = {
    constructUniqueId: KubernetesWorkload.PROPERTY_INJECTION_ID,
    inject: (props) => ({ ...props, memory: Size.gibibytes(2) }),
  };
  PropertyInjectors.of(stack).add(injector);
  workload();
  expect(podSpec().containers[0].resources.limits).toMatchObject({ memory: '2Gi' });
});
