import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import {
  CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, CqrsDatabase, CqrsInstances, CqrsProxy, CqrsProxyOptions, DatabaseAccess,
  DatabaseLogin,
} from '../../src/cqrs';
import { unacknowledgedFindings } from '../nag';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  const app = new App();
  stack = new Stack(app, 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  vpc = new ec2.Vpc(new Stack(app, 'Network', { env: { account: '111122223333', region: 'eu-west-1' } }), 'Vpc');
});

function databaseOf(props: Partial<CqrsAuroraClusterProps> = {}): CqrsAuroraCluster & { cqrsProxy: CqrsProxy } {
  const database = new CqrsAuroraCluster(stack, 'Database', { vpc, proxy: {}, ...props });
  expect(database.proxy).toBe(database.cqrsProxy);
  return database as CqrsAuroraCluster & { cqrsProxy: CqrsProxy };
}

function resourceOf(type: string): any {
  const found = Object.values(Template.fromStack(stack).findResources(type));
  expect(found).toHaveLength(1);
  return found[0];
}

test('takes passwords over TLS, in the subnets of the database', () => {
  const db = databaseOf();
  const secrets = [db.commandLogin, db.queryLogin].map(({ secret }) => ({
    AuthScheme: 'SECRETS', ClientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256', IAMAuth: 'DISABLED', SecretArn: stack.resolve(secret?.secretArn),
  }));
  const subnets = resourceOf('AWS::RDS::DBSubnetGroup').Properties.SubnetIds;
  expect(resourceOf('AWS::RDS::DBProxy').Properties).toEqual({
    DBProxyName: 'test-database-proxy-c572a5c3',
    EngineFamily: 'POSTGRESQL',
    Auth: secrets,
    RequireTLS: true,
    IdleClientTimeout: 1800,
    RoleArn: stack.resolve(db.cqrsProxy.role.roleArn),
    VpcSubnetIds: subnets,
    VpcSecurityGroupIds: [stack.resolve(db.cqrsProxy.securityGroup.securityGroupId)],
  });
});

test('takes tokens, and logs in with its own', () => {
  databaseOf({ credentials: CqrsCredentials.iam() });
  Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBProxy', { DefaultAuthScheme: 'IAM_AUTH', Auth: Match.absent(), RequireTLS: true });
});

test('leaves connections of the cluster to those who connect directly', () => {
  const db = databaseOf();
  expect(resourceOf('AWS::RDS::DBProxyTargetGroup')).toEqual({
    Type: 'AWS::RDS::DBProxyTargetGroup',
    Properties: {
      DBProxyName: stack.resolve(db.cqrsProxy.databaseProxy.dbProxyName),
      TargetGroupName: 'default',
      DBClusterIdentifiers: [stack.resolve(db.cluster.clusterIdentifier)],
      ConnectionPoolConfigurationInfo: { MaxConnectionsPercent: 80, ConnectionBorrowTimeout: 120 },
    },
    // A target without an instance is never available.
    DependsOn: expect.arrayContaining(['DatabaseClusterWriterD43085C6', 'DatabaseClusterReader1D8B76102']),
  });
});

test('takes options', () => {
  databaseOf({ proxy: { idleClientTimeout: Duration.minutes(5), borrowTimeout: Duration.seconds(20), maxConnectionsPercent: 60 } });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::RDS::DBProxy', { IdleClientTimeout: 300 });
  template.hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
    ConnectionPoolConfigurationInfo: { MaxConnectionsPercent: 60, ConnectionBorrowTimeout: 20 },
  });
});

