import * as cdk from 'aws-cdk-lib';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as sns from 'aws-cdk-lib/aws-sns';
import {
  Autoscaling,
  ConsumerTarget,
  CqrsAuroraCluster,
  EventDrivenOrderPipeline,
  QueueScaling,
  type WorkloadImage,
} from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from './acknowledgements.ts';
import { kubernetesAccess, kubernetesCluster, network, program } from './platform.ts';
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

    const vpc = network(this);
    this.cluster = kubernetesCluster(this, vpc, settings);
    const kubernetes = kubernetesAccess(this, this.cluster, settings);
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
}

/** `stock-service` is `Stock`, `order-status` is `OrderStatus`. */
function constructId(serviceName: string): string {
  return serviceName.replace(/-service$/, '').replace(/(^|-)(.)/g, (_match, _hyphen, letter: string) => letter.toUpperCase());
}
