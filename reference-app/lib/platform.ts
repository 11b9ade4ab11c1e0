import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import * as cdk from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import {
  CqrsAuroraCluster,
  CqrsInstances,
  type EventDrivenOrderPipeline,
  KubernetesAccess,
  KubernetesPrerequisites,
  type KubernetesServices,
  type PipelineAlarmsOptions,
  ServiceHost,
  type WorkloadImage,
} from 'cdk-order-pipeline';
import { alarmTopic, ServiceAlarms } from './alarms.ts';
import { Observability } from './observability.ts';
import { checkSettings, retentionOf, type InterfaceEndpoint, type Settings } from './settings.ts';

export interface ServiceImages {
  /** The image with all services. */
  readonly services: WorkloadImage;
  /** The image of the migration, the only one with SQL files. */
  readonly migration: WorkloadImage;
}

export interface ServicesStackProps extends cdk.StackProps {
  readonly images: ServiceImages;
  /** @default - the settings of settings.ts, with those of the context */
  readonly settings?: Settings;
}

/** The parts of every stack with services. */
export interface Platform {
  readonly cluster: eks.Cluster;
  readonly database: CqrsAuroraCluster;
  /** Services of the image with all services. */
  readonly services: KubernetesServices;
  /** Jobs of the image of the migration. */
  readonly migration: KubernetesServices;
  /** The actions of all alarms. */
  readonly alarms: PipelineAlarmsOptions;
  /** Adds the alarms that need metrics of the cluster, if it has them. */
  watch(workloads: readonly string[]): void;
}

export function makePlatform(stack: cdk.Stack, images: ServiceImages, settings: Settings): Platform {
  checkSettings(settings);
  const vpc = network(stack, settings);
  const cluster = kubernetesCluster(stack, vpc, settings);
  interfaceEndpoints(stack, vpc, cluster, settings);
  const kubernetes = kubernetesAccess(stack, cluster, settings);
  const topic = alarmTopic(stack, settings);
  const actions = [new SnsAction(topic)];
  const observability = settings.observability
    ? new Observability(stack, 'Observability', { cluster, namespace: settings.namespace, logRetention: retentionOf(settings.logRetentionDays) })
    : undefined;
  const database = orderDatabase(stack, vpc, settings);
  database.addAlarms({ actions, okActions: actions });
  // A failover has no metric. The policy of a topic that is named in the settings is yours to change.
  database.notifyEvents(topic);
  return {
    cluster,
    database,
    services: ServiceHost.kubernetesServices(kubernetes, images.services),
    migration: ServiceHost.kubernetesServices(kubernetes, images.migration),
    alarms: { actions, okActions: actions },
    watch(workloads) {
      if (observability) new ServiceAlarms(stack, 'ServiceAlarms', { observability, actions, workloads });
    },
  };
}

