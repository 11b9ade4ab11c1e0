import { App, CfnResource, CustomResource, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct, IDependable } from 'constructs';
import { CqrsAuroraCluster, CqrsDatabase, CqrsDatabaseAttributes, DatabaseAccess, DatabaseLogin, ICqrsDatabase } from '../../src/cqrs';

let app: App;
beforeEach(() => { app = new App(); });

function vpcOf(stack: Stack): ec2.IVpc {
  return ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], privateSubnetIds: ['subnet-1', 'subnet-2'],
  });
}

function functionOf(scope: Construct, database: ICqrsDatabase, vpc: ec2.IVpc): lambda.Function {
  const access = DatabaseAccess.command(database);
  const fn = new lambda.Function(scope, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => ({});'),
    vpc,
    environment: access.environment,
  });
  access.connect(fn, fn);
  return fn;
}

/** As a pod is one: a role of its own on the security group of its cluster. */
class Workload extends Construct implements iam.IGrantable, ec2.IConnectable {
  public readonly grantPrincipal: iam.IPrincipal;
  public readonly connections: ec2.Connections;

  constructor(scope: Construct, id: string, cluster: eks.ICluster, access: DatabaseAccess) {
    super(scope, id);
    this.grantPrincipal = new iam.Role(this, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
    this.connections = new ec2.Connections({ securityGroups: [cluster.clusterSecurityGroup] });
    new CfnResource(this, 'Manifest', { type: 'Test::Manifest', properties: { ...access.environment, Cluster: cluster.clusterName } });
    access.connect(this, this);
  }
}

/** A cluster, of which only name and security group matter, without 58 MB of layers. */
function clusterOf(stack: Stack): eks.ICluster {
  const cluster = new CfnResource(stack, 'Eks', { type: 'AWS::EKS::Cluster', properties: {} });
  return eks.Cluster.fromClusterAttributes(stack, 'Cluster', {
    clusterName: cluster.ref, clusterSecurityGroupId: cluster.getAtt('ClusterSecurityGroupId').toString(),
  });
}

/** The types of what a construct waits for, in its stack. */
function waitsFor(stack: Stack, waiting: IDependable): string[] {
  const job = new CfnResource(stack, 'Job', { type: 'Test::Job' });
  job.node.addDependency(waiting);
  const { Resources } = Template.fromStack(stack).toJSON();
  return (Resources.Job.DependsOn ?? []).map((id: string) => Resources[id].Type).sort();
}

/** Synthesizes everything; a cycle between stacks or in one of them is an error. */
function templatesOf(...stacks: Stack[]): Template[] {
  return stacks.map((stack) => Template.fromStack(stack));
}

describe('what depends on a cluster', () => {
  test('waits for its instances, its secrets, and the paths that are opened, also later', () => {
    const stack = new Stack(app, 'Stack');
    const vpc = vpcOf(stack);
    const database = new CqrsAuroraCluster(stack, 'Database', { vpc });
    const job = new CfnResource(stack, 'Job', { type: 'Test::Job' });
    job.node.addDependency(database);
    database.connections.allowDefaultPortFrom(new ec2.SecurityGroup(stack, 'Client', { vpc }));

    const { Resources } = Template.fromStack(stack).toJSON();
    const types = Resources.Job.DependsOn.map((id: string) => Resources[id].Type);
    expect(types.sort()).toEqual([
      'AWS::EC2::SecurityGroup',
      'AWS::EC2::SecurityGroupIngress',
      'AWS::RDS::DBCluster',
      'AWS::RDS::DBClusterParameterGroup',
      'AWS::RDS::DBInstance',
      'AWS::RDS::DBInstance',
      'AWS::RDS::DBSubnetGroup',
      'AWS::SecretsManager::Secret',
      'AWS::SecretsManager::Secret',
      'AWS::SecretsManager::SecretTargetAttachment',
      'AWS::SecretsManager::SecretTargetAttachment',
    ]);
  });

  test('waits for its stack, if it is in another', () => {
    const [data, workloads] = [new Stack(app, 'Data'), new Stack(app, 'Workloads')];
    const database = new CqrsAuroraCluster(data, 'Database', { vpc: vpcOf(data) });
    new CfnResource(workloads, 'Job', { type: 'Test::Job' }).node.addDependency(database);
    templatesOf(data, workloads);
    expect(workloads.dependencies).toEqual([data]);
  });
});

describe('a function', () => {
  test('in the stack of the database: its trigger waits for the path', () => {
    const stack = new Stack(app, 'Stack');
    const vpc = vpcOf(stack);
    const database = new CqrsAuroraCluster(stack, 'Database', { vpc });
    const fn = functionOf(stack, database, vpc);
    const trigger = new CustomResource(stack, 'Trigger', { serviceToken: fn.functionArn });
    trigger.node.addDependency(database);

    // Template.fromStack fails on a cycle.
    const { Resources } = Template.fromStack(stack).toJSON();
    const waiting = Resources.Trigger.DependsOn.map((id: string) => Resources[id].Type);
    expect(waiting).toEqual(expect.arrayContaining(['AWS::EC2::SecurityGroupIngress', 'AWS::RDS::DBInstance']));
  });

  test('in another stack: its own stack has the rule, and needs the one of the database', () => {
    const [data, workloads] = [new Stack(app, 'Data'), new Stack(app, 'Workloads')];
    const database = new CqrsAuroraCluster(data, 'Database', { vpc: vpcOf(data) });
    functionOf(workloads, database, vpcOf(workloads));

    const [dataTemplate, workloadsTemplate] = templatesOf(data, workloads);
    dataTemplate!.resourceCountIs('AWS::EC2::SecurityGroupIngress', 0);
    workloadsTemplate!.resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { FromPort: 5433 }, 1);
    expect([data.dependencies, workloads.dependencies]).toEqual([[], [data]]);
  });

  test('in the stack of a brought database whose rules stand in another one', () => {
    const [data, workloads] = [new Stack(app, 'Data'), new Stack(app, 'Workloads')];
    const database = CqrsDatabase.fromAttributes({
      writerEndpointAddress: new CfnResource(data, 'Writer', { type: 'Test::Writer' }).ref,
      databaseName: 'shop',
      commandLogin: DatabaseLogin.password(new secretsmanager.Secret(data, 'Command')),
      queryLogin: DatabaseLogin.password(new secretsmanager.Secret(data, 'Query')),
      securityGroups: [new ec2.SecurityGroup(data, 'Group', { vpc: vpcOf(data) })],
    });
    const fn = functionOf(workloads, database, vpcOf(workloads));
    new CustomResource(workloads, 'Trigger', { serviceToken: fn.functionArn }).node.addDependency(database);
    templatesOf(data, workloads);
    expect([data.dependencies, workloads.dependencies]).toEqual([[], [data]]);
  });
});

