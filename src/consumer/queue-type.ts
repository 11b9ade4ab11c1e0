import { Stack } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import { invalid } from '../private/validation';

/**
 * Options of the message groups of a queue.
 */
export interface MessageGroupOptions {
  /**
   * The group of every message that the rules send, up to 100 characters.
   *
   * It is a fixed text: EventBridge can't read it from the event, so a JSON path such as `$.detail.orderId` is an error.
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
  /** A standard queue: at least once, in any order, with an almost unlimited number of messages per second. */
  public static standard(): QueueType {
    return new QueueType(false, false);
  }

  /**
   * A standard queue whose messages name a group, so that a group with a backlog doesn't delay the others.
   *
   * A group is the source of a load that must not delay others: with rules it is an event pattern, with other producers of the queue
   * a tenant.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
   */
  public static fair(options: MessageGroupOptions = {}): QueueType {
    return new QueueType(false, true, options.messageGroupId);
  }

  /**
   * A FIFO queue: within a group one message after the other, in the order in which EventBridge delivers. That isn't always the order of
   * publication. A queue accepts 300 requests per second, and a message that fails blocks its group.
   *
   * Messages with equal content within five minutes count as one, so keep the `id` of the event in `ruleInput`.
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
   * The group of the messages that a rule sends.
   *
   * @internal
   */
  public _groupOf(scope: IConstruct, ruleId: string): string | undefined {
    if (!this.grouped) { return undefined; }
    const group = this.messageGroupId ?? ruleId;
    const text: unknown = Stack.of(scope).resolve(group);
    // EventBridge would use the path as text: all messages would be in one group of that name.
    if (typeof text === 'string' && /^(\$\.|<.*>$|\{%)/.test(text)) {
      throw invalid(scope, `queueType.messageGroupId is '${text}', but EventBridge can't read it from the event: the group of a rule is `
        + 'a fixed text. Give one of eventPatterns for each group, or let the producer send to your own queue and give that as queue');
    }
    if (typeof text === 'string' && !/^[\x21-\x7e]{1,100}$/.test(text)) {
      throw invalid(scope, `queueType.messageGroupId must be 1 to 100 letters, digits and punctuation without spaces, got '${text}'`);
    }
    return group;
  }
}
