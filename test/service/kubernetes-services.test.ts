import { join } from 'node:path';
import { App, CfnParameter, CfnResource, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as s3 from 'aws-cdk-lib/aws-s3';
import {
  ApiAuthorizer, Autoscaling, BufferedEventConsumer, ConsumerTarget, DatabaseSide, EventDrivenOrderPipeline, IServiceHost, KubernetesAccess,
  KubernetesServices, KubernetesWorkload, MetricsAccess, QueueScaling, ServiceBindOptions, ServiceExposure, ServiceHost, ServiceKind,
  WorkloadImage,
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
    bind(host(), { kind, port: 3000 });
    expect(replicas()).toEqual([min, max, 70]);
    expect(manifestsOf(template()).filter((manifest) => manifest.kind === 'Service').map(({ spec }) => spec.type)).toEqual(service ? [service] : []);
    expect(ingress()).toEqual(service ? [{ ports: [{ protocol: 'TCP', port: 3000 }] }] : undefined);
  });

  test('of the kind RELAY has two replicas, of which one works, and is reached by nobody', () => {
    bind(host(), { kind: ServiceKind.RELAY });
    expect(manifestOf(template(), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 2, maxReplicas: 2 });
    expect(manifestsOf(template()).map(({ kind }) => kind)).not.toContain('Service');
  });

  test.each([ServiceKind.API, ServiceKind.RELAY, ServiceKind.SERVICE])('of the kind %s can be scaled and exposed otherwise', (kind) => {
    bind(host({ scaling: Autoscaling.fixed(1), exposure: ServiceExposure.clusterInternal() }), { kind, port: 3000 });
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

    test('reaches HTTPS where all do, or at addresses of its own', () => {
      const https = [{}, { httpsCidrs: ['10.1.0.0/16'] }].map((own) => {
        stack = new Stack(new App(), 'Test');
        kubernetes = testKubernetes(stack, { namespace: 'orders' });
        make(services({ httpsCidrs: ['10.0.0.0/16'] }), ['node', 'a.js'], own);
        const rules: { to?: object[]; ports: { port: number }[] }[] = manifestOf(template(), 'NetworkPolicy').spec.egress;
        return rules.find(({ ports }) => ports.some(({ port }) => port === 443))!.to;
      });
      expect(https).toEqual([[{ ipBlock: { cidr: '10.0.0.0/16' } }], [{ ipBlock: { cidr: '10.1.0.0/16' } }]]);
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
  ['host-api', () => bind(ServiceHost.kubernetes(kubernetes, { image }), { kind: ServiceKind.API, port: 3000 })],
  ['host-relay', () => bind(ServiceHost.kubernetes(kubernetes, { image }), { kind: ServiceKind.RELAY })],
  ['host-service', () => bind(ServiceHost.kubernetes(kubernetes, { image }))],
  ['host-job', () => bind(ServiceHost.kubernetesJob(kubernetes, { image }), { kind: ServiceKind.MIGRATION })],
])('%s keeps its logical ids', (name, make) => {
  make();
  expectLogicalIds(stack, join(__dirname, 'logical-ids', `${name}.json`));
});

describe('an API on Kubernetes', () => {
  const api = (options: Partial<ServiceBindOptions> = {}, own = {}) => bind(
    ServiceHost.kubernetes(kubernetes, { image, serviceName: 'intake', ...own }), { kind: ServiceKind.API, port: 3000, ...options });
  const certificate = () => acm.Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678');
  const warnings = () => Annotations.fromStack(stack).findWarning('*', Match.anyValue()).map(({ entry }) => /ack: ([\w:-]+)/.exec(String(entry.data))?.[1]);
  const JWT = { API_AUTHORIZATION: 'jwt', API_JWT_ISSUER: 'https://login.example.com/', API_JWT_AUDIENCE: 'orders,shop' };
  const jwt = (options = {}) => ApiAuthorizer.jwt('https://login.example.com/', ['orders', 'shop'], options);

  test.each<[ApiAuthorizer, object]>([
    [jwt(), JWT],
    [jwt({ jwksUri: 'https://login.example.com/keys', customerClaim: 'customer' }),
      { ...JWT, API_JWKS_URL: 'https://login.example.com/keys', API_CUSTOMER_CLAIM: 'customer' }],
    [ApiAuthorizer.publicAccess(), { API_AUTHORIZATION: 'none' }],
  ])('gets who may call it: %#', (authorizer, expected) => {
    api({ authorizer });
    const variables = Object.entries(environmentOf(manifestOf(template(), 'Deployment'))).filter(([name]) => name.startsWith('API_'));
    expect(Object.fromEntries(variables)).toEqual(expected);
  });

  test('gets no word about callers without an authorizer, and its own word wins', () => {
    api();
    expect(environmentOf(manifestOf(template(), 'Deployment'))).not.toHaveProperty('API_AUTHORIZATION');
    stack = new Stack(new App(), 'Test');
    kubernetes = testKubernetes(stack, { namespace: 'orders' });
    api({ authorizer: jwt() }, { environment: { API_JWT_ISSUER: 'https://other.example.com' } });
    expect(environmentOf(manifestOf(template(), 'Deployment'))).toMatchObject({ ...JWT, API_JWT_ISSUER: 'https://other.example.com' });
  });

  test('can\'t check signatures of AWS', () => {
    expect(() => api({ authorizer: ApiAuthorizer.iam() })).toThrow('ApiAuthorizer.iam() of Service needs a host that checks the signatures of AWS');
    expect(ApiAuthorizer.iam().environment).toEqual({});
  });

  test('has TLS with the certificate of who binds it, unless the host chooses the exposure', () => {
    const service = api({ certificate: certificate() });
    expect(manifestOf(template(), 'Service').spec.ports[0].port).toBe(443);
    expect(stack.resolve(service.url)['Fn::Join'][1][0]).toBe('https://');
    expect(warnings()).not.toContain('cdk-order-pipeline:apiWithoutTls');
    stack = new Stack(new App(), 'Test');
    kubernetes = testKubernetes(stack, { namespace: 'orders' });
    api({ certificate: certificate() }, { exposure: ServiceExposure.internalNetworkLoadBalancer() });
    expect(warnings()).toContain('cdk-order-pipeline:apiWithoutTls');
  });

  test('has probes and metrics at a port that its clients don\'t reach', () => {
    api({}, { metricsAccess: [MetricsAccess.namespace('monitoring')] });
    expect(environmentOf(manifestOf(template(), 'Deployment'))).toMatchObject({ PORT: '3000', MANAGEMENT_PORT: '8080' });
    expect(ingress().map(({ from, ports }: any) => [from?.length, ports[0].port])).toEqual([[undefined, 3000], [1, 8080]]);
  });

  test.each([[{ port: 8080 }, 'port of Service is 8080, the default port of its probes and metrics'], [{ port: 8080, managementPort: 9000 }, undefined]])(
    'says which of two equal ports to change: %j', (own, message) => {
      if (message) expect(() => api({}, own)).toThrow(message);
      else expect(() => api({}, own)).not.toThrow();
    });
});

test.each([ServiceKind.RELAY, ServiceKind.SERVICE])('a service of the kind %s has one port for all', (kind) => {
  bind(ServiceHost.kubernetes(kubernetes, { image }), { kind });
  expect(environmentOf(manifestOf(template(), 'Deployment'))).not.toHaveProperty('MANAGEMENT_PORT');
  expect(containerOf(manifestOf(template(), 'Deployment')).ports).toHaveLength(1);
});

test.each<[string, () => void]>([
  ['service', () => bind(ServiceHost.kubernetes(kubernetes, { image, egressPorts: [6379] }), known)],
  ['job', () => bind(ServiceHost.kubernetesJob(kubernetes, { image, egressPorts: [6379] }), { ...known, kind: ServiceKind.MIGRATION })],
])('a %s reaches the ports whose addresses are known there only', (_, make) => {
  make();
  const rules: { to?: { ipBlock: { cidr: string } }[]; ports: { port: number }[] }[] = manifestOf(template(), 'NetworkPolicy').spec.egress;
  const open = rules.filter(({ ports }) => ports.some(({ port }) => port > 443))
    .map(({ to, ports }) => [to?.map(({ ipBlock }) => ipBlock.cidr), ports.map(({ port }) => port)]);
  expect(open).toEqual([[undefined, [443, 9094, 6379]], [['10.0.2.0/24'], [5432]]]);
});
const known = { egressPorts: [5432, 9094], egressRules: [{ ports: [5432], cidrs: ['10.0.2.0/24'] }] };

test('a workload with the database of a pipeline reaches it at its addresses, and nobody else reaches its port', () => {
  const vpc = new ec2.Vpc(stack, 'Vpc', { maxAzs: 2 });
  const services = ServiceHost.kubernetesServices(kubernetes, image);
  const program = ['node', 'x.js'];
  const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
    vpc,
    migration: services.job(program, { serviceName: 'migration' }),
    commandApi: services.run(program, { serviceName: 'command' }),
    outboxRelay: services.run(program, { serviceName: 'relay' }),
  });
  const events = ['order.created'];
  const scaling = QueueScaling.fixed(1);
  pipeline.addConsumer('Stock', { events, database: DatabaseSide.COMMAND, target: services.consume(program, { serviceName: 'stock', scaling }) });
  pipeline.addConsumer('Mail', { events, target: services.consume(program, { serviceName: 'mail', scaling }) });

  const cidrs = vpc.privateSubnets.map(({ ipv4CidrBlock }) => ipv4CidrBlock);
  const reached = manifestsOf(template()).filter(({ kind }) => kind === 'NetworkPolicy').map(({ metadata, spec }) => {
    const rules = spec.egress.filter(({ ports }: any) => ports.some(({ port }: any) => port === 5433));
    return [metadata.name, rules.flatMap(({ to }: any) => to?.map(({ ipBlock }: any) => ipBlock.cidr) ?? ['anywhere'])];
  });
  expect(Object.fromEntries(reached)).toEqual({ migration: cidrs, command: cidrs, relay: cidrs, stock: cidrs, mail: [] });
});

