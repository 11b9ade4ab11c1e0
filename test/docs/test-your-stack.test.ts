// Each region is a block of docs/test-your-stack.md, in the same order; the last test compares them. UPDATE_DOCS=1 writes them to the page.
/* eslint-disable import/first, import/order, import/no-duplicates, import/no-extraneous-dependencies */
import { writeFileSync } from 'fs';
import { CfnQueue } from 'aws-cdk-lib/aws-sqs';

// #region stack
import { App, Stack } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, KubectlProvider } from 'aws-cdk-lib/aws-eks-v2';
import { Role } from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import {
  ApiAuthorizer, DatabaseSide, EventDrivenOrderPipeline, KubernetesAccess, QueueScaling, ServiceHost, WorkloadImage,
} from 'cdk-order-pipeline';

class ShopStack extends Stack {
  public readonly kubernetes: KubernetesAccess;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    const vpc = Vpc.fromVpcAttributes(this, 'Vpc', {
      vpcId: 'vpc-0123456789abcdef0',
      availabilityZones: ['eu-west-1a', 'eu-west-1b'],
      privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
      privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef1'],
    });
    this.kubernetes = KubernetesAccess.fromEksV2(Cluster.fromClusterAttributes(this, 'Cluster', {
      vpc,
      clusterName: 'platform',
      clusterSecurityGroupId: 'sg-0123456789abcdef0',
      kubectlProvider: KubectlProvider.fromKubectlProviderAttributes(this, 'Kubectl', {
        serviceToken: 'arn:aws:lambda:eu-west-1:111122223333:function:kubectl',
        role: Role.fromRoleArn(this, 'KubectlRole', 'arn:aws:iam::111122223333:role/kubectl'),
      }),
    }), { namespace: 'orders' });

    const image = WorkloadImage.fromRegistry('public.ecr.aws/acme/shop:1.4.0');
    const services = ServiceHost.kubernetesServices(this.kubernetes, image);
    const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
      vpc,
      authorizer: ApiAuthorizer.jwt('https://login.example.com/', ['orders']),
      certificate: Certificate.fromCertificateArn(this, 'Certificate', 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678'),
      migration: services.job(['node', 'migrate.js']),
      commandApi: services.run(['node', 'api-write-service.js']),
      outboxRelay: services.run(['node', 'outbox-relay.js']),
    });
    pipeline.addConsumer('Invoices', {
      events: ['order.confirmed'],
      database: DatabaseSide.COMMAND,
      target: services.consume(['node', 'invoices.js'], { serviceName: 'invoices', scaling: QueueScaling.fixed(2) }),
    });
  }
}
// #endregion

// #region template
import { Match, Template } from 'aws-cdk-lib/assertions';

test('a message is tried five times before it is a dead letter', () => {
  Template.fromStack(new ShopStack(new App(), 'Shop')).hasResourceProperties('AWS::SQS::Queue', {
    RedrivePolicy: { maxReceiveCount: 5, deadLetterTargetArn: Match.anyValue() },
  });
});

test('invoices are made only for confirmed orders', () => {
  Template.fromStack(new ShopStack(new App(), 'Shop')).hasResourceProperties('AWS::Events::Rule', {
    EventPattern: { 'source': ['com.example.orders'], 'detail-type': ['OrderConfirmed'] },
  });
});
// #endregion

// #region kubernetes
interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: any;
}

function kubernetesObject(stack: ShopStack, kind: string, name: string): KubernetesObject {
  const objects: KubernetesObject[] = stack.resolve(stack.kubernetes.manifests);
  return objects.find((object) => object.kind === kind && object.metadata.name === name)!;
}

test('the invoices run twice, without root, in the namespace of the orders', () => {
  const stack = new ShopStack(new App(), 'Shop');
  const { metadata, spec } = kubernetesObject(stack, 'Deployment', 'invoices');
  expect(metadata.namespace).toBe('orders');
  expect(spec.template.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10001 });
  expect(kubernetesObject(stack, 'HorizontalPodAutoscaler', 'invoices').spec).toMatchObject({ minReplicas: 2, maxReplicas: 2 });
});

test('the invoices get the address of their queue', () => {
  const stack = new ShopStack(new App(), 'Shop');
  const queues = Template.fromStack(stack).findResources('AWS::SQS::Queue', { Properties: { RedrivePolicy: Match.anyValue() } });
  const { spec } = kubernetesObject(stack, 'Deployment', 'invoices');
  expect(spec.template.spec.containers[0].env).toContainEqual({ name: 'QUEUE_URL', value: { Ref: Object.keys(queues)[0] } });
});
// #endregion

