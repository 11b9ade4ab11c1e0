import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import * as cdk from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import {
  Autoscaling,
  ConsumerTarget,
  CqrsAuroraCluster,
  EventDrivenOrderPipeline,
  KubernetesAccess,
  QueueScaling,
  type WorkloadImage,
} from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from './acknowledgements.ts';
import { defaultSettings, type Settings } from './settings.ts';

export interface OrderPipelineStackProps extends cdk.StackProps {
  /** The image with all services. */
  readonly image: WorkloadImage;
  readonly settings?: Settings;
}

/** Orders and inventory on EKS, Aurora, EventBridge and SQS; nothing in it is reachable from the internet. */
export class OrderPipelineStack extends cdk.Stack {
  readonly cluster: eks.Cluster;
  readonly pipeline: EventDrivenOrderPipeline;

  constructor(scope: Construct, id: string, props: OrderPipelineStackProps) {
    super(scope, id, props);
    const { image, settings = defaultSettings } = props;

    const vpc = this.network();
    this.cluster = this.kubernetesCluster(vpc, settings);
    const kubernetes = this.kubernetesAccess(settings);
    const database = new CqrsAuroraCluster(this, 'Database', {
      vpc,
      databaseName: settings.database.name,
      readers: settings.database.readers,
      minCapacity: settings.database.minCapacity,
      maxCapacity: settings.database.maxCapacity,
    });

    this.pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
      kubernetes,
      image,
      database,
      eventSource: settings.eventSource,
      migration: {
        serviceName: 'migration',
        command: ['node', 'migrate.js'],
        environment: { SEED_FILE: 'data/catalog.json' },
      },
      commandApi: { ...program('api-write-service'), scaling: Autoscaling.cpu(settings.commandApi) },
      queryApi: { ...program('api-read-service'), scaling: Autoscaling.cpu(settings.queryApi) },
      outboxRelay: { ...program('outbox-relay'), scaling: Autoscaling.cpu(settings.outboxRelay) },
    });
    const { alarmTopicArn } = settings;
    const told = alarmTopicArn ? [new SnsAction(sns.Topic.fromTopicArn(this, 'AlarmTopic', alarmTopicArn))] : [];
    for (const [serviceName, consumer] of Object.entries(settings.consumers)) {
      this.pipeline.addConsumer(constructId(serviceName), {
        eventPattern: consumer.eventPattern,
        maxReceiveCount: consumer.maxReceiveCount,
        target: ConsumerTarget.kubernetes(kubernetes, {
          image,
          ...program(serviceName),
          processingTime: cdk.Duration.seconds(consumer.processingSeconds),
          scaling: QueueScaling.horizontalPodAutoscaler(consumer.replicas),
        }),
      }).addAlarms({ actions: told, okActions: told });
    }

    new cdk.CfnOutput(this, 'EventBusName', { value: this.pipeline.eventBus.eventBusName });
    new cdk.CfnOutput(this, 'DatabaseWriterEndpoint', { value: database.writerEndpoint.socketAddress });
    new cdk.CfnOutput(this, 'DatabaseReaderEndpoint', { value: database.readerEndpoint.socketAddress });
    new cdk.CfnOutput(this, 'ApiAddresses', {
      value: `kubectl get services --namespace ${settings.namespace}`,
      description: 'Shows the internal load balancers: orders are posted to port 3000 of one and read from port 3001 of the other',
    });

    acknowledgeFindings(this);
  }

  private network(): ec2.Vpc {
    return new ec2.Vpc(this, 'Vpc', {
      subnetConfiguration: [
        { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        { name: 'Services', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 19 },
        { name: 'Database', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
      ],
      flowLogs: {
        All: {
          destination: ec2.FlowLogDestination.toCloudWatchLogs(new logs.LogGroup(this, 'FlowLogs', {
            retention: logs.RetentionDays.THREE_MONTHS,
          })),
        },
      },
    });
  }

  private kubernetesCluster(vpc: ec2.Vpc, settings: Settings): eks.Cluster {
    const cluster = new eks.Cluster(this, 'Cluster', {
      vpc,
      vpcSubnets: [{ subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }],
      version: eks.KubernetesVersion.V1_35,
      endpointAccess: eks.EndpointAccess.PRIVATE,
      clusterLogging: Object.values(eks.ClusterLoggingTypes),
      secretsEncryptionKey: new kms.Key(this, 'SecretsKey', {
        enableKeyRotation: true,
        description: 'Kubernetes secrets of the order pipeline',
      }),
      kubectlProviderOptions: { kubectlLayer: new KubectlV35Layer(this, 'KubectlLayer') },
    });
    // The autoscalers read CPU from it.
    new eks.Addon(this, 'MetricsServer', { cluster, addonName: 'metrics-server' });
    if (settings.operatorRoleArn) { cluster.grantClusterAdmin('Operator', settings.operatorRoleArn); }
    return cluster;
  }

  private kubernetesAccess({ namespace }: Settings): KubernetesAccess {
    const kubernetes = KubernetesAccess.fromEksV2(this.cluster, { namespace });
    kubernetes.addDependency(kubernetes.applyManifest(this, 'Namespace', [
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
}

/** A service is named like its program in the image. */
function program(serviceName: string) {
  return { serviceName, command: ['node', `${serviceName}.js`] };
}

/** `stock-service` is `Stock`, `order-status` is `OrderStatus`. */
function constructId(serviceName: string): string {
  return serviceName.replace(/-service$/, '').replace(/(^|-)(.)/g, (_match, _hyphen, letter: string) => letter.toUpperCase());
}
