import { ArnFormat, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { IConstruct } from 'constructs';
import { grantSecretValue } from '../private/permissions';

/**
 * The way in which a role of a database logs in: with a password, or with a token of IAM.
 *
 * It is one or the other: in Amazon RDS, a role that is a member of `rds_iam` can't use a password.
 *
 * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
 */
export class DatabaseLogin {
  /**
   * Login with a password. Workloads read it from Secrets Manager.
   *
   * @param secret JSON with at least `username` and `password`
   */
  public static password(secret: secretsmanager.ISecret): DatabaseLogin {
    return new DatabaseLogin((grantee) => grantSecretValue(secret, grantee), { DB_SECRET_ARN: secret.secretArn }, secret);
  }

  /**
   * Login with a token of IAM, which a workload makes for each new connection from its own identity. There is no password.
   *
   * @param cluster the cluster to which the workload connects
   * @param userName the name of the role in the database, which is a member of `rds_iam`
   */
  public static iam(cluster: rds.IDatabaseCluster, userName: string): DatabaseLogin {
    return DatabaseLogin._token(cluster, cluster.clusterResourceIdentifier, userName);
  }

  /**
   * Login with a token at a cluster or a proxy.
   *
   * @internal
   */
  public static _token(scope: IConstruct, resourceId: string, userName: string): DatabaseLogin {
    const userArn = Stack.of(scope).formatArn({
      service: 'rds-db', resource: 'dbuser', resourceName: `${resourceId}/${userName}`, arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    });
    return new DatabaseLogin(
      (grantee) => iam.Grant.addToPrincipal({ grantee, actions: ['rds-db:connect'], resourceArns: [userArn] }),
      { DB_AUTHENTICATION: 'iam', DB_USER: userName },
      undefined,
      userName,
    );
  }

  private constructor(
    private readonly grantLogin: (grantee: iam.IGrantable) => iam.Grant,
    /** The environment variables of a workload: `DB_SECRET_ARN`; or `DB_AUTHENTICATION` with the value `iam`, and `DB_USER`. */
    public readonly environment: { [name: string]: string },
    /**
     * The secret with the password.
     *
     * @default - undefined: the role logs in with a token
     */
    public readonly secret?: secretsmanager.ISecret,
    /**
     * The name of the role.
     *
     * @default - undefined: the name is in the secret
     */
    public readonly userName?: string) {
  }

  /**
   * Grants the permission to read the secret, or to connect as this role, and no other.
   *
   * @param grantee the identity that gets the permission
   */
  public grant(grantee: iam.IGrantable): iam.Grant {
    return this.grantLogin(grantee);
  }
}
