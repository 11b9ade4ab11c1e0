import { SqsError } from './errors.ts';
import type { Input } from '../http/aws-json.ts';
import type { QueryParameters, XmlValue } from '../http/query-protocol.ts';

// The query protocol of SQS names some things differently than its JSON protocol, on which the actions work.

export const NAMESPACE = 'http://queue.amazonaws.com/doc/2012-11-05/';
export const VERSION = '2012-11-05';

const TEXTS = [
  'QueueUrl', 'QueueName', 'QueueOwnerAWSAccountId', 'QueueNamePrefix', 'NextToken', 'Label', 'MessageBody', 'MessageGroupId',
  'MessageDeduplicationId', 'ReceiptHandle', 'ReceiveRequestAttemptId', 'SourceArn', 'DestinationArn', 'TaskHandle', 'Id',
];
const NUMBERS = ['DelaySeconds', 'MaxNumberOfMessages', 'VisibilityTimeout', 'WaitTimeSeconds', 'MaxResults', 'MaxNumberOfMessagesPerSecond'];
const TEXT_LISTS: Readonly<Record<string, string>> = {
  AttributeName: 'AttributeNames',
  MessageSystemAttributeName: 'MessageSystemAttributeNames',
  MessageAttributeName: 'MessageAttributeNames',
  TagKey: 'TagKeys',
  AWSAccountId: 'AWSAccountIds',
  ActionName: 'Actions',
};
const TEXT_MAPS: Readonly<Record<string, string>> = { Attribute: 'Attributes', Tag: 'Tags' };
const VALUE_MAPS: Readonly<Record<string, string>> = { MessageAttribute: 'MessageAttributes', MessageSystemAttribute: 'MessageSystemAttributes' };

/** The parameters of a form as the JSON protocol has them. */
export function inputOf(action: string, query: QueryParameters): Input {
  const input = fieldsOf(query);
  const entries = query.structures(`${action}RequestEntry`);
  return entries.length === 0 ? input : { ...input, Entries: entries.map(fieldsOf) };
}

function fieldsOf(query: QueryParameters): Record<string, unknown> {
  const input: Record<string, unknown> = {};
  for (const name of TEXTS) {
    const value = query.text(name);
    if (value !== undefined) input[name] = value;
  }
  for (const name of NUMBERS) {
    const value = query.text(name);
    if (value !== undefined) input[name] = numberOf(name, value);
  }
  for (const [name, field] of Object.entries(TEXT_LISTS)) {
    const values = query.texts(name);
    if (values.length > 0) input[field] = values;
  }
  for (const [name, field] of Object.entries(TEXT_MAPS)) {
    if (query.structure(name)) input[field] = query.map(name);
  }
  for (const [name, field] of Object.entries(VALUE_MAPS)) {
    const entries = query.entries(name);
    if (entries.length > 0) input[field] = Object.fromEntries(entries.map(([key, value]) => [key, valueOf(value)]));
  }
  return input;
}

function numberOf(name: string, value: string): number {
  if (!/^-?\d{1,9}$/.test(value)) throw new SqsError('InvalidParameterValue', `Value ${value} for parameter ${name} is invalid. Reason: Must be a whole number.`);
  return Number(value);
}

function valueOf(value: QueryParameters): Record<string, string> {
  return Object.fromEntries(['DataType', 'StringValue', 'BinaryValue'].flatMap((field) => {
    const content = value.text(field);
    return content === undefined ? [] : [[field, content]];
  }));
}

type Writer = (value: never) => XmlValue;

const named = (value: Readonly<Record<string, XmlValue>>) => Object.entries(value).map(([Name, Value]) => ({ Name, Value }));

interface ReceivedMessage {
  readonly Attributes?: Readonly<Record<string, XmlValue>>;
  readonly MessageAttributes?: Readonly<Record<string, XmlValue>>;
}

function messageOf({ Attributes = {}, MessageAttributes = {}, ...message }: ReceivedMessage): XmlValue {
  return { ...message, Attribute: named(Attributes), MessageAttribute: named(MessageAttributes) };
}

/** The element of each field of the JSON protocol, and the writer of its content. */
const ELEMENTS: Readonly<Record<string, readonly [element: string, writer?: Writer]>> = {
  QueueUrls: ['QueueUrl'],
  queueUrls: ['QueueUrl'],
  Attributes: ['Attribute', named],
  Tags: ['Tag', (value: Record<string, string>) => Object.entries(value).map(([Key, Value]) => ({ Key, Value }))],
  Messages: ['Message', (value: readonly ReceivedMessage[]) => value.map(messageOf)],
  Failed: ['BatchResultErrorEntry'],
  Results: ['ListMessageMoveTasksResultEntry'],
};

/** The result of an action as XML; undefined if there is none. */
export function xmlOf(action: string, result: Readonly<Record<string, unknown>>): XmlValue {
  const fields = Object.entries(result).map(([field, value]): [string, XmlValue] => {
    if (field === 'Successful') return [`${action}ResultEntry`, value as XmlValue];
    const [element, writer] = ELEMENTS[field] ?? [field];
    return [element, writer ? writer(value as never) : value as XmlValue];
  });
  return WITHOUT_RESULT.has(action) ? undefined : Object.fromEntries(fields);
}

const WITHOUT_RESULT: ReadonlySet<string> = new Set([
  'AddPermission', 'RemovePermission', 'ChangeMessageVisibility', 'DeleteMessage', 'DeleteQueue', 'PurgeQueue', 'SetQueueAttributes',
  'TagQueue', 'UntagQueue',
]);