describe('the keys of an issuer', () => {
  const api = { kind: ServiceKind.API, port: 3000 };
  const host = (options = {}) => ServiceHost.kubernetes(kubernetes, { image, exposure: ServiceExposure.clusterInternal(), ...options });
  const warned = () => Annotations.fromStack(stack).findWarning('/Test/Service', Match.stringLikeRegexp('cdk-order-pipeline:issuerBehindHttpsCidrs')).length;
  const token = () => new CfnParameter(stack, 'Host').valueAsString;

  test.each<[string, number[], () => ApiAuthorizer]>([
    ['of an issuer with a port', [8443], () => ApiAuthorizer.jwt('https://login.example.com:8443/realms/shop', ['orders'])],
    ['of an issuer with the port of HTTPS', [], () => ApiAuthorizer.jwt('https://login.example.com:443', ['orders'])],
    ['of an issuer without a port', [], () => ApiAuthorizer.jwt('https://login.example.com/a:9/', ['orders'])],
    ['with an address of their own', [9443], () => ApiAuthorizer.jwt('https://login.example.com:8443', ['orders'], { jwksUri: 'https://keys.example.com:9443?a' })],
    ['with an address of their own, without a port', [], () => ApiAuthorizer.jwt('https://a.example.com:8443', ['orders'], { jwksUri: 'https://b.example.com' })],
    ['of a host that only the deployment knows', [8443], () => ApiAuthorizer.jwt(`https://${token()}:8443/`, ['orders'])],
    ['of an address that only the deployment knows', [], () => ApiAuthorizer.jwt(token(), ['orders'])],
    ['that nobody reads', [], () => ApiAuthorizer.publicAccess()],
  ])('%s are reached at %j', (_, ports, authorizer) => {
    bind(host(), { ...api, authorizer: authorizer() });
    expect(portsOf()).toEqual([443, ...ports]);
  });

  test('are at a port that is open to any address, although the database has the same at its own', () => {
    const authorizer = ApiAuthorizer.jwt('https://login.example.com:5432', ['orders']);
    bind(host(), { ...api, ...known, authorizer });
    expect(portsOf()).toEqual([443, 9094, 5432]);
  });

  const limited = ['10.0.0.0/16'];

  test.each<[number, string[] | undefined, () => ApiAuthorizer | undefined]>([
    [1, limited, () => ApiAuthorizer.jwt('https://login.example.com', ['orders'])],
    [1, limited, () => ApiAuthorizer.jwt(token(), ['orders'])],
    [0, limited, () => ApiAuthorizer.jwt('https://login.example.com:8443', ['orders'])],
    [0, undefined, () => ApiAuthorizer.jwt('https://login.example.com', ['orders'])],
    [0, limited, () => ApiAuthorizer.publicAccess()],
    [0, limited, () => undefined],
  ])('have to be in httpsCidrs if they are reached there, which %d warnings say', (warnings, httpsCidrs, authorizer) => {
    bind(host({ httpsCidrs }), { ...api, authorizer: authorizer() });
    expect(warned()).toBe(warnings);
  });
});

