import { App, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as rds from 'aws-cdk-lib/aws-rds';
import { CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, DatabaseAccess, DatabaseLogin, PasswordRotationOptions } from '../../src/cqrs';
import { unacknowledgedFindings } from '../nag';

let stack: Stack;
beforeEach(() => { stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } }); });

const { PRIVATE_ISOLATED } = ec2.SubnetType;
const WITH_NAT = { isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'] };
const ISOLATED = { isolatedSubnetIds: ['i-1', 'i-2'] };

function vpcOf(subnets: Partial<ec2.VpcAttributes>): ec2.IVpc {
  return ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: ['a', 'b'], ...subnets });
}

function databaseOf(credentials: CqrsCredentials, vpc = vpcOf(WITH_NAT), props: Partial<CqrsAuroraClusterProps> = {}): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, 'Database', { vpc, credentials, ...props });
}

const rotated = (options?: PasswordRotationOptions) => CqrsCredentials.rotatedPasswords(options);
const schedules = (): any[] => Object.values(Template.fromStack(stack).findResources('AWS::SecretsManager::RotationSchedule'));

describe('passwords', () => {
  test('stay the same', () => {
    databaseOf(CqrsCredentials.passwords());
    expect(schedules()).toEqual([]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });
});

describe('rotated passwords', () => {
  test('are changed by a function for each, which is in the subnets with NAT', () => {
    const db = databaseOf(rotated());
    const groupId = stack.resolve(db.rotationSecurityGroup?.securityGroupId);
    expect(schedules().map(({ Properties }) => Properties)).toEqual([db.commandLogin, db.queryLogin].map(({ secret }) => ({
      SecretId: stack.resolve(secret?.secretArn),
      RotationRules: { ScheduleExpression: 'rate(30 days)' },
      // The roles don't exist before the first migration.
      RotateImmediatelyOnUpdate: false,
      HostedRotationLambda: expect.objectContaining({
        RotationType: 'PostgreSQLSingleUser', VpcSubnetIds: 'p-1,p-2', VpcSecurityGroupIds: groupId,
      }),
    })));
    // The attachment adds the host and the port, without which the function finds no database.
    expect(schedules().map(({ DependsOn }) => DependsOn)).toEqual(
      Object.keys(Template.fromStack(stack).findResources('AWS::SecretsManager::SecretTargetAttachment')).map((id) => [id]));
    expect(Template.fromStack(stack).toJSON().Transform).toEqual(['AWS::SecretsManager-2024-09-16']);
  });

  test('need no acknowledgement', () => {
    databaseOf(rotated());
    expect(unacknowledgedFindings(stack)).toEqual([]);
    expect(JSON.stringify(stack.node.findAll().map(({ node }) => node.metadata))).not.toContain('SMG4');
  });

  test('are changed in the isolated subnets, through an endpoint', () => {
    const vpc = vpcOf(ISOLATED);
    const secretsManagerEndpoint = new ec2.InterfaceVpcEndpoint(stack, 'Endpoint', {
      vpc, service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER, subnets: { subnetType: PRIVATE_ISOLATED },
    });
    databaseOf(rotated({ secretsManagerEndpoint, interval: Duration.days(7) }), vpc);
    for (const { Properties } of schedules()) {
      expect([Properties.RotationRules.ScheduleExpression, Properties.HostedRotationLambda.VpcSubnetIds]).toEqual(['rate(7 days)', 'i-1,i-2']);
    }
  });

  test('are changed through an endpoint in the stack of the VPC', () => {
    const network = new Stack(stack.node.root as App, 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });
    const vpc = new ec2.Vpc(network, 'Vpc', { subnetConfiguration: [{ name: 'Isolated', subnetType: PRIVATE_ISOLATED }] });
    const secretsManagerEndpoint = vpc.addInterfaceEndpoint('Endpoint', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
    const db = databaseOf(rotated({ secretsManagerEndpoint }), vpc);
    const template = Template.fromStack(stack);
    const groupId = stack.resolve(db.rotationSecurityGroup?.securityGroupId);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { SourceSecurityGroupId: groupId, FromPort: 443, ToPort: 443 });
    template.hasResourceProperties('AWS::EC2::SecurityGroupEgress', { GroupId: groupId, FromPort: 443, ToPort: 443 });
  });

  test('are changed through an endpoint whose security group is unknown', () => {
    const secretsManagerEndpoint = ec2.InterfaceVpcEndpoint.fromInterfaceVpcEndpointAttributes(stack, 'Endpoint', { vpcEndpointId: 'vpce-1', port: 443 });
    databaseOf(rotated({ secretsManagerEndpoint }), vpcOf(ISOLATED));
    Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupEgress: [{ CidrIp: '0.0.0.0/0', IpProtocol: 'tcp', FromPort: 443, ToPort: 443, Description: 'Secrets Manager' }],
    });
  });

  test('are changed in subnets that are given', () => {
    databaseOf(rotated({ vpcSubnets: { subnetType: PRIVATE_ISOLATED } }));
    expect(schedules()[0].Properties.HostedRotationLambda.VpcSubnetIds).toBe('i-1,i-2');
  });

  test('are encrypted with a key that is given', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    databaseOf(rotated(), undefined, { encryptionKey });
    expect(schedules()[0].Properties.HostedRotationLambda.KmsKeyArn).toEqual(stack.resolve(encryptionKey.keyArn));
  });

  test('need a route to Secrets Manager', () => {
    expect(() => databaseOf(rotated(), vpcOf(ISOLATED))).toThrow(
      'rotatedPasswords needs a route to Secrets Manager, and vpc has no private subnets with NAT: give secretsManagerEndpoint, '
      + "such as vpc.addInterfaceEndpoint('SecretsManager', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER }), "
      + "or vpcSubnets with a route of your own (in 'Test/Database')");
  });

  test.each([Duration.hours(12), Duration.days(1001)])('refuse an interval of %s', (interval) => {
    expect(() => databaseOf(rotated({ interval }))).toThrow('interval must be between 1 day and 1000 days, got');
  });
});

