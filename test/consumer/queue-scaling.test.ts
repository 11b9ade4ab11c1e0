import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import {
  Autoscaling, BufferedEventConsumer, ClusterPrerequisite, ConsumerTarget, ExternalMetricScalingOptions, KedaScalingOptions,
  KubernetesAccess, KubernetesConsumerOptions, KubernetesPrerequisites, KubernetesPrerequisitesProps, QueueScaling, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { manifestOf, manifestsOf } from '../kubernetes-manifests';
import { unacknowledgedFindings } from '../nag';

let app: App;
let stack: Stack;
let operatorRole: iam.IRole;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  operatorRole = new iam.Role(stack, 'Keda', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
});

const latency = { acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(2) };

function consumerOf(scaling: QueueScaling, options: Partial<KubernetesConsumerOptions> = {}, encryptionKey?: kms.IKey) {
  return new BufferedEventConsumer(stack, 'Consumer', {
    eventPattern: { detailType: ['OrderCreated'] },
    encryptionKey,
    target: ConsumerTarget.kubernetes(testKubernetes(stack, { namespace: 'orders' }), {
      image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0'), serviceName: 'stock', scaling, ...options,
    }),
  });
}

/** What is warned of; the imported subnets of the test's VPC warn too. */
function warnings(): unknown[] {
  return Annotations.fromStack(stack).findWarning('*', Match.anyValue()).filter(({ id }) => id.startsWith('/Test/Consumer')).map(({ entry }) => entry.data);
}

/** Each action that the stack's policies give to the role, with its resource. */
function grantedTo(role: iam.IRole): { Action: unknown; Resource: unknown }[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy', {
    Properties: { Roles: [stack.resolve(role.roleName)] },
  })).flatMap((policy) => policy.Properties.PolicyDocument.Statement).map(({ Action, Resource }) => ({ Action, Resource }));
}

