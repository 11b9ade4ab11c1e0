import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import type * as cdk from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import { KubernetesAccess } from 'cdk-order-pipeline';
import type { Settings } from './settings.ts';

// What every stack with services stands on.

export function network(stack: cdk.Stack): ec2.Vpc {
  return new ec2.Vpc(stack, 'Vpc', {
    subnetConfiguration: [
      { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
      { name: 'Services', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 19 },
      { name: 'Database', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
    ],
    flowLogs: {
      All: {
        destination: ec2.FlowLogDestination.toCloudWatchLogs(new logs.LogGroup(stack, 'FlowLogs', {
          retention: logs.RetentionDays.THREE_MONTHS,
        })),
      },
    },
  });
}

export function kubernetesCluster(stack: cdk.Stack, vpc: ec2.IVpc, settings: Settings): eks.Cluster {
  const cluster = new eks.Cluster(stack, 'Cluster', {
    vpc,
    vpcSubnets: [{ subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }],
    version: eks.KubernetesVersion.V1_35,
    endpointAccess: eks.EndpointAccess.PRIVATE,
    clusterLogging: Object.values(eks.ClusterLoggingTypes),
    secretsEncryptionKey: new kms.Key(stack, 'SecretsKey', {
      enableKeyRotation: true,
      description: 'Kubernetes secrets of the order pipeline',
    }),
    kubectlProviderOptions: { kubectlLayer: new KubectlV35Layer(stack, 'KubectlLayer') },
  });
  // The autoscalers read CPU from it.
  new eks.Addon(stack, 'MetricsServer', { cluster, addonName: 'metrics-server' });
  if (settings.operatorRoleArn) { cluster.grantClusterAdmin('Operator', settings.operatorRoleArn); }
  return cluster;
}

export function kubernetesAccess(stack: cdk.Stack, cluster: eks.Cluster, { namespace }: Settings): KubernetesAccess {
  const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace });
  kubernetes.addDependency(kubernetes.applyManifest(stack, 'Namespace', [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    // Auto Mode leaves network policies without effect until this says otherwise.
    // https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system' },
      data: { 'enable-network-policy-controller': 'true' },
    },
  ]));
  return kubernetes;
}

/** A service is named like its program in the image. */
export function program(serviceName: string) {
  return { serviceName, command: ['node', `${serviceName}.js`] };
}
