import { readFileSync } from 'fs';
import { join } from 'path';
import { App, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import {
  ApiAuthorizer, CqrsAuroraCluster, DatabaseSide, EventDrivenOrderPipeline, QueueScaling, ServiceExposure, ServiceHost, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

const page = readFileSync(join(__dirname, '../../docs/container.md'), 'utf8');
const section = (heading: string) => page.split(/^## /m).find((text) => text.startsWith(heading))!;
/** Rows of the tables of a section, as lists of cells. */
const rows = (heading: string) => [...section(heading).matchAll(/^\| (.*) \|$/gm)].map(([, cells]) => cells!.split(' | '));

const stack = new Stack(new App(), 'Shop');
const kubernetes = testKubernetes(stack);
const services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromRegistry('public.ecr.aws/acme/shop:1.4.0'));
const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
const database = new CqrsAuroraCluster(stack, 'Database', { vpc });
const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
  database,
  authorizer: ApiAuthorizer.jwt('https://login.example.com/', ['orders'], { jwksUri: 'https://login.example.com/keys', customerClaim: 'customer' }),
  migration: services.job(['migration']),
  commandApi: services.run(['command']),
  queryApi: services.run(['query']),
  outboxRelay: services.run(['relay']),
});
const scaling = QueueScaling.fixed(1);
pipeline.addService('Internal', services.run(['internal'], { exposure: ServiceExposure.clusterInternal() }));
pipeline.addConsumer('Writes', { events: ['order.created'], database: DatabaseSide.COMMAND, target: services.consume(['writes'], { scaling }) });
pipeline.addConsumer('Reads', { events: ['order.created'], database: DatabaseSide.QUERY, target: services.consume(['reads'], { scaling }) });
pipeline.addConsumer('Alone', { events: ['order.created'], target: services.consume(['alone'], { scaling }) });

const pods: { [program: string]: any } = {};
for (const { kind, spec } of stack.resolve(kubernetes.manifests)) {
  if (kind === 'Deployment' || kind === 'Job') { pods[spec.template.spec.containers[0].command[0]] = spec.template.spec; }
}
const container = (program: string) => pods[program].containers[0];
const variables = (program: string): string[] => container(program).env.map(({ name }: { name: string }) => name);

test('the variables are those that programs get, and each says who gets it', () => {
  const named = (heading: string) => rows(heading).filter(([name]) => /^`[A-Z_]+`$/.test(name!))
    .map(([name, , who = 'APIs']) => [name!.replaceAll('`', ''), who] as const);
  // Those of APIs have a section of their own. Logins of workloads are an option.
  const documented = [...named('Environment'), ...named('Authorization of an API')].filter(([name]) => name !== 'DB_LOGINS');
  const all = Object.keys(pods);
  const withDatabase = all.filter((program) => !['alone', 'internal'].includes(program));
  const groups: { [who: string]: string[] } = {
    'all': all,
    'APIs': ['command', 'query'],
    'all but the migration': all.filter((program) => program !== 'migration'),
    'services': all.filter((program) => !['migration', 'writes', 'reads', 'alone'].includes(program)),
    'consumers': ['writes', 'reads', 'alone'],
    'users of the database': withDatabase,
    'the migration': ['migration'],
    'the relay': ['relay'],
    'the relay, services with `publishes`, consumers': ['relay', 'writes', 'reads', 'alone'],
  };
  for (const [name, who] of documented) {
    const programs = all.filter((program) => variables(program).includes(name));
    expect([name, programs.sort()]).toEqual([name, [...groups[who.split('.')[0]!]!].sort()]);
  }
  expect(new Set(all.flatMap(variables))).toEqual(new Set(documented.map(([name]) => name)));
});

test('each side has the secret that the page says', () => {
  const secret = (program: string) => JSON.stringify(container(program).env.find(({ name }: { name: string }) => name === 'DB_SECRET_ARN').value);
  const of = (arn: string) => JSON.stringify(stack.resolve(arn));
  expect(['command', 'relay', 'writes'].map(secret)).toEqual(Array(3).fill(of(database.commandLogin.secret!.secretArn)));
  expect(['query', 'reads'].map(secret)).toEqual(Array(2).fill(of(database.queryLogin.secret!.secretArn)));
  expect(secret('migration')).toBe(of(database.adminSecret!.secretArn));
});

test('the ports, probes and times are those of the manifests', () => {
  const port = (program: string, variable = 'PORT') => container(program).env.find(({ name }: { name: string }) => name === variable).value;
  expect(rows('Environment').find(([name]) => name === '`MANAGEMENT_PORT`')![1]).toContain(`: ${port('command', 'MANAGEMENT_PORT')}`);
  expect(section('Environment')).toContain(`${port('command')} for the command API, ${port('query')} for the query API, ${port('alone')} for others`);
  for (const probe of ['startup', 'liveness', 'readiness']) {
    const { httpGet, periodSeconds, failureThreshold, timeoutSeconds } = container('command')[`${probe}Probe`];
    expect(rows('Port and probes')).toContainEqual([
      probe, `\`${httpGet.path}\``, `${periodSeconds} s`, `${failureThreshold} failures: ${periodSeconds * failureThreshold} s`, `${timeoutSeconds} s`,
    ]);
  }
  const stop = (program: string) => {
    const sleep = container(program).lifecycle?.preStop.sleep.seconds ?? 0;
    const grace = pods[program].terminationGracePeriodSeconds;
    return [sleep, grace, grace - sleep];
  };
  const documented = rows('Signals').slice(1).map(([, ...cells]) => cells.map((cell) => Number(/(\d+) s$/.exec(cell)![1])));
  expect(documented).toEqual(['command', 'internal', 'relay', 'writes'].map(stop));
});

test('user, memory and the size of /tmp are those of the manifests', () => {
  const limits = section('File system');
  const { securityContext, containers: [{ resources }], volumes } = pods.command;
  expect(limits).toContain(`${securityContext.runAsUser}:${securityContext.runAsGroup}`);
  expect(limits).toContain(`${resources.limits.memory.replace('Mi', ' MiB')} (\`memory\`)`);
  expect(limits).toContain(`${Number.parseInt(resources.requests.cpu) / 1000} vCPU`);
  expect(limits).toContain(`only to \`/tmp\`: ${volumes[0].emptyDir.sizeLimit.replace('Mi', ' MiB')}`);
});
