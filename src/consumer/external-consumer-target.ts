import { Annotations, Duration } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { attachedPolicy } from './private/attached-policy';
import { admitConsumer, attachConsumePolicy, consumeStatements, grantConsume, statementsText } from '../private/permissions';

/**
 * Options of a consumer that runs elsewhere.
 */
export interface ExternalConsumerOptions {
  /** The longest time that the processing of one batch may take. */
  readonly processingTime: Duration;
}

/**
 * @internal
 */
export class ExternalConsumerTarget implements IConsumerTarget {
  public readonly processingTime: Duration;

  constructor(private readonly grantee: iam.IGrantable, options: ExternalConsumerOptions) {
    this.processingTime = options.processingTime;
  }

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    admitConsumer(options.queue, this.grantee);
    if (!this.allow(scope, options)) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:consumerRoleNotUpdated',
        "the identity of the target can't be changed here, so it can't consume the queue unless it has these statements "
        + `(consumePolicyStatements): ${statementsText(scope, consumeStatements(options.queue))}`);
    }
    return { grantee: this.grantee, policy: attachedPolicy(scope, 'Policy') };
  }

  /**
   * The permission of a role that is made in this app is in the stack of the role. That stack needs the consumer's anyway: the process must
   * know `QUEUE_URL`.
   */
  private allow(scope: Construct, { queue }: ConsumerTargetBindOptions): boolean {
    return isIdentity(this.grantee) && !(this.grantee instanceof iam.Role)
      ? attachConsumePolicy(scope, 'Policy', this.grantee, queue) !== undefined
      : grantConsume(queue, this.grantee).success;
  }
}

function isIdentity(grantee: iam.IGrantable): grantee is iam.IIdentity {
  return 'attachInlinePolicy' in grantee;
}
