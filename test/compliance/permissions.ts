import type { Stack } from 'aws-cdk-lib';
import { CfnResource } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

type Statement = Record<string, unknown>;

/** Every statement of IAM, of resource policies and of trust, and every rule of security groups, each as a line that says it all. */
export interface Permissions {
  /** Lines of `owner: effect actions on resources for principals if conditions`. */
  readonly statements: string[];
  /** Lines of `group in|out peer: port`. */
  readonly rules: string[];
}

/** Made by the test, or by aws-cdk-lib once for all deployments of files. */
const FOREIGN = /^(TestKubectl\w*|TestCluster|TestVpc|Custom::CDKBucketDeployment\w*)(\/|$)/;

/**
 * The permissions in what the library makes, and in what it adds to the keys and roles that are brought. Who may use a brought role is no
 * part of it.
 */
export function permissionsOf(stack: Stack): Permissions {
  const all = stack.node.findAll().filter((construct): construct is CfnResource => CfnResource.isCfnResource(construct));
  const pathOf = (construct: IConstruct) => construct.node.path.replace(`${stack.node.path}/`, '').replace(/\/Resource$/, '');
  const paths = new Map(all.map((resource) => [stack.resolve(resource.logicalId) as string, pathOf(resource)]));
  const own = all.filter((resource) => !FOREIGN.test(pathOf(resource))
    && !(pathOf(resource).startsWith('Brought/') && resource.cfnResourceType === 'AWS::IAM::Role'));

  /** A value with paths instead of logical ids. */
  const shown = (value: unknown): string => {
    if (Array.isArray(value)) { return value.map(shown).join(', '); }
    if (typeof value !== 'object' || value === null) { return String(value); }
    const [[name, argument] = ['', ''], ...others] = Object.entries(value);
    if (others.length === 0 && name === 'Ref') { return `<${paths.get(String(argument)) ?? argument}>`; }
    if (others.length === 0 && name === 'Fn::GetAtt') {
      const [id, attribute] = argument as [string, string];
      return `<${paths.get(id)}${['Arn', 'GroupId', 'QueueArn'].includes(attribute) ? '' : `.${attribute}`}>`;
    }
    if (others.length === 0 && name === 'Fn::Join') { return (argument as [string, unknown[]])[1].map(shown).join((argument as [string])[0]); }
    return `{${Object.entries(value).map(([key, inner]) => `${key}: ${shown(inner)}`).join(', ')}}`;
  };
  const line = (owner: string, { Effect, Action, NotAction, Resource, NotResource, Principal, NotPrincipal, Condition }: Statement) => {
    const part = (word: string, value: unknown, not?: unknown) => (
      value !== undefined ? [`${word}${shown(value)}`] : not !== undefined ? [`${word}everything but ${shown(not)}`] : []);
    return [
      `${owner}:`, ...Effect === 'Allow' ? [] : [Effect], ...part('', Action, NotAction), ...part('on ', Resource, NotResource),
      ...part('for ', Principal, NotPrincipal), ...part('if ', Condition),
    ].join(' ');
  };
  const propertiesOf = (resource: CfnResource): Record<string, any> => {
    const template = stack.resolve(resource._toCloudFormation()) as { Resources: Record<string, { Properties?: Record<string, any> }> };
    return Object.values(template.Resources)[0]?.Properties ?? {};
  };
  const statementsOf = (resource: CfnResource): string[] => {
    const properties = propertiesOf(resource);
    const documents = [
      ...['PolicyDocument', 'AssumeRolePolicyDocument', 'KeyPolicy', 'Policy', 'ResourcePolicy'].map((name) => properties[name]),
      ...(properties.Policies ?? []).map((policy: { PolicyDocument: unknown }) => policy.PolicyDocument),
      // The policy of a bus has one.
      ...properties.Statement ? [{ Statement: [properties.Statement] }] : [],
    ].filter((document) => Array.isArray(document?.Statement));
    return [
      ...documents.flatMap((document) => document.Statement.map((statement: Statement) => line(pathOf(resource), statement))),
      ...(properties.ManagedPolicyArns ?? []).map((policy: unknown) => `${pathOf(resource)}: managed policy ${shown(policy)}`),
      ...resource.cfnResourceType === 'AWS::Lambda::Permission'
        ? [`${pathOf(resource)}: ${properties.Action} on ${shown(properties.FunctionName)} for ${shown(properties.Principal)}`] : [],
    ];
  };
  const ruleOf = (group: string, direction: 'in' | 'out', rule: Record<string, unknown>) => {
    const peer = ['SourceSecurityGroupId', 'DestinationSecurityGroupId', 'CidrIp', 'CidrIpv6', 'SourcePrefixListId', 'DestinationPrefixListId']
      .map((name) => rule[name]).find((value) => value !== undefined);
    const [from, to] = [shown(rule.FromPort), shown(rule.ToPort)];
    const ports = rule.FromPort === undefined ? 'all ports' : from + (from === to ? '' : `-${to}`);
    return `${group} ${direction} ${shown(peer)}: ${shown(rule.IpProtocol)} ${ports}`;
  };
  const rulesOf = (resource: CfnResource): string[] => {
    const properties = propertiesOf(resource);
    switch (resource.cfnResourceType) {
      case 'AWS::EC2::SecurityGroup': return [
        ...(properties.SecurityGroupIngress ?? []).map((rule: Statement) => ruleOf(`<${pathOf(resource)}>`, 'in', rule)),
        ...(properties.SecurityGroupEgress ?? []).map((rule: Statement) => ruleOf(`<${pathOf(resource)}>`, 'out', rule)),
      ];
      case 'AWS::EC2::SecurityGroupIngress': return [ruleOf(shown(properties.GroupId), 'in', properties)];
      case 'AWS::EC2::SecurityGroupEgress': return [ruleOf(shown(properties.GroupId), 'out', properties)];
      default: return [];
    }
  };
  return { statements: own.flatMap(statementsOf).sort(), rules: own.flatMap(rulesOf).sort() };
}
