import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { WorkloadImage } from 'cdk-order-pipeline';
import { OrderPipelineStack } from '../lib/order-pipeline-stack.ts';
import { bundleServices } from '../services/bundle.ts';

// The recommended flags turn the strict CloudFormation rules on: a finding fails the synthesis.
const app = new cdk.App({ context: recommendedFlags });
cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

new OrderPipelineStack(app, 'OrderPipeline', {
  description: 'Order and inventory services on EKS, Aurora, EventBridge and SQS',
  image: WorkloadImage.fromDirectory(await bundleServices()),
});
