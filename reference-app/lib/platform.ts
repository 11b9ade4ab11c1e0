import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import type * as cdk from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import {
  type ConsumerAlarmsOptions, CqrsAuroraCluster, CqrsReaders, KubernetesAccess, KubernetesPrerequisites, type WorkloadImage,
} from 'cdk-order-pipeline';
import type { Settings } from './settings.ts';

// The parts of every stack with services.

export interface ServicesStackProps extends cdk.StackProps {
  /** The image with all services. */
  readonly image: WorkloadImage;
  /** @default defaultSettings */
  readonly settings?: Settings;
}

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

export function kubernetesCluster(stack: cdk.Stack, vpc: ec2.IVpc): eks.Cluster {
  return new eks.Cluster(stack, 'Cluster', {
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
}

/** Access to the namespace, with all that the services need of the cluster. */
export function kubernetesAccess(stack: cdk.Stack, cluster: eks.Cluster, { namespace, operatorRoleArn }: Settings): KubernetesAccess {
  const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace });
  const operators = operatorRoleArn ? [iam.Role.fromRoleArn(stack, 'Operator', operatorRoleArn)] : [];
  new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, operators });
  return kubernetes;
}

export function orderDatabase(stack: cdk.Stack, vpc: ec2.IVpc, { database: { name, readers, ...capacity } }: Settings): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, 'Database', { vpc, databaseName: name, readers: CqrsReaders.withWriter(readers), ...capacity });
}

/** The topic of the settings hears of an alarm that goes off, and that it is over. */
export function alarmActions(stack: cdk.Stack, { alarmTopicArn }: Settings): ConsumerAlarmsOptions {
  const actions = alarmTopicArn ? [new SnsAction(sns.Topic.fromTopicArn(stack, 'AlarmTopic', alarmTopicArn))] : [];
  return { actions, okActions: actions };
}

/** A service is named like its program in the image. */
export function program<T extends object>(serviceName: string, options?: T): [command: string[], options: T & { serviceName: string }] {
  return [['node', `${serviceName}.js`], { serviceName, ...options! }];
}
