import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { KubernetesAccess, KubernetesAccessOptions } from '../src/workload';

/** A cluster with a kubectl provider; imported, because a new one stages 58 MB of layers. */
export function testCluster(scope: Construct): eksv2.ICluster {
  return eksv2.Cluster.fromClusterAttributes(scope, 'TestCluster', {
    clusterName: 'test-cluster',
    clusterSecurityGroupId: 'sg-cluster',
    vpc: ec2.Vpc.fromVpcAttributes(scope, 'TestVpc', {
      vpcId: 'vpc-1',
      availabilityZones: ['a', 'b'],
      privateSubnetIds: ['subnet-1', 'subnet-2'],
    }),
    kubectlProvider: eksv2.KubectlProvider.fromKubectlProviderAttributes(scope, 'TestKubectl', {
      serviceToken: 'arn:aws:lambda:eu-west-1:111111111111:function:kubectl',
      role: iam.Role.fromRoleArn(scope, 'TestKubectlRole', 'arn:aws:iam::111111111111:role/kubectl'),
    }),
  });
}

/** As `testCluster`, of the older module. */
export function testClassicCluster(scope: Construct): eks.ICluster {
  return eks.Cluster.fromClusterAttributes(scope, 'TestCluster', {
    clusterName: 'test-cluster',
    clusterSecurityGroupId: 'sg-cluster',
    kubectlProvider: eks.KubectlProvider.fromKubectlProviderAttributes(scope, 'TestKubectl', {
      functionArn: 'arn:aws:lambda:eu-west-1:111111111111:function:kubectl',
      kubectlRoleArn: 'arn:aws:iam::111111111111:role/kubectl',
      handlerRole: iam.Role.fromRoleArn(scope, 'TestKubectlRole', 'arn:aws:iam::111111111111:role/kubectl'),
    }),
  });
}

export function testKubernetes(scope: Construct, options?: KubernetesAccessOptions): KubernetesAccess {
  return KubernetesAccess.fromEksV2(testCluster(scope), options);
}

/** A cluster that the app makes, with layers that are imported. */
export function madeCluster(scope: Construct, props: Partial<eksv2.ClusterProps> = {}): eksv2.Cluster {
  return new eksv2.Cluster(scope, 'Cluster', {
    version: eksv2.KubernetesVersion.V1_35,
    vpc: new ec2.Vpc(scope, 'Vpc', { natGateways: 1 }),
    kubectlProviderOptions: { kubectlLayer: layer(scope, 'KubectlLayer'), awscliLayer: layer(scope, 'AwscliLayer') },
    ...props,
  });
}

/** As `madeCluster`, of the older module. */
export function madeClassicCluster(scope: Construct, props: Partial<eks.ClusterProps> = {}): eks.Cluster {
  return new eks.Cluster(scope, 'Cluster', {
    version: eks.KubernetesVersion.of('1.35'),
    vpc: new ec2.Vpc(scope, 'Vpc', { natGateways: 1 }),
    kubectlLayer: layer(scope, 'KubectlLayer'),
    awscliLayer: layer(scope, 'AwscliLayer'),
    ...props,
  });
}

function layer(scope: Construct, id: string): lambda.ILayerVersion {
  return lambda.LayerVersion.fromLayerVersionArn(scope, id, `arn:aws:lambda:eu-west-1:111111111111:layer:${id}:1`);
}
