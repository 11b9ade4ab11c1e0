import type * as iam from 'aws-cdk-lib/aws-iam';
import type { ICqrsDatabase } from './cqrs-database';
import { grantSecretValue } from '../private/permissions';

/**
 * Lets an identity log in as one of the roles of a CQRS database.
 *
 * IAM controls only the login: the database decides about the privileges of a role, and `connections` about who
 * can reach it.
 */
export class CqrsDatabaseGrants {
  /** The grants of a database. */
  public static fromDatabase(database: ICqrsDatabase): CqrsDatabaseGrants {
    return new CqrsDatabaseGrants(database);
  }

  private constructor(private readonly database: ICqrsDatabase) {
  }

  /**
   * Grants permission to log in as the command role, which writes: to read its secret, or to connect with a token.
   *
   * @param grantee the identity that gets the permission
   */
  public command(grantee: iam.IGrantable): iam.Grant {
    return this.database.commandLogin.grant(grantee);
  }

  /**
   * Grants permission to log in as the query role, which only reads: to read its secret, or to connect with a token.
   *
   * @param grantee the identity that gets the permission
   */
  public query(grantee: iam.IGrantable): iam.Grant {
    return this.database.queryLogin.grant(grantee);
  }

  /**
   * Grants permission to read the credentials of the administrator, and the secrets of both roles, which the migration job creates.
   * It is an error if the database has no `adminSecret`.
   *
   * @param grantee the identity that gets the permission
   */
  public admin(grantee: iam.IGrantable): iam.Grant {
    const { adminSecret, commandLogin, queryLogin } = this.database;
    if (!adminSecret) {
      throw new Error('grants.admin needs the administrator\'s credentials: give adminSecret to CqrsDatabase, and use the database instead of '
        + 'its proxy');
    }
    return [commandLogin.secret, queryLogin.secret].reduce(
      (grant, secret) => secret ? grant.combine(grantSecretValue(secret, grantee)) : grant, grantSecretValue(adminSecret, grantee));
  }
}