function network(stack: cdk.Stack, { natGateways, logRetentionDays }: Settings): ec2.Vpc {
  return new ec2.Vpc(stack, 'Vpc', {
    natGateways,
    subnetConfiguration: [
      { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
      { name: 'Services', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 19 },
      { name: 'Database', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
    ],
    flowLogs: {
      All: {
        destination: ec2.FlowLogDestination.toCloudWatchLogs(new logs.LogGroup(stack, 'FlowLogs', {
          retention: retentionOf(logRetentionDays),
        })),
      },
    },
    gatewayEndpoints: { S3: { service: ec2.GatewayVpcEndpointAwsService.S3 } },
  });
}

const SERVICES: Readonly<Record<InterfaceEndpoint, readonly ec2.InterfaceVpcEndpointAwsService[]>> = {
  'sqs': [ec2.InterfaceVpcEndpointAwsService.SQS],
  'eventbridge': [ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE],
  'monitoring': [ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING],
  'logs': [ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS],
  'secretsmanager': [ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER],
  'sts': [ec2.InterfaceVpcEndpointAwsService.STS],
  'eks-auth': [ec2.InterfaceVpcEndpointAwsService.EKS_AUTH],
  'ecr': [ec2.InterfaceVpcEndpointAwsService.ECR, ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER],
};

/** The endpoints of the settings, which only pods and nodes of the cluster can use. */
function interfaceEndpoints(stack: cdk.Stack, vpc: ec2.IVpc, cluster: eks.Cluster, { interfaceEndpoints: names }: Settings): void {
  for (const service of names.flatMap((name) => SERVICES[name])) {
    // In the VPC they would be a circle: the cluster waits for all that is in it.
    const endpoint = new ec2.InterfaceVpcEndpoint(stack, `Endpoint-${service.shortName}`, {
      vpc, service, subnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }, open: false,
    });
    endpoint.connections.allowDefaultPortFrom(cluster.clusterSecurityGroup, 'Pods and nodes');
  }
}

function kubernetesCluster(stack: cdk.Stack, vpc: ec2.IVpc, { publicAccessCidrs, logRetentionDays }: Settings): eks.Cluster {
  const cluster = new eks.Cluster(stack, 'Cluster', {
    vpc,
    vpcSubnets: [{ subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }],
    version: eks.KubernetesVersion.V1_35,
    endpointAccess: publicAccessCidrs?.length
      ? eks.EndpointAccess.PUBLIC_AND_PRIVATE.onlyFrom(...publicAccessCidrs)
      : eks.EndpointAccess.PRIVATE,
    clusterLogging: Object.values(eks.ClusterLoggingTypes),
    secretsEncryptionKey: new kms.Key(stack, 'SecretsKey', {
      enableKeyRotation: true,
      description: 'Kubernetes secrets of the order pipeline',
    }),
    kubectlProviderOptions: { kubectlLayer: new KubectlV35Layer(stack, 'KubectlLayer') },
  });
  // EKS makes the log group of the control plane, and keeps its lines forever.
  new logs.LogRetention(stack, 'ControlPlaneLogs', {
    logGroupName: `/aws/eks/${cluster.clusterName}/cluster`,
    retention: retentionOf(logRetentionDays),
  });
  // Those of the functions that apply manifests are made by aws-cdk-lib.
  for (const group of cluster.node.findAll().filter((child) => child instanceof logs.CfnLogGroup)) group.retentionInDays = logRetentionDays;
  return cluster;
}

/** Access to the namespace, with all that the services need of the cluster. */
function kubernetesAccess(stack: cdk.Stack, cluster: eks.Cluster, { namespace, operatorRoleArn }: Settings): KubernetesAccess {
  const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace });
  const operators = operatorRoleArn ? [iam.Role.fromRoleArn(stack, 'Operator', operatorRoleArn)] : [];
  new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, operators });
  new cdk.CfnOutput(stack, 'Kubeconfig', {
    value: `aws eks update-kubeconfig --region ${stack.region} --name ${cluster.clusterName} --role-arn ${operatorRoleArn ?? '<operatorRoleArn>'}`,
    description: 'Gives kubectl access to the cluster, from where its API server is reachable',
  });
  new cdk.CfnOutput(stack, 'ClusterSecurityGroupId', {
    value: cluster.clusterSecurityGroup.securityGroupId,
    description: 'Security group whose members reach the API server of the cluster',
  });
  return kubernetes;
}

function orderDatabase(stack: cdk.Stack, vpc: ec2.IVpc, { database, logRetentionDays }: Settings): CqrsAuroraCluster {
  const { name, snapshotIdentifier, readers, minCapacity, maxCapacity } = database;
  return new CqrsAuroraCluster(stack, 'Database', {
    vpc,
    databaseName: name,
    instances: CqrsInstances.serverless({ readers, minCapacity, maxCapacity }),
    snapshotIdentifier,
    logRetention: retentionOf(logRetentionDays),
  });
}

/** Makes a role for a publisher outside of the cluster, which people of the account assume. The bus refuses everybody else. */
export function letPublish(stack: cdk.Stack, pipeline: EventDrivenOrderPipeline): void {
  const role = new iam.Role(stack, 'PublisherRole', { assumedBy: new iam.AccountRootPrincipal(), description: 'Publishes the events of orders' });
  pipeline.allowPublish(role);
  const output = (id: string, value: string, description: string) => new cdk.CfnOutput(stack, id, { value, description });
  output('PublisherRoleArn', role.roleArn, 'The role that the publisher has to have');
  output('EventBusName', pipeline.eventBus!.eventBusName, 'EVENT_BUS_NAME of the publisher');
  output('EventSigningSecretArn', pipeline.eventSigningSecret!.secretArn, 'EVENT_SIGNING_SECRET_ARN of the publisher');
}

/** A service is named like its program in the image. */
export function program<T extends object>(serviceName: string, options?: T): [command: string[], options: T & { serviceName: string }] {
  return [['node', `${serviceName}.js`], { serviceName, ...options! }];
}
