import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { WorkloadImage } from 'cdk-order-pipeline';
import { FanOutStack } from '../lib/fan-out-stack.ts';
import { OrderPipelineStack } from '../lib/order-pipeline-stack.ts';
import { bundleFanOut, bundleServices } from '../services/bundle.ts';

// The recommended flags turn the strict CloudFormation rules on: a finding fails the synthesis.
const app = new cdk.App({ context: recommendedFlags });
cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

// Which system it is: cdk deploy -c profile=fan-out
const profile: unknown = app.node.tryGetContext('profile') ?? 'order-pipeline';
switch (profile) {
  case 'order-pipeline':
    new OrderPipelineStack(app, 'OrderPipeline', {
      description: 'Order and inventory services on EKS, Aurora, EventBridge and SQS',
      image: WorkloadImage.fromDirectory(await bundleServices()),
    });
    break;
  case 'fan-out':
    new FanOutStack(app, 'FanOut', {
      description: 'Order events to three consumers, each behind a queue of its own',
      image: WorkloadImage.fromDirectory(await bundleFanOut()),
    });
    break;
  default:
    throw new Error(`There is no profile ${JSON.stringify(profile)}: choose order-pipeline or fan-out.`);
}
