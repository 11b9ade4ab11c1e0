import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { EventBridgeClient, ListRulesCommand } from '@aws-sdk/client-eventbridge';
import type { EventBridgeServiceException } from '@aws-sdk/client-eventbridge';
import { ListTopicsCommand, SNSClient } from '@aws-sdk/client-sns';
import * as cdk from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import { OtherServices } from './other-services.ts';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import { atEnd, eventually } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';
import type { RunContext } from '../service.ts';

async function endpoint(context: TestContext, otherEndpoints: Record<string, string> = {}) {
  const reports: string[] = [];
  const run: Partial<RunContext> = { otherEndpoints, log: () => undefined, report: (sentence) => void reports.push(sentence) };
  const services = new OtherServices(run as RunContext);
  await services.start();
  atEnd(context, () => services.stop());
  return { services, reports, url: services.address };
}

const signed = (service: string) => ({ authorization: `AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0` });
const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };

describe('a call to a service that the run does not have', () => {
  test('is refused so that an SDK shows the reason at once, and is reported once', async (context) => {
    const { url, reports } = await endpoint(context);
    const eventBridge = new EventBridgeClient({ region: 'us-east-1', endpoint: url, credentials });
    const sns = new SNSClient({ region: 'us-east-1', endpoint: url, credentials });
    atEnd(context, () => { eventBridge.destroy(); sns.destroy(); });
    const refused = (title: string, service: string) => ({
      name: 'NotPartOfLocalRun',
      message: `${title}: this service is not part of the local run. Give the address of one with --endpoint ${service}=URL.`,
      $metadata: { httpStatusCode: 400, attempts: 1 },
    });
    for (let time = 0; time < 2; time++) {
      await assert.rejects(eventBridge.send(new ListRulesCommand({})), (error: EventBridgeServiceException) => {
        const { name, message, $metadata: { httpStatusCode, attempts } } = error;
        assert.deepEqual({ name, message, $metadata: { httpStatusCode, attempts } }, refused('EventBridge ListRules', 'eventbridge'));
        return true;
      });
      await assert.rejects(sns.send(new ListTopicsCommand({})), { name: 'NotPartOfLocalRun', message: refused('SNS ListTopics', 'sns').message });
    }
    assert.deepEqual(reports, [refused('EventBridge ListRules', 'eventbridge').message, refused('SNS ListTopics', 'sns').message]);
  });

  // The requests of other SDKs, as they are on the wire.
  const cases: [what: string, path: string, init: RequestInit, type: RegExp, body: RegExp][] = [
    ['JSON', '/', { method: 'POST', headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'DynamoDB_20120810.GetItem', ...signed('dynamodb') }, body: '{}' },
      /^application\/x-amz-json-1\.0$/, /^{"__type":"NotPartOfLocalRun","message":"DynamoDB GetItem: .* --endpoint dynamodb=URL\."}$/],
    ['JSON whose signature has another name', '/', {
      method: 'POST',
      headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'AWSStepFunctions.StartExecution', ...signed('states') },
      body: '{}',
    }, /json/, /Step Functions StartExecution: .* --endpoint sfn=URL/],
    ['a form', '/', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded', ...signed('sts') }, body: 'Action=GetCallerIdentity&Version=2011-06-15' },
      /^text\/xml$/, /<ErrorResponse .*<Code>NotPartOfLocalRun<\/Code><Message>STS GetCallerIdentity: /],
    ['a form for EC2', '/', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded', ...signed('ec2') }, body: 'Action=DescribeInstances' },
      /^text\/xml$/, /^<Response><Errors><Error><Code>NotPartOfLocalRun</],
    ['S3', '/bucket/some/key?x-id=PutObject', { method: 'PUT', headers: signed('s3'), body: 'content' },
      /^application\/xml$/, /<Error><Code>NotPartOfLocalRun<\/Code><Message>S3 PutObject: /],
    ['S3 without the name of the action', '/bucket/some/key', { method: 'DELETE', headers: signed('s3') }, /xml/, /<Message>S3 DELETE \/bucket\/\.\.\.: /],
    ['REST', '/2015-03-31/functions/orders/invocations', { method: 'POST', headers: signed('lambda'), body: '{}' },
      /^application\/json$/, /"message":"Lambda POST \/2015-03-31\/functions\/\.\.\.: /],
    ['nobody knows what', '/', { method: 'GET', headers: { 'amz-sdk-invocation-id': 'x' } }, /json/, /unknown GET \/: /],
  ];
  for (const [what, path, init, type, body] of cases) {
    test(`in the protocol of the request: ${what}`, async (context) => {
      const { url } = await endpoint(context);
      const answer = await fetch(`${url}${path}`, init);
      assert.equal(answer.status, 400);
      assert.match(answer.headers.get('content-type') ?? '', type);
      assert.match(await answer.text(), body);
    });
  }

  test('in the protocol of the request: CBOR', async (context) => {
    const { url } = await endpoint(context);
    const answer = await fetch(`${url}/service/GraniteServiceVersion20100801/operation/PutMetricData`, {
      method: 'POST', headers: { 'smithy-protocol': 'rpc-v2-cbor', 'content-type': 'application/cbor', ...signed('monitoring') },
    });
    assert.equal(answer.headers.get('smithy-protocol'), 'rpc-v2-cbor');
    const bytes = Buffer.from(await answer.arrayBuffer());
    const message = 'CloudWatch PutMetricData: this service is not part of the local run. Give the address of one with --endpoint cloudwatch=URL.';
    assert.deepEqual(bytes, Buffer.concat([
      Buffer.from([0xa2, 0x66]), Buffer.from('__type'), Buffer.from([0x71]), Buffer.from('NotPartOfLocalRun'), Buffer.from([0x67]), Buffer.from('message'),
      Buffer.from([0x79, 0, message.length]), Buffer.from(message),
    ]));
  });

  test('is not taken from a web page', async (context) => {
    const { url, reports } = await endpoint(context);
    for (const headers of [{ origin: 'http://evil.example', ...signed('s3') }, { 'sec-fetch-site': 'cross-site', ...signed('s3') }, { 'content-type': 'text/plain' }]) {
      assert.equal((await fetch(url, { method: 'POST', headers: new Headers(Object.entries(headers)), body: 'x' })).status, 403);
    }
    assert.deepEqual(reports, []);
  });
});

