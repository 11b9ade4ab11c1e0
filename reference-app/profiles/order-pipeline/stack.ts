import * as cdk from 'aws-cdk-lib';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import {
  Autoscaling,
  DatabaseLogins,
  DatabaseSide,
  EventDrivenOrderPipeline,
  EventSigning,
  EventTransport,
  QueueScaling,
} from 'cdk-order-pipeline';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from '../../lib/acknowledgements.ts';
import { apiAccess } from '../../lib/api-access.ts';
import { makePlatform, program, type ServicesStackProps } from '../../lib/platform.ts';
import { settingsFrom, type QueueReplicas } from '../../lib/settings.ts';

const RELAY = 'outbox-relay';

/** Orders and inventory on EKS, Aurora, EventBridge and SQS; nothing in it is reachable from the internet. */
export class OrderPipelineStack extends cdk.Stack {
  readonly cluster: eks.Cluster;
  readonly pipeline: EventDrivenOrderPipeline;

  constructor(scope: Construct, id: string, { images, settings = settingsFrom(scope), ...props }: ServicesStackProps) {
    super(scope, id, props);
    const { cluster, database, services, migration, alarms, watch } = makePlatform(this, images, settings);
    this.cluster = cluster;
    const { authorizer, exposure, environment } = apiAccess(this, settings);

    this.pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
      database,
      transport: EventTransport.eventBridge(),
      eventSource: settings.eventSource,
      eventSigning: EventSigning.generated({ verify: settings.verifyEvents }),
      databaseLogins: DatabaseLogins.perWorkload(),
      authorizer,
      migration: migration.job(['node', 'migrate.js'], { serviceName: 'migration', environment: { SEED_FILE: 'data/catalog.json' } }),
      commandApi: services.run(...program('api-write-service', {
        exposure, scaling: Autoscaling.cpu(settings.commandApi), environment: { ...environment, INTAKE_GATHER_MS: '33' },
      })),
      queryApi: services.run(...program('api-read-service', { exposure, scaling: Autoscaling.cpu(settings.queryApi), environment })),
      outboxRelay: services.run(...program(RELAY, {
        scaling: Autoscaling.cpu(settings.outboxRelay),
        environment: {
          RELAY_BUNDLE_KB: '60',
          // Orders gather before the first step of their way. What follows from them comes together, and goes on soon.
          RELAY_BUNDLE_LINGER_MS: '8',
          // No decision waits for the last three.
          RELAY_GATHER_MS: 'OrderCreated=70,OrderConfirmed=250,OrderRejected=250,InventoryUpdated:DEDUCTED=250',
        },
      })),
    });
    for (const [serviceName, { events, replicas, maxReceiveCount, processingSeconds }] of Object.entries(settings.consumers)) {
      this.pipeline.addConsumer(constructId(serviceName), {
        ...Array.isArray(events) ? { events } : { eventPattern: events },
        database: DatabaseSide.COMMAND,
        maxReceiveCount,
        target: services.consume(...program(serviceName, {
          processingTime: cdk.Duration.seconds(processingSeconds),
          scaling: queueScaling(replicas),
        })),
      });
    }

    this.pipeline.addAlarms(alarms);
    this.pipeline.addDashboard();
    watch(['api-write-service', 'api-read-service', RELAY, ...Object.keys(settings.consumers)]);

    new cdk.CfnOutput(this, 'EventBusName', { value: this.pipeline.eventBus!.eventBusName });
    new cdk.CfnOutput(this, 'DatabaseWriterEndpoint', { value: database.writerEndpoint.socketAddress });
    new cdk.CfnOutput(this, 'DatabaseReaderEndpoint', { value: database.readerEndpoint.socketAddress });
    acknowledgeFindings(this);
  }
}

function queueScaling(replicas: QueueReplicas): QueueScaling {
  return QueueScaling.keda({
    minReplicas: replicas.minReplicas,
    maxReplicas: replicas.maxReplicas,
    acceptableLatency: cdk.Duration.seconds(replicas.acceptableLatencySeconds),
    messageProcessingTime: cdk.Duration.millis(replicas.millisecondsPerMessage),
    fallback: { replicas: replicas.fallbackReplicas },
    behavior: { scaleDown: { policies: [{ type: 'Percent', value: replicas.scaleDownPercentPerMinute, periodSeconds: 60 }] } },
    targetCpuUtilizationPercent: replicas.targetCpuPercent,
  });
}

/** `stock-service` is `Stock`, `order-status` is `OrderStatus`. */
function constructId(serviceName: string): string {
  return serviceName.replace(/-service$/, '').replace(/(^|-)(.)/g, (_match, _hyphen, letter: string) => letter.toUpperCase());
}
