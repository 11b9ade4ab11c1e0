import type { Model, Resource } from '../assembly/model.ts';
import { DeliveryError } from '../service.ts';
import type { Receiver } from '../service.ts';
import { functionNamed, titleOf } from './functions.ts';
import type { AsynchronousInvocations, Destination } from './types.ts';
import type { LocalSqs } from '../sqs/local-sqs.ts';

/** The longest age and the number of retries of an event, unless the template says something else. */
const LONGEST_AGE_SECONDS = 21_600;
const RETRIES = 2;
/** The largest event of an asynchronous invocation, in bytes. */
const LARGEST_EVENT = 1_048_576;

/** The queue in which the asynchronous invocations of a function wait. No queue of a stack has a dot in this place. */
export function invocationQueueName(functionName: string): string {
  return `${functionName}.invocations`;
}

/** Makes that queue and a receiver that puts events into it. */
export function makeInvocationQueue(fn: Resource, sqs: LocalSqs): Receiver {
  const name = invocationQueueName(String(fn.ref()));
  const arn = fn.arn('sqs', name);
  const attributes = { VisibilityTimeout: String(Number(fn.get('Timeout') ?? 3) + 30), MaximumMessageSize: String(LARGEST_EVENT), MessageRetentionPeriod: '1209600' };
  sqs.endpoint.createQueue({ name, arn, attributes }, fn.world.account);
  sqs.endpoint.addPolicy([name], [{ Effect: 'Allow', Principal: '*', Action: '*' }]);
  return {
    deliver: async (body, sender) => {
      try {
        JSON.parse(body);
      } catch {
        throw new DeliveryError('INVALID_JSON', `${titleOf(fn)} takes JSON only.`);
      }
      sqs.endpoint.deliver(arn, body, sender);
      await sqs.endpoint.written();
    },
  };
}

/** The settings of a function for asynchronous invocations: an EventInvokeConfig, and its own dead-letter queue. */
export function readInvocations(fn: Resource, model: Model, sqs: LocalSqs, warn: (sentence: string) => void): AsynchronousInvocations {
  const config = model.ofType('AWS::Lambda::EventInvokeConfig').find((each) => functionNamed(model, each.text('FunctionName') ?? '') === fn);
  const destinations = config?.get('DestinationConfig') as { OnFailure?: { Destination?: unknown }; OnSuccess?: { Destination?: unknown } } | undefined;
  const find = (arn: unknown, form: Destination['form'], what: string): Destination[] => {
    if (arn === undefined) return [];
    const queue = sqs.queues.find((each) => each.arn === String(arn));
    if (queue) return [{ form, queueUrl: queue.url }];
    warn(`${titleOf(fn)} sends ${what} to ${String(arn)}, which is no queue of this run: they are in the log of the run only.`);
    return [];
  };
  const deadLetterArn = (fn.get('DeadLetterConfig') as { TargetArn?: unknown } | undefined)?.TargetArn;
  const [onSuccess] = find(destinations?.OnSuccess?.Destination, 'record', 'the records of its successes');
  return {
    kind: 'asynchronous',
    queueUrl: sqs.endpoint.queueUrl(invocationQueueName(String(fn.ref())), fn.world.account),
    maximumRetryAttempts: Number(config?.get('MaximumRetryAttempts') ?? RETRIES),
    maximumEventAgeSeconds: Number(config?.get('MaximumEventAgeInSeconds') ?? LONGEST_AGE_SECONDS),
    onFailure: [...find(destinations?.OnFailure?.Destination, 'record', 'failed events'), ...find(deadLetterArn, 'event', 'failed events')],
    ...(onSuccess && { onSuccess }),
  };
}
