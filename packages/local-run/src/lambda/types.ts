/** An error as a runtime reports it to the Runtime API. */
export interface FunctionError {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly stackTrace?: readonly string[];
}

/** One call of a handler. */
export interface Invocation {
  /** A JSON text. */
  readonly event: string;
  /** The value of X-Ray's header, if the event came with one. */
  readonly traceHeader?: string;
}

/** The end of a call: the JSON text of the answer, or the error. */
export type Outcome = { readonly answer: string } | { readonly error: FunctionError };

/** An event source mapping of a queue. */
export interface QueueMapping {
  readonly kind: 'queue';
  readonly queueUrl: string;
  readonly queueArn: string;
  readonly region: string;
  readonly batchSize: number;
  readonly batchWindowSeconds: number;
  readonly reportBatchItemFailures: boolean;
  readonly maximumConcurrency: number;
  /** Patterns as JSON texts. @default - every message is let through */
  readonly filters?: readonly string[];
}

/** The queue that gets the record of an asynchronous invocation that has ended. */
export interface Destination {
  /** `record` is the record of a destination, `event` is the event alone with attributes, as a dead-letter queue gets it. */
  readonly form: 'record' | 'event';
  readonly queueUrl: string;
}

/** The events of services that do not wait for an answer. They stay in a queue of the function until it has handled them. */
export interface AsynchronousInvocations {
  readonly kind: 'asynchronous';
  readonly queueUrl: string;
  readonly maximumRetryAttempts: number;
  readonly maximumEventAgeSeconds: number;
  readonly onFailure: readonly Destination[];
  readonly onSuccess?: Destination;
}

/** A function as its events need it. */
export interface FunctionDefinition {
  readonly name: string;
  readonly arn: string;
  /** Its name in messages. */
  readonly title: string;
  readonly timeoutSeconds: number;
  /** The number of its environments. */
  readonly concurrency: number;
}