describe('endpoints', () => {
  test('listen on 5432, whatever the port of the cluster is', () => {
    const db = databaseOf({ port: 6000 });
    expect(DatabaseAccess.command(db.cqrsProxy).egressPorts).toEqual([5432]);
    expect(stack.resolve(DatabaseAccess.query(db.cqrsProxy).environment)).toEqual({
      DB_ENGINE: 'postgres',
      DB_NAME: 'orders',
      DB_SECRET_ARN: stack.resolve(db.queryLogin.secret?.secretArn),
      DB_WRITER_ENDPOINT: { 'Fn::GetAtt': ['DatabaseProxyE01FC4E6', 'Endpoint'] },
      DB_READER_ENDPOINT: { 'Fn::GetAtt': ['DatabaseProxyReaderEndpoint80421BA0', 'Endpoint'] },
      DB_PORT: '5432',
      DB_READER_PORT: '5432',
    });
    // Others still connect to the cluster.
    expect(DatabaseAccess.command(db).egressPorts).toEqual([6000]);
  });

  test('have one for reading', () => {
    const db = databaseOf();
    expect(resourceOf('AWS::RDS::DBProxyEndpoint').Properties).toEqual({
      DBProxyEndpointName: 'test-database-proxy-c572a5c3-ro',
      DBProxyName: stack.resolve(db.cqrsProxy.databaseProxy.dbProxyName),
      TargetRole: 'READ_ONLY',
      VpcSubnetIds: resourceOf('AWS::RDS::DBSubnetGroup').Properties.SubnetIds,
      VpcSecurityGroupIds: [stack.resolve(db.cqrsProxy.securityGroup.securityGroupId)],
    });
  });

  test('have none for reading without a reader, as it would refuse everyone', () => {
    const db = databaseOf({ instances: CqrsInstances.serverless({ readers: 0 }) });
    Template.fromStack(stack).resourceCountIs('AWS::RDS::DBProxyEndpoint', 0);
    expect(db.cqrsProxy.readerEndpoint).toBe(db.cqrsProxy.writerEndpoint);
  });

  test('have names that RDS accepts, even in deep constructs', () => {
    const deep = 'A construct with a very long name_that_is longer than any proxy can be, and then even longer';
    new CqrsAuroraCluster(stack, deep, { vpc, proxy: {} });
    const name = /^[a-z](?:-?[a-z0-9]+)*$/;
    const { DBProxyName } = resourceOf('AWS::RDS::DBProxy').Properties;
    const { DBProxyEndpointName } = resourceOf('AWS::RDS::DBProxyEndpoint').Properties;
    for (const found of [DBProxyName, DBProxyEndpointName]) {
      expect(found).toMatch(name);
      expect(found.length).toBeLessThanOrEqual(60);
    }
    expect(DBProxyEndpointName).not.toBe(DBProxyName);
  });
});

describe('the log', () => {
  test.each<[logs.RetentionDays | undefined, number]>([[undefined, 30], [logs.RetentionDays.THREE_MONTHS, 90]])('%s', (logRetention, days) => {
    databaseOf({ logRetention });
    const log = resourceOf('AWS::Logs::LogGroup');
    expect(log.Properties).toEqual({ LogGroupName: '/aws/rds/proxy/test-database-proxy-c572a5c3', RetentionInDays: days });
    expect(log.DeletionPolicy).toBe('Delete');
    // Otherwise RDS would make it first.
    expect(resourceOf('AWS::RDS::DBProxy').DependsOn).toContain('DatabaseProxyLogCBDB26BC');
  });
});

test('has no finding', () => {
  databaseOf({ encryptionKey: new kms.Key(stack, 'Key', { enableKeyRotation: true }) });
  expect(unacknowledgedFindings(stack)).toEqual([]);
});

function broughtCluster(): rds.DatabaseCluster {
  return new rds.DatabaseCluster(stack, 'Cluster', {
    engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.of('17.5', '17') }),
    writer: rds.ClusterInstance.provisioned('Writer', { instanceType: ec2.InstanceType.of(ec2.InstanceClass.R8G, ec2.InstanceSize.LARGE) }),
    vpc,
  });
}