describe('tokens', () => {
  test('need no secrets', () => {
    const db = databaseOf(CqrsCredentials.iam());
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::SecretsManager::Secret', 0);
    template.hasResourceProperties('AWS::RDS::DBCluster', { EnableIAMDatabaseAuthentication: true, ManageMasterUserPassword: true });
    expect([db.commandLogin, db.queryLogin].map(({ secret, userName }) => [secret, userName]))
      .toEqual([[undefined, 'orders_command'], [undefined, 'orders_query']]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('replace the secret in the environment', () => {
    const db = databaseOf(CqrsCredentials.iam());
    expect(Object.keys(DatabaseAccess.command(db).environment).sort()).toEqual([
      'DB_AUTHENTICATION', 'DB_ENGINE', 'DB_NAME', 'DB_PORT', 'DB_READER_ENDPOINT', 'DB_READER_PORT', 'DB_USER', 'DB_WRITER_ENDPOINT',
    ]);
    expect(DatabaseAccess.query(db).environment).toMatchObject({ DB_AUTHENTICATION: 'iam', DB_USER: 'orders_query' });
  });

  test('are not for the administrator, who makes the roles', () => {
    const db = databaseOf(CqrsCredentials.iam());
    const { environment } = DatabaseAccess.admin(db);
    expect(stack.resolve(environment)).toMatchObject({
      DB_SECRET_ARN: stack.resolve(db.adminSecret?.secretArn), DB_COMMAND_USER: 'orders_command', DB_QUERY_USER: 'orders_query',
    });
    expect(Object.keys(environment)).toHaveLength(9);
  });

  test('are for a cluster that is brought, too', () => {
    const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Cluster', {
      clusterIdentifier: 'shop', clusterResourceIdentifier: 'cluster-ABCDEFGH',
    });
    const login = DatabaseLogin.iam(cluster, 'shop_writer');
    expect(login.environment).toEqual({ DB_AUTHENTICATION: 'iam', DB_USER: 'shop_writer' });
  });
});
