import { App, CfnOutput, Environment, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { KubernetesAccess, KubernetesWorkload, ServiceExposure, WorkloadImage } from '../../src/workload';
import { madeClassicCluster, madeCluster, testClassicCluster, testCluster, testKubernetes } from '../cluster';
import { manifestsOf } from '../kubernetes-manifests';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
const configMap = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
const nameOf = (logicalId: string) => logicalId.replace(/[0-9A-F]{8}$/, '');
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

  test('applies the rest after its dependencies', () => {
    const kubernetes = testKubernetes(stack);
    kubernetes.addDependency(kubernetes.applyManifest(stack, 'First', [configMap('first')]));
    kubernetes.applyManifest(stack, 'Second', [configMap('second')]);
    Template.fromStack(stack).hasResource('Custom::AWSCDK-EKS-KubernetesResource', { DependsOn: [Match.stringLikeRegexp('^First')] });
  });

  test('applies the rest after it also if it was applied earlier, but not what it depends on itself', () => {
    const kubernetes = testKubernetes(stack);
    const earlier = kubernetes.applyManifest(stack, 'Earlier', [configMap('earlier')]);
    const first = kubernetes.applyManifest(new Construct(stack, 'Scope'), 'First', [configMap('first')]);
    kubernetes.addDependency(first.node.scope!);
    kubernetes.addDependency(kubernetes.applyManifest(stack, 'Second', [configMap('second')]));
    const [onFirst, onBoth] = [['ScopeFirst'], ['ScopeFirst', 'Second']];
    const template = Template.fromStack(stack);
    const dependencies = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource'))
      .map(([id, { DependsOn = [] }]) => [nameOf(id), DependsOn.map(nameOf)]);
    expect(Object.fromEntries(dependencies)).toEqual({ Earlier: onBoth, ScopeFirst: [], Second: onFirst });
    expect(earlier.node.dependencies).toHaveLength(2);
  });

  test('makes load balancers by EKS Auto Mode unless the cluster is made without it', () => {
    const classOf = (props: Partial<eksv2.ClusterProps>) => KubernetesAccess.fromEksV2(madeCluster(new Stack(), props)).loadBalancerClass;
    expect(classOf({})).toBe('eks.amazonaws.com/nlb');
    expect(classOf({ defaultCapacityType: eksv2.DefaultCapacityType.NODEGROUP })).toBe('service.k8s.aws/nlb');
    expect(testKubernetes(stack).loadBalancerClass).toBe('eks.amazonaws.com/nlb');
    expect(testKubernetes(new Stack(), { loadBalancerClass: 'example.com/nlb' }).loadBalancerClass).toBe('example.com/nlb');
  });

  test('needs a security group to connect', () => {
    const cluster = eksv2.Cluster.fromClusterAttributes(stack, 'Cluster', { clusterName: 'c', kubectlProvider: testCluster(stack).kubectlProvider });
    expect(() => KubernetesAccess.fromEksV2(cluster).connections)
      .toThrow("give `clusterSecurityGroupId` where the cluster is imported, or `podSecurityGroup` of the KubernetesAccess (in 'Default/Cluster')");
  });

  test('refuses a stack of another account or region, unless one is unknown', () => {
    const app = new App();
    const [here, there] = [{ account: '111111111111', region: 'eu-west-1' }, { account: '222222222222', region: 'eu-west-1' }];
    const kubernetes = testKubernetes(new Stack(app, 'Cluster', { env: here }));
    const apply = (id: string, env?: Environment) => kubernetes.applyManifest(new Stack(app, id, { env }), 'Map', [configMap(id)]);
    expect(() => apply('There', there)).toThrow("the cluster is in account 111111111111, and the stack 'There' is in another: make the workloads of the cluster"
      + " in a stack of the cluster's account and region. For resources of another account give the workload a targetRole");
    expect(() => apply('Far', { ...here, region: 'us-east-1' })).toThrow('the cluster is in region eu-west-1');
    expect(() => apply('Same', here)).not.toThrow();
    expect(() => apply('Unknown')).not.toThrow();
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

describe('aws-eks, imported with little', () => {
  const attributes = { clusterName: 'classic' };

  test('needs kubectl', () => {
    const cluster = eks.Cluster.fromClusterAttributes(stack, 'Cluster', attributes);
    expect(() => KubernetesAccess.fromEks(cluster)).toThrow('Set `kubectlRoleArn` and `kubectlLayer` (or `kubectlProvider`) where the cluster is imported');
  });

  test('needs a security group to connect, and only then', () => {
    const cluster = eks.Cluster.fromClusterAttributes(stack, 'Cluster', { ...attributes, kubectlRoleArn: 'arn:aws:iam::111111111111:role/kubectl' });
    const kubernetes = KubernetesAccess.fromEks(cluster);
    expect(() => kubernetes.connections).toThrow('give `clusterSecurityGroupId` where the cluster is imported');
    expect(() => new KubernetesWorkload(stack, 'Api', { kubernetes, image })).not.toThrow();
  });

  test('makes load balancers by the AWS Load Balancer Controller', () => {
    expect(KubernetesAccess.fromEks(testClassicCluster(stack)).loadBalancerClass).toBe('service.k8s.aws/nlb');
    expect(KubernetesAccess.fromEks(madeClassicCluster(new Stack())).loadBalancerClass).toBe('service.k8s.aws/nlb');
  });

  test('reads the address of a load balancer', () => {
    const kubernetes = KubernetesAccess.fromEks(testClassicCluster(stack));
    const { url } = new KubernetesWorkload(stack, 'Api', { kubernetes, image, exposure: ServiceExposure.internalNetworkLoadBalancer() });
    new CfnOutput(stack, 'Url', { value: url! });
    Template.fromStack(stack).hasResourceProperties('Custom::AWSCDK-EKS-KubernetesObjectValue', {
      ObjectType: 'service', ObjectNamespace: 'default', TimeoutSeconds: 600,
    });
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

  test('reads no address and knows no class of load balancers', () => {
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'gitops' });
    expect(kubernetes._serviceAddress(stack, 'Address', 'api', stack)).toBeUndefined();
    expect(kubernetes.loadBalancerClass).toBeUndefined();
    expect(KubernetesAccess.manifestsOnly({ clusterName: 'gitops', loadBalancerClass: 'a/b' }).loadBalancerClass).toBe('a/b');
  });

  test('connects only with the security group of the pods', () => {
    expect(() => KubernetesAccess.manifestsOnly({ clusterName: 'gitops' }).connections)
      .toThrow('KubernetesAccess.manifestsOnly needs `podSecurityGroup` to open a database to the pods');
    const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
    expect(KubernetesAccess.manifestsOnly({ clusterName: 'gitops', podSecurityGroup }).connections.securityGroups).toEqual([podSecurityGroup]);
  });
});