describe('KEDA', () => {
  const keda = (options: Partial<KedaScalingOptions> = {}) => QueueScaling.keda({ operatorRole, ...latency, ...options });
  const scaledObject = () => manifestOf(Template.fromStack(stack), 'ScaledObject');
  const trigger = () => scaledObject().spec.triggers[0];

  test('scales the Deployment by the queue, with the identity of its operator', () => {
    consumerOf(keda({ maxReplicas: 20 }));
    expect(scaledObject()).toEqual({
      apiVersion: 'keda.sh/v1alpha1',
      kind: 'ScaledObject',
      metadata: expect.objectContaining({ name: 'stock', namespace: 'orders' }),
      spec: {
        scaleTargetRef: { name: 'stock' },
        minReplicaCount: 1,
        maxReplicaCount: 20,
        pollingInterval: 15,
        cooldownPeriod: 300,
        triggers: [{
          type: 'aws-sqs-queue',
          authenticationRef: { name: 'stock' },
          useCachedMetrics: true,
          metadata: {
            queueURL: expect.stringMatching(/^\$\{ConsumerQueue/),
            awsRegion: 'eu-west-1',
            queueLength: '30',
            activationQueueLength: '0',
            scaleOnInFlight: 'true',
            scaleOnDelayed: 'false',
          },
        }],
      },
    });
    expect(manifestOf(Template.fromStack(stack), 'TriggerAuthentication')).toEqual({
      apiVersion: 'keda.sh/v1alpha1',
      kind: 'TriggerAuthentication',
      metadata: expect.objectContaining({ name: 'stock', namespace: 'orders' }),
      spec: { podIdentity: { provider: 'aws' } },
    });
    expect(warnings()).toEqual([]);
  });

  test('owns the number of replicas alone', () => {
    consumerOf(keda());
    const template = Template.fromStack(stack);
    expect(manifestOf(template, 'Deployment').spec).not.toHaveProperty('replicas');
    expect(manifestsOf(template).map(({ kind }) => kind)).not.toContain('HorizontalPodAutoscaler');
  });

  test.each<[string, Partial<KedaScalingOptions>, string]>([
    ['the processing time', { messageProcessingTime: Duration.millis(300) }, '200'],
    ['the acceptable latency', { acceptableLatency: Duration.minutes(2) }, '60'],
    ['messages at a time', { concurrency: 10 }, '300'],
    ['whole messages only', { messageProcessingTime: Duration.seconds(7) }, '8'],
    ['at least one message', { messageProcessingTime: Duration.minutes(1) }, '1'],
  ])('gives a replica what it can process in time: %s', (_, options, queueLength) => {
    consumerOf(keda(options));
    expect(trigger().metadata.queueLength).toBe(queueLength);
  });

  test.each<[string, number, Partial<KedaScalingOptions>]>([
    ['not more than every 5 s', 5, { acceptableLatency: Duration.seconds(10) }],
    ['four times in the acceptable latency', 12, { acceptableLatency: Duration.seconds(50) }],
    ['every 30 s at least', 30, { acceptableLatency: Duration.minutes(10) }],
    ['as it is configured', 60, { pollingInterval: Duration.minutes(1) }],
  ])('looks at the queue often enough: %s', (_, seconds, options) => {
    consumerOf(keda(options));
    expect(scaledObject().spec.pollingInterval).toBe(seconds);
  });

  test('keeps a number of replicas while the length of the queue can\'t be read', () => {
    consumerOf(keda({ fallback: { replicas: 4 } }));
    expect(scaledObject().spec.fallback).toEqual({ replicas: 4, failureThreshold: 3 });
    stack = new Stack(new App(), 'Test');
    operatorRole = iam.Role.fromRoleName(stack, 'Keda', 'keda-operator');
    consumerOf(keda({ fallback: { replicas: 0, failureThreshold: 10 } }));
    expect(scaledObject().spec.fallback).toEqual({ replicas: 0, failureThreshold: 10 });
  });

  test('may come and go as fast as it is configured', () => {
    const behavior = { scaleDown: { stabilizationWindowSeconds: 60, policies: [{ type: 'Pods', value: 1, periodSeconds: 30 }] } };
    consumerOf(keda({ behavior }));
    expect(scaledObject().spec.advanced).toEqual({ horizontalPodAutoscalerConfig: { behavior } });
  });

  test('may look at CPU as well, which it takes from Kubernetes', () => {
    consumerOf(keda({ targetCpuUtilizationPercent: 80 }));
    expect(scaledObject().spec.triggers).toEqual([
      expect.objectContaining({ type: 'aws-sqs-queue', metadata: expect.objectContaining({ queueLength: '30' }) }),
      { type: 'cpu', metricType: 'Utilization', metadata: { value: '80' } },
    ]);
    // No role is needed for it.
    expect(grantedTo(operatorRole)).toHaveLength(1);
  });

  test('has no fallback, behavior or CPU by default', () => {
    consumerOf(keda());
    expect(Object.keys(scaledObject().spec)).toEqual([
      'scaleTargetRef', 'minReplicaCount', 'maxReplicaCount', 'pollingInterval', 'cooldownPeriod', 'triggers',
    ]);
    expect(scaledObject().spec.triggers).toHaveLength(1);
  });

  test('can go down to zero', () => {
    consumerOf(keda({ minReplicas: 0, cooldown: Duration.minutes(10) }));
    expect(scaledObject().spec).toMatchObject({ minReplicaCount: 0, maxReplicaCount: 10, cooldownPeriod: 600 });
    expect(warnings()).toEqual([]);
  });

  test('warns if a first message can\'t be in time', () => {
    consumerOf(keda({ minReplicas: 0, acceptableLatency: Duration.seconds(20) }));
    Annotations.fromStack(stack).hasWarning('/Test/Consumer', Match.stringLikeRegexp(
      'minReplicas is 0, so the first message .* acceptableLatency \\(20 seconds\\).*cdk-order-pipeline:scaleFromZeroTooSlow'));
  });

  test('takes numbers of replicas that are only known at deployment', () => {
    consumerOf(keda({ minReplicas: Token.asNumber({ Ref: 'Min' }), maxReplicas: Token.asNumber({ Ref: 'Max' }) }));
    expect(scaledObject().spec).toMatchObject({ minReplicaCount: '${Min}', maxReplicaCount: '${Max}' });
  });

  test('reads the region of the queue from the deployment if it isn\'t known before', () => {
    stack = new Stack(app, 'Anywhere');
    operatorRole = iam.Role.fromRoleName(stack, 'Keda', 'keda-operator');
    consumerOf(keda());
    expect(trigger().metadata.awsRegion).toBe('${AWS::Region}');
  });

  test.each<[string, Partial<KedaScalingOptions>]>([
    ['messageProcessingTime (2 minutes) is more than acceptableLatency (1 minute), so no number of replicas is enough',
      { messageProcessingTime: Duration.minutes(2) }],
    ['messageProcessingTime must be more than 0', { messageProcessingTime: Duration.seconds(0) }],
    ['acceptableLatency must be known at synthesis', { acceptableLatency: Duration.seconds(Token.asNumber({ Ref: 'Latency' })) }],
    ['concurrency must be a whole number of at least 1, got 0', { concurrency: 0 }],
    ['minReplicas must be a whole number of at least 0, got -1', { minReplicas: -1 }],
    ['maxReplicas must be a whole number of at least 1, got 0', { maxReplicas: 0, minReplicas: 0 }],
    ['maxReplicas (2) must not be less than minReplicas (3)', { minReplicas: 3, maxReplicas: 2 }],
    ['pollingInterval in seconds must be a whole number of at least 1, got 0', { pollingInterval: Duration.seconds(0) }],
    ['fallback.replicas must be a whole number of at least 0, got -1', { fallback: { replicas: -1 } }],
    ['fallback.failureThreshold must be a whole number of at least 1, got 0', { fallback: { replicas: 2, failureThreshold: 0 } }],
    ['targetCpuUtilizationPercent must be a whole number of at least 1, got 0', { targetCpuUtilizationPercent: 0 }],
  ])('refuses: %s', (message, options) => {
    // It names the consumer, wherever the scaling was made.
    expect(() => consumerOf(keda(options))).toThrow(new RegExp(`^${message.replace(/[()]/g, '\\$&')}.* \\(in 'Test/Consumer'\\)$`));
  });

  describe('the role of the operator', () => {
    test.each([['keys of Amazon SQS', false], ['a customer managed key', true]])('may read the queue\'s length and nothing else, with %s', (_, own) => {
      const encryptionKey = own ? new kms.Key(stack, 'Key', { enableKeyRotation: true }) : undefined;
      const consumer = consumerOf(keda(), {}, encryptionKey);
      expect(grantedTo(operatorRole)).toEqual([{ Action: 'sqs:GetQueueAttributes', Resource: stack.resolve(consumer.queue.queueArn) }]);
      if (encryptionKey) {
        const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::KMS::Key')).map((key) => key.Properties.KeyPolicy);
        expect(JSON.stringify(policy)).not.toContain(stack.getLogicalId(operatorRole.node.defaultChild as iam.CfnRole));
      }
      expect(unacknowledgedFindings(stack)).toEqual([]);
    });

    test('of another stack gets the policy here, so that its stack doesn\'t need this one', () => {
      const platform = new Stack(app, 'Platform', { env: { account: '111122223333', region: 'eu-west-1' } });
      operatorRole = new iam.Role(platform, 'Keda', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
      consumerOf(keda());
      Template.fromStack(platform).resourceCountIs('AWS::IAM::Policy', 0);
      expect(stack.dependencies).toContain(platform);
      expect(platform.dependencies).toEqual([]);
      expect(JSON.stringify(Template.fromStack(stack).findResources('AWS::IAM::Policy'))).toContain('sqs:GetQueueAttributes');
    });

    test('that is imported gets the policy', () => {
      operatorRole = iam.Role.fromRoleArn(stack, 'Imported', 'arn:aws:iam::111122223333:role/keda-operator');
      consumerOf(keda());
      expect(grantedTo(operatorRole)).toHaveLength(1);
      expect(warnings()).toEqual([]);
    });

    test.each<[string, () => iam.IRole]>([
      ['of another account', () => iam.Role.fromRoleArn(stack, 'Imported', 'arn:aws:iam::999999999999:role/keda-operator')],
      ['without policy updates', () => iam.Role.fromRoleName(stack, 'Imported', 'keda-operator', { mutable: false })],
    ])('%s is warned of, with the statement', (_, role) => {
      operatorRole = role();
      const consumer = consumerOf(keda());
      expect(grantedTo(operatorRole)).toEqual([]);
      const [warning] = Annotations.fromStack(stack).findWarning('/Test/Consumer', Match.stringLikeRegexp('operatorRole'));
      expect(warning!.entry.data).toBe("operatorRole 'Test/Imported' can't be changed here, and the length of the queue can't be read unless the "
        + `role has this statement: ${JSON.stringify({
          Action: 'sqs:GetQueueAttributes', Effect: 'Allow', Resource: stack.resolve(consumer.queue.queueArn),
        })} [ack: cdk-order-pipeline:operatorRoleNotUpdated]`);
    });
  });
});

describe('an external metric', () => {
  const external = (options: Partial<ExternalMetricScalingOptions> = {}) => QueueScaling.externalMetric({
    metricName: 'sqs_messages', ...latency, ...options,
  });
  const autoscaler = () => manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler');

  test('scales to the messages that a replica can process in time', () => {
    consumerOf(external({ metricLabels: { queue: 'stock' }, concurrency: 2, maxReplicas: 40 }));
    expect(autoscaler().spec).toEqual({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'stock' },
      minReplicas: 1,
      maxReplicas: 40,
      metrics: [{
        type: 'External',
        external: {
          metric: { name: 'sqs_messages', selector: { matchLabels: { queue: 'stock' } } },
          target: { type: 'AverageValue', averageValue: '60' },
        },
      }],
    });
    expect(manifestOf(Template.fromStack(stack), 'Deployment').spec).not.toHaveProperty('replicas');
  });

  test('can be of this queue alone', () => {
    consumerOf(external());
    expect(autoscaler().spec.metrics[0].external.metric).toEqual({ name: 'sqs_messages' });
  });

  test('gives the adapter permission for reading the queue\'s length', () => {
    const adapterRole = new iam.Role(stack, 'Adapter', { assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com') });
    const consumer = consumerOf(external({ adapterRole }));
    expect(grantedTo(adapterRole)).toEqual([{ Action: 'sqs:GetQueueAttributes', Resource: stack.resolve(consumer.queue.queueArn) }]);
  });

  test('gives no permission if the adapter doesn\'t ask Amazon SQS', () => {
    const consumer = consumerOf(external());
    // What the pods need.
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::IAM::Policy', {
      PolicyDocument: { Statement: [Match.objectLike({ Resource: stack.resolve(consumer.queue.queueArn) })] },
    }, 1);
  });

  test.each([['a name that is too long', 'q'.repeat(64)], ['a URL', 'https://sqs/queue'], ['a sign at its end', 'queue-']])('refuses %s as a label', (_, queue) => {
    expect(() => consumerOf(external({ metricLabels: { queue } })))
      .toThrow(/^metricLabels.queue must be at most 63 letters.* \(in 'Test\/Consumer'\)$/);
  });

  test.each([['q'.repeat(63)], ['a'], [''], ['Shop_Stock.1-b'], [Token.asString({ Ref: 'Queue' })]])('takes the label %j', (queue) => {
    expect(() => consumerOf(external({ metricLabels: { queue } }))).not.toThrow();
  });

  test('can\'t go down to zero', () => {
    expect(() => consumerOf(external({ minReplicas: 0 }))).toThrow("minReplicas must be a whole number of at least 1, got 0 (in 'Test/Consumer')");
  });

  test('refuses a processing time that is never in time', () => {
    expect(() => consumerOf(external({ messageProcessingTime: Duration.minutes(2) })))
      .toThrow(/no number of replicas is enough.* \(in 'Test\/Consumer'\)$/);
  });
});

describe('the scaling that is not said', () => {
  const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
  const consume = (kubernetes: KubernetesAccess, options: Partial<KubernetesConsumerOptions> = {}) => new BufferedEventConsumer(stack, 'Consumer', {
    eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.kubernetes(kubernetes, { image, serviceName: 'stock', ...options }),
  });
  const orders = () => testKubernetes(stack, { namespace: 'orders' });
  const withKeda = (props: Partial<KubernetesPrerequisitesProps> = {}) => {
    const kubernetes = orders();
    return { kubernetes, prerequisites: new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, ...props }) };
  };
  const existing = Object.values(ClusterPrerequisite);
  const scaledObject = () => manifestOf(Template.fromStack(stack), 'ScaledObject').spec;

  test('is by KEDA of the prerequisites, for messages that wait a minute', () => {
    const { kubernetes, prerequisites } = withKeda();
    const consumer = consume(kubernetes);
    expect(scaledObject()).toMatchObject({ minReplicaCount: 1, maxReplicaCount: 10, pollingInterval: 15 });
    // A tenth of 30 seconds for each message.
    expect(scaledObject().triggers).toEqual([expect.objectContaining({ metadata: expect.objectContaining({ queueLength: '20' }) })]);
    expect(grantedTo(prerequisites.kedaOperatorRole!)).toEqual([{
      Action: 'sqs:GetQueueAttributes', Resource: stack.resolve(consumer.queue.queueArn),
    }]);
    expect(manifestsOf(Template.fromStack(stack)).map(({ kind }) => kind)).not.toContain('HorizontalPodAutoscaler');
    expect(warnings()).toEqual([]);
  });

  test('comes after KEDA', () => {
    consume(withKeda().kubernetes);
    const template = Template.fromStack(stack);
    const [chart] = Object.keys(template.findResources('Custom::AWSCDK-EKS-HelmChart'));
    const [, manifest] = Object.entries(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).find(([id]) => id.startsWith('ConsumerWorkload'))!;
    expect(chart).toBeDefined();
    expect(manifest.DependsOn).toContain(chart);
  });

  test.each<[string, Duration, string, number]>([
    ['20 seconds', Duration.seconds(20), '30', 15],
    ['20 minutes, which no replica finishes in one', Duration.minutes(20), '1', 30],
    ['a token', Duration.seconds(Token.asNumber({ Ref: 'Seconds' })), '20', 15],
  ])('goes by the processing time: %s', (_, processingTime, queueLength, pollingInterval) => {
    const visibilityTimeout = processingTime.isUnresolved() ? Duration.minutes(3) : undefined;
    new BufferedEventConsumer(stack, 'Consumer', {
      eventPattern: { detailType: ['OrderCreated'] },
      visibilityTimeout,
      target: ConsumerTarget.kubernetes(withKeda().kubernetes, { image, processingTime }),
    });
    expect(scaledObject()).toMatchObject({ pollingInterval, triggers: [{ metadata: { queueLength } }] });
  });

  test('may be by a KEDA that the cluster has, if its role is known', () => {
    const kedaOperatorRole = iam.Role.fromRoleArn(stack, 'Platform', 'arn:aws:iam::111122223333:role/keda-operator');
    consume(withKeda({ existing, kedaOperatorRole }).kubernetes);
    expect(scaledObject().minReplicaCount).toBe(1);
    expect(grantedTo(kedaOperatorRole)).toHaveLength(1);
  });

  const choices = 'scaling must be given, as KEDA is not known on the cluster: make `KubernetesPrerequisites` for it before, or choose '
    + 'QueueScaling.keda({ operatorRole, … }), .externalMetric(…), .fixed(n), or .cpu(…) for a consumer that is busy while messages wait '
    + '(in \'Test/Consumer\')';
  test.each<[string, () => KubernetesAccess]>([
    ['without prerequisites', orders],
    ['with a KEDA whose role is not known', () => withKeda({ existing }).kubernetes],
    ['where nothing is applied', () => KubernetesAccess.manifestsOnly({ clusterName: 'platform' })],
  ])('is an error that lists the choices on a cluster %s', (_, kubernetes) => {
    const access = kubernetes();
    expect(() => consume(access)).toThrow(choices);
  });

  test('of KEDA may leave out the role of its operator, which the prerequisites know', () => {
    const { kubernetes, prerequisites } = withKeda();
    consume(kubernetes, { scaling: QueueScaling.keda({ ...latency, maxReplicas: 3 }) });
    expect(scaledObject()).toMatchObject({ maxReplicaCount: 3 });
    expect(grantedTo(prerequisites.kedaOperatorRole!)).toHaveLength(1);
  });

  test('of KEDA may name another role than that of the prerequisites', () => {
    const { kubernetes, prerequisites } = withKeda();
    consume(kubernetes, { scaling: QueueScaling.keda({ ...latency, operatorRole }) });
    expect([grantedTo(operatorRole).length, grantedTo(prerequisites.kedaOperatorRole!).length]).toEqual([1, 0]);
  });

  test('of KEDA needs the role of its operator from somewhere', () => {
    const access = orders();
    expect(() => consume(access, { scaling: QueueScaling.keda(latency) })).toThrow('operatorRole must be given to QueueScaling.keda, as the cluster has no '
      + '`KubernetesPrerequisites` with KEDA: give the role of the service account keda-operator, or make the prerequisites before (in \'Test/Consumer\')');
  });
});

