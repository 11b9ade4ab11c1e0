// Programs on the library, as stacks that are synthesized: one workload, job or consumer each.
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import cdk from 'aws-cdk-lib';
import acm from 'aws-cdk-lib/aws-certificatemanager';
import ecr from 'aws-cdk-lib/aws-ecr';
import ecrAssets from 'aws-cdk-lib/aws-ecr-assets';
import ec2 from 'aws-cdk-lib/aws-ec2';
import eks from 'aws-cdk-lib/aws-eks-v2';
import events from 'aws-cdk-lib/aws-events';
import iam from 'aws-cdk-lib/aws-iam';
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import library from '../../lib/index.js';

const {
  Autoscaling, BufferedEventConsumer, ConsumerTarget, KubernetesAccess, KubernetesJob, KubernetesWorkload, MetricsAccess, QueueScaling, ServiceExposure,
  WorkloadImage, WorkloadProbes,
} = library;
const { Duration, Size } = cdk;

/** The namespace of the templates. Each stack has another in the cluster. */
export const NAMESPACE = 'namespace-of-the-check';

const env = { account: '111122223333', region: 'eu-west-1' };
const IMAGE = 'public.ecr.aws/example/orders:1.0.0';

/** Synthesizes a stack with a cluster, and returns its template. */
export function templateOf(make, options = {}) {
  const app = new cdk.App({ context: recommendedFlags, analyticsReporting: false });
  const stack = new cdk.Stack(app, 'Check', { env });
  const cluster = eks.Cluster.fromClusterAttributes(stack, 'Cluster', {
    clusterName: 'check', clusterSecurityGroupId: 'sg-00000000000000001',
    kubectlProvider: eks.KubectlProvider.fromKubectlProviderAttributes(stack, 'Kubectl', {
      serviceToken: 'arn:aws:lambda:eu-west-1:111122223333:function:kubectl', role: iam.Role.fromRoleArn(stack, 'KubectlRole', 'arn:aws:iam::111122223333:role/kubectl'),
    }),
  });
  const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: NAMESPACE, ...options });
  make({ stack, kubernetes });
  return app.synth().getStackByName('Check').template;
}

const workloadOf = (props, options, transform) => templateOf(({ stack, kubernetes }) => {
  if (transform) { kubernetes.transform({ transform }); }
  const given = typeof props === 'function' ? props(stack) : props;
  const workload = new KubernetesWorkload(stack, 'Api', { kubernetes, image: WorkloadImage.fromRegistry(IMAGE), serviceName: 'api', ...given });
  // Its address is read from the cluster.
  if (workload.url !== undefined) { new cdk.CfnOutput(stack, 'Url', { value: workload.url }); }
}, options);

const consumerOf = (target = {}, options) => templateOf(({ stack, kubernetes }) => {
  const given = typeof target === 'function' ? target(stack) : target;
  new BufferedEventConsumer(stack, 'Consumer', {
    eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'shop'),
    eventPattern: { detailType: ['OrderCreated'] },
    target: ConsumerTarget.kubernetes(kubernetes, { image: WorkloadImage.fromRegistry(IMAGE), serviceName: 'worker', scaling: QueueScaling.fixed(2), ...given }),
  });
}, options);

const jobOf = (props = {}, options) => templateOf(({ stack, kubernetes }) => {
  const given = typeof props === 'function' ? props(stack) : props;
  new KubernetesJob(stack, 'Migration', { kubernetes, image: WorkloadImage.fromRegistry(IMAGE), serviceName: 'migration', command: ['node', 'migrate.js'], ...given });
}, options);

const securityGroup = (stack) => ec2.SecurityGroup.fromSecurityGroupId(stack, 'PodGroup', 'sg-00000000000000002');
const operatorRole = (stack) => iam.Role.fromRoleArn(stack, 'Operator', 'arn:aws:iam::111122223333:role/keda');
const latency = { acceptableLatency: Duration.seconds(20), messageProcessingTime: Duration.seconds(1) };
const keda = (options = {}) => (stack) => QueueScaling.keda({ ...latency, operatorRole: operatorRole(stack), pollingInterval: Duration.seconds(5), cooldown: Duration.seconds(10), ...options });

