import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { readAssembly } from './assembly.ts';
import type { Template, TemplateResource } from './assembly.ts';
import { Model } from './model.ts';
import { nameWhatIsNotMade } from './not-made.ts';
import type { NotMadeOptions } from './not-made.ts';
import { namedType, TEMPLATE_WITHOUT_MEANING } from './types.ts';
import { synthesizePlain } from '../../test/plain/app.ts';
import { prepared } from '../../test/prepared.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import { startLocal } from '../run.ts';

process.env.CDK_VALIDATION = 'false';

function modelOf(Resources: Record<string, TemplateResource>): Model {
  const stacks = [{ id: 'Shop', name: 'Shop', template: { Resources } as Template, account: undefined, region: undefined, directory: '/' }];
  const world = { account: '000000000000', region: 'us-east-1', resourceType: namedType, secretValue: () => undefined };
  return new Model({ directory: '/', stacks, images: new Map(), files: new Map() }, world);
}

function named(resources: Record<string, TemplateResource> | readonly string[], options: Partial<NotMadeOptions> = {}) {
  const warnings: string[] = [];
  const reasons: string[] = [];
  const all = Array.isArray(resources) ? Object.fromEntries(resources.map((Type, index) => [`R${index}`, { Type }])) : resources as Record<string, TemplateResource>;
  nameWhatIsNotMade(modelOf(all), {
    made: { 'AWS::SQS::Queue': true },
    withoutMeaning: [TEMPLATE_WITHOUT_MEANING],
    otherEndpoints: {},
    leaveOut: (reason) => reasons.push(reason),
    warn: (sentence) => warnings.push(sentence),
    ...options,
  });
  return { warnings, reasons };
}

const TWENTY = [
  'The template of the nested stack Plain/Nested is not in this assembly: nothing of it runs.',
  'The local run cannot make Plain/Function/FunctionUrl (AWS::Lambda::Url): its function has no address.',
  'The local run cannot make Plain/Table (AWS::DynamoDB::Table): calls to DynamoDB are refused; give the address of one with --endpoint dynamodb=URL.',
  'The local run cannot make Plain/Bucket (AWS::S3::Bucket), with 1 BucketPolicy, 1 S3BucketNotifications: a bucket sends no notifications, '
  + 'and calls to S3 are refused; give the address of one with --endpoint s3=URL.',
  'The local run cannot make Plain/Stream (AWS::Kinesis::Stream): no function is called by a stream, '
  + 'and calls to Kinesis are refused; give the address of one with --endpoint kinesis=URL.',
  'The local run cannot make Plain/Firehose (AWS::KinesisFirehose::DeliveryStream): calls to Firehose are refused; give the address of one with --endpoint firehose=URL.',
  'The local run cannot make Plain/Machine (AWS::StepFunctions::StateMachine): no execution starts, '
  + 'and calls to Step Functions are refused; give the address of one with --endpoint sfn=URL.',
  'The local run cannot make Plain/Api (AWS::ApiGateway::RestApi), Plain/HttpApi (AWS::ApiGatewayV2::Api), '
  + 'with 1 Account, 1 Deployment, 2 Stage, 1 Resource, 1 Method: without an address here, it passes no request on to functions, queues or services.',
  'The local run cannot make Plain/Users (AWS::Cognito::UserPool), with 1 UserPoolClient: nobody signs in, '
  + 'and calls to Cognito are refused; give the address of one with --endpoint cognito_identity_provider=URL.',
  'The local run cannot make Plain/Distribution (AWS::CloudFront::Distribution), with 1 OriginAccessControl: nothing is served through it; ask its origin.',
  'The local run cannot make Plain/Zone (AWS::Route53::HostedZone): its names do not resolve here, so a program that uses one fails there.',
  'The local run cannot make Plain/Cache (AWS::ElastiCache::ServerlessCache): its address is not known, so a workload whose template needs it is not started.',
  'The local run cannot make Plain/Search (AWS::OpenSearchService::Domain): its address is not known, so a workload whose template needs it is not started.',
  'The local run cannot make Plain/Files (AWS::EFS::FileSystem), with 2 MountTarget: a function or a container that mounts it does not find its files.',
  'The local run cannot make Plain/Kafka (AWS::MSK::ServerlessCluster): it has no brokers here; its address is not known, '
  + 'so a workload whose template needs it is not started.',
  'The local run cannot make Plain/Web/LB (AWS::ElasticLoadBalancingV2::LoadBalancer), with 1 Listener, 1 TargetGroup: it passes no request on; '
  + 'its address is not known, so a workload whose template needs it is not started.',
  'The local run cannot make Plain/Web/TaskDef (AWS::ECS::TaskDefinition), Plain/Web/Service/Service (AWS::ECS::Service), with 1 Cluster: '
  + 'its containers do not run; the local run starts those of Kubernetes only.',
  'The local run cannot make Plain/Job (AWS::Batch::JobDefinition): its jobs do not run, and calls to Batch are refused; give the address of one with --endpoint batch=URL.',
  'The local run cannot make Plain/Pipe (AWS::Pipes::Pipe): nothing moves from its source to its target.',
  'The local run cannot make Plain/Destination/ApiDestination (AWS::Events::ApiDestination), with 1 Connection: no event is sent to it.',
  'The local run cannot make Plain/Seed (Custom::Seed): its function is not called, and what needs one of its attributes is left out and named.',
  'The local run cannot make Plain/Call (Custom::AWS): its calls of AWS are not made, and what needs their answers is left out and named.',
  'The local run cannot make Plain/Quantum (AWS::Braket::QuantumTask): nothing of it runs here, calls to it are refused, '
  + 'and what needs its addresses or ids is left out and named.',
];

