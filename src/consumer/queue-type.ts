import { Stack } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import { invalid } from '../private/validation';

/**
 * The message groups of a queue.
 */
export interface MessageGroupOptions {
  /**
   * The group of every message that the rules send, up to 100 characters.
   *
   * It is a fixed text: EventBridge doesn't take it from the event, so a JSON path such as `$.detail.orderId` is an error.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_SqsParameters.html
   * @default - one group per event pattern: `Rule` for the first, then `Rule2`, `Rule3`
   */
  readonly messageGroupId?: string;
}

/**
 * The type of a consumer's queue.
 *
 * @example
 * declare const fn: lambda.Function;
 *
 * new BufferedEventConsumer(this, 'Ledger', {
 *   eventPatterns: [{ detailType: ['OrderConfirmed'] }, { detailType: ['OrderCancelled'] }],
 *   queueType: QueueType.fifo({ messageGroupId: 'ledger' }),
 *   target: ConsumerTarget.lambdaFunction(fn),
 * });
 */
export class QueueType {
  /** At least once, in any order, with as many messages per second as you like. */
  public static standard(): QueueType {
    return new QueueType(false, false);
  }

  /**
   * A standard queue whose messages name a group, so that a group with a backlog doesn't hold up the others.
   *
   * A group is what sends the load that others shall not notice: with rules it is an event pattern, from other producers of the queue
   * a tenant.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
   */
  public static fair(options: MessageGroupOptions = {}): QueueType {
    return new QueueType(false, true, options.messageGroupId);
  }

  /**
   * Within a group one message after the other, in the order in which EventBridge delivers; that isn't always the order in which the
   * events were published. A queue takes 300 requests per second, and a message that fails holds up its group.
   *
   * Messages of equal content within five minutes are one, so leave the `id` of the event in `ruleInput`.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
   */
  public static fifo(options: MessageGroupOptions = {}): QueueType {
    return new QueueType(true, true, options.messageGroupId);
  }

  private constructor(
    /** @internal */
    public readonly _fifo: boolean,
    private readonly grouped: boolean,
    private readonly messageGroupId?: string,
  ) {
  }

  /**
   * The group of what a rule sends.
   *
   * @internal
   */
  public _groupOf(scope: IConstruct, ruleId: string): string | undefined {
    if (!this.grouped) { return undefined; }
    const group = this.messageGroupId ?? ruleId;
    const text: unknown = Stack.of(scope).resolve(group);
    // A field of the event would be taken literally: all messages in one group of that name.
    if (typeof text === 'string' && /^(\$\.|<.*>$|\{%)/.test(text)) {
      throw invalid(scope, `queueType.messageGroupId is '${text}', but EventBridge can't take it from the event: the group of a rule is `
        + 'a fixed text. Give one of eventPatterns for each group, or let the producer send to a queue of yours and bring that as queue');
    }
    if (typeof text === 'string' && !/^[\x21-\x7e]{1,100}$/.test(text)) {
      throw invalid(scope, `queueType.messageGroupId must be 1 to 100 letters, digits and punctuation without spaces, got '${text}'`);
    }
    return group;
  }
}
