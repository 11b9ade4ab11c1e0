import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import { grantQueue } from '../../private/permissions';
import type { BufferedEventConsumer } from '../buffered-event-consumer';
import type { ISubscriptionGrants } from '../event-subscription';

/**
 * Grants permissions on a `BufferedEventConsumer` to operators.
 */
export class BufferedEventConsumerGrants implements ISubscriptionGrants {
  /** The grants of a consumer. */
  public static fromConsumer(consumer: BufferedEventConsumer): BufferedEventConsumerGrants {
    return new BufferedEventConsumerGrants(consumer.queue, consumer.deadLetterQueue,
      consumer.ruleDeadLetterQueue === consumer.deadLetterQueue ? undefined : consumer.ruleDeadLetterQueue);
  }

  private constructor(
    private readonly queue: sqs.IQueue,
    private readonly deadLetterQueue: sqs.IQueue,
    /** The queue, only if it has another key. */
    private readonly ruleDeadLetterQueue?: sqs.IQueue,
  ) {
  }

  /**
   * Grants permission to move dead letters back to the queue with `StartMessageMoveTask`, to watch the move and to cancel it.
   *
   * Set the queue as the destination: a message that EventBridge itself put into the dead-letter queue came from no queue.
   * SQS moves nothing from a standard to a FIFO queue, so messages in a separate `ruleDeadLetterQueue` can be received and deleted, to be
   * published again.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
   * @param grantee the identity that gets the permission
   */
  public redrive(grantee: iam.IGrantable): iam.Grant {
    const grant = grantQueue(this.deadLetterQueue, grantee, [
      'sqs:StartMessageMoveTask',
      'sqs:CancelMessageMoveTask',
      'sqs:ListMessageMoveTasks',
      'sqs:ReceiveMessage',
      'sqs:DeleteMessage',
      'sqs:GetQueueAttributes',
    ], ['kms:Decrypt']).combine(grantQueue(this.queue, grantee, ['sqs:SendMessage'], ['kms:Decrypt', 'kms:GenerateDataKey']));
    return this.ruleDeadLetterQueue
      ? grant.combine(grantQueue(this.ruleDeadLetterQueue, grantee, ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'], ['kms:Decrypt']))
      : grant;
  }

  /**
   * Grants permission to read dead letters and to put them back at once, without deleting them.
   *
   * @param grantee the identity that gets the permission
   */
  public inspectDeadLetters(grantee: iam.IGrantable): iam.Grant {
    const actions = ['sqs:ReceiveMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'];
    const grant = grantQueue(this.deadLetterQueue, grantee, actions, ['kms:Decrypt']);
    return this.ruleDeadLetterQueue ? grant.combine(grantQueue(this.ruleDeadLetterQueue, grantee, actions, ['kms:Decrypt'])) : grant;
  }
}
