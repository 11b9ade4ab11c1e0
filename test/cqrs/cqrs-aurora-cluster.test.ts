import { join } from 'node:path';
import { App, CfnResource, Duration, InjectionContext, IPropertyInjector, PropertyInjectors, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as sns from 'aws-cdk-lib/aws-sns';
import { CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, CqrsEngine, CqrsInstances, DatabaseAccess } from '../../src/cqrs';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  const app = new App();
  stack = new Stack(app, 'Test');
  vpc = new ec2.Vpc(new Stack(app, 'Network'), 'Vpc');
});

function database(props: Partial<CqrsAuroraClusterProps> = {}): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, 'Database', { vpc, ...props });
}

function autoscaled(): CqrsInstances {
  return CqrsInstances.provisioned({ instanceType: new ec2.InstanceType('r8g.large'), maxReaders: 4 });
}

test('makes a hardened cluster', () => {
  database();

  Template.fromStack(stack).hasResource('AWS::RDS::DBCluster', {
    Properties: {
      Engine: 'aurora-postgresql',
      EngineVersion: '18.4',
      DatabaseName: 'orders',
      Port: 5433,
      StorageEncrypted: true,
      DeletionProtection: true,
      EnableIAMDatabaseAuthentication: true,
      BackupRetentionPeriod: 7,
      EnableCloudwatchLogsExports: ['postgresql'],
      MasterUsername: 'cluster_admin',
      ManageMasterUserPassword: true,
      MasterUserPassword: Match.absent(),
      ServerlessV2ScalingConfiguration: { MinCapacity: 0.5, MaxCapacity: 16 },
    },
    DeletionPolicy: 'Snapshot',
    UpdateReplacePolicy: 'Snapshot',
  });
});

test('takes encrypted connections only', () => {
  database();
  const template = Template.fromStack(stack);
  const [group] = Object.keys(template.findResources('AWS::RDS::DBClusterParameterGroup'));
  template.hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
    Family: 'aurora-postgresql18',
    Parameters: { 'rds.force_ssl': '1' },
  });
  template.hasResourceProperties('AWS::RDS::DBCluster', { DBClusterParameterGroupName: { Ref: group } });
});

test('a hardened cluster has no finding but the acknowledged rotation', () => {
  database();
  expect(unacknowledgedFindings(stack)).toEqual([]);
});

describe('the logical ids are kept of a cluster', () => {
  test.each<[string, () => Partial<CqrsAuroraClusterProps>]>([
    ['as it is by default', () => ({})],
    ['without readers', () => ({ instances: CqrsInstances.serverless({ readers: 0 }) })],
    ['with two readers', () => ({ instances: CqrsInstances.serverless({ readers: 2 }) })],
    ['with independent readers', () => ({ instances: CqrsInstances.serverless({ readers: 2, independentReaders: true }) })],
    ['with autoscaled readers', () => ({ instances: autoscaled() })],
    ['with brought things', () => ({
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }, encryptionKey: new kms.Key(stack, 'Key'),
    })],
    ['with a retention of its log', () => ({ logRetention: logs.RetentionDays.ONE_MONTH })],
    ['with a proxy', () => ({ proxy: {} })],
    ['with a proxy and without readers', () => ({ proxy: {}, instances: CqrsInstances.serverless({ readers: 0 }) })],
    ['with tokens', () => ({ credentials: CqrsCredentials.iam() })],
    ['with tokens and a proxy', () => ({ credentials: CqrsCredentials.iam(), proxy: {} })],
    ['with rotated passwords', () => ({ credentials: CqrsCredentials.rotatedPasswords() })],
    ['with monitoring', () => ({ monitoringInterval: Duration.minutes(1) })],
    // As promised: the same as by default, so that the data is replaced and nothing else.
    ['as it is by default', () => ({ snapshotIdentifier: 'orders' })],
  ])('%s', (name, props) => {
    database(props());
    expectLogicalIds(stack, join(__dirname, 'logical-ids', `cluster-${name.replaceAll(' ', '-')}.json`));
  });

  test('with alarms and events', () => {
    const db = database({ proxy: {}, instances: autoscaled() });
    db.addAlarms({ actions: [] });
    db.notifyEvents(sns.Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:eu-west-1:111122223333:alarms'));
    expectLogicalIds(stack, join(__dirname, 'logical-ids', 'cluster-with-alarms-and-events.json'));
  });
});

