import { App, Stack, Token } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { CqrsAuroraCluster, CqrsDatabase, CqrsDatabaseAttributes, DatabaseAccess, DatabaseLogin, ICqrsDatabase } from '../../src/cqrs';

let stack: Stack;
let role: iam.Role;
let client: ec2.SecurityGroup;
let group: ec2.SecurityGroup;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
  const vpc = new ec2.Vpc(stack, 'Vpc');
  role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  client = new ec2.SecurityGroup(stack, 'Client', { vpc });
  group = new ec2.SecurityGroup(stack, 'Group', { vpc });
});

function databaseOf(attributes: Partial<CqrsDatabaseAttributes> = {}): ICqrsDatabase {
  return CqrsDatabase.fromAttributes({
    writerEndpointAddress: 'writer.example.com',
    readerEndpointAddress: 'reader.example.com',
    databaseName: 'shop',
    commandLogin: DatabaseLogin.password(new secretsmanager.Secret(stack, 'Command')),
    queryLogin: DatabaseLogin.password(new secretsmanager.Secret(stack, 'Query')),
    securityGroups: [group],
    ...attributes,
  });
}

function openPorts(): number[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::EC2::SecurityGroupIngress')).map(({ Properties }) => {
    expect([Properties.GroupId, Properties.SourceSecurityGroupId])
      .toEqual([stack.resolve(group.securityGroupId), stack.resolve(client.securityGroupId)]);
    expect(Properties.FromPort).toEqual(Properties.ToPort);
    return Properties.FromPort;
  });
}

function readableSecrets(): unknown[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
    .flatMap((policy) => policy.Properties.PolicyDocument.Statement)
    .map((statement) => [statement.Action, statement.Resource]);
}

describe.each<['command' | 'query', (database: ICqrsDatabase) => DatabaseAccess]>([
  ['command', DatabaseAccess.command],
  ['query', DatabaseAccess.query],
])('the %s side', (name, factory) => {
  test('says what a workload needs', () => {
    const database = databaseOf();
    const access = factory(database);
    expect(access.database).toBe(database);
    expect(access.environment).toEqual({
      DB_ENGINE: 'postgres',
      DB_NAME: 'shop',
      DB_SECRET_ARN: database[`${name}Login`].secret?.secretArn,
      DB_WRITER_ENDPOINT: 'writer.example.com',
      DB_READER_ENDPOINT: 'reader.example.com',
      DB_PORT: '5432',
      DB_READER_PORT: '5432',
    });
    expect(access.egressPorts).toEqual([5432]);
  });

  test('lets a workload in, with the credentials of this side only', () => {
    const database = databaseOf();
    factory(database).connect(role, client);
    expect(readableSecrets()).toEqual([['secretsmanager:GetSecretValue', stack.resolve(database[`${name}Login`].secret?.secretArn)]]);
    expect(openPorts()).toEqual([5432]);
  });
});

describe('the administrator', () => {
  test('has the environment, the credentials of all three roles, and the network path', () => {
    const database = databaseOf({ adminSecret: new secretsmanager.Secret(stack, 'Admin') });
    const access = DatabaseAccess.admin(database);
    expect(access.environment).toMatchObject({
      DB_SECRET_ARN: database.adminSecret?.secretArn,
      DB_COMMAND_SECRET_ARN: database.commandLogin.secret?.secretArn,
      DB_QUERY_SECRET_ARN: database.queryLogin.secret?.secretArn,
    });
    access.connect(role, client);
    expect(openPorts()).toEqual([5432]);
    expect(readableSecrets()).toEqual(['Admin', 'Command', 'Query'].map((id) => [
      'secretsmanager:GetSecretValue', stack.resolve((stack.node.findChild(id) as secretsmanager.Secret).secretArn),
    ]));
  });

  test('is needed by the database', () => {
    expect(() => DatabaseAccess.admin(databaseOf())).toThrow(
      'DatabaseAccess.admin needs the credentials of an administrator: give adminSecret to CqrsDatabase, and use the database instead of its proxy');
  });
});

test('without an identity nobody gets credentials, without connections no port is opened', () => {
  DatabaseAccess.command(databaseOf()).connect();
  expect([readableSecrets(), openPorts()]).toEqual([[], []]);
});

test('credentials without a network path', () => {
  DatabaseAccess.command(databaseOf()).connect(role);
  expect([readableSecrets().length, openPorts()]).toEqual([1, []]);
});

test('a network path without credentials', () => {
  DatabaseAccess.command(databaseOf()).connect(undefined, client);
  expect([readableSecrets().length, openPorts()]).toEqual([0, [5432]]);
});

test('opens both ports if they differ', () => {
  const database = databaseOf({ port: 6432, readerPort: 6433 });
  const access = DatabaseAccess.query(database);
  expect(access.egressPorts).toEqual([6432, 6433]);
  expect([access.environment.DB_PORT, access.environment.DB_READER_PORT]).toEqual(['6432', '6433']);
  access.connect(role, client);
  expect(openPorts()).toEqual([6432, 6433]);
});