test('an address that is none is refused', () => {
  const made = (url: string) => () => new OtherServices({ otherEndpoints: { dynamodb: url } } as Partial<RunContext> as RunContext);
  for (const url of ['127.0.0.1:8000', 'ftp://host', '']) {
    const expected = `The address of dynamodb is '${url}'`;
    assert.throws(made(url), (error) => error instanceof LocalRunError && error.message.startsWith(expected));
  }
});

/** A server that writes down the requests for it, and answers as DynamoDB does. */
async function recorder(context: TestContext, answer: (input: { TableName: string }) => [status: number, body: object]) {
  const requests: { target: unknown; authorization: string; input: Record<string, unknown> }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => { body += chunk; }).on('end', () => {
      const input = JSON.parse(body) as Record<string, unknown>;
      requests.push({ target: request.headers['x-amz-target'], authorization: String(request.headers.authorization), input });
      const [status, result] = answer(input as { TableName: string });
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(result));
    });
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  atEnd(context, () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function tables(stack: cdk.Stack): void {
  const table = new dynamodb.Table(stack, 'Orders', {
    tableName: 'orders',
    partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING },
    sortKey: { name: 'line', type: dynamodb.AttributeType.NUMBER },
    stream: dynamodb.StreamViewType.NEW_IMAGE,
  });
  table.addGlobalSecondaryIndex({ indexName: 'by-customer', partitionKey: { name: 'customer', type: dynamodb.AttributeType.STRING } });
  table.addLocalSecondaryIndex({ indexName: 'by-total', sortKey: { name: 'total', type: dynamodb.AttributeType.NUMBER }, projectionType: dynamodb.ProjectionType.KEYS_ONLY });
  new dynamodb.TableV2(stack, 'Customers', { partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING } });
}