describe('a workload on the security group of a platform', () => {
  test('in the stack of the platform and the database', () => {
    const stack = new Stack(app, 'Stack');
    const database = new CqrsAuroraCluster(stack, 'Database', { vpc: vpcOf(stack) });
    const workload = new Workload(stack, 'Workload', clusterOf(stack), DatabaseAccess.command(database));
    workload.node.addDependency(database);
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { FromPort: 5433 }, 1);
  });

  test('beside the database, which has the rule: the stack of the platform doesn\'t need it', () => {
    const [platform, orders] = [new Stack(app, 'Platform'), new Stack(app, 'Orders')];
    const database = new CqrsAuroraCluster(orders, 'Database', { vpc: vpcOf(orders) });
    const workload = new Workload(orders, 'Workload', clusterOf(platform), DatabaseAccess.command(database));
    workload.node.addDependency(database);

    const [, ordersTemplate] = templatesOf(platform, orders);
    ordersTemplate!.resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { FromPort: 5433 }, 1);
    expect([platform.dependencies, orders.dependencies]).toEqual([[], [platform]]);
  });

  test('with database, platform and workload in a stack each', () => {
    const [platform, data, workloads] = [new Stack(app, 'Platform'), new Stack(app, 'Data'), new Stack(app, 'Workloads')];
    const database = new CqrsAuroraCluster(data, 'Database', { vpc: vpcOf(data) });
    new Workload(workloads, 'Workload', clusterOf(platform), DatabaseAccess.command(database)).node.addDependency(database);

    const [, dataTemplate] = templatesOf(platform, data, workloads);
    dataTemplate!.resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { FromPort: 5433 }, 1);
    expect(platform.dependencies).toEqual([]);
    expect(workloads.dependencies).toEqual(expect.arrayContaining([platform, data]));
  });

  test('that connects by the platform itself', () => {
    const [platform, orders] = [new Stack(app, 'Platform'), new Stack(app, 'Orders')];
    const network = ec2.Vpc.fromVpcAttributes(platform, 'Network', {
      vpcId: new CfnResource(platform, 'NetworkId', { type: 'Test::Network' }).ref,
      availabilityZones: ['a', 'b'],
      privateSubnetIds: ['subnet-1', 'subnet-2'],
    });
    const database = new CqrsAuroraCluster(orders, 'Database', { vpc: network });
    const nodes = new ec2.SecurityGroup(platform, 'Nodes', { vpc: network });
    const role = new iam.Role(orders, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
    DatabaseAccess.command(database).connect(role, nodes);

    templatesOf(platform, orders);
    expect([platform.dependencies, orders.dependencies]).toEqual([[], [platform]]);
  });

  test('in the stack of the platform, with the database in another', () => {
    const [data, platform] = [new Stack(app, 'Data'), new Stack(app, 'Platform')];
    const database = new CqrsAuroraCluster(data, 'Database', { vpc: vpcOf(data) });
    new Workload(platform, 'Workload', clusterOf(platform), DatabaseAccess.command(database)).node.addDependency(database);

    templatesOf(data, platform);
    expect([data.dependencies, platform.dependencies]).toEqual([[], [data]]);
  });
});

