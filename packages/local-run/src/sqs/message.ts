import { hash, randomUUID } from 'node:crypto';

/** An attribute of a message, as it travels in JSON: a binary value is base64. */
export interface MessageAttribute {
  readonly DataType: string;
  readonly StringValue?: string;
  readonly BinaryValue?: string;
}

export type MessageAttributes = Readonly<Record<string, MessageAttribute>>;

/** A message as its sender gives it. */
export interface NewMessage {
  readonly body: string;
  readonly messageAttributes?: MessageAttributes | undefined;
  readonly traceHeader?: string | undefined;
  readonly messageGroupId?: string | undefined;
  readonly messageDeduplicationId?: string | undefined;
}

/** A message in a queue. Times are milliseconds since 1970. */
export interface Message extends NewMessage {
  readonly messageId: string;
  readonly md5OfBody: string;
  readonly md5OfMessageAttributes?: string | undefined;
  readonly sentTimestamp: number;
  /** The place within a FIFO queue: 20 digits, so that texts compare as numbers do. */
  sequenceNumber?: string | undefined;
  /** The queue whose `maxReceiveCount` it exceeded; none if it was sent to the dead-letter queue directly. */
  deadLetterSourceArn?: string | undefined;
  /** The time from which its retention counts, if that is not when it was sent. */
  enqueuedAt?: number | undefined;
  approximateReceiveCount: number;
  approximateFirstReceiveTimestamp?: number | undefined;
  /** Only while it is delayed. */
  delayUntil?: number | undefined;
  /** That of the last receive. */
  receiptHandle?: string | undefined;
  /** Only while it is in flight. */
  visibilityDeadline?: number | undefined;
  receivedAt?: number | undefined;
  /** Its visibility was changed since it was received. */
  touched?: boolean;
  /** It was deleted while it stood in a line, which passes over it. */
  gone?: boolean;
  /** Its row in the journal. */
  position?: number | bigint | undefined;
}

export function createMessage(from: NewMessage, now: number, delaySeconds = 0): Message {
  const { messageAttributes } = from;
  return {
    ...from,
    messageId: randomUUID(),
    md5OfBody: md5(from.body),
    md5OfMessageAttributes: messageAttributes && md5OfAttributes(messageAttributes),
    sentTimestamp: now,
    approximateReceiveCount: 0,
    delayUntil: delaySeconds > 0 ? now + delaySeconds * 1000 : undefined,
  };
}

export function md5(content: string): string {
  return hash('md5', content);
}

const BINARY = Buffer.from([2]);
const TEXT = Buffer.from([1]);

/** The digest that clients compare with theirs: names in order, and of each name, type and value the length and the bytes. */
export function md5OfAttributes(attributes: MessageAttributes): string {
  const parts: Buffer[] = [];
  const add = (bytes: Buffer) => {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  };
  for (const name of Object.keys(attributes).sort()) {
    const { DataType, StringValue = '', BinaryValue } = attributes[name]!;
    add(Buffer.from(name));
    add(Buffer.from(DataType));
    parts.push(BinaryValue === undefined ? TEXT : BINARY);
    add(BinaryValue === undefined ? Buffer.from(StringValue) : Buffer.from(BinaryValue, 'base64'));
  }
  return hash('md5', Buffer.concat(parts));
}

/** The bytes that count for the size limits: the body, and of each attribute the name, the type and the value. */
export function sizeOf({ body, messageAttributes }: NewMessage): number {
  let size = Buffer.byteLength(body);
  for (const name in messageAttributes) {
    const { DataType, StringValue = '', BinaryValue = '' } = messageAttributes[name]!;
    size += Buffer.byteLength(name) + Buffer.byteLength(DataType) + Buffer.byteLength(StringValue) + Buffer.byteLength(BinaryValue, 'base64');
  }
  return size;
}

/** The deduplication id of a queue with `ContentBasedDeduplication`. */
export function contentId(body: string): string {
  return hash('sha256', body);
}
