import * as iam from 'aws-cdk-lib/aws-iam';
import type { ICqrsDatabase } from './cqrs-database';
import { grantSecretValue } from '../private/permissions';

/**
 * Lets an identity read the credentials of one side of a CQRS database.
 *
 * Credentials are all that IAM decides here: what a role may do is decided in the database, and who can reach it by
 * `connections`.
 */
export class CqrsDatabaseGrants {
  /** The grants of a database. */
  public static fromDatabase(database: ICqrsDatabase): CqrsDatabaseGrants {
    return new CqrsDatabaseGrants(database);
  }

  private constructor(private readonly database: ICqrsDatabase) {
  }

  /**
   * Read the credentials of the command role, which writes.
   *
   * @param grantee the identity that gets the permission
   */
  public command(grantee: iam.IGrantable): iam.Grant {
    return grantSecretValue(this.database.commandSecret, grantee);
  }

  /**
   * Read the credentials of the query role, which only reads.
   *
   * @param grantee the identity that gets the permission
   */
  public query(grantee: iam.IGrantable): iam.Grant {
    return grantSecretValue(this.database.querySecret, grantee);
  }

  /**
   * Read the credentials of the administrator and of both roles, as the migration job must to create them.
   * Fails if the database has no `adminSecret`.
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