test.each<[string, () => QueueScaling]>([
  ['CPU', () => QueueScaling.cpu()],
  ['an external metric', () => QueueScaling.externalMetric({ metricName: 'm', ...latency })],
])('KEDA may take over from %s in one deployment', (_, scaling) => {
  consumerOf(scaling());
  expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').metadata).toMatchObject({
    annotations: { 'validations.keda.sh/hpa-ownership': 'false' },
  });
});

test('a fixed number is the minimum and the maximum of an autoscaler', () => {
  consumerOf(QueueScaling.fixed(3));
  expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 3, maxReplicas: 3 });
});

test('a replica that is taken away has time to finish, and a single one doesn\'t block its node', () => {
  consumerOf(QueueScaling.keda({ operatorRole, ...latency, minReplicas: 0 }), { processingTime: Duration.minutes(2) });
  const template = Template.fromStack(stack);
  expect(manifestOf(template, 'Deployment').spec.template.spec.terminationGracePeriodSeconds).toBe(135);
  expect(manifestOf(template, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
});

test('a scaling of one\'s own works', () => {
  class Two extends QueueScaling {
    public bind() { return Autoscaling.fixed(2); }
  }
  consumerOf(new Two());
  expect(manifestOf(Template.fromStack(stack), 'HorizontalPodAutoscaler').spec.maxReplicas).toBe(2);
});