describe('what depends on a database that is brought', () => {
  const bring = (stack: Stack, attributes: Partial<CqrsDatabaseAttributes>) => CqrsDatabase.fromAttributes({
    writerEndpointAddress: 'writer.example.com',
    databaseName: 'shop',
    commandLogin: DatabaseLogin.password(secretsmanager.Secret.fromSecretNameV2(stack, 'Command', 'shop/command')),
    queryLogin: DatabaseLogin.password(secretsmanager.Secret.fromSecretNameV2(stack, 'Query', 'shop/query')),
    ...attributes,
  });

  test('waits for nothing if nothing is made', () => {
    const stack = new Stack(app, 'Stack');
    expect(waitsFor(stack, bring(stack, {}))).toEqual([]);
  });

  test('waits for the rules in its security groups', () => {
    const stack = new Stack(app, 'Stack');
    const securityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-1');
    const database = bring(stack, { securityGroups: [securityGroup] });
    DatabaseAccess.query(database).connect(undefined, new ec2.SecurityGroup(stack, 'Client', { vpc: vpcOf(stack) }));
    expect(waitsFor(stack, database)).toEqual(['AWS::EC2::SecurityGroupIngress']);
  });

  test('waits for a cluster that is made in the same app, and for what this waits for in turn', () => {
    const stack = new Stack(app, 'Stack');
    const vpc = vpcOf(stack);
    const cluster = new rds.DatabaseCluster(stack, 'Database', {
      engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.of('18.4', '18') }),
      writer: rds.ClusterInstance.serverlessV2('Writer'),
      vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
    });
    const inner = bring(stack, { dependencies: [cluster] });
    const outer = CqrsDatabase.fromAttributes({
      writerEndpointAddress: 'pooler.example.com', databaseName: 'shop', ...loginsOf(inner), dependencies: [inner],
    });
    expect(waitsFor(stack, outer)).toEqual(expect.arrayContaining(['AWS::RDS::DBCluster', 'AWS::RDS::DBInstance']));
  });

  const loginsOf = ({ commandLogin, queryLogin }: ICqrsDatabase) => ({ commandLogin, queryLogin });
});