test('twenty services that are not made are a sentence each, with the meaning for the run', async (context) => {
  const assembly = readAssembly(synthesizePlain({ outdir: temporaryFolder(context), withTwentyOthers: true }));
  const { warnings } = await prepared(context, assembly);
  assert.deepEqual(warnings, TWENTY);
});

test('a plain stack runs with twenty services beside it that are not made, and all of them are reported', async (context: TestContext) => {
  const folder = temporaryFolder(context);
  const seen = join(folder, 'seen.jsonl');
  const assemblyDir = synthesizePlain({ outdir: join(folder, 'cdk.out'), seen, withTwentyOthers: true });
  const run = await startLocal({ assemblyDir, dataDir: join(folder, 'data') });
  atEnd(context, () => run.stop());
  assert.deepEqual(TWENTY.filter((sentence) => !run.warnings.includes(sentence)), []);
  // The resources that are made, but read from or send to one of these.
  for (const part of ['KinesisEventSource', 'DynamoDBEventSource', 'stateMachine:', 'apidestination/', 'Plain/Mysql (AWS::RDS::DBInstance)']) {
    assert.equal(run.warnings.filter((sentence) => sentence.includes(part) && !TWENTY.includes(sentence)).length, 1, part);
  }
  await run.eventBridge.putEvents([{ EventBusName: 'plain', Source: 'plain', DetailType: 'Created', Detail: '{"id":"one"}' }]);
  await eventually(() => existsSync(seen) && readFileSync(seen, 'utf8') === '{"id":"one"}\n', 'the event in the function');
});

test('the state machine with which the provider of a custom resource waits is part of the deployment', () => {
  const machine = (path: string) => ({ Type: 'AWS::StepFunctions::StateMachine', Metadata: { 'aws:cdk:path': path } });
  const { warnings, reasons } = named({ Waiter: machine('Shop/Provider/waiter-state-machine/Resource'), Own: machine('Shop/Pay/Resource') });
  assert.deepEqual(reasons, ['deployment of the stack itself']);
  assert.match(warnings.join(), /^The local run cannot make Shop\/Pay \(AWS::StepFunctions::StateMachine\)[^;]*; give[^;]*$/);
});

