import { invalid, invalidValue, missing, SqsError } from './errors.ts';
import { integer, map, requiredText, structure, text } from './input.ts';
import { sizeOf } from './message.ts';
import type { MessageAttribute, MessageAttributes, NewMessage } from './message.ts';
import type { Queue } from './queue.ts';
import type { Input } from '../http/aws-json.ts';

const MOST_ATTRIBUTES = 10;
const MOST_DELAY_SECONDS = 900;
// eslint-disable-next-line no-control-regex
const UNKNOWN_CHARACTERS = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;
/** 1 to 128 letters, digits and signs of ASCII. */
const TOKEN = /^[\x21-\x7e]{1,128}$/;
const TYPE = /^(String|Number|Binary)(\.[\x20-\x7e]*)?$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const OF_OTHER_QUEUES = 'The request include parameter that is not valid for this queue type.';

export interface Send {
  readonly message: NewMessage;
  readonly delaySeconds: number;
  readonly systemAttributes: MessageAttributes | undefined;
}

/**
 * One message of SendMessage or of a batch.
 *
 * @throws SqsError if SQS would not take it
 */
export function readSend(input: Input, queue: Queue): Send {
  const body = requiredText(input, 'MessageBody');
  checkContent(body);
  const messageAttributes = readAttributes(input, 'MessageAttributes');
  if (messageAttributes) checkUserAttributes(messageAttributes);
  const systemAttributes = readAttributes(input, 'MessageSystemAttributes');
  if (systemAttributes) checkSystemAttributes(systemAttributes);
  const message: NewMessage = {
    body,
    messageAttributes,
    traceHeader: systemAttributes?.AWSTraceHeader?.StringValue,
    messageGroupId: token(input, 'MessageGroupId'),
    messageDeduplicationId: token(input, 'MessageDeduplicationId'),
  };
  if (sizeOf(message) > queue.numbers.maximumMessageSize) {
    throw invalid(`One or more parameters are invalid. Reason: Message must be shorter than ${queue.numbers.maximumMessageSize} bytes.`);
  }
  checkKind(message, queue);
  return { message, delaySeconds: delayOf(input, queue), systemAttributes };
}

function checkContent(content: string): void {
  if (!UNKNOWN_CHARACTERS.test(content) && content.isWellFormed()) return;
  throw new SqsError(
    'InvalidMessageContents',
    'Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF',
  );
}

function token(input: Input, name: string): string | undefined {
  const value = text(input, name);
  if (value === undefined || TOKEN.test(value)) return value;
  throw invalidValue(value, name, `${name} can only include alphanumeric and punctuation characters. 1 to 128 in length.`);
}

function checkKind({ messageGroupId, messageDeduplicationId }: NewMessage, queue: Queue): void {
  if (!queue.isFifo) {
    if (messageDeduplicationId !== undefined) throw invalidValue(messageDeduplicationId, 'MessageDeduplicationId', OF_OTHER_QUEUES);
    return;
  }
  if (messageGroupId === undefined) throw missing('MessageGroupId');
  if (messageDeduplicationId !== undefined || queue.attributes.ContentBasedDeduplication === 'true') return;
  throw invalid('The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly');
}

function delayOf(input: Input, queue: Queue): number {
  const seconds = integer(input, 'DelaySeconds');
  if (seconds === undefined) return queue.numbers.delaySeconds;
  if (seconds < 0 || seconds > MOST_DELAY_SECONDS) {
    throw invalidValue(seconds, 'DelaySeconds', `DelaySeconds must be >= 0 and <= ${MOST_DELAY_SECONDS}.`);
  }
  if (!queue.isFifo) return seconds;
  if (seconds > 0) throw invalidValue(seconds, 'DelaySeconds', OF_OTHER_QUEUES);
  return queue.numbers.delaySeconds;
}

function readAttributes(input: Input, parameter: string): MessageAttributes | undefined {
  if ((input[parameter] ?? undefined) === undefined) return undefined;
  const entries = Object.entries(map(input, parameter)).map(([name, value]): [string, MessageAttribute] => {
    const given = structure(value, `${parameter}.${name}`);
    const [DataType = '', StringValue, BinaryValue] = [text(given, 'DataType'), text(given, 'StringValue'), text(given, 'BinaryValue')];
    return [name, { DataType, ...(StringValue !== undefined && { StringValue }), ...(BinaryValue !== undefined && { BinaryValue }) }];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function checkUserAttributes(attributes: MessageAttributes): void {
  const entries = Object.entries(attributes);
  if (entries.length > MOST_ATTRIBUTES) throw invalid(`Number of message attributes [${entries.length}] exceeds the allowed maximum [${MOST_ATTRIBUTES}].`);
  for (const [name, attribute] of entries) {
    checkAttributeName(name);
    checkAttributeValue(`Message (user) attribute '${name}'`, name, attribute);
  }
}

function checkAttributeName(name: string): void {
  const known = /^[A-Za-z0-9_.-]{1,256}$/.test(name) && !/^\.|\.\.|\.$/.test(name) && !/^(aws|amazon)\./i.test(name);
  if (known) return;
  throw invalid(`The message (user) attribute name '${name}' is invalid: it has 1 to 256 letters, digits, _, - and single periods within, and does not start with AWS. or Amazon.`);
}

function checkAttributeValue(what: string, name: string, { DataType, StringValue, BinaryValue }: MessageAttribute): void {
  if (DataType === '') throw invalid(`The message (user) attribute '${name}' must contain a non-empty message attribute type.`);
  const [, kind] = TYPE.exec(DataType) ?? [];
  if (kind === undefined || DataType.length > 256) {
    throw invalid(`The type of message (user) attribute '${name}' is invalid. You must use only the following supported type prefixes: Binary, Number, String.`);
  }
  const value = kind === 'Binary' ? BinaryValue : StringValue;
  if (!value) throw invalid(`${what} must contain a non-empty value of type '${DataType}'.`);
  if ((kind === 'Binary' ? StringValue : BinaryValue) !== undefined) throw invalid(`${what} has multiple values.`);
  if (kind !== 'Binary') checkContent(value);
  if (kind === 'Number' && !NUMBER.test(value)) throw invalid(`Can't cast the value of message (user) attribute '${name}' to a number.`);
}

function checkSystemAttributes(attributes: MessageAttributes): void {
  for (const [name, attribute] of Object.entries(attributes)) {
    if (name !== 'AWSTraceHeader') throw invalid(`Message system attribute name '${name}' is invalid: the only one is AWSTraceHeader.`);
    if (attribute.DataType !== 'String') throw invalid(`The type of message system attribute '${name}' is invalid: it must be String.`);
    checkAttributeValue(`Message system attribute '${name}'`, name, attribute);
  }
}
