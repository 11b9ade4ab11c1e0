import type { DeliveryOptions, MessageAttribute } from '../service.ts';
import { invalid } from './errors.ts';

export type Attributes = Readonly<Record<string, MessageAttribute>>;

/** A message as a program publishes it. */
export interface NewMessage {
  readonly message: string;
  readonly subject?: string | undefined;
  /** The value `json` means that the message holds one text for each protocol. */
  readonly messageStructure?: string | undefined;
  readonly attributes: Attributes;
  readonly messageGroupId?: string | undefined;
  readonly messageDeduplicationId?: string | undefined;
}

/** A message that a topic has accepted. */
export interface Publication extends NewMessage {
  readonly messageId: string;
  readonly topicArn: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** FIFO topics only. */
  readonly sequenceNumber?: string | undefined;
}

/** A message as one subscription gets it. */
export interface Notification {
  readonly body: string;
  readonly options: DeliveryOptions;
}

interface Recipient {
  readonly arn: string;
  readonly protocol: string;
  readonly endpoint: string;
  readonly raw: boolean;
}

const LARGEST_MESSAGE = 262_144;
/** A raw message has no more attributes than SQS takes. */
export const MOST_RAW_ATTRIBUTES = 10;

/**
 * Checks a message as Publish does.
 *
 * @throws AwsError that names the parameter
 */
export function checkMessage({ message, subject, messageStructure, attributes }: NewMessage): void {
  if (message === '') throw invalid('Empty message');
  if (sizeOf(message, attributes) > LARGEST_MESSAGE) throw invalid('Message too long');
  if (subject !== undefined && !/^[\x20-\x7e]{1,100}$/.test(subject)) throw invalid('Subject');
  if (messageStructure !== undefined && messageStructure !== 'json') throw invalid('MessageStructure');
  if (messageStructure === 'json') textFor('default', { message, messageStructure });
  for (const [name, { DataType, StringValue, BinaryValue }] of Object.entries(attributes)) {
    const [, kind] = /^(String|Number|Binary)(\..+)?$/.exec(DataType) ?? [];
    if (kind === undefined) {
      throw invalid(`The message attribute '${name}' has an invalid message attribute type, `
        + 'the set of supported type prefixes is Binary, Number, and String.');
    }
    const value = kind === 'Binary' ? BinaryValue : StringValue;
    if (!value) throw invalid(`The message attribute '${name}' must contain non-empty message attribute value for message attribute type '${DataType}'.`);
    if (kind === 'Number' && !Number.isFinite(Number(value))) throw invalid(`Could not cast message attribute '${name}' value to number.`);
  }
}

export function sizeOf(message: string, attributes: Attributes): number {
  const parts = Object.entries(attributes).flatMap(([name, { DataType, StringValue = '' }]) => [name, DataType, StringValue]);
  const binary = Object.values(attributes).reduce((sum, { BinaryValue = '' }) => sum + Buffer.byteLength(BinaryValue, 'base64'), 0);
  return [message, ...parts].reduce((sum, part) => sum + Buffer.byteLength(part), binary);
}

/** The message in the form that the protocol and the settings of a subscription ask for. `url` is the address of the endpoint. */
export function notificationFor(publication: Publication, to: Recipient, url: string): Notification {
  const { messageGroupId, messageDeduplicationId, attributes } = publication;
  const message = textFor(to.protocol, publication);
  if (to.protocol === 'lambda') return { body: JSON.stringify(lambdaEvent(publication, message, to, url)), options: {} };
  return {
    body: to.raw ? message : JSON.stringify(envelope(publication, message, to, url), undefined, 2),
    options: {
      ...(messageGroupId !== undefined && { messageGroupId }),
      ...(to.endpoint.endsWith('.fifo') && messageDeduplicationId !== undefined && { messageDeduplicationId }),
      ...(to.raw && { messageAttributes: attributes }),
    },
  };
}

function textFor(protocol: string, { message, messageStructure }: Pick<NewMessage, 'message' | 'messageStructure'>): string {
  if (messageStructure !== 'json') return message;
  let texts: unknown;
  try {
    texts = JSON.parse(message);
  } catch {
    throw invalid('Message Structure - JSON message body failed to parse');
  }
  const byProtocol = (typeof texts === 'object' && texts !== null ? texts : {}) as Record<string, unknown>;
  if (typeof byProtocol.default !== 'string') throw invalid('Message Structure - No default entry in JSON message body');
  const own = byProtocol[protocol];
  return typeof own === 'string' ? own : byProtocol.default;
}

/** Nothing is signed on this machine, so the signature is a text that no check accepts. */
const SIGNATURE = 'local';

function envelope(publication: Publication, message: string, { arn }: Recipient, url: string) {
  const { messageId, topicArn, subject, time, sequenceNumber } = publication;
  const attributes = attributeValues(publication.attributes);
  return {
    Type: 'Notification',
    MessageId: messageId,
    ...(sequenceNumber !== undefined && { SequenceNumber: sequenceNumber }),
    TopicArn: topicArn,
    ...(subject !== undefined && { Subject: subject }),
    Message: message,
    Timestamp: new Date(time).toISOString(),
    ...(sequenceNumber === undefined && { SignatureVersion: '1', Signature: SIGNATURE, SigningCertURL: `${url}/signing.pem` }),
    UnsubscribeURL: unsubscribeUrl(url, arn),
    ...(attributes && { MessageAttributes: attributes }),
  };
}

function lambdaEvent(publication: Publication, message: string, { arn }: Recipient, url: string) {
  const { messageId, topicArn, subject, time } = publication;
  return {
    Records: [{
      EventSource: 'aws:sns',
      EventVersion: '1.0',
      EventSubscriptionArn: arn,
      Sns: {
        Type: 'Notification',
        MessageId: messageId,
        TopicArn: topicArn,
        Subject: subject ?? null,
        Message: message,
        Timestamp: new Date(time).toISOString(),
        SignatureVersion: '1',
        Signature: SIGNATURE,
        SigningCertUrl: `${url}/signing.pem`,
        UnsubscribeUrl: unsubscribeUrl(url, arn),
        MessageAttributes: attributeValues(publication.attributes) ?? {},
      },
    }],
  };
}

function unsubscribeUrl(url: string, subscriptionArn: string): string {
  return `${url}/?Action=Unsubscribe&SubscriptionArn=${encodeURIComponent(subscriptionArn)}`;
}

function attributeValues(attributes: Attributes): Record<string, { Type: string; Value: string }> | undefined {
  const entries = Object.entries(attributes);
  if (entries.length === 0) return undefined;
  return Object.fromEntries(entries.map(([name, { DataType, StringValue, BinaryValue }]) => [name, { Type: DataType, Value: StringValue ?? BinaryValue ?? '' }]));
}