test('every resource is made, has no meaning for a reason, or is named', async (context) => {
  const assembly = readAssembly(synthesizePlain({ outdir: temporaryFolder(context), withTwentyOthers: true }));
  const made = new Set(['AWS::SQS::Queue', 'AWS::Events::Rule']);
  const { model } = await prepared(context, assembly);
  const warnings: string[] = [];
  let reasons = 0;
  nameWhatIsNotMade(model, {
    made: Object.fromEntries([...made].map((type) => [type, true])),
    withoutMeaning: [TEMPLATE_WITHOUT_MEANING],
    otherEndpoints: {},
    leaveOut: () => { reasons += 1; },
    warn: (sentence) => warnings.push(sentence),
  });
  // A sentence has one resource with its type, several with their number and type, and parts with their number and kind.
  const counted = warnings.flatMap((sentence) => [
    ...[...sentence.matchAll(/\((AWS|Custom)::[^)]+\)/g)].map(() => 1),
    ...[...sentence.matchAll(/(\d+) of (?:AWS|Custom)::/g)].map(([, count]) => Number(count)),
  ]);
  const partsOf = (sentence: string) => [...sentence.matchAll(/(?:, with |, )(\d+) \w+(?=[,:])/g)].map(([, count]) => Number(count));
  const parts = warnings.flatMap(partsOf);
  const total = [...counted, ...parts].reduce((sum, count) => sum + count, reasons);
  assert.equal(total, model.resources.filter(({ type }) => !made.has(type)).length);
});

test('types close to those without a meaning are named, since programs would miss them', () => {
  const without = ['AWS::IAM::Role', 'AWS::EC2::VPC', 'AWS::KMS::Key', 'AWS::Logs::LogGroup', 'AWS::ApplicationAutoScaling::ScalableTarget', 'AWS::WAFv2::WebACL'];
  const others = ['AWS::EC2::Instance', 'AWS::Logs::SubscriptionFilter', 'AWS::AutoScaling::AutoScalingGroup', 'AWS::Lambda::Url', 'Custom::Anything', 'AWS::Events::Endpoint'];
  const { warnings, reasons } = named([...without, ...others, 'AWS::SQS::Queue']);
  assert.equal(reasons.length, without.length);
  assert.deepEqual(warnings.length, others.length);
  for (const type of others) assert.ok(warnings.some((sentence) => sentence.includes(`(${type})`)), type);
});

test('many of one type are one line with the first names', () => {
  const { warnings } = named(Array<string>(7).fill('AWS::DynamoDB::Table'));
  assert.deepEqual(warnings, ['The local run cannot make 7 of AWS::DynamoDB::Table (Shop.R0, Shop.R1, Shop.R2, Shop.R3 and 3 more): '
    + 'calls to DynamoDB are refused; give the address of one with --endpoint dynamodb=URL.']);
});

test('types that nobody here knows are one line for each service', () => {
  const { warnings } = named(['AWS::New::Thing', 'AWS::New::Other', 'AWS::Newer::Thing', 'Vendor::Mongo::Atlas::MODULE']);
  assert.deepEqual(warnings.map((sentence) => sentence.slice(0, sentence.indexOf(': '))), [
    'The local run cannot make Shop.R0 (AWS::New::Thing), Shop.R1 (AWS::New::Other)', 'The local run cannot make Shop.R2 (AWS::Newer::Thing)',
    'The local run cannot make Shop.R3 (Vendor::Mongo::Atlas::MODULE)',
  ]);
});

test('with the address of such a service, the sentence says where calls go', () => {
  const { warnings } = named(['AWS::DynamoDB::Table'], { otherEndpoints: { dynamodb: 'http://127.0.0.1:8000' } });
  assert.deepEqual(warnings, ['The local run cannot make Shop.R0 (AWS::DynamoDB::Table): calls to DynamoDB go to http://127.0.0.1:8000, where it has to exist.']);
});

test('a property without an effect is named, unless it is off', () => {
  const cluster = (Properties: Record<string, unknown>) => ({ Type: 'AWS::RDS::DBCluster', Properties });
  const { warnings } = named({ Old: cluster({ SnapshotIdentifier: 'last-year' }), New: cluster({ EnableHttpEndpoint: false }) }, { made: { 'AWS::RDS::DBCluster': true } });
  assert.deepEqual(warnings, ['SnapshotIdentifier of Shop.Old (AWS::RDS::DBCluster) has no effect here: the database starts empty, and not with the data of the snapshot.']);
});
