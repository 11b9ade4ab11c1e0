import { App, SecretValue, Stack, Token } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { CqrsDatabase, CqrsDatabaseAttributes, DatabaseAccess, DatabaseLogin } from '../../src/cqrs';

let stack: Stack;
let attributes: CqrsDatabaseAttributes;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
  attributes = {
    writerEndpointAddress: 'writer.example.com',
    readerEndpointAddress: 'reader.example.com',
    databaseName: 'shop',
    commandLogin: DatabaseLogin.password(secretsmanager.Secret.fromSecretNameV2(stack, 'Command', 'shop/command')),
    queryLogin: DatabaseLogin.password(new secretsmanager.Secret(stack, 'Query', { secretStringValue: SecretValue.unsafePlainText('{}') })),
  };
});

test('gives workloads the same environment as a new cluster', () => {
  const database = CqrsDatabase.fromAttributes(attributes);
  expect(DatabaseAccess.query(database).environment).toEqual({
    DB_ENGINE: 'postgres',
    DB_SECRET_ARN: attributes.queryLogin.secret?.secretArn,
    DB_WRITER_ENDPOINT: 'writer.example.com',
    DB_READER_ENDPOINT: 'reader.example.com',
    DB_PORT: '5432',
    DB_READER_PORT: '5432',
    DB_NAME: 'shop',
  });
  expect(DatabaseAccess.command(database).environment.DB_SECRET_ARN).toBe(attributes.commandLogin.secret?.secretArn);
});

test('sends queries to the writer if there is no reader', () => {
  const database = CqrsDatabase.fromAttributes({ ...attributes, readerEndpointAddress: undefined });
  expect(DatabaseAccess.query(database).environment.DB_READER_ENDPOINT).toBe('writer.example.com');
});

test('opens its security groups on its port', () => {
  const vpc = new ec2.Vpc(stack, 'Vpc');
  const group = new ec2.SecurityGroup(stack, 'Group', { vpc });
  const database = CqrsDatabase.fromAttributes({ ...attributes, port: 6432, securityGroups: [group] });
  database.connections.allowDefaultPortFrom(new ec2.SecurityGroup(stack, 'Client', { vpc }));
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 6432, GroupId: stack.resolve(group.securityGroupId),
  });
});

test('grants a secret that is known by its name only', () => {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  CqrsDatabase.fromAttributes(attributes).grants.command(role);
  Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: [{
        Action: 'secretsmanager:GetSecretValue',
        Effect: 'Allow',
        Resource: { 'Fn::Join': ['', Match.arrayWith([':secret:shop/command-??????'])] },
      }],
    },
  });
});

test('has no administrator unless it is given', () => {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  expect(() => CqrsDatabase.fromAttributes(attributes).grants.admin(role))
    .toThrow("grants.admin needs the administrator's credentials: give adminSecret to CqrsDatabase, and use the database instead of its proxy");

  const adminSecret = secretsmanager.Secret.fromSecretNameV2(stack, 'Admin', 'shop/admin');
  const database = CqrsDatabase.fromAttributes({ ...attributes, adminSecret });
  database.grants.admin(role);
  expect(DatabaseAccess.admin(database).environment).toMatchObject({
    DB_SECRET_ARN: adminSecret.secretArn,
    DB_COMMAND_SECRET_ARN: attributes.commandLogin.secret?.secretArn,
    DB_QUERY_SECRET_ARN: attributes.queryLogin.secret?.secretArn,
  });
});

test('refuses a port that is none', () => {
  expect(() => CqrsDatabase.fromAttributes({ ...attributes, port: 70000 })).toThrow('port must be a whole number between 1 and 65535, got 70000');
  expect(() => CqrsDatabase.fromAttributes({ ...attributes, port: Token.asNumber({ Ref: 'Port' }) })).not.toThrow();
});