test('takes ports that are only known at deployment', () => {
  const access = DatabaseAccess.query(databaseOf({ port: Token.asNumber({ Ref: 'Port' }), readerPort: Token.asNumber({ Ref: 'ReaderPort' }) }));
  access.connect(role, client);
  expect(openPorts()).toEqual([{ Ref: 'Port' }, { Ref: 'ReaderPort' }]);
  expect(stack.resolve(access.environment)).toMatchObject({ DB_PORT: { Ref: 'Port' }, DB_READER_PORT: { Ref: 'ReaderPort' } });
});

test('a port that is only known at deployment is one port', () => {
  expect(DatabaseAccess.query(databaseOf({ port: Token.asNumber({ Ref: 'Port' }) })).egressPorts).toHaveLength(1);
});

test('connecting twice is connecting once', () => {
  const access = DatabaseAccess.command(databaseOf());
  access.connect(role, client);
  access.connect(role, client);
  expect([readableSecrets().length, openPorts()]).toEqual([1, [5432]]);
});

test.each(['port', 'readerPort'])('refuses a %s that can\'t be', (name) => {
  expect(() => databaseOf({ [name]: 65536 })).toThrow(`${name} must be a whole number between 1 and 65535, got 65536`);
});

describe('the addresses of the ports', () => {
  const rulesOf = (database: ICqrsDatabase) => stack.resolve(DatabaseAccess.command(database).egressRules);
  const imported = (props: Partial<ec2.VpcAttributes> = {}) => ec2.Vpc.fromVpcAttributes(stack, 'Imported', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['subnet-1', 'subnet-2'], ...props,
  });
  const withSecondBlock = () => {
    const vpc = new ec2.Vpc(stack, 'Two', { ipAddresses: ec2.IpAddresses.cidr('10.0.0.0/16'), subnetConfiguration: [] });
    new ec2.CfnVPCCidrBlock(stack, 'Second', { vpcId: vpc.vpcId, cidrBlock: '10.128.0.0/16' });
    vpc.isolatedSubnets.push(...['a', 'b'].map((zone, index) => new ec2.PrivateSubnet(stack, zone, {
      vpcId: vpc.vpcId, availabilityZone: zone, cidrBlock: `10.128.${index}.0/24`,
    })));
    return vpc;
  };

  test('are those that are given for an existing database, or unknown', () => {
    expect(rulesOf(databaseOf({ port: 6432, networkCidrs: ['10.9.0.0/16'] }))).toEqual([{ ports: [6432], cidrs: ['10.9.0.0/16'] }]);
    stack = new Stack();
    expect(rulesOf(databaseOf({ securityGroups: [] }))).toEqual([]);
  });

  test.each<[string, () => ec2.IVpc, string[] | undefined]>([
    ['the isolated subnets of a VPC that is made here', () => new ec2.Vpc(stack, 'Made', {
      ipAddresses: ec2.IpAddresses.cidr('10.0.0.0/16'),
      maxAzs: 2,
      subnetConfiguration: [
        { name: 'Services', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 24 },
        { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24 },
        { name: 'Database', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
      ],
    }), ['10.0.4.0/24', '10.0.5.0/24']],
    ['imported subnets', () => imported({ isolatedSubnetIpv4CidrBlocks: ['10.1.1.0/24', '10.1.2.0/24'] }), ['10.1.1.0/24', '10.1.2.0/24']],
    ['subnets in a second block of the VPC', () => withSecondBlock(), ['10.128.0.0/24', '10.128.1.0/24']],
    // They can be in another block of the VPC.
    ['nothing, for imported subnets of a VPC whose first block is known', () => imported({ vpcCidrBlock: '10.1.0.0/16' }), undefined],
    ['nothing, for imported subnets', () => imported(), undefined],
  ])('are the blocks of %s', (_, vpc, cidrs) => {
    const database = new CqrsAuroraCluster(stack, 'Database', { vpc: vpc(), proxy: {} });
    expect(database.networkCidrs).toEqual(cidrs);
    expect(rulesOf(database)).toEqual(cidrs ? [{ ports: [5433], cidrs }] : []);
    expect(rulesOf(database.proxy!)).toEqual(cidrs ? [{ ports: [5432], cidrs }] : []);
  });

  test('are those that are given for the cluster, which are those of its proxy, too', () => {
    const database = new CqrsAuroraCluster(stack, 'Database', { vpc: imported(), proxy: {}, networkCidrs: ['10.128.0.0/24'] });
    expect([rulesOf(database), rulesOf(database.proxy!)]).toEqual([5433, 5432].map((port) => [{ ports: [port], cidrs: ['10.128.0.0/24'] }]));
  });

  test('are blocks', () => {
    expect(() => new CqrsAuroraCluster(stack, 'Database', { vpc: imported(), networkCidrs: ['10.128.0.1'] }))
      .toThrow("networkCidrs must have at least one block of addresses such as '10.0.0.0/16', and nothing else, got [\"10.128.0.1\"] (in 'Test/Database')");
  });
});
