import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import { Annotations, App, Stack } from 'aws-cdk-lib';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import {
  ApiAuthorizer, DatabaseSide, EventDrivenOrderPipeline, EventSigning, KubernetesAccess, KubernetesPrerequisites, ServiceExposure, ServiceHost,
  WorkloadImage,
} from 'cdk-order-pipeline';

export const app = new App();
const stack = new Stack(app, 'Shop');

// The services run in a cluster with its own VPC.
const vpc = new Vpc(stack, 'Vpc');
const kubectlLayer = new KubectlV35Layer(stack, 'Kubectl');
const cluster = new Cluster(stack, 'Cluster', { vpc, version: KubernetesVersion.of('1.35'), kubectlProviderOptions: { kubectlLayer } });
const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' });
new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });

// One image has all programs of services/; each has its own command.
const services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromDirectory('services'));

// Clients in the VPC reach the APIs without TLS: for more, give a certificate of AWS Certificate Manager instead of plaintext.
const exposure = ServiceExposure.internalNetworkLoadBalancer({ plaintext: true });

// The database with its writer and reader, the event bus with its archive, and the parts of every pipeline.
const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
  vpc,
  migration: services.job(['node', 'migrate.js']),
  commandApi: services.run(['node', 'api-write-service.js'], { exposure }),
  queryApi: services.run(['node', 'api-read-service.js'], { exposure }),
  outboxRelay: services.run(['node', 'outbox-relay.js']),
  // The services check neither tokens nor signatures of events yet. The bus refuses events of everybody but the relay.
  authorizer: ApiAuthorizer.publicAccess(),
  eventSigning: EventSigning.none(),
});
Annotations.of(pipeline).acknowledgeWarning('cdk-order-pipeline:apiIsPublic', 'Only a trial has no authorization, and only the VPC reaches it.');

// A rule, a queue with its dead-letter queue, and its consumer. Add your own consumers the same way.
pipeline.addConsumer('Inventory', {
  events: ['order.created'],
  database: DatabaseSide.COMMAND,
  target: services.consume(['node', 'inventory-service.js']),
});
