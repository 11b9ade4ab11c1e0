import { App, CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { BufferedEventConsumer, ConsumerTarget, IConsumerTarget, QueueScaling, WorkloadImage } from '../../src';
import { testKubernetes } from '../cluster';
import { evaluate } from '../evaluate';

/**
 * Every way to have the queues, to encrypt them, to spread it over stacks, and to host the target. The tables below say what is to come
 * of each; the cells are made from them.
 */
const QUEUES = ['made', 'owned', 'imported'] as const;
const ENCRYPTIONS = ['SSE', 'customer key', 'separate key for dead letters'] as const;
/** Who needs whom: nobody, the consumer's stack the one of bus, queues and keys, the stack of the target that of the consumer. */
const LAYOUTS = ['one stack', 'consumer needs another stack', 'another stack needs the consumer'] as const;
const HOSTS = ['Lambda', 'Kubernetes', 'external'] as const;

type Queues = typeof QUEUES[number];
type Encryption = typeof ENCRYPTIONS[number];
type Layout = typeof LAYOUTS[number];
type Host = typeof HOSTS[number];
type Cell = [Queues, Encryption, Layout, Host];

const CELLS = QUEUES.flatMap((queues) => ENCRYPTIONS.flatMap((encryption) =>
  LAYOUTS.flatMap((layout) => HOSTS.map((host): Cell => [queues, encryption, layout, host]))));

/** Who may send to a queue, by its policy. A queue of a stack that can't know the rule knows the account. */
const SENDERS: { [queues in Queues]: { [layout in Layout]: string } } = {
  made: { 'one stack': 'the rule', 'consumer needs another stack': 'the rule', 'another stack needs the consumer': 'the rule' },
  owned: { 'one stack': 'the rule', 'consumer needs another stack': 'the account', 'another stack needs the consumer': 'the rule' },
  imported: { 'one stack': 'unchanged', 'consumer needs another stack': 'unchanged', 'another stack needs the consumer': 'unchanged' },
};

/** Which keys there are. Each has one statement for EventBridge, if its policy can be changed. */
const KEYS: { [encryption in Encryption]: string[] } = {
  'SSE': [],
  'customer key': ['Key'],
  'separate key for dead letters': ['Key', 'DeadKey'],
};

/** What warns, beside the queues' own policies. */
const KEY_WARNINGS: { [encryption in Encryption]: string[] } = {
  'SSE': [],
  'customer key': ['the encryption key of queue and deadLetterQueue'],
  'separate key for dead letters': ['the encryption key of queue', 'the encryption key of deadLetterQueue'],
};

/** In which stack a role gets the permission to consume. */
const PERMISSION_IN: { [host in Host]: { [layout in Layout]: string } } = {
  // Its environment names something of the consumer.
  Lambda: { 'one stack': 'Team', 'consumer needs another stack': 'Team', 'another stack needs the consumer': 'Other' },
  // The pods' role belongs to the consumer.
  Kubernetes: { 'one stack': 'Team', 'consumer needs another stack': 'Team', 'another stack needs the consumer': 'Team' },
  external: { 'one stack': 'Team', 'consumer needs another stack': 'Team', 'another stack needs the consumer': 'Other' },
};

const env = { account: '111122223333', region: 'eu-west-1' };
const CONSUME = ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'];

class Fixture {
  public readonly app = new App();
  public readonly team = new Stack(this.app, 'Team', { env });
  public readonly other = new Stack(this.app, 'Other', { env });
  public readonly consumer: BufferedEventConsumer;
  public readonly keys: { [name: string]: kms.IKey };

  constructor(private readonly cell: Cell) {
    const [queues, encryption, layout] = cell;
    const supplies = layout === 'consumer needs another stack' ? this.other : this.team;
    this.keys = Object.fromEntries(KEYS[encryption].map((id) => [id, this.key(supplies, id)]));
    const { queue, deadLetterQueue } = this.queues(supplies);

    this.consumer = new BufferedEventConsumer(this.team, 'Consumer', {
      eventBus: new events.EventBus(supplies, 'Bus'),
      eventPattern: { detailType: ['OrderCreated'] },
      queue,
      deadLetterQueue,
      encryptionKey: queues === 'made' ? this.keys.Key : undefined,
      environment: { DEAD_LETTERS: new ssm.StringParameter(this.team, 'Something', { stringValue: 'value' }).parameterName },
      target: this.target(layout === 'another stack needs the consumer' ? this.other : this.team),
    });
    if (layout === 'another stack needs the consumer') {
      for (const [name, value] of Object.entries(this.consumer.environment)) { new CfnOutput(this.other, name, { value }); }
    }
  }

  private key(scope: Stack, id: string): kms.IKey {
    return this.cell[0] === 'imported'
      ? kms.Key.fromKeyArn(scope, id, `arn:aws:kms:eu-west-1:111122223333:key/${id}`)
      : new kms.Key(scope, id);
  }

  private queues(scope: Stack): { queue?: sqs.IQueue; deadLetterQueue?: sqs.IQueue } {
    const { Key, DeadKey = Key } = this.keys;
    const [queues, encryption] = this.cell;
    if (queues === 'imported') {
      const queueNamed = (id: string, key?: kms.IKey) => sqs.Queue.fromQueueAttributes(scope, id, {
        queueArn: `arn:aws:sqs:eu-west-1:111122223333:${id}`, keyArn: key?.keyArn,
      });
      return { queue: queueNamed('Queue', Key), deadLetterQueue: queueNamed('Dead', DeadKey) };
    }
    const encrypted = (key?: kms.IKey) => key ? { encryptionMasterKey: key } : { encryption: sqs.QueueEncryption.SQS_MANAGED };
    const dead = () => new sqs.Queue(scope, 'Dead', { ...encrypted(DeadKey), retentionPeriod: Duration.days(14) });
    if (queues === 'made') { return encryption === 'separate key for dead letters' ? { deadLetterQueue: dead() } : {}; }
    return {
      queue: new sqs.Queue(scope, 'Queue', {
        ...encrypted(Key), visibilityTimeout: Duration.minutes(3), deadLetterQueue: { queue: dead(), maxReceiveCount: 9 },
      }),
    };
  }

  private target(scope: Stack): IConsumerTarget {
    const role = (service: string) => new iam.Role(scope, 'Role', { assumedBy: new iam.ServicePrincipal(service) });
    switch (this.cell[3]) {
      case 'Lambda': return ConsumerTarget.lambdaFunction(new lambda.Function(scope, 'Function', {
        runtime: lambda.Runtime.NODEJS_24_X,
        handler: 'index.handler',
        code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
        role: role('lambda.amazonaws.com'),
        timeout: Duration.seconds(20),
      }));
      case 'Kubernetes': return ConsumerTarget.kubernetes(testKubernetes(scope), {
        image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1'), scaling: QueueScaling.fixed(1),
      });
      case 'external': return ConsumerTarget.external(role('ecs-tasks.amazonaws.com'), { processingTime: Duration.seconds(20) });
    }
  }

  /** The properties of a resource, as far as the template knows them. */
  public propertiesOf(resource: { readonly node: { readonly defaultChild?: unknown } }): { [name: string]: any } | undefined {
    const child = resource.node.defaultChild as sqs.CfnQueue | undefined;
    const template = child && Template.fromStack(child.stack).toJSON();
    return template && (evaluate(template.Resources[child.stack.getLogicalId(child)].Properties) as { [name: string]: any });
  }

  public senders(queue: sqs.IQueue): string {
    const resource = queue.node.defaultChild as sqs.CfnQueue | undefined;
    const stacks = [this.team, this.other].map((stack) => Template.fromStack(stack).findResources('AWS::SQS::QueuePolicy'));
    const statements = stacks.flatMap((policies) => Object.values(policies))
      .filter(({ Properties }) => resource && JSON.stringify(Properties.Queues) === JSON.stringify([resource.stack.resolve(resource.ref)]))
      .flatMap(({ Properties }) => Properties.PolicyDocument.Statement)
      .filter(({ Effect }) => Effect === 'Allow');
    if (statements.length === 0) { return 'unchanged'; }
    expect(statements).toEqual([{
      Effect: 'Allow',
      Principal: { Service: 'events.amazonaws.com' },
      Action: 'sqs:SendMessage',
      Resource: resource!.stack.resolve(queue.queueArn),
      Condition: expect.anything(),
    }]);
    const [condition] = statements.map(({ Condition }) => JSON.stringify(Condition));
    return {
      [JSON.stringify({ ArnEquals: { 'aws:SourceArn': this.team.resolve(this.consumer.rules[0]!.ruleArn) } })]: 'the rule',
      [JSON.stringify({ StringEquals: { 'aws:SourceAccount': '111122223333' } })]: 'the account',
    }[condition!] ?? condition!;
  }

  /** What identity policies of a stack allow, beside what the pipeline of the target needs otherwise. */
  public allowedIn(stack: Stack): { Action: unknown; Resource: unknown }[] {
    return Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
      .flatMap(({ Properties }) => Properties.PolicyDocument.Statement)
      .map(({ Action, Resource }) => ({ Action, Resource: evaluate(Resource) }));
  }

  public warnings(): string[] {
    return [this.team, this.other].flatMap((stack) => Annotations.fromStack(stack).findWarning('*', Match.anyValue()))
      .map(({ entry }) => String(entry.data))
      // What aws-cdk-lib says of subnets and references is not of the consumer.
      .filter((text) => text.includes('[ack: cdk-order-pipeline:'));
  }
}

test('the table is whole', () => {
  expect(CELLS).toHaveLength(81);
});

test.each(CELLS)('%s, %s, %s, %s', (queues, encryption, layout, host) => {
  const fixture = new Fixture([queues, encryption, layout, host]);
  const { consumer, team, other } = fixture;
  // Throws if two stacks need each other.
  const assembly = fixture.app.synth();
  const needs = Object.fromEntries(assembly.stacks.map(({ stackName, dependencies }) => [
    stackName, dependencies.map(({ id }) => id).filter((id) => !id.endsWith('.assets')),
  ]));
  expect(needs).toEqual({
    Team: layout === 'consumer needs another stack' ? ['Other'] : [],
    Other: layout === 'another stack needs the consumer' ? ['Team'] : [],
  });

  // Queue policies.
  const deadSeparate = queues === 'made' && encryption === 'separate key for dead letters';
  expect(fixture.senders(consumer.queue)).toBe(SENDERS[queues][layout]);
  expect(fixture.senders(consumer.deadLetterQueue)).toBe(SENDERS[deadSeparate ? 'owned' : queues][layout]);

  // Key policies.
  for (const key of Object.values(fixture.keys)) {
    const statements = fixture.propertiesOf(key)?.KeyPolicy.Statement.filter(({ Principal }: any) => Principal.Service);
    expect(statements).toEqual(queues === 'imported' ? undefined : [{
      Effect: 'Allow',
      Principal: { Service: 'events.amazonaws.com' },
      Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      Resource: '*',
      Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' } },
    }]);
  }
  if (queues === 'made') {
    const own = fixture.propertiesOf(consumer.queue)!;
    expect([own.SqsManagedSseEnabled, own.KmsMasterKeyId]).toEqual(encryption === 'SSE' ? [true, undefined] : [undefined, expect.stringContaining('Key')]);
  }

  // Redrive.
  const queue = fixture.propertiesOf(consumer.queue);
  const dead = fixture.propertiesOf(consumer.deadLetterQueue);
  expect(queue?.RedrivePolicy?.maxReceiveCount).toBe({ made: 5, owned: 9, imported: undefined }[queues]);
  expect(queue?.RedrivePolicy?.deadLetterTargetArn).toEqual(queues === 'imported' ? undefined : expect.stringMatching(/Dead/));
  expect(dead?.RedriveAllowPolicy).toEqual(queues === 'made' && !deadSeparate
    ? { redrivePermission: 'byQueue', sourceQueueArns: [`arn:aws:sqs:eu-west-1:111122223333:${queue!.QueueName}`] }
    : undefined);

  // Permission to consume: this queue and its key, and nothing else.
  const stackOfRole = { Team: team, Other: other }[PERMISSION_IN[host][layout]]!;
  const allowed = fixture.allowedIn(stackOfRole);
  expect(allowed.map(({ Action }) => Action)).toEqual(encryption === 'SSE' ? [CONSUME] : [CONSUME, 'kms:Decrypt']);
  expect(allowed.map(({ Resource }) => Resource)).toEqual(
    evaluate(consumer.consumePolicyStatements.flatMap((statement) => stackOfRole.resolve(statement.toStatementJson()).Resource)));
  expect(fixture.allowedIn(stackOfRole === team ? other : team)).toEqual([]);

  // Warnings.
  const warned = queues !== 'imported' ? [] : ['queue', 'deadLetterQueue', ...KEY_WARNINGS[encryption]];
  const warnings = fixture.warnings();
  expect(warnings.map((text) => /^(.*) is imported, so its policy stays as it is/.exec(text)?.[1] ?? text)).toEqual(warned);
  const { queuePolicyStatement, deadLetterQueuePolicyStatement, keyPolicyStatement } = consumer;
  const statements = [queuePolicyStatement, deadLetterQueuePolicyStatement, keyPolicyStatement, keyPolicyStatement];
  warnings.forEach((text, index) => {
    expect(JSON.parse(/Statement\): (.*) \[ack: /.exec(text)![1]!)).toEqual(team.resolve(statements[index]!.toStatementJson()));
  });
});
