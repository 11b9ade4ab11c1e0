import * as iam from 'aws-cdk-lib/aws-iam';
import type { ICqrsDatabase } from './cqrs-database';
import { grantSecretValue } from '../private/permissions';

/**
 * Lets an identity read the credentials of one side of a CQRS database.
 *
 * IAM controls only the credentials: the database decides about the privileges of a role, and `connections` about who
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
   * Grants permission to read the credentials of the command role, which writes.
   *
   * @param grantee the identity that gets the permission
   */
  public command(grantee: iam.IGrantable): iam.Grant {
    return grantSecretValue(this.database.commandSecret, grantee);
  }

  /**
   * Grants permission to read the credentials of the query role, which only reads.
   *
   * @param grantee the identity that gets the permission
   */
  public query(grantee: iam.IGrantable): iam.Grant {
    return grantSecretValue(this.database.querySecret, grantee);
  }

  /**
   * Grants permission to read the credentials of the administrator and of both roles, which the migration job creates.
   * It is an error if the database has no `adminSecret`.
   *
   * @param grantee the identity that gets the permission
   */
  public admin(grantee: iam.IGrantable): iam.Grant {
    const adminSecret = this.database.adminSecret;
    if (!adminSecret) {
      throw new Error('grants.admin needs the administrator\'s credentials: give adminSecret to CqrsDatabase.fromAttributes');
    }
    return grantSecretValue(adminSecret, grantee).combine(this.command(grantee)).combine(this.query(grantee));
  }
}