test.each<[() => ApiAuthorizer, string]>([
  [() => ApiAuthorizer.jwt('http://login.example.com', ['orders']), 'issuer of ApiAuthorizer.jwt() must be an address with https, such as '
    + "https://login.example.com, got 'http://login.example.com'"],
  [() => ApiAuthorizer.jwt('https://login.example.com', ['orders'], { jwksUri: 'keys' }), 'jwksUri of ApiAuthorizer.jwt() must be an address with https'],
  [() => ApiAuthorizer.jwt('https://login.example.com', []), 'audience of ApiAuthorizer.jwt() must have at least one element'],
  [() => ApiAuthorizer.jwt('https://login.example.com', ['a,b']), 'and each must have a character and no comma, got ["a,b"]'],
  [() => ApiAuthorizer.jwt('https://login.example.com', ['a'], { customerClaim: '' }), 'customerClaim of ApiAuthorizer.jwt() is empty'],
])('an authorizer refuses what no token can have: %#', (make, message) => {
  expect(make).toThrow(message);
});

test('an authorizer takes what only the deployment knows', () => {
  const list = new CfnParameter(stack, 'Audience', { type: 'CommaDelimitedList' }).valueAsList;
  const { environment } = ApiAuthorizer.jwt(new CfnParameter(stack, 'Issuer').valueAsString, list);
  expect(stack.resolve(environment)).toEqual({
    API_AUTHORIZATION: 'jwt', API_JWT_ISSUER: { Ref: 'Issuer' }, API_JWT_AUDIENCE: { 'Fn::Join': [',', { Ref: 'Audience' }] },
  });
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
