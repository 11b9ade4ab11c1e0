import { join } from 'path';
import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import { App, Stack } from 'aws-cdk-lib';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { ConsumerTarget, EventDrivenOrderPipeline, KubernetesAccess, WorkloadImage } from 'cdk-order-pipeline';

export const app = new App();
const stack = new Stack(app, 'Shop');
const vpc = new Vpc(stack, 'Vpc');
const kubectlLayer = new KubectlV35Layer(stack, 'Kubectl');
const cluster = new Cluster(stack, 'Cluster', { vpc, version: KubernetesVersion.V1_35, kubectlProviderOptions: { kubectlLayer } });
const kubernetes = KubernetesAccess.fromEksV2(cluster);
const image = WorkloadImage.fromDirectory(join(__dirname, 'services'));

const pipeline = new EventDrivenOrderPipeline(stack, 'Pipeline', {
  vpc,
  kubernetes,
  image,
  commandApi: { command: ['node', 'api-write-service.js'] },
  queryApi: { command: ['node', 'api-read-service.js'] },
  outboxRelay: { command: ['node', 'outbox-relay.js'] },
});
pipeline.addConsumer('Inventory', {
  eventPattern: { detailType: ['StockValidated', 'OrderConfirmed'] },
  target: ConsumerTarget.kubernetes(kubernetes, { image, command: ['node', 'inventory-service.js'] }),
});
