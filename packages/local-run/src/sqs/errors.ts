import { AwsError } from '../http/aws-error.ts';

/** The codes that the query protocol and the header `x-amzn-query-error` have instead of the name of the error. */
const QUERY_CODES: Readonly<Record<string, string>> = {
  BatchEntryIdsNotDistinct: 'AWS.SimpleQueueService.BatchEntryIdsNotDistinct',
  BatchRequestTooLong: 'AWS.SimpleQueueService.BatchRequestTooLong',
  EmptyBatchRequest: 'AWS.SimpleQueueService.EmptyBatchRequest',
  InvalidBatchEntryId: 'AWS.SimpleQueueService.InvalidBatchEntryId',
  MessageNotInflight: 'AWS.SimpleQueueService.MessageNotInflight',
  PurgeQueueInProgress: 'AWS.SimpleQueueService.PurgeQueueInProgress',
  QueueDoesNotExist: 'AWS.SimpleQueueService.NonExistentQueue',
  QueueNameExists: 'QueueAlreadyExists',
  TooManyEntriesInBatchRequest: 'AWS.SimpleQueueService.TooManyEntriesInBatchRequest',
  UnsupportedOperation: 'AWS.SimpleQueueService.UnsupportedOperation',
};

const STATUSES: Readonly<Record<string, number>> = {
  InternalFailure: 500,
  InvalidAddress: 404,
  OverLimit: 403,
  PurgeQueueInProgress: 403,
  ReceiptHandleIsInvalid: 404,
  ResourceNotFoundException: 404,
};

/** An error as SQS answers it; its messages are those that SQS was recorded to give. */
export class SqsError extends AwsError {
  /** Its code in the query protocol. */
  readonly queryCode: string;

  constructor(name: string, message: string, queryCode = QUERY_CODES[name] ?? name) {
    super(name, message, STATUSES[name] ?? 400);
    this.queryCode = queryCode;
  }
}

export const invalid = (message: string): SqsError => new SqsError('InvalidParameterValue', message);

export const invalidValue = (value: unknown, parameter: string, reason: string): SqsError =>
  invalid(`Value ${typeof value === 'string' ? value : JSON.stringify(value)} for parameter ${parameter} is invalid. Reason: ${reason}`);

export const missing = (parameter: string): SqsError =>
  new SqsError('MissingParameter', `The request must contain the parameter ${parameter}.`);

export const serialization = (message: string): SqsError => new SqsError('SerializationException', message, 'MalformedInput');

export const noSuchQueue = (): SqsError => new SqsError('QueueDoesNotExist', 'The specified queue does not exist.');

export const unknownAttribute = (name: string): SqsError => new SqsError('InvalidAttributeName', `Unknown Attribute ${name}.`);
