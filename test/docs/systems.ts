import { App, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  ClusterPrerequisite, ConsumerTarget, CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsCredentials, CqrsInstances, DatabaseLogins,
  DatabaseSide, EventArchive, EventDrivenOrderPipeline, EventTransport, KubernetesAccess, KubernetesAccessOptions, KubernetesJob,
  KubernetesManifestFiles, KubernetesPrerequisites, KubernetesServices, KubernetesWorkload, OrderEventBus, ServiceExposure, ServiceHost,
  WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');

/** What a page speaks of, in a stack with what it is given. */
export class System {
  public readonly stack = new Stack(new App(), 'Shop', { env: { account: '111122223333', region: 'eu-west-1' } });
  /** Of what is in here, pages say nothing. */
  public readonly brought = new Construct(this.stack, 'Brought');
  public readonly vpc = ec2.Vpc.fromVpcAttributes(this.brought, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
  private access?: KubernetesAccess;

  public get kubernetes(): KubernetesAccess {
    return this.access ??= testKubernetes(this.stack, { namespace: 'orders' });
  }

  public get services(): KubernetesServices {
    return ServiceHost.kubernetesServices(this.kubernetes, image);
  }

  public key(id = 'Key'): kms.Key {
    return new kms.Key(this.brought, id);
  }

  public role(id: string): iam.Role {
    return new iam.Role(this.brought, id, { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  }

  public template(): Template {
    return Template.fromStack(this.stack);
  }

  public prerequisites(scope: Construct = this.stack): KubernetesPrerequisites {
    return new KubernetesPrerequisites(scope, 'Prerequisites', { kubernetes: this.kubernetes });
  }

  public pipeline(encryptionKey?: kms.IKey, databaseLogins?: DatabaseLogins): EventDrivenOrderPipeline {
    const { services, vpc } = this;
    return new EventDrivenOrderPipeline(this.stack, 'Pipeline', {
      vpc,
      encryptionKey,
      databaseLogins,
      migration: services.job(['node', 'migrate.js']),
      commandApi: services.run(['node', 'api-write-service.js']),
      queryApi: services.run(['node', 'api-read-service.js']),
      outboxRelay: services.run(['node', 'outbox-relay.js']),
    });
  }
}

type Build = (system: System) => unknown;

/** What the page says about permissions is compared with this. */
export const PERMISSIONS: { [page: string]: Build } = {
  'docs/event-driven-order-pipeline.md': (system) => {
    system.prerequisites(system.brought);
    const pipeline = system.pipeline(system.key());
    pipeline.addConsumer('Inventory', { events: ['order.created'], database: DatabaseSide.COMMAND, target: system.services.consume(['node', 'x.js']) });
    pipeline.addService('Catalog', system.services.run(['node', 'y.js']), { database: DatabaseSide.COMMAND });
  },
  'docs/cqrs-aurora-cluster.md': (system) => {
    const { grants } = new CqrsAuroraCluster(system.stack, 'Database', { vpc: system.vpc, encryptionKey: system.key(), proxy: {} });
    grants.admin(system.role('Migration'));
    const tokens = new CqrsAuroraCluster(system.stack, 'Tokens', { vpc: system.vpc, credentials: CqrsCredentials.iam() });
    tokens.grants.command(system.role('Writer'));
    tokens.notifyEvents(new sns.Topic(system.stack, 'Topic', { masterKey: system.key('TopicKey') }));
  },
  'docs/order-event-bus.md': (system) => new OrderEventBus(system.stack, 'Bus', { encryptionKey: system.key() }),
  'docs/kubernetes-workload.md': (system) => {
    const targetRole = iam.Role.fromRoleArn(system.brought, 'TargetRole', 'arn:aws:iam::444455556666:role/reports');
    new KubernetesWorkload(system.stack, 'Workload', { kubernetes: system.kubernetes, image, targetRole });
    new KubernetesJob(system.stack, 'Job', { kubernetes: system.kubernetes, image });
  },
  'docs/kubernetes-prerequisites.md': (system) => {
    system.prerequisites();
    const target = system.services.consume(['node', 'x.js'], { role: iam.Role.fromRoleName(system.brought, 'Pod', 'pod', { mutable: false }) });
    const pipeline = new EventDrivenOrderPipeline(system.brought, 'Pipeline');
    pipeline.addConsumer('Stock', { queue: new sqs.Queue(system.brought, 'Queue'), target });
  },
};

function workload(exposure?: ServiceExposure): Build {
  return ({ stack, kubernetes }) => new KubernetesWorkload(stack, 'Workload', { kubernetes, image, exposure }).url;
}

function database(props: Partial<CqrsAuroraClusterProps> = {}): Build {
  return ({ stack, vpc }) => new CqrsAuroraCluster(stack, 'Database', { vpc, ...props });
}

function prerequisites(options: KubernetesAccessOptions, existing: ClusterPrerequisite[] = [], operators = 0): Build {
  return (system) => new KubernetesPrerequisites(system.stack, 'Prerequisites', {
    kubernetes: testKubernetes(system.stack, options),
    existing,
    operators: Array.from({ length: operators }, (_, index) => system.role(`Operator${index}`)),
  });
}

/** What a row of the table "What it creates" counts: the resources of the second, without those of the first. */
type Counted = Build | [Build, Build];

function beside(also: (pipeline: EventDrivenOrderPipeline, system: System) => unknown): Counted {
  const both = (system: System) => {
    system.prerequisites(system.brought);
    return system.pipeline();
  };
  return [both, (system) => also(both(system), system)];
}

/** What the page says about numbers of resources is compared with these. */
export const COUNTS: { [page: string]: { [row: string]: Counted } } = {
  'docs/event-driven-order-pipeline.md': {
    'nothing given: event bus and archive': ({ stack }) => new EventDrivenOrderPipeline(stack, 'Pipeline'),
    '`vpc`: a `CqrsAuroraCluster`': [
      ({ stack }) => new EventDrivenOrderPipeline(stack, 'Pipeline'),
      ({ stack, vpc }) => new EventDrivenOrderPipeline(stack, 'Pipeline', { vpc }),
    ],
    'the shortest program, without the cluster, its prerequisites and the consumer': (system) => system.pipeline(),
    'a consumer with a database, on Kubernetes with KEDA': beside((pipeline, system) => pipeline.addConsumer('Inventory', {
      events: ['order.created'], database: DatabaseSide.COMMAND, target: system.services.consume(['node', 'x.js']),
    })),
    'a service with a database': beside((pipeline, system) =>
      pipeline.addService('Catalog', system.services.run(['node', 'y.js']), { database: DatabaseSide.COMMAND })),
    '`addAlarms()`, without those of consumers': beside((pipeline) => pipeline.addAlarms()),
    '`addDashboard()`': beside((pipeline) => pipeline.addDashboard()),
    '`DatabaseLogins.perWorkload()`, for the APIs and the relay': [
      (system) => system.pipeline(), (system) => system.pipeline(undefined, DatabaseLogins.perWorkload()),
    ],
  },
  'docs/cqrs-aurora-cluster.md': {
    'by default, with one reader': database(),
    'each further reader': [database(), database({ instances: CqrsInstances.serverless({ readers: 2 }) })],
    'no reader': database({ instances: CqrsInstances.serverless({ readers: 0 }) }),
    '`maxReaders`': database({
      instances: CqrsInstances.provisioned({ instanceType: new ec2.InstanceType('r8g.large'), maxReaders: 4 }),
    }),
    '`logRetention`': [database(), database({ logRetention: logs.RetentionDays.ONE_MONTH })],
    '`proxy`': [database(), database({ proxy: {} })],
    '`CqrsCredentials.iam()`': database({ credentials: CqrsCredentials.iam() }),
    '`CqrsCredentials.rotatedPasswords()`': [database(), database({ credentials: CqrsCredentials.rotatedPasswords() })],
    '`monitoringInterval`': [database(), database({ monitoringInterval: Duration.minutes(1) })],
    '`addAlarms()`': [database(), ({ stack, vpc }) => new CqrsAuroraCluster(stack, 'Database', { vpc }).addAlarms({})],
    '`notifyEvents()`': [database(), ({ stack, vpc, brought }) =>
      new CqrsAuroraCluster(stack, 'Database', { vpc }).notifyEvents(new sns.Topic(brought, 'Topic'))],
  },
  'docs/order-event-bus.md': {
    'by default': ({ stack }) => new OrderEventBus(stack, 'Bus'),
    '`EventArchive.none()`': ({ stack }) => new OrderEventBus(stack, 'Bus', { archive: EventArchive.none() }),
  },
  'docs/kubernetes-workload.md': {
    'a workload that is not exposed, or cluster-internal': workload(),
    'behind a load balancer, with its address': workload(ServiceExposure.internalNetworkLoadBalancer()),
    'a job': ({ stack, kubernetes }) => new KubernetesJob(stack, 'Job', { kubernetes, image }),
    '`KubernetesManifestFiles`': ({ stack }) => {
      const access = KubernetesAccess.manifestsOnly({ clusterName: 'platform' });
      access.applyManifest(stack, 'Object', [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'own' } }]);
      new KubernetesManifestFiles(stack, 'Files', { kubernetes: access, bucket: s3.Bucket.fromBucketName(stack, 'Bucket', 'manifests') });
    },
  },
  'docs/kubernetes-prerequisites.md': {
    'EKS Auto Mode, another namespace than `default`': prerequisites({ namespace: 'orders' }),
    'not in Auto Mode, another namespace than `default`': prerequisites({ namespace: 'orders', loadBalancerClass: 'service.k8s.aws/nlb' }),
    'namespace `default`, Auto Mode': prerequisites({}),
    'KEDA in `existing`, Auto Mode': prerequisites({ namespace: 'orders' }, [ClusterPrerequisite.KEDA]),
    'each of the `operators`': [prerequisites({}), prerequisites({}, [], 1)],
  },
  'docs/event-transport.md': {
    '`EventTransport.eventBridge()`': ({ stack }) => new EventDrivenOrderPipeline(stack, 'Pipeline'),
    '`EventTransport.eventBridge({ archive: EventArchive.none() })`': ({ stack }) => new EventDrivenOrderPipeline(stack, 'Pipeline', {
      transport: EventTransport.eventBridge({ archive: EventArchive.none() }),
    }),
    'a subscription, without its target': [
      ({ stack }) => new EventDrivenOrderPipeline(stack, 'Pipeline'),
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline').addConsumer('Stock', {
        events: ['order.created'], target: ConsumerTarget.external(system.role('Elsewhere'), { processingTime: Duration.seconds(10) }),
      }),
    ],
  },
  'docs/service-host.md': {
    '`run()`, an API with its address': [
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline', { vpc: system.vpc }),
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline', { vpc: system.vpc, commandApi: system.services.run(['node', 'x.js']) }),
    ],
    '`run()`, a service without a database': [
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline'),
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline').addService('Catalog', system.services.run(['node', 'x.js'])),
    ],
    '`job()`, a migration': [
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline', { vpc: system.vpc }),
      (system) => new EventDrivenOrderPipeline(system.stack, 'Pipeline', { vpc: system.vpc, migration: system.services.job(['node', 'x.js']) }),
    ],
  },
};
