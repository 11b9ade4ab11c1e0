import type { Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { AcceptedPermission, acceptedRules, acceptedStatements } from './accepted-permissions';
import { allConstructs } from './all-constructs';
import { permissionsOf } from './permissions';

const listed = (accepted: AcceptedPermission[]) => accepted.flatMap(({ line, of }) => of.map((name) => line.replaceAll('$', name))).sort();

/** Names of service accounts end with a hash of their path. */
const OWN_ACCOUNT = /(kubernetes-service-account: )(all-[\w-]+)/;

let stack: Stack;
beforeAll(() => {
  stack = allConstructs();
});

/** A new one is to be taken back, or to be listed with its reason; one that is not there any more is to be taken off the list. */
function compare(found: string[], accepted: string[]): void {
  expect({
    new: found.filter((line) => !accepted.includes(line)),
    notThereAnyMore: accepted.filter((line) => !found.includes(line)),
  }).toEqual({ new: [], notThereAnyMore: [] });
}

test('every statement of a policy is listed with its reason', () => {
  const { statements } = permissionsOf(stack);
  compare(statements.map((line) => line.replace(OWN_ACCOUNT, '$1<own>')), listed(acceptedStatements));
});

test('no two roles are for the same service account', () => {
  const accounts = permissionsOf(stack).statements.flatMap((line) => OWN_ACCOUNT.exec(line)?.[2] ?? []);
  expect(accounts.length).toBeGreaterThan(10);
  expect(accounts).toEqual([...new Set(accounts)]);
});

test('every rule of a security group is listed with its reason', () => {
  compare(permissionsOf(stack).rules, listed(acceptedRules));
});

test('each is listed once, with a reason', () => {
  for (const accepted of [acceptedStatements, acceptedRules]) {
    expect(listed(accepted)).toEqual([...new Set(listed(accepted))]);
    expect(accepted.filter(({ reason }) => !/^[A-Z].{10,}\.$/.test(reason))).toEqual([]);
  }
});

test('each kind of permission is seen', () => {
  const changed = allConstructs();
  const before = permissionsOf(changed);
  const role = new iam.CfnRole(changed, 'Role', {
    assumeRolePolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: '*' }] },
    managedPolicyArns: ['arn:aws:iam::aws:policy/AdministratorAccess'],
    policies: [{ policyName: 'All', policyDocument: { Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] } }],
  });
  new iam.CfnPolicy(changed, 'Policy', { policyName: 'More', roles: [role.ref], policyDocument: { Statement: [{ Effect: 'Allow', NotAction: 's3:*', Resource: '*' }] } });
  const group = new ec2.CfnSecurityGroup(changed, 'Group', { groupDescription: 'open', vpcId: 'vpc-1', securityGroupIngress: [{ ipProtocol: '-1', cidrIp: '0.0.0.0/0' }] });
  new ec2.CfnSecurityGroupEgress(changed, 'Egress', { groupId: group.attrGroupId, ipProtocol: 'tcp', fromPort: 1, toPort: 9, cidrIpv6: '::/0' });
  const { statements, rules } = permissionsOf(changed);
  expect(statements.filter((line) => !before.statements.includes(line))).toEqual([
    'Policy: everything but s3:* on *',
    'Role: * on *',
    'Role: managed policy arn:aws:iam::aws:policy/AdministratorAccess',
    'Role: sts:AssumeRole for *',
  ]);
  expect(rules.filter((line) => !before.rules.includes(line))).toEqual(['<Group> in 0.0.0.0/0: -1 all ports', '<Group> out ::/0: tcp 1-9']);
});