test('every resource is a property', () => {
  const db = database({ instances: autoscaled() });
  const found = [
    db.cluster, db.securityGroup, db.subnetGroup, db.commandLogin.secret!, db.queryLogin.secret!,
    db.readerScaling!, db.readerScalingPolicy!,
  ].map((construct) => (construct.node.defaultChild as CfnResource).cfnResourceType);
  expect(found).toEqual([
    'AWS::RDS::DBCluster', 'AWS::EC2::SecurityGroup', 'AWS::RDS::DBSubnetGroup', 'AWS::SecretsManager::Secret', 'AWS::SecretsManager::Secret',
    'AWS::ApplicationAutoScaling::ScalableTarget', 'AWS::ApplicationAutoScaling::ScalingPolicy',
  ]);
  db.parameterGroup.addParameter('work_mem', '65536');
  Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBClusterParameterGroup', { Parameters: { work_mem: '65536' } });
  const types = Object.values(Template.fromStack(stack).toJSON().Resources).map((resource: any) => resource.Type);
  // The parameter group is in the list of what the template has; instances are identified by the cluster, attachments by the secrets.
  expect([...new Set(types)].sort()).toEqual([...new Set([
    ...found, 'AWS::RDS::DBClusterParameterGroup', 'AWS::RDS::DBInstance', 'AWS::SecretsManager::SecretTargetAttachment',
  ])].sort());
  expect(db.cluster.instanceIdentifiers).toHaveLength(2);
});

test('takes defaults of an organisation', () => {
  const injector: IPropertyInjector = {
    constructUniqueId: CqrsAuroraCluster.PROPERTY_INJECTION_ID,
    inject: (props: CqrsAuroraClusterProps, _context: InjectionContext) => ({ backupRetention: Duration.days(35), ...props }),
  };
  PropertyInjectors.of(stack).add(injector);
  database();
  Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBCluster', { BackupRetentionPeriod: 35 });
});

test('nobody can connect until it is opened, and it connects to nobody', () => {
  database();
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 0);
  template.hasResourceProperties('AWS::EC2::SecurityGroup', {
    GroupDescription: 'Connections to the database orders',
    SecurityGroupIngress: Match.absent(),
    SecurityGroupEgress: [Match.objectLike({ CidrIp: '255.255.255.255/32' })],
  });
});

test('opens its port', () => {
  const db = database();
  db.connections.allowDefaultPortFrom(new ec2.SecurityGroup(stack, 'Client', { vpc }));
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 5433,
    ToPort: 5433,
    IpProtocol: 'tcp',
    GroupId: stack.resolve(db.connections.securityGroups[0]!.securityGroupId),
  });
});

describe('credentials', () => {
  test.each([['command', 'CommandSecret'], ['query', 'QuerySecret']])('of the %s role are generated', (role, id) => {
    const db = database();
    const secrets = Object.entries(Template.fromStack(stack).findResources('AWS::SecretsManager::Secret'))
      .filter(([logicalId]) => logicalId.startsWith(`Database${id}`));
    expect(secrets).toHaveLength(1);
    const { GenerateStringKey, PasswordLength, SecretStringTemplate } = secrets[0]![1].Properties.GenerateSecretString;
    expect([GenerateStringKey, PasswordLength]).toEqual(['password', 32]);
    // Another text here would be another password in every stack that is updated: https://github.com/aws/aws-cdk/issues/19985
    expect(SecretStringTemplate).toBe(`{"username":"orders_${role}"}`);
    // A hosted rotation needs the engine, the host, the port and the name of the database, which the attachment adds.
    Template.fromStack(stack).hasResourceProperties('AWS::SecretsManager::SecretTargetAttachment', {
      SecretId: { Ref: secrets[0]![0] }, TargetId: stack.resolve(db.cluster.clusterIdentifier), TargetType: 'AWS::RDS::DBCluster',
    });
  });

  test('are named after the database', () => {
    database({ databaseName: 'shop' });
    const template = JSON.stringify(Template.fromStack(stack).toJSON());
    expect(template).toContain('shop_command');
    expect(template).toContain('shop_query');
    expect(template).not.toContain('orders_');
  });

  test('of the administrator are those that RDS manages', () => {
    const db = database();
    expect(stack.resolve(db.adminSecret?.secretArn)).toEqual({
      'Fn::GetAtt': [stack.getLogicalId(db.cluster.node.defaultChild as rds.CfnDBCluster), 'MasterUserSecret.SecretArn'],
    });
  });
});