test('tables are made in a DynamoDB that the user names, and programs call it', async (context) => {
  const { requests, url } = await recorder(context, ({ TableName }) =>
    (TableName === 'orders' ? [200, {}] : [400, { __type: 'com.amazonaws.dynamodb.v20120810#ResourceInUseException', message: 'Cannot create preexisting table' }]));
  const stackTest = functionTest(context);
  tables(stackTest.stack);
  const fn = stackTest.function('Function', {
    'index.js': `${RECORD}exports.handler = async () => record({ dynamodb: process.env.AWS_ENDPOINT_URL_DYNAMODB, other: process.env.AWS_ENDPOINT_URL });`,
  });
  stackTest.queue(fn, 'calls');
  const { run, send, seen } = await stackTest.start({ otherEndpoints: { 'dynamodb': url, 'cognito-identity': 'https://cognito.example' } });
  assert.deepEqual(run.warnings, []);
  assert.deepEqual([run.environment.AWS_ENDPOINT_URL_DYNAMODB, run.environment.AWS_ENDPOINT_URL_COGNITO_IDENTITY], [url, 'https://cognito.example']);
  assert.notEqual(run.environment.AWS_ENDPOINT_URL, run.endpoints.sqs);
  await send('calls', 'x');
  const [call] = await eventually(() => seen<object>().length > 0 && seen<object>(), 'the function');
  assert.deepEqual(call, { dynamodb: url, other: run.environment.AWS_ENDPOINT_URL });

  const [orders, customers] = requests;
  assert.equal(orders?.target, 'DynamoDB_20120810.CreateTable');
  assert.match(orders?.authorization ?? '', /Credential=local\/\d{8}\/us-east-1\/dynamodb\/aws4_request/);
  const key = (AttributeName: string, KeyType = 'HASH') => ({ AttributeName, KeyType });
  const ProvisionedThroughput = { ReadCapacityUnits: 5, WriteCapacityUnits: 5 };
  assert.deepEqual(orders?.input, {
    TableName: 'orders',
    AttributeDefinitions: [
      { AttributeName: 'id', AttributeType: 'S' }, { AttributeName: 'line', AttributeType: 'N' },
      { AttributeName: 'customer', AttributeType: 'S' }, { AttributeName: 'total', AttributeType: 'N' },
    ],
    KeySchema: [key('id'), key('line', 'RANGE')],
    BillingMode: 'PROVISIONED',
    ProvisionedThroughput,
    GlobalSecondaryIndexes: [{ IndexName: 'by-customer', KeySchema: [key('customer')], Projection: { ProjectionType: 'ALL' }, ProvisionedThroughput }],
    LocalSecondaryIndexes: [{ IndexName: 'by-total', KeySchema: [key('id'), key('total', 'RANGE')], Projection: { ProjectionType: 'KEYS_ONLY' } }],
  });
  assert.deepEqual([customers?.input.BillingMode, customers?.input.KeySchema, requests.length], ['PAY_PER_REQUEST', [key('id')], 2]);
});

test('the name of a service counts as people write it', async (context) => {
  const stackTest = functionTest(context);
  new cdk.aws_cognito.UserPool(stackTest.stack, 'Users');
  const { run } = await stackTest.start({ otherEndpoints: { 'Cognito-Identity-Provider': 'http://127.0.0.1:9229' } });
  assert.match(run.warnings.join('\n'), /Users .*calls to Cognito go to http:\/\/127\.0\.0\.1:9229, where it has to exist\.$/);
  assert.equal(run.environment.AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER, 'http://127.0.0.1:9229');
});

test('a table that needs a value which only AWS knows is left out, and the others are made', async (context) => {
  const { requests, url } = await recorder(context, () => [200, {}]);
  const stackTest = functionTest(context);
  const partitionKey = { name: 'id', type: dynamodb.AttributeType.STRING };
  new dynamodb.Table(stackTest.stack, 'Elsewhere', { tableName: cdk.Fn.importValue('nowhere'), partitionKey });
  new dynamodb.Table(stackTest.stack, 'Here', { tableName: 'here', partitionKey });
  const { run } = await stackTest.start({ otherEndpoints: { dynamodb: url } });
  assert.deepEqual(requests.map(({ input }) => input.TableName), ['here']);
  assert.match(run.warnings.join('\n'), /Elsewhere.* \(AWS::DynamoDB::Table\) is left out: .*no stack of this run exports nowhere\.$/);
});

test('a DynamoDB that does not answer, or refuses a table, is one sentence', async (context) => {
  const { url } = await recorder(context, () => [400, { __type: 'ValidationException', message: 'One or more parameter values were invalid' }]);
  const stackTest = functionTest(context);
  tables(stackTest.stack);
  const sentence = /^The table .* cannot be made in the DynamoDB at http:\S+: ValidationException One or more parameter .* invalid$/;
  await assert.rejects(stackTest.start({ otherEndpoints: { dynamodb: url } }), (error) => (
    error instanceof LocalRunError && sentence.test(error.message)));
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => { server.once('listening', resolve); });
  const gone = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise((resolve) => { server.close(resolve); });
  await assert.rejects(stackTest.start({ otherEndpoints: { dynamodb: gone } }), (error) => error instanceof LocalRunError
    && /there is no DynamoDB at http:\S+ \(ECONNREFUSED\)\. Start it first, or leave --endpoint dynamodb away\.$/.test(error.message));
});
