import { join } from 'path';
import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import { App, Stack } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import {
  ApiAuthorizer, DatabaseSide, EventDrivenOrderPipeline, KubernetesAccess, KubernetesPrerequisites, ServiceHost, WorkloadImage,
} from 'cdk-order-pipeline';

export const app = new App();
const stack = new Stack(app, 'Shop');
const vpc = new Vpc(stack, 'Vpc');
const kubectlLayer = new KubectlV35Layer(stack, 'Kubectl');
const cluster = new Cluster(stack, 'Cluster', { vpc, version: KubernetesVersion.of('1.35'), kubectlProviderOptions: { kubectlLayer } });
const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' });
new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
const services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromDirectory(join(__dirname, 'services')));

const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
  vpc,
  authorizer: ApiAuthorizer.jwt('https://login.example.com/', ['orders']),
  certificate: Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678'),
  migration: services.job(['node', 'migrate.js']),
  commandApi: services.run(['node', 'api-write-service.js']),
  queryApi: services.run(['node', 'api-read-service.js']),
  outboxRelay: services.run(['node', 'outbox-relay.js']),
});
pipeline.addConsumer('Inventory', {
  events: ['inventory.validated', 'order.confirmed'],
  database: DatabaseSide.COMMAND,
  target: services.consume(['node', 'inventory-service.js']),
});
