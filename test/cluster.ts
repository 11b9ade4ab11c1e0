import { Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
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

export function testKubernetes(stack: Stack, options?: KubernetesAccessOptions): KubernetesAccess {
  return KubernetesAccess.fromEksV2(testCluster(stack), options);
}
