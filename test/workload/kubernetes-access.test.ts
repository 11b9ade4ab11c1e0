import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { KubernetesAccess, KubernetesWorkload, WorkloadImage } from '../../src/workload';
import { testKubernetes } from '../cluster';
import { manifestsOf } from '../kubernetes-manifests';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
const configMap = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
let stack: Stack;

beforeEach(() => {
  stack = new Stack();
});

describe('aws-eks-v2', () => {
  test('applies what the workload needs in the stack of the workload', () => {
    const clusterStack = new Stack();
    const kubernetes = testKubernetes(clusterStack);
    new KubernetesWorkload(stack, 'Api', { kubernetes, image });
    expect(manifestsOf(Template.fromStack(stack)).length).toBeGreaterThan(3);
    expect(manifestsOf(Template.fromStack(clusterStack))).toEqual([]);
  });

  test('needs a kubectl provider', () => {
    const cluster = eksv2.Cluster.fromClusterAttributes(stack, 'Cluster', { clusterName: 'c' });
    expect(() => KubernetesAccess.fromEksV2(cluster)).toThrow(
      'Set `kubectlProviderOptions` on the cluster (`kubectlProvider` on an imported one), or use KubernetesAccess.manifestsOnly()');
  });

  test('applies the rest after what it was told to depend on', () => {
    const kubernetes = testKubernetes(stack);
    kubernetes.addDependency(kubernetes.applyManifest(stack, 'First', [configMap('first')]));
    kubernetes.applyManifest(stack, 'Second', [configMap('second')]);
    Template.fromStack(stack).hasResource('Custom::AWSCDK-EKS-KubernetesResource', { DependsOn: [Match.stringLikeRegexp('^First')] });
  });

  test('connects as the security group of the pods if they have one', () => {
    const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
    const { connections } = testKubernetes(stack, { podSecurityGroup });
    expect(connections.securityGroups).toEqual([podSecurityGroup]);
  });
});

describe('aws-eks', () => {
  test('applies with the kubectl provider of the cluster', () => {
    const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'v', availabilityZones: ['a'], privateSubnetIds: ['s'] });
    const cluster = eks.Cluster.fromClusterAttributes(stack, 'Cluster', {
      clusterName: 'classic',
      clusterSecurityGroupId: 'sg-classic',
      vpc,
      kubectlRoleArn: 'arn:aws:iam::111111111111:role/kubectl',
      kubectlLayer: lambda.LayerVersion.fromLayerVersionArn(stack, 'Layer', 'arn:aws:lambda:eu-west-1:111111111111:layer:kubectl:1'),
    });
    const kubernetes = KubernetesAccess.fromEks(cluster);
    new KubernetesWorkload(stack, 'Api', { kubernetes, image });

    expect(kubernetes.connections.securityGroups.map(sg => sg.securityGroupId)).toEqual(['sg-classic']);
    const template = Template.fromStack(stack);
    template.hasResourceProperties('Custom::AWSCDK-EKS-KubernetesResource', { ClusterName: 'classic' });
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', { ClusterName: 'classic' });
  });
});

describe('manifests only', () => {
  test('applies nothing, collects the manifests and makes the AWS side', () => {
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'gitops', namespace: 'orders' });
    new KubernetesWorkload(stack, 'Api', { kubernetes, image, serviceName: 'api' });

    const template = Template.fromStack(stack);
    template.resourceCountIs('Custom::AWSCDK-EKS-KubernetesResource', 0);
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', { ClusterName: 'gitops', Namespace: 'orders', ServiceAccount: 'api' });
    expect(kubernetes.manifests.map(m => m.kind)).toEqual(
      ['ServiceAccount', 'NetworkPolicy', 'Deployment', 'PodDisruptionBudget', 'HorizontalPodAutoscaler']);
  });

  test('connects only with the security group of the pods', () => {
    expect(() => KubernetesAccess.manifestsOnly({ clusterName: 'gitops' }).connections)
      .toThrow('KubernetesAccess.manifestsOnly needs `podSecurityGroup` to open a database to the pods');
    const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
    expect(KubernetesAccess.manifestsOnly({ clusterName: 'gitops', podSecurityGroup }).connections.securityGroups).toEqual([podSecurityGroup]);
  });
});
