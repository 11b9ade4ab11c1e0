import { App, Stack, Token } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { CqrsDatabase, CqrsDatabaseAttributes, DatabaseAccess, DatabaseLogin, ICqrsDatabase } from '../../src/cqrs';

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