describe('environment', () => {
  test('names the secret of the side, and both endpoints', () => {
    const db = database();
    const of = (secret: string | undefined) => ({
      DB_ENGINE: 'postgres',
      DB_SECRET_ARN: stack.resolve(secret),
      DB_WRITER_ENDPOINT: stack.resolve(db.cluster.clusterEndpoint.hostname),
      DB_READER_ENDPOINT: stack.resolve(db.cluster.clusterReadEndpoint.hostname),
      DB_PORT: '5433',
      DB_READER_PORT: '5433',
      DB_NAME: 'orders',
    });
    expect(stack.resolve(DatabaseAccess.command(db).environment)).toEqual(of(db.commandLogin.secret?.secretArn));
    expect(stack.resolve(DatabaseAccess.query(db).environment)).toEqual(of(db.queryLogin.secret?.secretArn));
    expect(stack.resolve(DatabaseAccess.admin(db).environment)).toEqual({
      ...of(db.adminSecret?.secretArn),
      DB_COMMAND_SECRET_ARN: stack.resolve(db.commandLogin.secret?.secretArn),
      DB_QUERY_SECRET_ARN: stack.resolve(db.queryLogin.secret?.secretArn),
    });
    const { DB_WRITER_ENDPOINT, DB_READER_ENDPOINT } = stack.resolve(DatabaseAccess.command(db).environment);
    expect(DB_WRITER_ENDPOINT).not.toEqual(DB_READER_ENDPOINT);
  });

  test('has the port as text even if it is only known at deployment', () => {
    const db = database({ port: Token.asNumber({ Ref: 'Port' }) });
    expect(stack.resolve(DatabaseAccess.query(db).environment)).toMatchObject({ DB_PORT: { Ref: 'Port' }, DB_READER_PORT: { Ref: 'Port' } });
  });
});

describe('grants', () => {
  const statements = () => Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
    .flatMap((policy) => policy.Properties.PolicyDocument.Statement);
  const read = (arn: string | undefined) => ({ Action: 'secretsmanager:GetSecretValue', Effect: 'Allow', Resource: stack.resolve(arn) });
  let db: CqrsAuroraCluster;
  let role: iam.Role;
  beforeEach(() => {
    db = database();
    role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  });

  test('command reads the command secret and nothing else', () => {
    db.grants.command(role);
    expect(statements()).toEqual([read(db.commandLogin.secret?.secretArn)]);
  });

  test('query reads the query secret and nothing else', () => {
    db.grants.query(role);
    expect(statements()).toEqual([read(db.queryLogin.secret?.secretArn)]);
  });

  test('admin reads all three', () => {
    db.grants.admin(role);
    expect(statements()).toEqual([
      read(db.adminSecret?.secretArn),
      read(db.commandLogin.secret?.secretArn),
      read(db.queryLogin.secret?.secretArn),
    ]);
  });
});

test('a customer managed key encrypts the storage and every secret, and readers may decrypt', () => {
  const key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
  const db = database({ encryptionKey: key });
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  db.grants.query(role);

  const template = Template.fromStack(stack);
  const keyArn = stack.resolve(key.keyArn);
  template.hasResourceProperties('AWS::RDS::DBCluster', { KmsKeyId: keyArn, MasterUserSecret: { KmsKeyId: keyArn } });
  template.allResourcesProperties('AWS::SecretsManager::Secret', { KmsKeyId: keyArn });
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: Match.arrayWith([Match.objectLike({
        Action: 'kms:Decrypt',
        Resource: keyArn,
        Condition: { StringEquals: { 'kms:ViaService': Match.anyValue() } },
      })]),
    },
  });
  expect(unacknowledgedFindings(stack)).toEqual([]);
});

describe('subnets', () => {
  const subnetConfiguration = (...types: ec2.SubnetType[]) => types.map((subnetType) => ({ name: subnetType, subnetType }));
  const { PUBLIC, PRIVATE_WITH_EGRESS, PRIVATE_ISOLATED } = ec2.SubnetType;
  const subnetsOf = (template: Template) => Object.values(template.findResources('AWS::RDS::DBSubnetGroup'))[0]!.Properties.SubnetIds;

  test('are the isolated ones where there are some', () => {
    vpc = new ec2.Vpc(stack, 'Vpc', { subnetConfiguration: subnetConfiguration(PUBLIC, PRIVATE_WITH_EGRESS, PRIVATE_ISOLATED) });
    database();
    expect(subnetsOf(Template.fromStack(stack))).toEqual(stack.resolve(vpc.isolatedSubnets.map((subnet) => subnet.subnetId)));
  });

  test('are the private ones otherwise', () => {
    vpc = new ec2.Vpc(stack, 'Vpc');
    database();
    expect(subnetsOf(Template.fromStack(stack))).toEqual(stack.resolve(vpc.privateSubnets.map((subnet) => subnet.subnetId)));
  });

  test('can be chosen', () => {
    vpc = new ec2.Vpc(stack, 'Vpc', { subnetConfiguration: subnetConfiguration(PUBLIC, PRIVATE_WITH_EGRESS, PRIVATE_ISOLATED) });
    database({ vpcSubnets: { subnetType: PRIVATE_WITH_EGRESS } });
    expect(subnetsOf(Template.fromStack(stack))).toEqual(stack.resolve(vpc.privateSubnets.map((subnet) => subnet.subnetId)));
  });

  test('are never public', () => {
    vpc = new ec2.Vpc(stack, 'Vpc', { subnetConfiguration: subnetConfiguration(PUBLIC), natGateways: 0 });
    expect(() => database()).toThrow("vpc has neither isolated nor private subnets: a database belongs into one of these (in 'Test/Database')");
    expect(() => new CqrsAuroraCluster(stack, 'Chosen', { vpc, vpcSubnets: { subnetType: PUBLIC } }))
      .toThrow('vpcSubnets selects public subnets: a database belongs into private or isolated ones');
  });
});

