import { count } from '../count.ts';
import type { DispatchOutput } from './dispatch-thread.ts';
import type { Source } from './source.ts';
import type { Message, SqsClient } from './sqs-client.ts';
import type { AsynchronousInvocations, Destination, FunctionDefinition, FunctionError, Invocation, Outcome } from './types.ts';

const LONGEST_POLL_SECONDS = 20;
/** The longest error message that a dead-letter queue gets, in characters. */
const LONGEST_MESSAGE = 1024;

/** An event that came too late for another try. */
const TOO_OLD: FunctionError = { errorType: 'EventAgeExceeded', errorMessage: 'The event is older than the function takes.' };

/**
 * The asynchronous invocations of a function. An event is tried again after one second and after two; AWS waits one minute and two. Then it
 * goes to the destination for failures and to the dead-letter queue, or else is dropped with a record in the log.
 */
export class AsynchronousEvents implements Source<Message> {
  readonly concurrency = Infinity;
  readonly #fn: FunctionDefinition;
  readonly #settings: AsynchronousInvocations;
  readonly #sqs: SqsClient;
  readonly #output: DispatchOutput;

  constructor(fn: FunctionDefinition, settings: AsynchronousInvocations, sqs: SqsClient, output: DispatchOutput) {
    this.#fn = fn;
    this.#settings = settings;
    this.#sqs = sqs;
    this.#output = output;
  }

  async receive(signal: AbortSignal): Promise<Message | undefined> {
    const [message] = await this.#sqs.receive(this.#settings.queueUrl, 1, LONGEST_POLL_SECONDS, signal);
    if (!message || !this.#tooOld(message, 0)) return message;
    await this.#end(message, { error: TOO_OLD }, 'EventAgeExceeded', attempts(message) - 1);
    return undefined;
  }

  invocation({ Body }: Message): Invocation {
    return { event: Body };
  }

  async settle(message: Message, outcome: Outcome): Promise<void> {
    const made = attempts(message);
    if ('answer' in outcome) return this.#end(message, outcome, 'Success', made);
    if (made > this.#settings.maximumRetryAttempts) return this.#end(message, outcome, 'RetriesExhausted', made);
    const seconds = made;
    if (this.#tooOld(message, seconds)) return this.#end(message, outcome, 'EventAgeExceeded', made);
    await this.#sqs.hide(this.#settings.queueUrl, message, seconds);
  }

  #tooOld({ Attributes }: Message, seconds: number): boolean {
    return Date.now() + seconds * 1000 - Number(Attributes?.SentTimestamp ?? Date.now()) > this.#settings.maximumEventAgeSeconds * 1000;
  }

  async #end(message: Message, outcome: Outcome, condition: string, made: number): Promise<void> {
    const { onFailure, onSuccess, queueUrl } = this.#settings;
    if ('answer' in outcome) {
      if (onSuccess) await this.#sendTo(onSuccess, message, outcome, condition, made);
    } else {
      const what = `${this.#fn.title} failed for an event after ${count(made, 'attempt')} (${outcome.error.errorType}: ${outcome.error.errorMessage})`;
      const fate = onFailure.length > 0 ? `; it is in ${onFailure.map((to) => to.queueUrl).join(' and ')}.`
        : '. It has no dead-letter queue and no destination for failures, so the event is dropped.';
      this.#output.log('error', what + fate, { event: message.Body });
      if (onFailure.length === 0) this.#output.report(what + fate);
      for (const destination of onFailure) await this.#sendTo(destination, message, outcome, condition, made);
    }
    await this.#sqs.remove(queueUrl, [message]);
  }

  async #sendTo({ form, queueUrl }: Destination, message: Message, outcome: Outcome, condition: string, made: number): Promise<void> {
    if (form === 'record') return this.#sqs.send(queueUrl, JSON.stringify(this.#record(message, outcome, condition, made)));
    await this.#sqs.send(queueUrl, message.Body, {
      RequestID: { DataType: 'String', StringValue: message.MessageId },
      ErrorCode: { DataType: 'Number', StringValue: '200' },
      ErrorMessage: { DataType: 'String', StringValue: ('error' in outcome && outcome.error.errorMessage.slice(0, LONGEST_MESSAGE)) || 'unknown' },
    });
  }

  #record(message: Message, outcome: Outcome, condition: string, made: number): object {
    const failed = 'error' in outcome;
    return {
      version: '1.0',
      timestamp: new Date().toISOString(),
      requestContext: { requestId: message.MessageId, functionArn: `${this.#fn.arn}:$LATEST`, condition, approximateInvokeCount: made },
      requestPayload: JSON.parse(message.Body) as unknown,
      // An event that was never given to the function has no response.
      ...(made > 0 && { responseContext: { statusCode: 200, executedVersion: '$LATEST', ...(failed && { functionError: 'Unhandled' }) } }),
      ...(made > 0 && { responsePayload: failed ? outcome.error : (JSON.parse(outcome.answer || 'null') as unknown) }),
    };
  }
}

function attempts({ Attributes }: Message): number {
  return Number(Attributes?.ApproximateReceiveCount ?? 1);
}