/** A consumer for each kind of scaling. `least` and `most` are the replicas that it may have. */
export const SCALINGS = {
  'cpu': { least: 2, most: 10, scaling: () => QueueScaling.cpu() },
  'cpu 4 to 6': { least: 4, most: 6, scaling: () => QueueScaling.cpu({ minReplicas: 4, maxReplicas: 6 }) },
  'fixed(3)': { least: 3, most: 3, scaling: () => QueueScaling.fixed(3) },
  'fixed(0)': { least: 0, most: 0, scaling: () => QueueScaling.fixed(0) },
  'external': { least: 2, most: 10, external: true, scaling: () => QueueScaling.externalMetric({ ...latency, metricName: 'queue_length', metricLabels: { queue: 'worker' }, minReplicas: 2 }) },
  'keda': { least: 1, most: 10, keda: true, scaling: keda() },
  'keda from 0': { least: 0, most: 10, keda: true, scaling: keda({ minReplicas: 0, acceptableLatency: Duration.seconds(60) }) },
  'keda with cpu': { least: 2, most: 10, keda: true, scaling: keda({ minReplicas: 2, targetCpuUtilizationPercent: 70, fallback: { replicas: 2 } }) },
};
for (const variant of Object.values(SCALINGS)) {
  variant.template = once(() => consumerOf((stack) => ({ scaling: variant.scaling(stack) })));
}

/** A workload for each kind of exposure. */
export const EXPOSURES = {
  'none': workload({ exposure: ServiceExposure.none() }),
  'inside the cluster': workload({ exposure: ServiceExposure.clusterInternal() }),
  'load balancer': workload({ exposure: ServiceExposure.internalNetworkLoadBalancer() }),
  'load balancer with attributes': workload({
    exposure: ServiceExposure.internalNetworkLoadBalancer({
      drainTime: Duration.seconds(60), annotations: { 'example.com/team': 'orders' },
      loadBalancerAttributes: { 'load_balancing.cross_zone.enabled': 'true' }, targetGroupAttributes: { 'preserve_client_ip.enabled': 'false' },
    }),
  }),
};

/** With TLS, and the probes on a port that no client reaches. */
const certificate = (stack) => acm.Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678');
const API = { port: 3000, exposure: ServiceExposure.internalNetworkLoadBalancer({ plaintext: true }) };
const WITH_MANAGEMENT = workload({ ...API, managementPort: 8080, metricsAccess: [MetricsAccess.namespace('monitoring')] });
const WITH_TLS = workload((stack) => ({ ...API, managementPort: 8080, exposure: ServiceExposure.internalNetworkLoadBalancer({ certificate: certificate(stack) }) }));
const AT_ADDRESSES = { egressRules: [{ ports: [5432, 5433], cidrs: ['10.0.1.0/24', '10.0.2.0/24'] }], httpsCidrs: ['10.0.0.0/16'] };

/** Another class of the same load balancer, which Kubernetes does not let a Service change to. */
const otherClass = ServiceExposure.internalNetworkLoadBalancer({ loadBalancerClass: 'service.k8s.aws/nlb' });
export const OTHER_CLASS = workload({ exposure: otherClass });

/** The way out of that: another name in the same deployment. */
const OTHER_CLASS_AND_NAME = workload({ serviceName: 'orders', exposure: otherClass });

/** Pairs of templates that differ in one option, each tried in both directions. */
export const CHANGES = {
  'name of an API': [EXPOSURES['load balancer'], workload({ serviceName: 'orders', exposure: ServiceExposure.internalNetworkLoadBalancer() })],
  'class of the load balancer with the name': [EXPOSURES['load balancer'], OTHER_CLASS_AND_NAME],
  'name of a service inside the cluster': [
    workload({ exposure: ServiceExposure.clusterInternal(), scaling: Autoscaling.fixed(2) }),
    workload({ serviceName: 'orders', exposure: ServiceExposure.clusterInternal(), scaling: Autoscaling.fixed(2) }),
  ],
  'name of a consumer with KEDA': [SCALINGS.keda, { ...SCALINGS.keda, ...consumer((stack) => ({ serviceName: 'other', scaling: keda()(stack) })) }],
  'name of a consumer with its own security group': [
    consumer((stack) => ({ podSecurityGroup: securityGroup(stack) })), consumer((stack) => ({ serviceName: 'other', podSecurityGroup: securityGroup(stack) })),
  ],
  'name of a job': [job(), job({ serviceName: 'setup' })],
  'security group of the pods': [workload({}), workload((stack) => ({ podSecurityGroup: securityGroup(stack) }))],
  'security group of a job': [job(), job((stack) => ({ podSecurityGroup: securityGroup(stack) }))],
  'access to metrics': [workload({}), workload({ metricsAccess: [MetricsAccess.namespace('monitoring'), MetricsAccess.cidr('10.0.0.0/16')] })],
  'port': [EXPOSURES['inside the cluster'], workload({ port: 3000, exposure: ServiceExposure.clusterInternal() })],
  'image': [workload({}), workload({ image: WorkloadImage.fromRegistry('public.ecr.aws/example/orders:1.1.0') })],
  'image of a job': [job(), job({ image: WorkloadImage.fromRegistry('public.ecr.aws/example/orders:1.1.0') })],
  'environment': [workload({}), workload({ environment: { LEVEL: 'debug' } })],
  'probes': [workload({}), workload({ probes: WorkloadProbes.none() })],
  'open ports': [workload({}), workload({ egressPorts: [5432, 6379] })],
  'addresses of open ports': [workload({ egressPorts: [5432] }), workload(AT_ADDRESSES)],
  'management port': [workload(API), WITH_MANAGEMENT],
  'TLS at the load balancer': [WITH_MANAGEMENT, WITH_TLS],
  'size': [workload({}), workload({ cpu: 0.5, memory: Size.mebibytes(512) })],
  'architecture': [workload({}), workload(() => ({ image: arm64() }))],
  'node pool': [workload({}), workload({ nodePool: 'orders' })],
  'disk and user': [workload({}), workload({ ephemeralStorage: Size.gibibytes(2), userId: 20_000 })],
  'transformed objects': [EXPOSURES['inside the cluster'], workload({ exposure: ServiceExposure.clusterInternal() }, {}, withSidecar)],
};

