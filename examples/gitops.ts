import { App, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as s3 from 'aws-cdk-lib/aws-s3';
import {
  BufferedEventConsumer, ConsumerTarget, KubernetesAccess, KubernetesManifestFiles, QueueScaling, WorkloadImage,
} from 'cdk-order-pipeline';

export const app = new App();
const stack = new Stack(app, 'Loyalty');
const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'platform', namespace: 'loyalty' });

new BufferedEventConsumer(stack, 'Points', {
  eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'shop'),
  eventPattern: { source: ['com.example.orders'], detailType: ['OrderConfirmed'] },
  target: ConsumerTarget.kubernetes(kubernetes, {
    image: WorkloadImage.fromRegistry('public.ecr.aws/example/loyalty:2.1.0'),
    serviceName: 'points',
    scaling: QueueScaling.fixed(2),
  }),
});

// The deployment resolves the address of the queue and writes loyalty/points.yaml, which a Bucket source of Flux applies.
new KubernetesManifestFiles(stack, 'Files', { kubernetes, bucket: s3.Bucket.fromBucketName(stack, 'GitOps', 'platform-manifests') });
