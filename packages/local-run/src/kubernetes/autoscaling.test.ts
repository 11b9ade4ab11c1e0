import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { BufferedEventConsumer, ConsumerTarget, KubernetesAccess, QueueScaling, WorkloadImage } from 'cdk-order-pipeline';
import { KubernetesReader } from './kubernetes.ts';
import { prepared } from '../../test/prepared.ts';
import { temporaryFolder } from '../../test/temporary.ts';
import { readAssembly } from '../assembly/assembly.ts';

test('whatever scales a consumer in the cluster, here runs the least that it would, and one at least', async (context) => {
  const folder = temporaryFolder(context);
  const image = join(folder, 'image');
  mkdirSync(image);
  writeFileSync(join(image, 'Dockerfile'), 'FROM node:24\nCMD ["node", "main.js"]\n');
  writeFileSync(join(image, 'main.js'), '');
  const stack = new cdk.Stack(new cdk.App({ outdir: join(folder, 'assembly'), analyticsReporting: false }), 'Shop');
  const kubernetes = KubernetesAccess.fromEksV2(eks.Cluster.fromClusterAttributes(stack, 'Cluster', {
    clusterName: 'test',
    clusterSecurityGroupId: 'sg-cluster',
    vpc: ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a'] }),
    kubectlProvider: eks.KubectlProvider.fromKubectlProviderAttributes(stack, 'Kubectl', {
      serviceToken: 'arn:aws:lambda:eu-west-1:111111111111:function:kubectl',
      role: iam.Role.fromRoleArn(stack, 'KubectlRole', 'arn:aws:iam::111111111111:role/kubectl'),
    }),
  }));
  const operatorRole = new iam.Role(stack, 'Keda', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
  const latency = { acceptableLatency: cdk.Duration.minutes(1), messageProcessingTime: cdk.Duration.seconds(1) };
  const least = new cdk.CfnParameter(stack, 'Least', { type: 'Number', default: 4 });
  const scalings = {
    'keda-zero': QueueScaling.keda({ ...latency, operatorRole, minReplicas: 0 }),
    'keda-two': QueueScaling.keda({ ...latency, operatorRole, minReplicas: 2 }),
    'keda-parameter': QueueScaling.keda({ ...latency, operatorRole, minReplicas: least.valueAsNumber }),
    'metric-default': QueueScaling.externalMetric({ ...latency, metricName: 'sqs_messages' }),
    'metric-three': QueueScaling.externalMetric({ ...latency, metricName: 'sqs_messages', minReplicas: 3 }),
    'cpu': QueueScaling.cpu({ minReplicas: 5 }),
    'fixed': QueueScaling.fixed(6),
  };
  for (const [serviceName, scaling] of Object.entries(scalings)) {
    new BufferedEventConsumer(stack, serviceName, {
      eventPattern: { source: ['shop'] },
      target: ConsumerTarget.kubernetes(kubernetes, { image: WorkloadImage.fromDirectory(image), serviceName, scaling }),
    });
  }

  const assembly = readAssembly((stack.node.root as cdk.App).synth().directory);
  const { context: run, model, warnings } = await prepared(context, assembly);
  new KubernetesReader(run).read(model);
  assert.deepEqual(Object.fromEntries(run.workloads.specs.map(({ name, replicas }) => [name, replicas])), {
    'keda-zero': 1, 'keda-two': 2, 'keda-parameter': 4, 'metric-default': 1, 'metric-three': 3, 'cpu': 5, 'fixed': 6,
  });
  // Nothing of KEDA itself is named: its identity is the cluster's business.
  assert.deepEqual(warnings, ['Deployment keda-zero scales to zero by KEDA, which does not run here: one replica runs all the time.']);
});