/** A transform that adds what the library has no option for. */
function withSidecar(object) {
  if (object.kind !== 'Deployment') { return object; }
  const { template } = object.spec;
  const [main] = template.spec.containers;
  return {
    ...object,
    metadata: { ...object.metadata, annotations: { 'example.com/team': 'orders' } },
    spec: {
      ...object.spec,
      template: {
        metadata: { ...template.metadata, annotations: { 'example.com/scrape': 'true' } },
        spec: {
          ...template.spec,
          tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'orders', effect: 'NoSchedule' }],
          priorityClassName: 'system-cluster-critical',
          volumes: [...template.spec.volumes, { name: 'cache', emptyDir: {} }],
          containers: [{ ...main, volumeMounts: [...main.volumeMounts, { name: 'cache', mountPath: '/cache' }] }],
        },
      },
    },
  };
}

function workload(props, options, transform) { return { least: 2, most: 10, template: once(() => workloadOf(props, options, transform)) }; }
function consumer(target, options) { return { least: 2, most: 2, template: once(() => consumerOf(target, options)) }; }
function job(props, options) { return { template: once(() => jobOf(props, options)) }; }

function arm64() {
  const directory = join(tmpdir(), 'image');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'Dockerfile'), 'FROM scratch\n');
  return WorkloadImage.fromDirectory(directory, { platform: ecrAssets.Platform.LINUX_ARM64 });
}

/** A rollout that never ends: no node has that many processors. */
export const HANGING = {
  workload: [workload({ exposure: ServiceExposure.clusterInternal() }), workload({ exposure: ServiceExposure.clusterInternal(), cpu: 900 })],
  consumer: [SCALINGS.keda, consumer((stack) => ({ scaling: keda()(stack), cpu: 900 }))],
  job: [job(), job({ cpu: 900 })],
};

/** Programs that the library must refuse, as the cluster would refuse their objects or never make them ready. */
export const REFUSED = {
  'environment with an empty name': () => workloadOf({ environment: { '': 'x' } }),
  'environment with a name that has =': () => workloadOf({ environment: { 'A=B': 'x' } }),
  'environment of a job with a name that has =': () => jobOf({ environment: { 'A=B': 'x' } }),
  'PORT in the environment': () => workloadOf({ environment: { PORT: '9000' } }),
  'image with capitals': () => workloadOf({ image: WorkloadImage.fromRegistry('public.ecr.aws/Example/Orders:1.0.0') }),
  'service name with capitals': () => workloadOf({ serviceName: 'Api' }),
  'service name that is too long': () => workloadOf({ serviceName: 'a'.repeat(64) }),
};

