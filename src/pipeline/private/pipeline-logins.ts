import { createHash } from 'node:crypto';
import { Lazy, Stack, Token } from 'aws-cdk-lib';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { DatabaseLogin, ICqrsDatabase } from '../../cqrs';
import { grantSecretValue } from '../../private/permissions';
import { invalid } from '../../private/validation';

/** That of MySQL; PostgreSQL takes 63 characters. */
const MAX_NAME_LENGTH = 32;

/** The logins of workloads at a database: one each. */
export class PipelineLogins {
  /** The environment variables with which the migration makes the logins. */
  public readonly environment: { [name: string]: string };

  private readonly logins = new Map<string, DatabaseLogin>();
  private readonly migrations: iam.IGrantable[] = [];

  /**
   * @param scope the scope of the secrets
   * @param given the logins that exist, by workload
   */
  constructor(
    public readonly scope: Construct,
    private readonly database: ICqrsDatabase,
    private readonly given: { [workload: string]: DatabaseLogin },
  ) {
    this.environment = { DB_LOGINS: Lazy.string({ produce: () => Stack.of(scope).toJsonString(this.list()) }) };
  }

  /** Lets a migration read the passwords, also those of logins that are added later. */
  public allow(migration: iam.IGrantable): void {
    this.migrations.push(migration);
    this.logins.forEach((login) => grantPassword(login, migration));
  }

  /** Makes the login of a workload. */
  public add(workload: string, what: string): DatabaseLogin {
    if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(workload)) {
      throw invalid(this.scope, `the workload of ${what} must be small letters, digits and single hyphens, and start with a letter, as it names a role of `
        + `the database, got '${workload}'`);
    }
    if (this.logins.has(workload)) {
      throw invalid(this.scope, `two workloads are named '${workload}', the second is ${what}: give it a workload or a serviceName of its own, so that `
        + 'each has the rights of its own');
    }
    const login = this.given[workload] ?? this.make(workload, what);
    this.logins.set(workload, login);
    this.migrations.forEach((migration) => grantPassword(login, migration));
    return login;
  }

  private make(workload: string, what: string): DatabaseLogin {
    const { databaseName, workloadLogins } = this.database;
    if (!workloadLogins) {
      throw invalid(this.scope, `the database makes no logins, and there is none for ${what}: give DatabaseLogins.perWorkload({ logins: { '${workload}': … } }), `
        + 'or a CqrsAuroraCluster as the database');
    }
    return workloadLogins.addLogin(this.scope, workload, userNameOf(databaseName, workload));
  }

  /** In a fixed order, so that a migration runs again only if there is another login. */
  private list(): object[] {
    return [...this.logins].sort(([one], [other]) => (one < other ? -1 : 1)).map(([workload, { secret, userName }]) => (
      secret ? { workload, secretArn: secret.secretArn } : { workload, user: userName }));
  }
}

/** The name of a workload that nobody has named. */
export function workloadOf(id: string): string {
  return id.replace(/([a-z0-9])([A-Z])/g, '$1-$2').replace(/[^A-Za-z0-9]+/g, '-').toLowerCase();
}

function userNameOf(databaseName: string, workload: string): string {
  const name = [...Token.isUnresolved(databaseName) ? [] : [databaseName], workload.replaceAll('-', '_')].join('_');
  if (name.length <= MAX_NAME_LENGTH) { return name; }
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.slice(0, MAX_NAME_LENGTH - hash.length - 1)}_${hash}`;
}

function grantPassword({ secret }: DatabaseLogin, migration: iam.IGrantable): void {
  if (secret) { grantSecretValue(secret, migration); }
}