describe('when the stack is deleted', () => {
  const policies = (type: string) => [...new Set(Object.values(Template.fromStack(stack).findResources(type))
    .map((resource) => resource.DeletionPolicy ?? 'Delete'))];

  test.each<[RemovalPolicy | undefined, { data: string; parts: string; secrets: string; protection: boolean }]>([
    [undefined, { data: 'Snapshot', parts: 'Delete', secrets: 'Retain', protection: true }],
    [RemovalPolicy.SNAPSHOT, { data: 'Snapshot', parts: 'Delete', secrets: 'Retain', protection: true }],
    // What a cluster uses can't be deleted before it.
    [RemovalPolicy.RETAIN, { data: 'Retain', parts: 'Retain', secrets: 'Retain', protection: true }],
    [RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
      { data: 'RetainExceptOnCreate', parts: 'RetainExceptOnCreate', secrets: 'Retain', protection: true }],
    [RemovalPolicy.DESTROY, { data: 'Delete', parts: 'Delete', secrets: 'Delete', protection: false }],
  ])('with removalPolicy %s', (removalPolicy, { data, parts, secrets, protection }) => {
    database({ removalPolicy });
    expect(policies('AWS::RDS::DBCluster')).toEqual([data]);
    for (const type of ['AWS::RDS::DBSubnetGroup', 'AWS::RDS::DBClusterParameterGroup', 'AWS::EC2::SecurityGroup']) {
      expect([type, policies(type)]).toEqual([type, [parts]]);
    }
    expect(policies('AWS::SecretsManager::Secret')).toEqual([secrets]);
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBCluster', { DeletionProtection: protection });
  });
});

describe('the log', () => {
  test('is kept forever, and is a property', () => {
    const db = database();
    Template.fromStack(stack).resourceCountIs('Custom::LogRetention', 0);
    expect(stack.resolve(db.logGroup.logGroupName)).toEqual({
      'Fn::Join': ['', ['/aws/rds/cluster/', stack.resolve(db.cluster.clusterIdentifier), '/postgresql']],
    });
  });

  test('is kept for a time', () => {
    const db = database({ logRetention: logs.RetentionDays.ONE_MONTH });
    Template.fromStack(stack).hasResourceProperties('Custom::LogRetention', {
      LogGroupName: stack.resolve(db.logGroup.logGroupName), RetentionInDays: 30,
    });
  });
});

test('shows how far its readers lag behind', () => {
  const metric = database().metricReplicaLag({ period: Duration.minutes(1) });
  expect(metric.toMetricConfig().metricStat).toMatchObject({
    namespace: 'AWS/RDS',
    metricName: 'AuroraReplicaLagMaximum',
    statistic: 'Maximum',
    period: Duration.minutes(1),
    dimensions: [{ name: 'DBClusterIdentifier' }],
  });
});

describe('refuses', () => {
  test.each<[Partial<CqrsAuroraClusterProps>, string]>([
    [{ port: 80 }, 'port must be a whole number between 1150 and 65535, got 80'],
    [{ backupRetention: Duration.days(36) }, 'backupRetention must be between 1 day and 35 days, got 36 days'],
    [{ databaseName: 'Orders-1' }, "databaseName must be a small letter, then up to 54 small letters, digits and underscores, got 'Orders-1'"],
  ])('%j', (props, message) => {
    expect(() => database(props)).toThrow(`${message} (in 'Test/Database')`);
  });

  test('what isn\'t available yet', () => {
    expect(() => new CqrsAuroraCluster(stack, 'MySql', { vpc, engine: CqrsEngine.mysql() }))
      .toThrow('Aurora MySQL (CqrsEngine.mysql) is not available yet: it comes with the serverless system (API Gateway, Lambda, SQS and MySQL).');
  });

  test('nothing that is only known at deployment', () => {
    database({
      databaseName: Token.asString({ Ref: 'Name' }),
      backupRetention: Duration.days(Token.asNumber({ Ref: 'Days' })),
    });
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBCluster', {
      DatabaseName: { Ref: 'Name' },
      BackupRetentionPeriod: { Ref: 'Days' },
    });
  });
});
