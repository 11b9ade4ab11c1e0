import { md5OfAttributes } from '../message.ts';
import type { Message, MessageAttributes } from '../message.ts';

const SENDER = 'AIDALOCALRUN';

/** The system attributes of a message, and where each is. */
const READERS: Readonly<Record<string, (message: Message) => string | number | undefined>> = {
  SenderId: () => SENDER,
  SentTimestamp: ({ sentTimestamp }) => sentTimestamp,
  ApproximateReceiveCount: ({ approximateReceiveCount }) => approximateReceiveCount,
  ApproximateFirstReceiveTimestamp: ({ approximateFirstReceiveTimestamp }) => approximateFirstReceiveTimestamp,
  AWSTraceHeader: ({ traceHeader }) => traceHeader,
  MessageGroupId: ({ messageGroupId }) => messageGroupId,
  MessageDeduplicationId: ({ messageDeduplicationId }) => messageDeduplicationId,
  SequenceNumber: ({ sequenceNumber }) => sequenceNumber,
  DeadLetterQueueSourceArn: ({ deadLetterSourceArn }) => deadLetterSourceArn,
};

export const SYSTEM_ATTRIBUTES: ReadonlySet<string> = new Set(Object.keys(READERS));

/** Makes what a consumer sees of a message: attributes only if they were asked for. */
export function toView(systemNames: readonly string[], attributeNames: readonly string[]): (message: Message) => Record<string, unknown> {
  const system = systemNames.includes('All') ? Object.keys(READERS) : [...new Set(systemNames)];
  const wanted = wantedNames(attributeNames);
  return (message) => {
    const attributes = message.messageAttributes && chosen(message.messageAttributes, wanted);
    const digest = attributes && (attributes === message.messageAttributes ? message.md5OfMessageAttributes : md5OfAttributes(attributes));
    return {
      MessageId: message.messageId,
      ReceiptHandle: message.receiptHandle,
      MD5OfBody: message.md5OfBody,
      Body: message.body,
      ...(system.length > 0 && { Attributes: systemAttributes(message, system) }),
      ...(attributes && { MD5OfMessageAttributes: digest, MessageAttributes: attributes }),
    };
  };
}

function systemAttributes(message: Message, names: readonly string[]): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const name of names) {
    const value = READERS[name]?.(message);
    if (value !== undefined) attributes[name] = String(value);
  }
  return attributes;
}

/** `All` and `.*` mean all, `prefix.*` and `prefix*` those that start so. */
function wantedNames(names: readonly string[]): (name: string) => boolean {
  if (names.some((name) => name === 'All' || name === '.*' || name === '*')) return () => true;
  const exact = new Set(names);
  const prefixes = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1).replace(/\.$/, ''));
  return (name) => exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
}

function chosen(attributes: MessageAttributes, wanted: (name: string) => boolean): MessageAttributes | undefined {
  const entries = Object.entries(attributes);
  const left = entries.filter(([name]) => wanted(name));
  if (left.length === entries.length) return attributes;
  return left.length === 0 ? undefined : Object.fromEntries(left);
}
