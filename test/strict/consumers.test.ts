import './strict-mode';
import { Annotations, App, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, ConsumerTarget, CqrsAuroraCluster, DatabaseAccess, QueueType } from '../../src';

const env = { account: '111122223333', region: 'eu-west-1' };
const eventPattern = { detailType: ['OrderCreated'] };
let app: App;
let team: Stack;
beforeEach(() => {
  app = new App();
  team = new Stack(app, 'Team', { env });
  Annotations.of(team).acknowledgeWarning('cdk-order-pipeline:eventBusPolicyNotUpdated');
});
// An empty stack is against the rules.
const other = () => app.node.tryFindChild('Other') as Stack | undefined ?? new Stack(app, 'Other', { env });

const vpcIn = (scope: Stack) => ec2.Vpc.fromVpcAttributes(scope, 'Vpc', {
  vpcId: 'vpc-0123456789abcdef0',
  availabilityZones: ['eu-west-1a', 'eu-west-1b'],
  privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
  privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef1'],
});
const functionIn = (scope: Stack, vpc?: ec2.IVpc) => new lambda.Function(scope, 'Function', {
  vpc,
  runtime: lambda.Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
  timeout: Duration.seconds(20),
});
const external = () => ConsumerTarget.external(
  new iam.Role(team, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') }), { processingTime: Duration.seconds(20) });

test.each<[string, () => void]>([
  ['FIFO with a customer key, several patterns and pollers', () => new BufferedEventConsumer(team, 'Consumer', {
    eventPatterns: [eventPattern, { source: ['com.partner'] }],
    queueType: QueueType.fifo({ messageGroupId: 'all' }),
    encryptionKey: new kms.Key(team, 'Key', { enableKeyRotation: true }),
    target: ConsumerTarget.lambdaFunction(functionIn(team), {
      batchSize: 10,
      minPollers: 2,
      maxPollers: 4,
      filters: [lambda.FilterCriteria.filter({ body: { detail: { id: lambda.FilterRule.exists() } } })],
    }),
  })],
  ['a fair queue', () => new BufferedEventConsumer(team, 'Consumer', { eventPattern, queueType: QueueType.fair(), target: external() })],
  ['a bus of another account', () => new BufferedEventConsumer(team, 'Consumer', {
    eventPattern, target: external(), eventBus: events.EventBus.fromEventBusArn(team, 'Bus', 'arn:aws:events:eu-west-1:999999999999:event-bus/central'),
  })],
  ['queue, key, bus and function of another stack', () => new BufferedEventConsumer(team, 'Consumer', {
    eventPattern,
    eventBus: new events.EventBus(other(), 'Bus'),
    queue: new sqs.Queue(other(), 'Queue', {
      encryptionMasterKey: new kms.Key(other(), 'Key', { enableKeyRotation: true }),
      visibilityTimeout: Duration.minutes(2),
      deadLetterQueue: { queue: new sqs.Queue(other(), 'Dead', { enforceSSL: true }), maxReceiveCount: 5 },
    }),
    target: ConsumerTarget.lambdaFunction(functionIn(other())),
  })],
  ['a function of another stack that has to know the consumer', () => new BufferedEventConsumer(team, 'Consumer', {
    eventPattern, target: ConsumerTarget.lambdaFunction(functionIn(other())), environment: { KEY: new kms.Key(team, 'Key').keyArn },
  })],
  ['a function in a VPC, with a database of another stack', () => new BufferedEventConsumer(team, 'Consumer', {
    eventPattern,
    databaseAccess: DatabaseAccess.command(new CqrsAuroraCluster(other(), 'Database', { vpc: vpcIn(other()) })),
    target: ConsumerTarget.lambdaFunction(functionIn(team, vpcIn(team)), { filters: [{ body: { detail: { total: [{ numeric: ['>', 100] }] } } }] }),
    removalPolicy: RemovalPolicy.RETAIN,
  })],
])('%s passes the strict CloudFormation rules, with the flags of a new app', (_, make) => {
  make();
  expect(app.synth().stacks[0]!.template.Resources).not.toEqual({});
});
