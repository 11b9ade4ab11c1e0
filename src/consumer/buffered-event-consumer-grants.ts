import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { BufferedEventConsumer } from './buffered-event-consumer';
import { grantQueue } from '../private/permissions';

/**
 * Permissions of operators on a `BufferedEventConsumer`.
 */
export class BufferedEventConsumerGrants {
  /** The grants of a consumer. */
  public static fromConsumer(consumer: BufferedEventConsumer): BufferedEventConsumerGrants {
    return new BufferedEventConsumerGrants(consumer.queue, consumer.deadLetterQueue);
  }

  private constructor(private readonly queue: sqs.IQueue, private readonly deadLetterQueue: sqs.IQueue) {
  }

  /**
   * Move dead letters back to the queue with `StartMessageMoveTask`, watch the move and cancel it.
   *
   * Name the queue as the destination: a message that EventBridge itself put into the dead-letter queue came from no queue.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
   * @param grantee the identity that gets the permission
   */
  public redrive(grantee: iam.IGrantable): iam.Grant {
    return grantQueue(this.deadLetterQueue, grantee, [
      'sqs:StartMessageMoveTask',
      'sqs:CancelMessageMoveTask',
      'sqs:ListMessageMoveTasks',
      'sqs:ReceiveMessage',
      'sqs:DeleteMessage',
      'sqs:GetQueueAttributes',
    ], ['kms:Decrypt']).combine(grantQueue(this.queue, grantee, ['sqs:SendMessage'], ['kms:Decrypt', 'kms:GenerateDataKey']));
  }

  /**
   * Look at dead letters and put them back at once, without deleting any.
   *
   * @param grantee the identity that gets the permission
   */
  public inspectDeadLetters(grantee: iam.IGrantable): iam.Grant {
    return grantQueue(this.deadLetterQueue, grantee, [
      'sqs:ReceiveMessage',
      'sqs:ChangeMessageVisibility',
      'sqs:GetQueueAttributes',
    ], ['kms:Decrypt']);
  }
}
