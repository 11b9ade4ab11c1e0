import { join } from 'node:path';
import { App, CfnResource, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as s3 from 'aws-cdk-lib/aws-s3';
import {
  ApiAuthorizer, Autoscaling, BufferedEventConsumer, ConsumerTarget, IServiceHost, KubernetesAccess, KubernetesServices,
  KubernetesWorkload, MetricsAccess, QueueScaling, ServiceBindOptions, ServiceExposure, ServiceHost, ServiceKind, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { Manifest, manifestOf, manifestsOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let stack: Stack;
let kubernetes: KubernetesAccess;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
  kubernetes = testKubernetes(stack, { namespace: 'orders' });
});

function bind(host: IServiceHost, options: Partial<ServiceBindOptions> = {}, id = 'Service') {
  return host.bindService(stack, id, { kind: ServiceKind.SERVICE, environment: {}, ...options });
}

const template = () => Template.fromStack(stack);
const containerOf = ({ spec }: Manifest) => spec.template.spec.containers[0];
function environmentOf(manifest: Manifest): { [name: string]: string } {
  const variables: { name: string; value: string }[] = containerOf(manifest).env;
  return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
}
const portsOf = (name?: string) => manifestOf(template(), 'NetworkPolicy', name).spec.egress[1].ports.map(({ port }: { port: number }) => port);
const ingress = () => manifestOf(template(), 'NetworkPolicy').spec.ingress;
const replicas = () => {
  const { spec } = manifestOf(template(), 'HorizontalPodAutoscaler');
  return [spec.minReplicas, spec.maxReplicas, spec.metrics[0].resource.target.averageUtilization];
};

describe('a service on Kubernetes', () => {
  const host = (options = {}) => ServiceHost.kubernetes(kubernetes, { image, command: ['node', 'service.js'], ...options });

  test.each<[ServiceKind, number, number, string | undefined]>([
    [ServiceKind.API, 2, 10, 'LoadBalancer'],
    [ServiceKind.SERVICE, 2, 10, undefined],
  ])('of the kind %s has %d to %d replicas by CPU, and is reached by %s', (kind, min, max, service) => {
    bind(host(), { kind });
    expect(replicas()).toEqual([min, max, 70]);
    expect(manifestsOf(template()).filter((manifest) => manifest.kind === 'Service').map(({ spec }) => spec.type)).toEqual(service ? [service] : []);
    expect(ingress()).toEqual(service ? [{ ports: [{ protocol: 'TCP', port: 8080 }] }] : undefined);
  });

  test('of the kind RELAY has two replicas, of which one works, and is reached by nobody', () => {
    bind(host(), { kind: ServiceKind.RELAY });
    expect(manifestOf(template(), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 2, maxReplicas: 2 });
    expect(manifestsOf(template()).map(({ kind }) => kind)).not.toContain('Service');
  });

  test.each([ServiceKind.API, ServiceKind.RELAY, ServiceKind.SERVICE])('of the kind %s can be scaled and exposed otherwise', (kind) => {
    bind(host({ scaling: Autoscaling.fixed(1), exposure: ServiceExposure.clusterInternal() }), { kind });
    expect(manifestOf(template(), 'HorizontalPodAutoscaler').spec.maxReplicas).toBe(1);
    expect(manifestOf(template(), 'Service').spec.type).toBe('ClusterIP');
  });

  test('is no migration, which runs to its end', () => {
    expect(() => bind(host(), { kind: ServiceKind.MIGRATION })).toThrow('migration runs to its end, but a Deployment runs all the time: use '
      + "ServiceHost.kubernetesJob(), or job() of the services of one image (in 'Test')");
  });

  test('has the environment of who binds it, with its own on top', () => {
    bind(host({ environment: { EVENT_SOURCE: 'own', LOG_LEVEL: 'debug' } }), { environment: { DB_NAME: 'orders', EVENT_SOURCE: 'com.example.orders' } });
    expect(environmentOf(manifestOf(template(), 'Deployment'))).toMatchObject({ DB_NAME: 'orders', EVENT_SOURCE: 'own', LOG_LEVEL: 'debug' });
    expect(containerOf(manifestOf(template(), 'Deployment'))).toMatchObject({ command: ['node', 'service.js'], image: 'public.ecr.aws/team/orders:1.0.0' });
  });

  test('reaches the ports of who binds it, and its own', () => {
    bind(host({ egressPorts: [6379] }), { egressPorts: [5433, 5434] });
    expect(portsOf()).toEqual([443, 5433, 5434, 6379]);
  });

  test.each([
    ['of who binds it', {}, 3000],
    ['of its own', { port: 8000 }, 8000],
  ])('listens on the port %s', (_, options, port) => {
    bind(host(options), { port: 3000 });
    expect(environmentOf(manifestOf(template(), 'Deployment')).PORT).toBe(String(port));
  });

  test('comes after its dependencies', () => {
    bind(host(), { dependencies: ['First', 'Second'].map((id) => new CfnResource(stack, id, { type: 'AWS::CloudFormation::WaitConditionHandle' })) });
    const [manifest] = Object.values(template().findResources('Custom::AWSCDK-EKS-KubernetesResource'));
    expect(manifest!.DependsOn).toEqual(expect.arrayContaining(['First', 'Second']));
  });

  test('can be granted, connected and found', () => {
    const service = bind(host({ serviceName: 'intake', exposure: ServiceExposure.clusterInternal() }));
    new s3.Bucket(stack, 'Bucket').grantRead(service);
    expect(JSON.stringify(template().findResources('AWS::IAM::Policy'))).toContain('s3:GetObject');
    expect(service.connections.securityGroups.map(({ securityGroupId }) => securityGroupId)).toEqual(['sg-cluster']);
    expect(service.url).toBe('http://intake.orders.svc.cluster.local:8080');
    expect(service).toBeInstanceOf(KubernetesWorkload);
  });
});

describe('a job on Kubernetes', () => {
  const host = (options = {}) => ServiceHost.kubernetesJob(kubernetes, { image, command: ['node', 'migrate.js'], ...options });
  const migration = { kind: ServiceKind.MIGRATION };

  test('is a migration, with the environment and the ports of who binds it', () => {
    const first = new CfnResource(stack, 'First', { type: 'AWS::CloudFormation::WaitConditionHandle' });
    const job = bind(host({ environment: { SEED: 'data.json', DB_NAME: 'own' }, egressPorts: [6379], backoffLimit: 2, timeout: Duration.minutes(5) }), {
      ...migration, environment: { DB_NAME: 'orders', DB_PORT: '5433' }, egressPorts: [5433], dependencies: [first],
    });
    const manifest = manifestOf(template(), 'Job');
    expect(environmentOf(manifest)).toMatchObject({ SEED: 'data.json', DB_NAME: 'own', DB_PORT: '5433' });
    expect(containerOf(manifest).command).toEqual(['node', 'migrate.js']);
    expect(manifest.spec).toMatchObject({ backoffLimit: 2, activeDeadlineSeconds: 300 });
    expect(portsOf()).toEqual([443, 5433, 6379]);
    const [applied] = Object.values(template().findResources('Custom::AWSCDK-EKS-KubernetesResource'));
    expect(applied!.DependsOn).toContain('First');
    expect(job.url).toBeUndefined();
  });

  test('is a migration that doesn\'t try again with a database that is unfit, unless other exit codes are given', () => {
    const exitCodes = () => manifestsOf(template()).filter(({ kind }) => kind === 'Job').map(({ spec }) => spec.podFailurePolicy?.rules[0].onExitCodes.values);
    bind(host(), migration, 'Default');
    bind(host({ failFastExitCodes: [] }), migration, 'None');
    bind(host({ failFastExitCodes: [3] }), migration, 'Own');
    expect(exitCodes()).toEqual([[65], undefined, [3]]);
  });

  test.each([ServiceKind.API, ServiceKind.RELAY, ServiceKind.SERVICE])('is no service that runs all the time: %s', (kind) => {
    expect(() => bind(host(), { kind }, 'Intake')).toThrow('Intake runs all the time, but a Job runs to its end: use ServiceHost.kubernetes(), or run() of '
      + "the services of one image (in 'Test')");
  });
});

describe('the services of one image', () => {
  const services = (options = {}) => ServiceHost.kubernetesServices(kubernetes, image, options);
  const consumer = (target: ReturnType<KubernetesServices['consume']>) => new BufferedEventConsumer(stack, 'Consumer', {
    eventPattern: { detailType: ['OrderCreated'] }, target,
  });

  /** The Deployment or Job that each way to use the image makes. */
  const WAYS: [string, (of: KubernetesServices, command: string[], options?: object) => Manifest][] = [
    ['run', (of, command, options) => { bind(of.run(command, options)); return manifestOf(template(), 'Deployment'); }],
    ['job', (of, command, options) => { bind(of.job(command, options), { kind: ServiceKind.MIGRATION }); return manifestOf(template(), 'Job'); }],
    ['consume', (of, command, options) => {
      consumer(of.consume(command, { scaling: QueueScaling.fixed(1), ...options }));
      return manifestOf(template(), 'Deployment');
    }],
  ];

  describe.each(WAYS)('%s', (_, make) => {
    test('has image, command and environment of all, with its own on top', () => {
      const manifest = make(services({ environment: { LOG_LEVEL: 'info', STAGE: 'test' } }), ['node', 'a.js'], { environment: { LOG_LEVEL: 'debug' } });
      expect(containerOf(manifest)).toMatchObject({ image: 'public.ecr.aws/team/orders:1.0.0', command: ['node', 'a.js'] });
      expect(environmentOf(manifest)).toMatchObject({ LOG_LEVEL: 'debug', STAGE: 'test' });
      expect(manifest.metadata.namespace).toBe('orders');
    });

    test('refuses a second command', () => {
      expect(() => make(services(), ['node', 'a.js'], { command: ['node', 'b.js'] }))
        .toThrow('command is given twice, as ["node","a.js"] and in the options: leave it out of the options');
    });
  });

  const monitoring = { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }], ports: [{ protocol: 'TCP', port: 8080 }] };
  const prometheus = { from: [{ ipBlock: { cidr: '10.0.0.0/16' } }], ports: [{ protocol: 'TCP', port: 8080 }] };
  test.each<[string, object, object, object[] | undefined]>([
    ['from nowhere', {}, {}, undefined],
    ['from where all are', { metricsAccess: [MetricsAccess.namespace('monitoring')] }, {}, [monitoring]],
    ['from where all are, also if an option is there without a value', { metricsAccess: [MetricsAccess.namespace('monitoring')] }, { metricsAccess: undefined }, [monitoring]],
    ['from where it says itself', { metricsAccess: [MetricsAccess.namespace('monitoring')] }, { metricsAccess: [MetricsAccess.cidr('10.0.0.0/16')] }, [prometheus]],
    ['from nowhere, if it says so itself', { metricsAccess: [MetricsAccess.namespace('monitoring')] }, { metricsAccess: [] }, undefined],
  ])('are asked for metrics %s', (_, shared, own, expected) => {
    for (const make of [WAYS[0]![1], WAYS[2]![1]]) {
      stack = new Stack(new App(), 'Test');
      kubernetes = testKubernetes(stack, { namespace: 'orders' });
      make(services(shared), ['node', 'a.js'], own);
      expect(ingress()).toEqual(expected);
    }
  });

  test('have the cluster and the image as properties', () => {
    const all = services();
    expect([all.kubernetes, all.image]).toEqual([kubernetes, image]);
  });

  test('can be used for many services, each with a name of its own', () => {
    const all = services();
    bind(all.run(['node', 'a.js']), {}, 'First');
    bind(all.run(['node', 'b.js']), {}, 'Second');
    expect(manifestsOf(template()).filter(({ kind }) => kind === 'Deployment').map((manifest) => containerOf(manifest).command[1])).toEqual(['a.js', 'b.js']);
  });
});

