import { fileURLToPath } from 'node:url';
import * as cdk from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as assets from 'aws-cdk-lib/aws-ecr-assets';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sources from 'aws-cdk-lib/aws-lambda-event-sources';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as sqs from 'aws-cdk-lib/aws-sqs';

export interface ShopOptions {
  readonly outdir: string;
  /** File that the function writes what it saw to. */
  readonly seen: string;
  readonly detailType?: string;
  readonly maxReceiveCount?: number;
  readonly minReplicas?: number;
  readonly withDatabase?: boolean;
  /** Another command of the container than its image's. */
  readonly command?: string[];
  readonly environment?: Record<string, string>;
  /** An image that is built elsewhere. */
  readonly registryImage?: string;
  readonly withTable?: boolean;
  /** Leaves out what lets EventBridge send to the queue. */
  readonly withoutQueuePolicy?: boolean;
  readonly visibilityTimeoutSeconds?: number;
}

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * A shop in plain CDK, in two stacks, with nothing of this repository in it: a bus, a rule, a queue with its dead-letter
 * queue, a function that reads it, a deployment with an autoscaler behind a service, and a job before it.
 */
export function synthesizeShop(options: ShopOptions): string {
  const app = new cdk.App({ outdir: options.outdir, analyticsReporting: false });
  const data = new cdk.Stack(app, 'Data');
  const bus = new events.EventBus(data, 'Bus', { eventBusName: 'shop' });
  bus.archive('Archive', { eventPattern: { account: [data.account] } });
  const stack = new cdk.Stack(app, 'Shop');

  const visibility = options.visibilityTimeoutSeconds ?? 2;
  const deadLetterQueue = new sqs.Queue(stack, 'Dead');
  const queue = new sqs.Queue(stack, 'Orders', {
    visibilityTimeout: cdk.Duration.seconds(visibility),
    deadLetterQueue: { queue: deadLetterQueue, maxReceiveCount: options.maxReceiveCount ?? 2 },
  });
  const rule = new events.Rule(stack, 'Created', {
    eventBus: bus,
    eventPattern: { source: ['shop'], detailType: [options.detailType ?? 'OrderCreated'] },
  });
  rule.addTarget(options.withoutQueuePolicy
    ? { bind: () => ({ arn: queue.queueArn, deadLetterConfig: { arn: deadLetterQueue.queueArn } }) }
    : new targets.SqsQueue(queue));
  if (options.withoutQueuePolicy) {
    deadLetterQueue.grantSendMessages({ grantPrincipal: new cdk.aws_iam.ServicePrincipal('events.amazonaws.com') } as cdk.aws_iam.IGrantable);
  }
  const fn = new lambda.Function(stack, 'Consumer', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromAsset(folder('function')),
    timeout: cdk.Duration.seconds(Math.min(visibility, 2)),
    environment: { SEEN: options.seen },
  });
  fn.addEventSource(new sources.SqsEventSource(queue, { batchSize: 10, reportBatchItemFailures: true }));

  const image = options.registryImage ?? new assets.DockerImageAsset(stack, 'Image', { directory: folder('container') }).imageUri;
  let database: rds.DatabaseCluster | undefined;
  let proxy: rds.DatabaseProxy | undefined;
  let readOnly: rds.CfnDBProxyEndpoint | undefined;
  if (options.withDatabase) {
    const vpc = new ec2.Vpc(data, 'Vpc', { natGateways: 0, maxAzs: 2 });
    database = new rds.DatabaseCluster(data, 'Database', {
      engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_6 }),
      writer: rds.ClusterInstance.serverlessV2('Writer'),
      readers: [rds.ClusterInstance.serverlessV2('Reader')],
      vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      defaultDatabaseName: 'shop',
      parameters: { idle_in_transaction_session_timeout: '2000', log_lock_waits: '1', max_connections: '17', not_of_this_version: '1' },
      port: 5433,
    });
    proxy = database.addProxy('Proxy', { vpc, secrets: [database.secret!] });
    readOnly = new rds.CfnDBProxyEndpoint(data, 'ReadOnly', {
      dbProxyEndpointName: 'read-only', dbProxyName: proxy.dbProxyName, targetRole: 'READ_ONLY', vpcSubnetIds: vpc.isolatedSubnets.map(({ subnetId }) => subnetId),
    });
  }
  if (options.withTable) new dynamodb.Table(stack, 'Table', { partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING } });

  const environment = {
    QUEUE_URL: queue.queueUrl,
    BUS: bus.eventBusName,
    TABLE_ARN: `arn:${cdk.Aws.PARTITION}:dynamodb:${stack.region}:${stack.account}:table/t`,
    ...(database && {
      DATABASE_HOST: database.clusterEndpoint.hostname,
      DATABASE_PORT: '5433',
      DATABASE_URL: `postgres://${database.clusterEndpoint.hostname}:5433/shop`,
      READER: database.clusterReadEndpoint.hostname,
      READER_PORT: '5433',
      SECRET: database.secret?.secretArn ?? '',
      PROXY_URL: `postgres://${proxy?.endpoint}:5432/shop`,
      PROXY_READER: readOnly?.attrEndpoint ?? '',
      PROXY_PORT: '5432',
    }),
    ...options.environment,
  };
  const labels = { app: 'web' };
  const probe = (path: string) => ({ httpGet: { path, port: 'management' }, periodSeconds: 1, failureThreshold: 2 });
  const container = {
    name: 'web',
    image,
    ports: [{ name: 'http', containerPort: 3000 }, { name: 'management', containerPort: 9000 }],
    ...(options.command && { command: options.command }),
    env: [
      { name: 'PORT', value: '3000' },
      { name: 'MANAGEMENT_PORT', value: '9000' },
      { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'FLAVOUR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'flavour' } } },
      { name: 'SELF', value: 'http://web.shop.svc.cluster.local:8080/x' },
      ...Object.entries(environment).map(([name, value]) => ({ name, value })),
    ],
    readinessProbe: probe('/health'),
    livenessProbe: probe('/alive'),
  };
  const metadata = (name: string) => ({ name, namespace: 'shop', labels });
  const objects = [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata('web') },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('settings'), data: { flavour: 'vanilla' } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: metadata('web'),
      spec: {
        replicas: 7,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 5, containers: [container] } },
      },
    },
    {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: metadata('web'),
      spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }, minReplicas: options.minReplicas ?? 2, maxReplicas: 5 },
    },
    { apiVersion: 'v1', kind: 'Service', metadata: metadata('web'), spec: { type: 'LoadBalancer', selector: labels, ports: [{ port: 8080, targetPort: 'http' }] } },
  ];
  new cdk.CfnResource(stack, 'Manifest', { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: stack.toJsonString(objects) } });
  app.synth();
  return options.outdir;
}
