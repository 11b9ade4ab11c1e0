import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionOf, externalTarget, image, kubernetesTarget, latency, ownTarget, vpcOf } from './targets';
import {
  BufferedEventConsumer, BufferedEventConsumerProps, ClusterPrerequisite, ConsumerTarget, DatabaseAccess, KubernetesPrerequisites,
  QueueScaling, QueueType,
} from '../../src';
import { testKubernetes } from '../cluster';
import { existingDatabase } from '../database';
import { expectLogicalIds } from '../logical-ids';

const created = { detailType: ['OrderCreated'] };
const importedRole = (id: string) => iam.Role.fromRoleArn(stack, id, `arn:aws:iam::111122223333:role/${id}`);
const importedQueue = (id: string, fifo = '') => sqs.Queue.fromQueueArn(stack, id, `arn:aws:sqs:eu-west-1:111122223333:${id}${fifo}`);
const onLambda = () => ConsumerTarget.lambdaFunction(functionOf(stack, { role: importedRole('FunctionRole') }));
const database = () => DatabaseAccess.command(existingDatabase(stack));

let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
});

/** Names of the files; what a consumer is given stands in the stack, too, as far as it can't be imported. */
const CONSUMERS: { [name: string]: () => Partial<BufferedEventConsumerProps> } = {
  'consumer-with-an-own-target': () => ({ target: ownTarget() }),
  'consumer-with-a-key': () => ({ encryptionKey: kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:111122223333:key/1') }),
  'consumer-with-patterns': () => ({ eventPattern: undefined, eventPatterns: [created, { source: ['com.partner'] }, { source: ['shop'] }] }),
  'consumer-fifo': () => ({ queueType: QueueType.fifo() }),
  'consumer-of-a-foreign-bus': () => ({
    eventPattern: undefined,
    eventPatterns: [created, { source: ['com.partner'] }],
    eventBus: events.EventBus.fromEventBusArn(stack, 'Central', 'arn:aws:events:eu-west-1:999999999999:event-bus/central'),
  }),
  'consumer-of-a-brought-queue': () => ({ queue: importedQueue('Brought') }),
  'consumer-of-brought-queues': () => ({ queue: importedQueue('Brought', '.fifo'), deadLetterQueue: importedQueue('Dead', '.fifo') }),
  'consumer-of-a-queue-without-rules': () => ({ eventPattern: undefined, queue: importedQueue('Brought') }),
  'target-lambda': () => ({ target: onLambda() }),
  'target-lambda-with-database': () => ({
    target: ConsumerTarget.lambdaFunction(functionOf(stack, { role: importedRole('FunctionRole'), vpc: vpcOf(stack) })), databaseAccess: database(),
  }),
  'target-kubernetes-fixed': () => ({ target: kubernetesTarget(stack) }),
  'target-kubernetes-cpu': () => ({ target: kubernetesTarget(stack, QueueScaling.cpu()) }),
  'target-kubernetes-keda': () => ({ target: kubernetesTarget(stack, QueueScaling.keda({ ...latency, operatorRole: importedRole('Keda') })) }),
  'target-kubernetes-keda-of-the-prerequisites': () => {
    const kubernetes = testKubernetes(stack, { namespace: 'orders' });
    new KubernetesPrerequisites(stack, 'Prerequisites', {
      kubernetes, existing: Object.values(ClusterPrerequisite), kedaOperatorRole: importedRole('Keda'),
    });
    return { target: ConsumerTarget.kubernetes(kubernetes, { image }) };
  },
  'target-kubernetes-external-metric': () => ({
    target: kubernetesTarget(stack, QueueScaling.externalMetric({ ...latency, metricName: 'sqs', adapterRole: importedRole('Adapter') })),
  }),
  'target-kubernetes-with-database': () => ({ target: kubernetesTarget(stack), databaseAccess: database() }),
  'target-external': () => ({ target: externalTarget(importedRole('Elsewhere')) }),
};

function consumerOf(name: string): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', { eventPattern: created, target: ownTarget(), ...CONSUMERS[name]!() });
}

test.each(Object.keys(CONSUMERS))('%s keeps its logical ids', (name) => {
  consumerOf(name);
  expectLogicalIds(stack, join(__dirname, 'logical-ids', `${name}.json`));
});

test('alarms keep their logical ids', () => {
  consumerOf('consumer-fifo').addAlarms({ actions: [] });
  expectLogicalIds(stack, join(__dirname, 'logical-ids', 'alarms.json'));
});

test('a function of another stack that owns the mapping keeps its logical ids', () => {
  const functions = new Stack(stack.node.root as App, 'Functions', { env: { account: stack.account, region: stack.region } });
  new BufferedEventConsumer(stack, 'Consumer', {
    eventPattern: created,
    target: ConsumerTarget.lambdaFunction(functionOf(functions)),
    environment: { KEY: new kms.Key(stack, 'Key').keyArn },
  });
  expectLogicalIds(functions, join(__dirname, 'logical-ids', 'target-lambda-of-another-stack.json'));
});

test('the id of a rule is that of its place, so that a list of one has the ids of eventPattern', () => {
  const [first] = consumerOf('consumer-with-patterns').rules;
  const other = new BufferedEventConsumer(new Stack(new App(), 'Test'), 'Consumer', { eventPattern: created, target: ownTarget() });
  expect(Stack.of(other).getLogicalId(other.rules[0]!.node.defaultChild as events.CfnRule))
    .toBe(stack.getLogicalId(first!.node.defaultChild as events.CfnRule));
});

test('no promise is forgotten', () => {
  const files = readdirSync(join(__dirname, 'logical-ids'));
  expect(files.sort()).toEqual([...Object.keys(CONSUMERS), 'alarms', 'target-lambda-of-another-stack'].map((name) => `${name}.json`).sort());
});