test('serves a cluster that is brought', () => {
  const cluster = broughtCluster();
  const secret = (id: string) => DatabaseLogin.password(new secretsmanager.Secret(stack, id));
  const database = CqrsDatabase.fromCluster(cluster, { databaseName: 'shop', commandLogin: secret('Command'), queryLogin: secret('Query'), port: 5433 });
  const proxy = new CqrsProxy(stack, 'Proxy', {
    database, cluster, vpc, vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }, readers: false,
  });
  expect(proxy.databaseName).toBe('shop');
  Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
    DBClusterIdentifiers: [stack.resolve(cluster.clusterIdentifier)],
  });
});

test('may be in another stack than its database', () => {
  const database = new CqrsAuroraCluster(Stack.of(vpc), 'Database', { vpc });
  const proxy = new CqrsProxy(stack, 'Proxy', {
    database, cluster: database.cluster, vpc, vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
  });
  const template = Template.fromStack(stack);
  const groupId = stack.resolve(proxy.securityGroup.securityGroupId);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { SourceSecurityGroupId: groupId, FromPort: 5433, ToPort: 5433 });
  template.hasResourceProperties('AWS::EC2::SecurityGroupEgress', { GroupId: groupId, FromPort: 5433, ToPort: 5433 });
});

test('is no place for a migration', () => {
  const { cqrsProxy: proxy } = databaseOf();
  expect(() => DatabaseAccess.admin(proxy)).toThrow(
    'DatabaseAccess.admin needs the credentials of an administrator: give adminSecret to CqrsDatabase, and use the database instead of its proxy');
});

test('shows how long clients wait, and what is pinned', () => {
  const { cqrsProxy: proxy } = databaseOf();
  const shown = [proxy.metricBorrowLatency(), proxy.metricPinnedConnections({ period: Duration.minutes(1) })]
    .map((metric) => stack.resolve(metric.toMetricConfig().metricStat));
  const dimensions = [{ name: 'ProxyName', value: stack.resolve(proxy.databaseProxy.dbProxyName) }];
  expect(shown).toMatchObject([
    { namespace: 'AWS/RDS', metricName: 'DatabaseConnectionsBorrowLatency', statistic: 'Average', dimensions },
    { namespace: 'AWS/RDS', metricName: 'DatabaseConnectionsCurrentlySessionPinned', statistic: 'Maximum', dimensions },
  ]);
});

describe('refuses', () => {
  test.each<[CqrsProxyOptions, string]>([
    [{ idleClientTimeout: Duration.seconds(30) }, 'idleClientTimeout must be between 1 minute and 8 hours, got 30 seconds'],
    [{ borrowTimeout: Duration.minutes(6) }, 'borrowTimeout must be between 0 seconds and 5 minutes, got 6 minutes'],
    [{ borrowTimeout: Duration.millis(1500) }, 'borrowTimeout must be whole seconds, got 1.5'],
    [{ maxConnectionsPercent: 0 }, 'maxConnectionsPercent must be a whole number between 1 and 100, got 0'],
  ])('%j', (proxy, message) => {
    expect(() => databaseOf({ proxy })).toThrow(`${message} (in 'Test/Database/Proxy')`);
  });

  test('a database with a password for one role and a token for the other', () => {
    const cluster = broughtCluster();
    const database = CqrsDatabase.fromCluster(cluster, {
      databaseName: 'shop',
      commandLogin: DatabaseLogin.password(new secretsmanager.Secret(stack, 'Command')),
      queryLogin: DatabaseLogin.iam(cluster, 'reader'),
    });
    expect(() => new CqrsProxy(stack, 'Proxy', { database, cluster, vpc, vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS } })).toThrow(
      'commandLogin and queryLogin of the database differ, one with a password and one with a token');
  });

  test('a cluster that would never pause', () => {
    expect(() => databaseOf({ instances: CqrsInstances.serverless({ minCapacity: 0 }) })).toThrow(
      "minCapacity 0 pauses the cluster, and the connections of proxy prevent that: give at least 0.5, or leave proxy out (in 'Test/Database')");
  });
});