test.each<[string, () => void]>([
  ['host-api', () => bind(ServiceHost.kubernetes(kubernetes, { image }), { kind: ServiceKind.API })],
  ['host-relay', () => bind(ServiceHost.kubernetes(kubernetes, { image }), { kind: ServiceKind.RELAY })],
  ['host-service', () => bind(ServiceHost.kubernetes(kubernetes, { image }))],
  ['host-job', () => bind(ServiceHost.kubernetesJob(kubernetes, { image }), { kind: ServiceKind.MIGRATION })],
])('%s keeps its logical ids', (name, make) => {
  make();
  expectLogicalIds(stack, join(__dirname, 'logical-ids', `${name}.json`));
});

test('an authorizer says who may call, and has no default', () => {
  const fieldsOf = ({ _kind, issuer, audience }: ApiAuthorizer) => ({ _kind, issuer, audience });
  expect(fieldsOf(ApiAuthorizer.iam())).toEqual({ _kind: 'IAM' });
  expect(fieldsOf(ApiAuthorizer.publicAccess())).toEqual({ _kind: 'NONE' });
  expect(fieldsOf(ApiAuthorizer.jwt('https://issuer.example', ['orders']))).toEqual({
    _kind: 'JWT', issuer: 'https://issuer.example', audience: ['orders'],
  });
});

test('a target of the services of one image is one of ConsumerTarget', () => {
  const [own, other] = [ServiceHost.kubernetesServices(kubernetes, image).consume(['node', 'a.js']), ConsumerTarget.kubernetes(kubernetes, { image })];
  expect(own.constructor).toBe(other.constructor);
  expect(own.processingTime!.toSeconds()).toBe(30);
});
