import { problemsOfMigration, problemsOfPrerequisites, problemsOfUrls, problemsOfWholePipeline, Resource, Template } from './template-checks';

const manifest = (...parts: unknown[]) => ({ 'Fn::Join': ['', parts] });
const RESOURCES: { [id: string]: Resource } = {
  Cluster: { Type: 'AWS::RDS::DBCluster', Properties: { Port: 5433 } },
  Writer: { Type: 'AWS::RDS::DBInstance', Properties: { PromotionTier: 0 } },
  Reader: { Type: 'AWS::RDS::DBInstance', Properties: { PromotionTier: 1 } },
  Ingress: { Type: 'AWS::EC2::SecurityGroupIngress', Properties: { FromPort: 5433 } },
  OtherIngress: { Type: 'AWS::EC2::SecurityGroupIngress', Properties: { FromPort: 443 } },
  Migration: {
    Type: 'Custom::AWSCDK-EKS-KubernetesResource',
    DependsOn: ['Writer', 'Reader', 'Ingress', 'OtherIngress'],
    Properties: { Manifest: manifest('[{"kind":"Job","name":"', { Ref: 'Cluster' }, '"}]') },
  },
  MetricsServer: { Type: 'AWS::EKS::Addon', Properties: { AddonName: 'metrics-server' } },
  NetworkPolicies: {
    Type: 'Custom::AWSCDK-EKS-KubernetesResource',
    Properties: { Manifest: '[{"kind":"ConfigMap","metadata":{"name":"amazon-vpc-cni"},"data":{"enable-network-policy-controller":"true"}}]' },
  },
};
const url = (port: number) => ({ Value: { 'Fn::Join': ['', ['http://', { 'Fn::GetAtt': ['Address', 'Value'] }, `:${port}`]] } });
const WHOLE: Template = { Resources: RESOURCES, Outputs: { PipelineCommandApiUrl1A2B: url(3000), PipelineQueryApiUrl3C4D: url(3001) } };

const without = (id: string): Template => {
  const { [id]: _removed, ...rest } = RESOURCES;
  return { ...WHOLE, Resources: rest };
};
const withResource = (id: string, resource: Partial<Resource>): Template => ({
  ...WHOLE, Resources: { ...RESOURCES, [id]: { ...RESOURCES[id], ...resource } as Resource },
});
const dependsOn = (...ids: string[]) => problemsOfMigration(withResource('Migration', { DependsOn: ids }));

test('a template that has everything has no problem', () => {
  expect(problemsOfWholePipeline(WHOLE)).toEqual([]);
});

test('an empty template lacks everything', () => {
  expect(problemsOfWholePipeline({})).toHaveLength(5);
});

test('a template without a migration fails, and one with two', () => {
  expect(problemsOfWholePipeline(without('Migration'))).toEqual([expect.stringContaining('0 manifests with a Job')]);
  expect(problemsOfMigration(withResource('Second', RESOURCES.Migration))).toEqual([expect.stringContaining('2 manifests with a Job')]);
});

test('a migration that does not wait for the whole database fails', () => {
  expect(dependsOn('Reader', 'Ingress')).toEqual([expect.stringContaining('writer')]);
  expect(dependsOn('Writer', 'Ingress')).toEqual([expect.stringContaining('reader')]);
  expect(dependsOn('Writer', 'Reader', 'OtherIngress')).toEqual([expect.stringContaining('opens the database')]);
  expect(problemsOfMigration(withResource('Migration', { DependsOn: undefined }))).toHaveLength(3);
});

test('a rule for any other port is not the one of a database that says none', () => {
  const template = withResource('Cluster', { Properties: {} });
  expect(problemsOfMigration({ ...template, Resources: { ...template.Resources, Ingress: { Type: 'AWS::EC2::SecurityGroupIngress' } } }))
    .toEqual([expect.stringContaining('opens the database')]);
});

test('a template without the prerequisites of its cluster fails', () => {
  expect(problemsOfPrerequisites(without('MetricsServer'))).toEqual([expect.stringContaining('metrics-server')]);
  expect(problemsOfPrerequisites(withResource('MetricsServer', { Properties: { AddonName: 'vpc-cni' } }))).toHaveLength(1);
  expect(problemsOfPrerequisites(without('NetworkPolicies'))).toEqual([expect.stringContaining('network policies')]);
  const off = String(RESOURCES.NetworkPolicies.Properties!.Manifest).replace('"true"', '"false"');
  expect(problemsOfPrerequisites(withResource('NetworkPolicies', { Properties: { Manifest: off } }))).toHaveLength(1);
});

test('a template without the addresses of the APIs fails', () => {
  expect(problemsOfUrls({ Outputs: { CommandApiUrl: url(3000) } })).toEqual(['there is no output QueryApiUrl']);
  expect(problemsOfUrls({ Outputs: { CommandApiUrl: { Value: 'http://:3000' }, QueryApiUrl: url(3001) } })).toEqual([expect.stringContaining('no URL')]);
  const secure = { Value: { 'Fn::Join': ['', ['https://', { 'Fn::GetAtt': ['Address', 'Value'] }]] } };
  expect(problemsOfUrls({ Outputs: { CommandApiUrl: secure, QueryApiUrl: secure } })).toEqual([]);
  expect(problemsOfUrls({ Outputs: { CommandApiUrl: { Value: { Ref: 'Address' } }, QueryApiUrl: url(3001) } })).toHaveLength(1);
});
