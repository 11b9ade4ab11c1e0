import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { IDependable } from 'constructs';

/**
 * A running service: you can grant it permissions, open connections to it, and depend on it.
 *
 * @subclassable
 */
export interface IHostedService extends iam.IGrantable, ec2.IConnectable, IDependable {
  /**
   * The address of the service's API, such as `http://internal-….elb.eu-west-1.amazonaws.com:3000`. It may be a token.
   *
   * @default - undefined: the service has no address, or it isn't known here
   */
  readonly url?: string;
}
