import { AwsError } from '../http/aws-error.ts';
import type { QueryParameters, XmlValue } from '../http/query-protocol.ts';
import type { MessageAttribute } from '../service.ts';
import { invalid } from './errors.ts';
import { sizeOf } from './message.ts';
import type { NewMessage } from './message.ts';
import type { Subscription } from './subscription.ts';
import type { Topics } from './topics.ts';

export type SnsAction = (input: QueryParameters, topics: Topics) => XmlValue | Promise<XmlValue>;

const PAGE = 100;
const MOST_ENTRIES = 10;
const LARGEST_REQUEST = 262_144;

/** The actions of SNS that the local run has. */
export const SNS_ACTIONS: Readonly<Record<string, SnsAction>> = {
  CreateTopic: (input, topics) => ({ TopicArn: topics.create(required(input, 'Name'), input.map('Attributes')) }),

  DeleteTopic: (input, topics) => {
    topics.delete(required(input, 'TopicArn'));
    return undefined;
  },

  ListTopics: (input, topics) => page(input, 'Topics', topics.arns().map((TopicArn) => ({ TopicArn }))),

  GetTopicAttributes: (input, topics) => {
    const arn = required(input, 'TopicArn');
    const attributes = topics.attributes(arn);
    const SubscriptionsConfirmed = String(topics.subscriptionsOf(arn).length);
    return { Attributes: entries({ TopicArn: arn, Owner: topics.account, SubscriptionsPending: '0', SubscriptionsDeleted: '0', ...attributes, SubscriptionsConfirmed }) };
  },

  SetTopicAttributes: (input, topics) => {
    topics.attributes(required(input, 'TopicArn'))[required(input, 'AttributeName')] = input.text('AttributeValue') ?? '';
    return undefined;
  },

  Subscribe: (input, topics) => {
    const { arn } = topics.subscribe(required(input, 'TopicArn'), required(input, 'Protocol'), required(input, 'Endpoint'), input.map('Attributes'));
    return { SubscriptionArn: arn };
  },

  Unsubscribe: (input, topics) => {
    topics.unsubscribe(required(input, 'SubscriptionArn'));
    return undefined;
  },

  ListSubscriptions: (input, topics) => page(input, 'Subscriptions', topics.subscriptions().map((each) => listed(each, topics))),

  ListSubscriptionsByTopic: (input, topics) => {
    const arn = required(input, 'TopicArn');
    topics.attributes(arn);
    return page(input, 'Subscriptions', topics.subscriptionsOf(arn).map((each) => listed(each, topics)));
  },

  GetSubscriptionAttributes: (input, topics) => {
    const subscription = topics.subscription(required(input, 'SubscriptionArn'));
    return { Attributes: entries({ ...listed(subscription, topics), PendingConfirmation: 'false', RawMessageDelivery: 'false', ...subscription.attributes }) };
  },

  SetSubscriptionAttributes: (input, topics) => {
    topics.subscription(required(input, 'SubscriptionArn')).set({ [required(input, 'AttributeName')]: input.text('AttributeValue') ?? '' });
    return undefined;
  },

  Publish: async (input, topics) => {
    const arn = input.text('TopicArn') ?? input.text('TargetArn');
    if (arn === undefined) throw invalid('TopicArn or TargetArn Reason: the local run publishes to topics only, and not to phones');
    const { messageId, sequenceNumber } = await topics.publish(arn, readMessage(input));
    return { MessageId: messageId, SequenceNumber: sequenceNumber };
  },

  PublishBatch: async (input, topics) => {
    const arn = required(input, 'TopicArn');
    topics.attributes(arn);
    const all = input.structures('PublishBatchRequestEntries').map((entry) => ({ Id: required(entry, 'Id'), message: readMessage(entry) }));
    checkBatch(all);
    const results = await Promise.all(all.map(({ Id, message }) => publishEntry(Id, arn, message, topics)));
    return {
      Successful: { member: results.flatMap(({ success }) => success ?? []) },
      Failed: { member: results.flatMap(({ failure }) => failure ?? []) },
    };
  },
};

interface EntryResult {
  readonly success?: { readonly [name: string]: XmlValue };
  readonly failure?: { readonly [name: string]: XmlValue };
}

async function publishEntry(Id: string, arn: string, message: NewMessage, topics: Topics): Promise<EntryResult> {
  try {
    const { messageId, sequenceNumber } = await topics.publish(arn, message);
    return { success: { Id, MessageId: messageId, SequenceNumber: sequenceNumber } };
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    return { failure: { Id, Code: error.name, Message: error.message, SenderFault: true } };
  }
}

function checkBatch(all: readonly { readonly Id: string; readonly message: NewMessage }[]): void {
  if (all.length === 0) throw new AwsError('EmptyBatchRequest', 'The batch request doesn\'t contain any entries.');
  if (all.length > MOST_ENTRIES) throw new AwsError('TooManyEntriesInBatchRequest', 'The batch request contains more entries than permissible.');
  if (new Set(all.map(({ Id }) => Id)).size < all.length) throw new AwsError('BatchEntryIdsNotDistinct', 'Two or more batch entries in the request have the same Id.');
  const size = all.reduce((sum, { message: { message, attributes } }) => sum + sizeOf(message, attributes), 0);
  if (size > LARGEST_REQUEST) throw new AwsError('BatchRequestTooLong', 'The length of all the batch messages put together is more than the limit.');
}

function readMessage(input: QueryParameters): NewMessage {
  return {
    message: input.text('Message') ?? '',
    subject: input.text('Subject'),
    messageStructure: input.text('MessageStructure'),
    messageGroupId: input.text('MessageGroupId'),
    messageDeduplicationId: input.text('MessageDeduplicationId'),
    attributes: Object.fromEntries(input.entries('MessageAttributes').map(([name, value]): [string, MessageAttribute] => {
      const [DataType = '', StringValue, BinaryValue] = [value.text('DataType'), value.text('StringValue'), value.text('BinaryValue')];
      return [name, { DataType, ...(StringValue !== undefined && { StringValue }), ...(BinaryValue !== undefined && { BinaryValue }) }];
    })),
  };
}

function required(input: QueryParameters, name: string): string {
  const value = input.text(name);
  if (value === undefined || value === '') throw invalid(`${name} Reason: no value`);
  return value;
}

function listed({ arn, topicArn, protocol, endpoint }: Subscription, { account }: Topics): Record<string, string> {
  return { SubscriptionArn: arn, Owner: account, Protocol: protocol, Endpoint: endpoint, TopicArn: topicArn };
}

function entries(values: Readonly<Record<string, string>>): XmlValue {
  return { entry: Object.entries(values).map(([key, value]) => ({ key, value })) };
}

/** A token is the number of items that were returned before. */
function page(input: QueryParameters, name: string, all: readonly XmlValue[]): XmlValue {
  const from = Number(input.text('NextToken') ?? '0');
  if (!Number.isInteger(from) || from < 0) throw invalid('NextToken');
  const to = from + PAGE;
  return { [name]: { member: all.slice(from, to) }, NextToken: to < all.length ? String(to) : undefined };
}
