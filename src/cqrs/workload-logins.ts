import type { Construct } from 'constructs';
import type { DatabaseLogin } from './database-login';

/**
 * Makes logins of single workloads, as a `CqrsAuroraCluster` does.
 *
 * @subclassable
 */
export interface IWorkloadLogins {
  /**
   * Makes a login. The role in the database is made by the migration.
   *
   * @param scope the scope of the secret, if the login has one
   * @param id its id there
   * @param userName the name of the role in the database
   */
  addLogin(scope: Construct, id: string, userName: string): DatabaseLogin;
}
