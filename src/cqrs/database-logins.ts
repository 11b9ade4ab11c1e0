import type { DatabaseLogin } from './database-login';

/**
 * Options of a login for each workload.
 */
export interface WorkloadLoginsOptions {
  /**
   * Logins that exist already, by the names of their workloads.
   *
   * @default - none: the database makes all of them
   */
  readonly logins?: { [workload: string]: DatabaseLogin };
}

/**
 * The logins of the workloads of a pipeline at its database.
 *
 * @example
 * DatabaseLogins.perSide();
 * DatabaseLogins.perWorkload();
 */
export class DatabaseLogins {
  /** One login for all workloads of a side: the `commandLogin` and the `queryLogin` of the database. */
  public static perSide(): DatabaseLogins {
    return new DatabaseLogins();
  }

  /**
   * A login for each workload, which the migration makes with exactly the rights of that workload. A workload that is taken over can't use
   * the rights of the others.
   *
   * The migration gets the list in `DB_LOGINS`: JSON such as `[{ "workload": "inventory-service", "secretArn": "arn:…" }]`, and `user`
   * instead of `secretArn` for a login with tokens. The name of a workload is `workload` of `addConsumer()` or `addService()`, the
   * `serviceName` of its host, or its id: `CommandApi` is `command-api`.
   *
   * The database makes the logins as it makes those of the sides: passwords, which may be rotated, or tokens. The name of a login is made
   * from those of the database and of the workload, such as `orders_inventory_service`. It has at most 32 characters, which is the limit of
   * MySQL.
   *
   * The logins of the sides stay, for workloads with a `databaseAccess` of their own.
   */
  public static perWorkload(options: WorkloadLoginsOptions = {}): DatabaseLogins {
    return new DatabaseLogins({ ...options.logins });
  }

  private constructor(
    /**
     * The logins that exist, by workload; undefined with a login for each side.
     *
     * @internal
     */
    public readonly _logins?: { [workload: string]: DatabaseLogin },
  ) {
  }
}
