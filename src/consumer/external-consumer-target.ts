import type { Duration } from 'aws-cdk-lib';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { grantConsume } from '../private/permissions';

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

  public bind(_scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    grantConsume(options.queue, this.grantee);
    return { grantee: this.grantee };
  }
}
