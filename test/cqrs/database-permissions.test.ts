import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import { CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, DatabaseAccess, ICqrsDatabase } from '../../src/cqrs';

// The whole lists: what is not in them is not granted.

const SIDES = { command: DatabaseAccess.command, query: DatabaseAccess.query, admin: DatabaseAccess.admin };
type Side = keyof typeof SIDES;

interface Granted {
  /** Each statement as `principal: actions on resource if condition`. */
  readonly statements: string[];
  /** Each rule as `direction group -> group: port`. */
  readonly rules: string[];
}

let stack: Stack;
let database: CqrsAuroraCluster;

let vpc: ec2.IVpc;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
});

function make(props: Partial<CqrsAuroraClusterProps>): void {
  database = new CqrsAuroraCluster(stack, 'Database', { vpc, ...props });
}

/** Lets a client in, and returns all permissions and all rules of the stack. */
function granted(side: Side, to: ICqrsDatabase): Granted {
  const role = new iam.Role(stack, 'Client', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  const group = new ec2.SecurityGroup(stack, 'ClientGroup', { vpc, allowAllOutbound: false });
  SIDES[side](to).connect(role, group);
  return everything();
}

function everything(): Granted {
  const { Resources } = Template.fromStack(stack).toJSON() as { Resources: { [id: string]: any } };
  const of = (type: string) => Object.entries(Resources).filter(([, { Type }]) => Type === type);
  const named = (value: unknown): string => JSON.stringify(value)
    .replace(/\{"(?:Ref|Fn::GetAtt)":\[?"([A-Za-z]+?)(?:[0-9A-F]{8})?"(?:,"(GroupId|Arn)")?\]?\}/g, '<$1>').replaceAll('"', '');
  const statements = of('AWS::IAM::Policy').flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement
    .map((statement: any) => `${named(Properties.Roles[0])}: ${statement.Effect} ${statement.Action} on ${named(statement.Resource)}`
      + (statement.Condition ? ` if ${named(statement.Condition)}` : '')));
  const groups = of('AWS::EC2::SecurityGroup').flatMap(([id, { Properties }]) => [
    ...(Properties.SecurityGroupIngress ?? []).map((rule: any) => ['in', named({ Ref: id }), rule]),
    ...(Properties.SecurityGroupEgress ?? []).filter((rule: any) => rule.CidrIp !== '255.255.255.255/32').map((rule: any) => ['out', named({ Ref: id }), rule]),
  ]);
  const rules = [
    ...groups,
    ...of('AWS::EC2::SecurityGroupIngress').map(([, { Properties }]) => ['in', named(Properties.GroupId), Properties]),
    ...of('AWS::EC2::SecurityGroupEgress').map(([, { Properties }]) => ['out', named(Properties.GroupId), Properties]),
  ].map(([direction, id, rule]) => {
    expect(rule.FromPort).toEqual(rule.ToPort);
    const other = rule.CidrIp ?? named(rule.SourceSecurityGroupId ?? rule.DestinationSecurityGroupId);
    return `${direction} ${id} ${direction === 'in' ? 'from' : 'to'} ${other}: ${rule.IpProtocol} ${rule.FromPort}`;
  });
  return { statements: statements.sort(), rules: rules.sort() };
}

const READ = 'Allow secretsmanager:GetSecretValue on';
const ADMIN = '{Fn::GetAtt:[DatabaseCluster5B53A178,MasterUserSecret.SecretArn]}';
const CONNECT = 'Allow rds-db:connect on';
const userOf = (resource: string, role: string) =>
  `{Fn::Join:[,[arn:,{Ref:AWS::Partition},:rds-db:eu-west-1:111122223333:dbuser:,${resource},/orders_${role}]]}`;
const CLUSTER = '{Fn::GetAtt:[DatabaseCluster5B53A178,DBClusterResourceId]}';
const PROXY = '{Fn::Select:[6,{Fn::Split:[:,{Fn::GetAtt:[DatabaseProxyE01FC4E6,DBProxyArn]}]}]}';
const DIRECT_RULES = ['in <DatabaseSecurityGroup> from <ClientGroup>: tcp 5433', 'out <ClientGroup> to <DatabaseSecurityGroup>: tcp 5433'];
const PROXY_TO_CLUSTER = [
  'in <DatabaseSecurityGroup> from <DatabaseProxySecurityGroup>: tcp 5433', 'out <DatabaseProxySecurityGroup> to <DatabaseSecurityGroup>: tcp 5433',
];
const PROXY_RULES = [
  'in <DatabaseProxySecurityGroup> from <ClientGroup>: tcp 5432', 'out <ClientGroup> to <DatabaseProxySecurityGroup>: tcp 5432', ...PROXY_TO_CLUSTER,
].sort();