// #region logical-ids
test('resources with data keep their logical ids', () => {
  const resources: { [id: string]: { Type: string } } = Template.fromStack(new ShopStack(new App(), 'Shop')).toJSON().Resources;
  const types = ['AWS::RDS::DBCluster', 'AWS::SecretsManager::Secret', 'AWS::SQS::Queue', 'AWS::Events::EventBus', 'AWS::Events::Archive'];
  expect(Object.keys(resources).filter((id) => types.includes(resources[id].Type)).sort()).toEqual([
    'PipelineConsumersInvoicesDeadLetterQueueBD8FA755',
    'PipelineConsumersInvoicesQueue1E9FA52A',
    'PipelineDatabaseCluster3558BEE6',
    'PipelineDatabaseCommandSecretEDDA039D',
    'PipelineDatabaseQuerySecretF0CE7E93',
    'PipelineEventSigningKey2CBC1D88',
    'PipelineTransportBusArchive06A9F35A',
    'PipelineTransportBusEventBus18FF6D5F',
  ]);
});
// #endregion

// #region warnings
import { Annotations } from 'aws-cdk-lib';
import { Annotations as Found } from 'aws-cdk-lib/assertions';

test('there is only the acknowledged warning', () => {
  const stack = new ShopStack(new App(), 'Shop');
  Annotations.of(stack).acknowledgeWarning('cdk-order-pipeline:subnetTagsUnknown', 'The network team tags the subnets.');
  Found.fromStack(stack).hasNoWarning('*', Match.anyValue());
});
// #endregion

// #region nag
import { readFileSync } from 'fs';
import { join } from 'path';
import { Validations } from 'aws-cdk-lib';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AwsSolutionsChecks } from 'cdk-nag';

test('AwsSolutions has only findings that were accepted with a reason', () => {
  const app = new App();
  const topic = new Topic(new ShopStack(app, 'Shop'), 'News');
  Validations.of(topic).acknowledge({ id: 'AwsSolutions::AwsSolutions-SNS3', reason: 'The news are public.' });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

  // It throws with a list of the findings if there are others.
  const { directory } = app.synth();
  const { pluginReports } = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8'));
  const accepted = pluginReports.flatMap(({ suppressedViolations = [] }: any) => suppressedViolations);
  expect(accepted.map(({ ruleName, reason }: any) => [ruleName, reason])).toContainEqual(['AwsSolutions-SNS3', 'The news are public.']);
});
// #endregion

// #region strict
test('the strict CloudFormation rules find nothing', () => {
  // In case that a setup file switches the rules off, for speed.
  delete process.env.CDK_VALIDATION;
  const app = new App({ context: { '@aws-cdk/core:validateAgainstDefaultRules': true } });
  new ShopStack(app, 'Shop');
  app.synth();
});
// #endregion

describe('the checks of the page can fail', () => {
  test('by a finding of AwsSolutions', () => {
    const app = new App();
    new Topic(new ShopStack(app, 'Shop'), 'News');
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    expect(() => app.synth()).toThrow(/SNS3/);
  });

  test('by a warning', () => {
    expect(() => Found.fromStack(new ShopStack(new App(), 'Shop')).hasNoWarning('*', Match.anyValue())).toThrow(/subnetTagsUnknown/);
  });

  test('by a CloudFormation rule', () => {
    delete process.env.CDK_VALIDATION;
    const app = new App({ context: { '@aws-cdk/core:validateAgainstDefaultRules': true } });
    const stack = new ShopStack(app, 'Shop');
    const { attrArn } = new CfnQueue(stack, 'Standard');
    new CfnQueue(stack, 'Fifo', { fifoQueue: true, redrivePolicy: { deadLetterTargetArn: attrArn, maxReceiveCount: 5 } });
    expect(() => app.synth()).toThrow(/E3502/);
  });
});

test('the blocks of the page are these regions', () => {
  const page = join(__dirname, '../../docs/test-your-stack.md');
  const regions = [...readFileSync(__filename, 'utf8').matchAll(/^\/\/ #region [^\n]*\n(.*?)^\/\/ #endregion$/gms)].map(([, code]) => code);
  const BLOCK = /(?<=^```ts\n).*?(?=^```$)/gms;
  if (process.env.UPDATE_DOCS) {
    let index = 0;
    writeFileSync(page, readFileSync(page, 'utf8').replace(BLOCK, () => regions[index++]!));
  }
  expect(readFileSync(page, 'utf8').match(BLOCK)).toEqual(regions);
});
