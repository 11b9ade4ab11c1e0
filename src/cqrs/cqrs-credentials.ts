import type { Duration } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';

/**
 * Options of passwords that are rotated.
 */
export interface PasswordRotationOptions {
  /**
   * The time between two rotations: whole days, 1 to 1000.
   *
   * @see https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html
   * @default Duration.days(30)
   */
  readonly interval?: Duration;

  /**
   * The interface endpoint of Secrets Manager in the VPC, through which the function that rotates gets and changes the secret. It is opened
   * to the function.
   *
   * @default - the function reaches Secrets Manager through the NAT of `vpcSubnets`
   */
  readonly secretsManagerEndpoint?: ec2.IInterfaceVpcEndpoint;

  /**
   * The subnets of the function that rotates.
   *
   * @default - those of the database with `secretsManagerEndpoint`, otherwise the private subnets with NAT
   */
  readonly vpcSubnets?: ec2.SubnetSelection;
}

/**
 * The way in which the two roles of a `CqrsAuroraCluster` log in. The administrator always has a password, which RDS makes and rotates.
 */
export class CqrsCredentials {
  /** Generated passwords, which stay the same. */
  public static passwords(): CqrsCredentials {
    return new CqrsCredentials(false);
  }

  /**
   * Generated passwords that AWS Secrets Manager rotates, with a function of its own in the VPC for each role.
   *
   * Connections stay open during a rotation. For the moment between the change in the database and the change of the secret, a new login
   * is refused: a workload has to read the secret again, and try again. A deployment rotates nothing, as the roles don't exist before the
   * first migration.
   *
   * The function logs in as the role to change its password, so neither role may have `default_transaction_read_only`.
   *
   * The function connects to the database, and to Secrets Manager: through `secretsManagerEndpoint`, or through NAT. With neither, it is an
   * error.
   *
   * @see https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotation-strategy.html
   */
  public static rotatedPasswords(options: PasswordRotationOptions = {}): CqrsCredentials {
    return new CqrsCredentials(false, options);
  }

  /**
   * Tokens of IAM: there are no passwords, no secrets, and nothing to rotate. A token is valid for 15 minutes and only for the login.
   *
   * The migration makes the roles members of `rds_iam`. Each new connection costs the database more time, so pools have to keep theirs.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
   */
  public static iam(): CqrsCredentials {
    return new CqrsCredentials(true);
  }

  private constructor(
    /** @internal */
    public readonly _tokens: boolean,
    /** @internal */
    public readonly _rotation?: PasswordRotationOptions) {
  }
}
