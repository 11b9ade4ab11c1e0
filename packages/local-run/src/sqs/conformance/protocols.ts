import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { apiPage, element, guidePage } from './bench.ts';
import type { Answer, Bench, Check } from './bench.ts';

const JSON_GUIDE = guidePage('sqs-making-api-requests-json');
const XML_GUIDE = guidePage('sqs-making-api-requests-xml');
const ERRORS = apiPage('CommonErrors').replace('API_CommonErrors', 'CommonErrors');

function error({ text }: Answer): { readonly __type: string; readonly message: string } {
  return JSON.parse(text) as { __type: string; message: string };
}

async function queryQueue(bench: Bench): Promise<string> {
  const answer = await bench.query({
    'Action': 'CreateQueue',
    'QueueName': bench.name(),
    'Attribute.1.Name': 'VisibilityTimeout',
    'Attribute.1.Value': '50',
    'Tag.1.Key': 'team',
    'Tag.1.Value': 'orders',
  });
  assert.equal(answer.status, 200, answer.text);
  return element(answer, 'QueueUrl')!;
}

export const protocolChecks: readonly Check[] = [
  {
    id: 'json-answer',
    source: JSON_GUIDE,
    rule: 'An answer of the JSON protocol has its content type and a request id.',
    run: async (bench) => {
      const { status, headers } = await bench.post('AmazonSQS.ListQueues', '{}');
      assert.deepEqual([status, headers.get('content-type')], [200, 'application/x-amz-json-1.0']);
      assert.match(headers.get('x-amzn-requestid')!, /^[0-9a-f-]{36}$/);
    },
  },
  {
    id: 'json-error',
    source: guidePage('sqs-json-faqs'),
    rule: 'An error has its type, and its code of the query protocol in the header x-amzn-query-error.',
    run: async (bench) => {
      const answer = await bench.post('AmazonSQS.GetQueueUrl', '{"QueueName":"none-such"}');
      assert.equal(answer.status, 400);
      assert.equal(answer.headers.get('x-amzn-query-error'), 'AWS.SimpleQueueService.NonExistentQueue;Sender');
      assert.deepEqual(error(answer), { __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: 'The specified queue does not exist.' });
    },
  },
  {
    id: 'json-broken',
    source: ERRORS,
    rule: 'A body that is no JSON object is a SerializationException.',
    run: async (bench) => {
      for (const body of ['{"QueueName":', '[]', '"x"']) assert.match(error(await bench.post('AmazonSQS.GetQueueUrl', body)).__type, /#SerializationException$/);
    },
  },
  {
    id: 'json-types',
    source: JSON_GUIDE,
    rule: 'So is a parameter of another type.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      for (const [action, input] of [['ReceiveMessage', { MaxNumberOfMessages: '5' }], ['ReceiveMessage', { WaitTimeSeconds: 0.5 }], ['SendMessage', { MessageBody: 5 }],
        ['SendMessageBatch', { Entries: {} }], ['SetQueueAttributes', { Attributes: { DelaySeconds: 5 } }]] as const) {
        assert.match(error(await bench.post(`AmazonSQS.${action}`, JSON.stringify({ QueueUrl, ...input }))).__type, /#SerializationException$/, action);
      }
    },
  },
  {
    id: 'json-unknown-fields',
    source: JSON_GUIDE,
    rule: 'Parameters that the API does not know are ignored.',
    run: async (bench) => assert.equal((await bench.post('AmazonSQS.ListQueues', '{"Nonsense":1}')).status, 200),
  },
  {
    id: 'json-unknown-action',
    source: ERRORS,
    rule: 'An unknown action is refused.',
    run: async (bench) => {
      for (const target of ['AmazonSQS.Nonsense', 'AmazonSQS.toString', 'AmazonSNS.Publish']) {
        const answer = await bench.post(target, '{}');
        assert.deepEqual([answer.status, /#UnknownOperationException$/.test(error(answer).__type)], [400, true]);
      }
    },
  },
  {
    id: 'json-missing',
    source: ERRORS,
    rule: 'A parameter that is missing is named.',
    run: async (bench) => {
      for (const [action, name] of [['SendMessage', 'QueueUrl'], ['CreateQueue', 'QueueName'], ['DeleteQueue', 'QueueUrl']]) {
        const { __type, message } = error(await bench.post(`AmazonSQS.${action}`, '{}'));
        assert.match(__type, /#MissingParameter$/);
        assert.match(message, new RegExp(name!));
      }
    },
  },
  {
    id: 'signature',
    source: guidePage('sqs-making-api-requests-json'),
    rule: 'A request with a wrong signature is refused.',
    run: async (bench) => assert.equal((await bench.query({ Action: 'ListQueues' })).status, 403),
  },
  {
    id: 'query-create',
    source: XML_GUIDE,
    rule: 'The query protocol makes a queue with attributes and tags, and finds it.',
    run: async (bench) => {
      const url = await queryQueue(bench);
      assert.equal((await bench.attributes(url, 'VisibilityTimeout')).VisibilityTimeout, '50');
      const tags = await bench.query({ Action: 'ListQueueTags', QueueUrl: url });
      assert.deepEqual([element(tags, 'Key'), element(tags, 'Value')], ['team', 'orders']);
      assert.equal(element(await bench.query({ Action: 'GetQueueUrl', QueueName: url.split('/').at(-1)! }), 'QueueUrl'), url);
      assert.equal(element(await bench.query({ Action: 'ListQueues', QueueNamePrefix: url.split('/').at(-1)! }), 'QueueUrl'), url);
    },
  },
  {
    id: 'query-answer',
    source: XML_GUIDE,
    rule: 'Its answers are XML of the namespace of 2012-11-05, with a request id.',
    run: async (bench) => {
      const answer = await bench.query({ Action: 'ListQueues' });
      assert.match(answer.headers.get('content-type')!, /^text\/xml/);
      const start = '<?xml version="1.0"?><ListQueuesResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><ListQueuesResult>';
      assert.ok(answer.text.startsWith(start), answer.text);
      assert.equal(element(answer, 'RequestId'), answer.headers.get('x-amzn-requestid'));
    },
  },
  {
    id: 'query-send',
    source: XML_GUIDE,
    rule: 'It sends a message with attributes, answered by the MD5 of both.',
    run: async (bench) => {
      const QueueUrl = await queryQueue(bench);
      const answer = await bench.query({
        'Action': 'SendMessage',
        QueueUrl,
        'MessageBody': 'a & b\n<c>',
        'DelaySeconds': '0',
        'MessageAttribute.1.Name': 'n',
        'MessageAttribute.1.Value.DataType': 'String',
        'MessageAttribute.1.Value.StringValue': 'v',
      });
      assert.equal(element(answer, 'MD5OfMessageBody'), hash('md5', 'a & b\n<c>'));
      assert.match(element(answer, 'MD5OfMessageAttributes')!, /^[0-9a-f]{32}$/);
      const message = await bench.receiveOne(QueueUrl);
      assert.deepEqual([message.Body, message.MessageAttributes?.n?.StringValue, message.MessageId], ['a & b\n<c>', 'v', element(answer, 'MessageId')]);
    },
  },
  {
    id: 'query-receive',
    source: XML_GUIDE,
    rule: 'It receives messages with what is asked for of their attributes, and deletes them.',
    run: async (bench) => {
      const QueueUrl = await queryQueue(bench);
      await bench.send(QueueUrl, 'a & b\r\n<c>', { MessageAttributes: { n: { DataType: 'Binary', BinaryValue: Uint8Array.of(1, 2) } } });
      const answer = await bench.query({
        'Action': 'ReceiveMessage',
        QueueUrl,
        'MaxNumberOfMessages': '10',
        'AttributeName.1': 'ApproximateReceiveCount',
        'MessageAttributeName.1': 'All',
        'VisibilityTimeout': '10',
      });
      assert.equal(element(answer, 'Body'), 'a &amp; b&#xD;&#xA;&lt;c&gt;');
      assert.match(answer.text, /<Attribute><Name>ApproximateReceiveCount<\/Name><Value>1<\/Value><\/Attribute>/);
      assert.match(answer.text, /<MessageAttribute><Name>n<\/Name><Value><DataType>Binary<\/DataType><BinaryValue>AQI=<\/BinaryValue>/);
      const removed = await bench.query({ Action: 'DeleteMessage', QueueUrl, ReceiptHandle: element(answer, 'ReceiptHandle')! });
      assert.match(removed.text, /<DeleteMessageResponse [^>]*><ResponseMetadata>/);
      bench.advance(11);
      assert.deepEqual(await bench.bodies(QueueUrl), []);
    },
  },
  {
    id: 'query-batch',
    source: XML_GUIDE,
    rule: 'Its batches answer each entry by its id.',
    run: async (bench) => {
      const QueueUrl = await queryQueue(bench);
      const entry = (number: number, fields: Record<string, string>) => Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [`SendMessageBatchRequestEntry.${number}.${name}`, value]),
      );
      const entries = { ...entry(1, { Id: 'a', MessageBody: 'x' }), ...entry(2, { Id: 'b', MessageBody: 'y', DelaySeconds: '901' }) };
      const answer = await bench.query({ Action: 'SendMessageBatch', QueueUrl, ...entries });
      assert.match(answer.text, /<SendMessageBatchResultEntry><Id>a<\/Id>/);
      assert.match(answer.text, /<BatchResultErrorEntry><Id>b<\/Id><SenderFault>true<\/SenderFault><Code>InvalidParameterValue<\/Code>/);
      assert.deepEqual(await bench.bodies(QueueUrl), ['x']);
    },
  },
  {
    id: 'query-path',
    source: XML_GUIDE,
    rule: 'A request to the URL of a queue is for that queue.',
    run: async (bench) => {
      const url = await queryQueue(bench);
      const answer = await bench.query({ 'Action': 'GetQueueAttributes', 'AttributeName.1': 'QueueArn' }, new URL(url).pathname);
      assert.match(answer.text, new RegExp(`<Attribute><Name>QueueArn</Name><Value>${bench.arn(url)}</Value></Attribute>`));
    },
  },
  {
    id: 'query-error',
    source: XML_GUIDE,
    rule: 'Its errors have a type, a code and a message.',
    run: async (bench) => {
      const answer = await bench.query({ Action: 'GetQueueUrl', QueueName: 'none-such' });
      assert.deepEqual([answer.status, element(answer, 'Type'), element(answer, 'Code')], [400, 'Sender', 'AWS.SimpleQueueService.NonExistentQueue']);
      assert.match(answer.text, /^<\?xml version="1\.0"\?><ErrorResponse xmlns=/);
    },
  },
  {
    id: 'query-unknown',
    source: ERRORS,
    rule: 'Unknown actions and versions, and numbers that are none, are refused.',
    run: async (bench) => {
      assert.equal(element(await bench.query({ Action: 'Nonsense' }), 'Code'), 'InvalidAction');
      assert.equal(element(await bench.query({ Action: 'ListQueues', Version: '2009-02-01' }), 'Code'), 'NoSuchVersion');
      assert.equal(element(await bench.query({}), 'Code'), 'MissingAction');
      assert.equal(element(await bench.query({ Action: 'ListQueues', MaxResults: 'x' }), 'Code'), 'InvalidParameterValue');
    },
  },
];