/** The matrix: each of these is created, read back, applied again and deleted. */
export function matrix() {
  const load = ServiceExposure.internalNetworkLoadBalancer();
  const internal = ServiceExposure.clusterInternal();
  const byName = {};
  const add = (name, variant) => { byName[name] = variant; };
  for (const [name, exposure] of Object.entries({ 'not exposed': undefined, 'inside the cluster': internal, 'load balancer': load })) {
    for (const [kind, scaling, least, most] of [
      ['cpu', Autoscaling.cpu(), 2, 10], ['cpu 1 to 3 at 50 %', Autoscaling.cpu({ minReplicas: 1, maxReplicas: 3, targetCpuUtilizationPercent: 50 }), 1, 3],
      ['fixed(1)', Autoscaling.fixed(1), 1, 1], ['fixed(4)', Autoscaling.fixed(4), 4, 4], ['fixed(0)', Autoscaling.fixed(0), 0, 0],
    ]) {
      add(`workload, ${name}, ${kind}`, { ...workload({ exposure, scaling }), least, most });
    }
    add(`workload, ${name}, own security group`, workload((stack) => ({ exposure, podSecurityGroup: securityGroup(stack) })));
    add(`workload, ${name}, metrics`, workload({ exposure, metricsAccess: [MetricsAccess.namespace('monitoring')] }));
    add(`workload, ${name}, no probes`, workload({ exposure, probes: WorkloadProbes.none() }));
    add(`workload, ${name}, own paths of probes`, workload({ exposure, probes: WorkloadProbes.http({ livenessPath: '/alive', readinessPath: '/ready' }) }));
    add(`workload, ${name}, port 3000`, workload({ exposure, port: 3000 }));
  }
  for (const [name, { least, most, keda: isKeda, external, scaling }] of Object.entries(SCALINGS)) {
    add(`consumer, ${name}`, SCALINGS[name]);
    add(`consumer, ${name}, own security group, metrics`, {
      least, most, keda: isKeda, external,
      ...{ template: once(() => consumerOf((stack) => ({ scaling: scaling(stack), podSecurityGroup: securityGroup(stack), metricsAccess: [MetricsAccess.cidr('10.0.0.0/16')] }))) },
    });
  }
  add('consumer, long processing', consumer({ processingTime: Duration.minutes(10) }));
  add('consumer, behavior of KEDA', { ...SCALINGS.keda, ...consumer((stack) => ({
    scaling: keda({ behavior: { scaleDown: { policies: [{ type: 'Percent', value: 50, periodSeconds: 60 }] } }, fallback: { replicas: 4, failureThreshold: 5 } })(stack),
  })) });
  add('consumer, environment of tokens', consumer((stack) => ({ environment: { REGION: stack.region, NAME: cdk.Fn.importValue('name') } })));
  add('workload, arm64', workload(() => ({ image: arm64() })));
  add('workload, image of ECR', workload((stack) => ({ image: WorkloadImage.fromEcrRepository(ecr.Repository.fromRepositoryName(stack, 'Repository', 'orders'), '1.0.0') })));
  add('workload, image by digest', workload({ image: WorkloadImage.fromRegistry(`public.ecr.aws/example/orders@sha256:${'a'.repeat(64)}`) }));
  add('workload, one vCPU, 2 GiB', workload({ cpu: 1, memory: Size.gibibytes(2) }));
  add('workload, odd vCPU and memory', workload({ cpu: 1.5, memory: Size.mebibytes(1536) }));
  add('workload, many environment variables', workload({ environment: Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`VARIABLE_${index}`, `"${index}"`])) }));
  add('workload, values that look like other types', workload({ environment: { YES: 'yes', NULL: 'null', NUMBER: '007', QUOTED: '"x"', LINES: 'a\nb', EMPTY: '', UMLAUT: 'ä→' } }));
  add('workload, environment names with dots', workload({ environment: { 'spring.profile': 'x', '2ND': 'x' } }));
  add('workload, open ports', workload({ egressPorts: [5432, 6379, 9098] }));
  add('workload, TLS and management port', WITH_TLS);
  add('workload, addresses of open ports', workload({ ...AT_ADDRESSES, egressPorts: [6379] }));
  add('workload, long grace period', workload({ terminationGracePeriod: Duration.minutes(10) }));
  add('workload, long name', workload({ serviceName: 'a'.repeat(63), exposure: load }));
  add('workload, derived name', workload({ serviceName: undefined, exposure: internal }));
  add('workload, own role', workload((stack) => ({ role: iam.Role.fromRoleArn(stack, 'OwnRole', 'arn:aws:iam::111122223333:role/own') })));
  add('workload, security group of all pods', workload({}, { podSecurityGroup: undefined, loadBalancerClass: 'service.k8s.aws/nlb' }));
  add('workload, load balancer with attributes', EXPOSURES['load balancer with attributes']);
  add('workload, node pool', workload({ nodePool: 'orders' }));
  add('workload, labels of nodes', workload({ nodeSelector: { 'topology.kubernetes.io/zone': 'eu-west-1b' } }));
  add('workload, disk and user', workload({ ephemeralStorage: Size.gibibytes(4), userId: 20_000 }));
  add('workload, transformed', CHANGES['transformed objects'][1]);
  add('workload, image of a platform', workload({ image: WorkloadImage.fromRegistry(IMAGE, { platform: ecrAssets.Platform.LINUX_ARM64 }) }));
  add('job', job());
  add('job, no retries, one minute', job({ backoffLimit: 0, timeout: Duration.minutes(1) }));
  add('job, own security group', job((stack) => ({ podSecurityGroup: securityGroup(stack) })));
  add('job, arm64', job(() => ({ image: arm64() })));
  add('job, node pool and disk', job({ nodePool: 'orders', ephemeralStorage: Size.gibibytes(1) }));
  add('job, long name', job({ serviceName: 'm'.repeat(52) }));
  add('job, open ports and environment', job({ egressPorts: [5432], environment: { LEVEL: 'debug' }, memory: Size.mebibytes(512) }));
  return byName;
}

/** Calls `make` when it is needed first, and keeps the result. */
function once(make) {
  let made;
  return () => (made ??= make());
}
