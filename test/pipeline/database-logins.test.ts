import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import {
  CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, DatabaseAccess, DatabaseLogin, DatabaseLogins, DatabaseSide,
  EventDrivenOrderPipeline, EventDrivenOrderPipelineProps, EventSigning, ICqrsDatabase, IHostedService, IServiceHost, KubernetesServices,
  QueueScaling, ServiceBindOptions, ServiceHost, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { externalTarget, roleOf } from '../consumer/targets';
import { existingDatabase } from '../database';
import { evaluate } from '../evaluate';
import { manifestOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';

const env = { account: '111122223333', region: 'eu-west-1' };
let stack: Stack;
let services: KubernetesServices;
beforeEach(() => {
  stack = new Stack(new App(), 'Shop', { env });
  services = ServiceHost.kubernetesServices(testKubernetes(stack), WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0'));
});

/** A host with or without a name. */
class Host implements IServiceHost {
  public bound?: ServiceBindOptions;

  constructor(public readonly serviceName?: string) {
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions): IHostedService {
    this.bound = options;
    const service = new Construct(scope, id);
    return Object.assign(service, { grantPrincipal: roleOf(service), connections: new ec2.Connections() });
  }
}

function clusterOf(props: Partial<CqrsAuroraClusterProps> = {}, scope: Construct = stack): CqrsAuroraCluster {
  const vpc = ec2.Vpc.fromVpcAttributes(scope, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
  return new CqrsAuroraCluster(scope, 'Database', { vpc, ...props });
}

function pipelineOf(database: ICqrsDatabase, props: EventDrivenOrderPipelineProps = {}): EventDrivenOrderPipeline {
  return new EventDrivenOrderPipeline(stack, 'Pipeline', {
    database, databaseLogins: DatabaseLogins.perWorkload(), eventSigning: EventSigning.none(), ...props,
  });
}

/** A pipeline whose workloads have their names in each of the possible ways. */
function wholePipeline(database: ICqrsDatabase) {
  const [write, relay, migration, read, timers] = [new Host('api-write-service'), new Host('outbox-relay'), new Host(), new Host(), new Host()];
  const pipeline = pipelineOf(database, { migration, commandApi: write, queryApi: read, outboxRelay: relay });
  pipeline.addService('OrderTimers', timers, { database: DatabaseSide.COMMAND });
  pipeline.addConsumer('Inventory', {
    events: ['order.created'],
    database: DatabaseSide.COMMAND,
    workload: 'inventory-service',
    target: externalTarget(roleOf(stack, 'Inventory')),
  });
  pipeline.addConsumer('Mail', { events: ['order.created'], target: externalTarget(roleOf(stack, 'Mail')) });
  return { pipeline, hosts: { migration, write, timers } };
}

const WORKLOADS = ['api-write-service', 'inventory-service', 'order-timers', 'outbox-relay', 'query-api'];

function loginsOf({ migration }: { migration: Host }): any[] {
  return JSON.parse(evaluate(stack.resolve(migration.bound!.environment.DB_LOGINS)) as string);
}

/** What each role may do with secrets and logins, by the names of the secrets. */
function accessOf(): { [role: string]: string[] } {
  const template = Template.fromStack(stack);
  const names = new Map(Object.entries(template.findResources('AWS::SecretsManager::Secret')).map(([id, { Properties }]) => (
    [`\${${id}}`, JSON.parse(Properties.GenerateSecretString.SecretStringTemplate).username as string])));
  const access: { [role: string]: string[] } = {};
  for (const { Properties } of Object.values(template.findResources('AWS::IAM::Policy'))) {
    const role = Properties.Roles[0].Ref.replace(/[0-9A-F]{8}$/, '');
    const statements = evaluate(Properties.PolicyDocument.Statement) as { Action: string; Resource: string }[];
    const logins = statements.filter(({ Action }) => /^(secretsmanager|rds-db):/.test(Action));
    access[role] = [...access[role] ?? [], ...logins.map(({ Action, Resource }) => (
      `${Action} ${names.get(Resource) ?? Resource.replace(/.*(MasterUserSecret|\/)/, '').replace(/\}$/, '')}`))];
  }
  return access;
}

describe('each workload has a login', () => {
  test('with a secret of its own, which only it and the migration may read', () => {
    const { hosts } = wholePipeline(clusterOf());
    const read = (...names: string[]) => names.map((name) => `secretsmanager:GetSecretValue ${name}`);
    expect(accessOf()).toMatchObject({
      PipelineCommandApiRole: read('orders_api_write_service'),
      PipelineQueryApiRole: read('orders_query_api'),
      PipelineOutboxRelayRole: read('orders_outbox_relay'),
      PipelineServicesOrderTimersRole: read('orders_order_timers'),
      Inventory: read('orders_inventory_service'),
      Mail: [],
      PipelineMigrationRole: read(
        '.SecretArn', 'orders_command', 'orders_query', 'orders_api_write_service', 'orders_query_api', 'orders_outbox_relay',
        'orders_order_timers', 'orders_inventory_service'),
    });
    expect(loginsOf(hosts)).toEqual(WORKLOADS.map((workload) => ({
      workload, secretArn: expect.stringMatching(new RegExp(`^\\$\\{PipelineLogins${workload.replaceAll('-', '')}`)),
    })));
    // The logins of the sides stay, for accesses of one's own.
    const secretArn = expect.anything();
    expect(hosts.migration.bound!.environment).toMatchObject({ DB_COMMAND_SECRET_ARN: secretArn, DB_QUERY_SECRET_ARN: secretArn });
    expect(evaluate(stack.resolve(hosts.write.bound!.environment))).toMatchObject({
      DB_SECRET_ARN: expect.stringMatching(/^\$\{PipelineLoginsapiwriteservice/), DB_NAME: 'orders', DB_PORT: '5433',
    });
  });

  test('which the migration gets as text, in the manifest of its Job as well', () => {
    const database = clusterOf();
    const pipeline = pipelineOf(database, { migration: services.job(['node', 'migrate.js'], { serviceName: 'migration' }) });
    const target = services.consume(['node', 'stock.js'], { serviceName: 'stock-service', scaling: QueueScaling.fixed(1) });
    pipeline.addConsumer('Stock', { events: ['order.created'], database: DatabaseSide.QUERY, target });
    pipeline.addService('Timers', services.run(['node', 'timers.js'], { serviceName: 'timers' }), { database: DatabaseSide.COMMAND });
    const [container] = manifestOf(Template.fromStack(stack), 'Job', /^migration-/).spec.template.spec.containers;
    expect(JSON.parse(container.env.find(({ name }: { name: string }) => name === 'DB_LOGINS').value)).toEqual([
      { workload: 'stock-service', secretArn: expect.stringMatching(/^\$\{PipelineLoginsstockservice/) },
      { workload: 'timers', secretArn: expect.stringMatching(/^\$\{PipelineLoginstimers/) },
    ]);
  });

  test('with tokens, each for exactly one role of the database', () => {
    const { hosts } = wholePipeline(clusterOf({ credentials: CqrsCredentials.iam() }));
    expect(accessOf()).toMatchObject({
      PipelineCommandApiRole: ['rds-db:connect orders_api_write_service'],
      PipelineServicesOrderTimersRole: ['rds-db:connect orders_order_timers'],
      Inventory: ['rds-db:connect orders_inventory_service'],
      PipelineMigrationRole: ['secretsmanager:GetSecretValue .SecretArn'],
    });
    expect(loginsOf(hosts)).toEqual(WORKLOADS.map((workload) => ({ workload, user: `orders_${workload.replaceAll('-', '_')}` })));
    expect(hosts.timers.bound!.environment).toMatchObject({ DB_AUTHENTICATION: 'iam', DB_USER: 'orders_order_timers' });
    Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::Secret', 0);
  });

  test('whose password is rotated like those of the sides', () => {
    const { pipeline } = wholePipeline(clusterOf({ credentials: CqrsCredentials.rotatedPasswords() }));
    const template = Template.fromStack(stack);
    const schedules = Object.values(template.findResources('AWS::SecretsManager::RotationSchedule'));
    const ids = Object.keys(template.findResources('AWS::SecretsManager::Secret'));
    expect(schedules.map(({ Properties }) => Properties.SecretId.Ref).sort()).toEqual(ids.sort());
    expect(ids).toHaveLength(WORKLOADS.length + 2);
    const { securityGroupId } = (pipeline.database as CqrsAuroraCluster).rotationSecurityGroup!;
    for (const { Properties, DependsOn } of schedules) {
      expect(Properties.HostedRotationLambda.VpcSecurityGroupIds).toEqual(stack.resolve(securityGroupId));
      expect(DependsOn).toEqual([expect.stringMatching(/Attachment/)]);
    }
  });

  test('whose secret has the key of the database, and stays', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    wholePipeline(clusterOf({ encryptionKey }));
    const secrets = Object.values(Template.fromStack(stack).findResources('AWS::SecretsManager::Secret'));
    expect(secrets.map(({ Properties, DeletionPolicy }) => [Properties.KmsKeyId, DeletionPolicy]))
      .toEqual(Array(WORKLOADS.length + 2).fill([stack.resolve(encryptionKey.keyArn), 'Retain']));
  });

  test('that exists already, at any database', () => {
    const given = secretsmanager.Secret.fromSecretCompleteArn(stack, 'Given', 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:given-AbCdEf');
    const migration = new Host();
    const databaseLogins = DatabaseLogins.perWorkload({ logins: { 'outbox-relay': DatabaseLogin.password(given) } });
    const pipeline = pipelineOf(existingDatabase(stack, { adminSecret: true }), { migration, databaseLogins, outboxRelay: new Host() });
    expect(loginsOf({ migration })).toEqual([{ workload: 'outbox-relay', secretArn: given.secretArn }]);
    expect(() => pipeline.addService('Timers', new Host(), { database: DatabaseSide.COMMAND })).toThrow(
      "the database makes no logins, and there is none for the service 'Timers': give DatabaseLogins.perWorkload({ logins: { 'timers': … } }), "
      + "or a CqrsAuroraCluster as the database (in 'Shop/Pipeline/Logins')");
  });

  test('in another stack than the database', () => {
    const other = new Stack(stack.node.root as App, 'Data', { env });
    wholePipeline(clusterOf({ credentials: CqrsCredentials.rotatedPasswords() }, other));
    (stack.node.root as App).synth();
    expect([stack.dependencies.includes(other), other.dependencies]).toEqual([true, []]);
    Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::RotationSchedule', WORKLOADS.length);
  });

  test('and keeps its logical id', () => {
    wholePipeline(clusterOf({ credentials: CqrsCredentials.rotatedPasswords() }));
    expectLogicalIds(stack, join(__dirname, 'database-logins.ids.json'));
  });
});

test('the services wait for their secrets by the migration, which waits for them and for the database', () => {
  const { hosts } = wholePipeline(clusterOf());
  const paths = hosts.migration.bound!.dependencies!.map((dependency) => (dependency as Construct).node.path);
  expect(paths).toEqual(['Shop/Database', 'Shop/Pipeline/Logins']);
});

test.each([
  ['orders', 'inventory-service', 'orders_inventory_service'],
  ['orders', 'order-status-and-more-servic', 'orders_order_status_and_dfd19888'],
  ['shop', 'a-name-of-exactly-32-chars1', 'shop_a_name_of_exactly_32_chars1'],
  ['a_database_with_a_very_long_name', 'stock', 'a_database_with_a_very__04dc8964'],
])('at the database %s, %s logs in as %s', (databaseName, serviceName, userName) => {
  const relay = new Host(serviceName);
  pipelineOf(clusterOf({ databaseName, credentials: CqrsCredentials.iam() }), { outboxRelay: relay });
  expect(relay.bound!.environment.DB_USER).toBe(userName);
  // The limit of MySQL.
  expect(userName.length).toBeLessThanOrEqual(32);
});

describe('refuses', () => {
  test('two workloads of one name', () => {
    const pipeline = pipelineOf(clusterOf(), { outboxRelay: new Host('relay') });
    expect(() => pipeline.addService('Other', new Host(), { database: DatabaseSide.COMMAND, workload: 'relay' })).toThrow(
      "two workloads are named 'relay', the second is the service 'Other': give it a workload or a serviceName of its own, so that each has the rights "
      + "of its own (in 'Shop/Pipeline/Logins')");
  });

  test.each(['Relay', 'order_status', '1st', 'a--b', ''])('a name that is none of a role: %p', (workload) => {
    const pipeline = pipelineOf(clusterOf());
    expect(() => pipeline.addService('Other', new Host(), { database: DatabaseSide.COMMAND, workload })).toThrow(
      `the workload of the service 'Other' must be small letters, digits and single hyphens, and start with a letter, as it names a role of the database, got '${workload}'`);
  });

  test('logins without a database', () => {
    expect(() => new EventDrivenOrderPipeline(stack, 'Pipeline', { databaseLogins: DatabaseLogins.perWorkload() }))
      .toThrow("databaseLogins needs a database: give the pipeline vpc to make one, or give an existing one as database (in 'Shop/Pipeline')");
  });
});

test('with logins of the sides there is no list, and a workload may have a name', () => {
  const [migration, relay] = [new Host(), new Host()];
  const pipeline = pipelineOf(clusterOf(), { migration, outboxRelay: relay, databaseLogins: DatabaseLogins.perSide() });
  const timers = new Host();
  pipeline.addService('Timers', timers, { database: DatabaseSide.COMMAND, workload: 'timers' });
  expect(migration.bound!.environment).not.toHaveProperty('DB_LOGINS');
  expect(timers.bound!.environment.DB_SECRET_ARN).toBe(relay.bound!.environment.DB_SECRET_ARN);
  expect(stack.node.findChild('Pipeline').node.tryFindChild('Logins')).toBeUndefined();
});

test('an access of one\'s own keeps its login', () => {
  const database = clusterOf();
  const pipeline = pipelineOf(database, { migration: new Host() });
  const [side, own] = [new Host(), new Host()];
  const login = DatabaseLogin.iam(database.cluster, 'reports');
  pipeline.addService('Side', side, { databaseAccess: DatabaseAccess.query(database) });
  pipeline.addService('Own', own, { databaseAccess: DatabaseAccess.withLogin(database, login) });
  expect(side.bound!.environment.DB_SECRET_ARN).toBe(database.queryLogin.secret!.secretArn);
  expect(own.bound!.environment).toMatchObject({ DB_USER: 'reports', DB_NAME: 'orders' });
  expect(accessOf()).toMatchObject({ PipelineServicesOwnRole: ['rds-db:connect reports'] });
});
