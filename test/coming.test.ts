import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { ApiAuthorizer, CqrsAuroraCluster, CqrsEngine, EventTransport, IKafkaCluster, MskEventCluster, ServiceHost } from '../src';
import { commerce } from './programs/commerce';
import { serverless } from './programs/serverless';

const stack = new Stack(new App(), 'Test');
const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
const fn = lambda.Function.fromFunctionArn(stack, 'Fn', 'arn:aws:lambda:eu-west-1:111111111111:function:fn');

/** The features that are in the API and not available yet. The list gets shorter; a use of `coming()` that is not in it fails. */
const COMING: [string, string, () => unknown][] = [
  ['EventTransport.queues()', 'the serverless system', () => EventTransport.queues()],
  ['ServiceHost.httpApi()', 'the serverless system', () => ServiceHost.httpApi(fn, { routes: ['POST /orders'], authorizer: ApiAuthorizer.iam() })],
  ['ServiceHost.scheduled()', 'the serverless system', () => ServiceHost.scheduled(fn, Duration.minutes(1))],
  ['ServiceHost.onDeployment()', 'the serverless system', () => ServiceHost.onDeployment(fn)],
  ['Aurora MySQL (CqrsEngine.mysql)', 'the serverless system', () => new CqrsAuroraCluster(stack, 'MySql', { vpc, engine: CqrsEngine.mysql() })],
  ['EventTransport.kafka()', 'the Kafka transport', () => EventTransport.kafka({} as IKafkaCluster)],
  ['MskEventCluster', 'the Kafka transport', () => new MskEventCluster(stack, 'Kafka', { vpc, topics: {} })],
];

test.each(COMING)('%s is not available yet: it comes with %s', (what, feature, use) => {
  expect(use).toThrow(new RegExp(`^${what.replace(/[().]/g, '\\$&')} is not available yet: it comes with ${feature}.*\\. Until then, .+\\.$`));
});

test('nothing else is missing', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.endsWith('coming.ts'));
  const uses = sources.flatMap((file) => readFileSync(join('src', file), 'utf8').match(/\bcoming\(/g) ?? []);
  expect(uses).toHaveLength(COMING.length);
});

const programs: [string, () => Stack][] = [['serverless', serverless], ['commerce', commerce]];
test.each(programs)('the program of the %s system compiles, and says what it waits for', (_, program) => {
  expect(program).toThrow(/is not available yet: it comes with/);
});