describe('with passwords', () => {
  const proxyReads = ['CommandSecret', 'QuerySecret'].map((secret) => `<DatabaseProxyRole>: ${READ} <Database${secret}>`);

  test.each<[Side, string[]]>([
    ['command', [`<Client>: ${READ} <DatabaseCommandSecret>`]],
    ['query', [`<Client>: ${READ} <DatabaseQuerySecret>`]],
    ['admin', [`<Client>: ${READ} <DatabaseCommandSecret>`, `<Client>: ${READ} <DatabaseQuerySecret>`, `<Client>: ${READ} ${ADMIN}`]],
  ])('%s reads its secret and reaches the cluster', (side, statements) => {
    make({});
    expect(granted(side, database)).toEqual({ statements: statements.sort(), rules: DIRECT_RULES });
  });

  test.each<[Side, string]>([['command', 'CommandSecret'], ['query', 'QuerySecret']])('%s through the proxy reaches only that', (side, secret) => {
    make({ proxy: {} });
    expect(granted(side, database.proxy!)).toEqual({
      statements: [`<Client>: ${READ} <Database${secret}>`, ...proxyReads].sort(), rules: PROXY_RULES,
    });
  });

  test('a client that goes direct does not reach the proxy', () => {
    make({ proxy: {} });
    expect(granted('command', database)).toEqual({
      statements: [`<Client>: ${READ} <DatabaseCommandSecret>`, ...proxyReads].sort(), rules: [...DIRECT_RULES, ...PROXY_TO_CLUSTER].sort(),
    });
  });

  test('of a key of yours, which Secrets Manager may use for them', () => {
    make({ proxy: {}, encryptionKey: new kms.Key(stack, 'Key') });
    const decrypt = 'Allow kms:Decrypt on <Key> if {StringEquals:{kms:ViaService:secretsmanager.eu-west-1.amazonaws.com}}';
    expect(granted('query', database.proxy!).statements).toEqual([
      `<Client>: ${decrypt}`, `<Client>: ${READ} <DatabaseQuerySecret>`, `<DatabaseProxyRole>: ${decrypt}`, ...proxyReads,
    ].sort());
  });
});

describe('with tokens', () => {
  test.each<[Side, string[]]>([
    ['command', [`<Client>: ${CONNECT} ${userOf(CLUSTER, 'command')}`]],
    ['query', [`<Client>: ${CONNECT} ${userOf(CLUSTER, 'query')}`]],
    ['admin', [`<Client>: ${READ} ${ADMIN}`]],
  ])('%s connects as its role and reaches the cluster', (side, statements) => {
    make({ credentials: CqrsCredentials.iam() });
    expect(granted(side, database)).toEqual({ statements, rules: DIRECT_RULES });
  });

  test.each<[Side]>([['command'], ['query']])('%s through the proxy connects as its role to that', (side) => {
    make({ credentials: CqrsCredentials.iam(), proxy: {} });
    expect(granted(side, database.proxy!)).toEqual({
      statements: [
        `<Client>: ${CONNECT} ${userOf(PROXY, side)}`,
        ...['command', 'query'].map((role) => `<DatabaseProxyRole>: ${CONNECT} ${userOf(CLUSTER, role)}`),
      ].sort(),
      rules: PROXY_RULES,
    });
  });
});

describe('the functions that rotate passwords', () => {
  test('reach the cluster, and Secrets Manager through NAT', () => {
    make({ credentials: CqrsCredentials.rotatedPasswords() });
    expect(everything()).toEqual({
      statements: [],
      rules: [
        'in <DatabaseSecurityGroup> from <DatabaseRotationSecurityGroup>: tcp 5433',
        'out <DatabaseRotationSecurityGroup> to 0.0.0.0/0: tcp 443',
        'out <DatabaseRotationSecurityGroup> to <DatabaseSecurityGroup>: tcp 5433',
      ],
    });
  });

  test('reach the cluster, and the endpoint of Secrets Manager', () => {
    const secretsManagerEndpoint = new ec2.InterfaceVpcEndpoint(stack, 'Endpoint', {
      vpc,
      service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      subnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      open: false,
    });
    make({ credentials: CqrsCredentials.rotatedPasswords({ secretsManagerEndpoint }) });
    expect(everything().rules.filter((rule) => !rule.startsWith('out <EndpointSecurityGroup>'))).toEqual([
      'in <DatabaseSecurityGroup> from <DatabaseRotationSecurityGroup>: tcp 5433',
      'in <EndpointSecurityGroup> from <DatabaseRotationSecurityGroup>: tcp 443',
      'out <DatabaseRotationSecurityGroup> to <DatabaseSecurityGroup>: tcp 5433',
      'out <DatabaseRotationSecurityGroup> to <EndpointSecurityGroup>: tcp 443',
    ]);
  });
});
