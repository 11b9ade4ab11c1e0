import * as rds from 'aws-cdk-lib/aws-rds';
import type { EngineConfig } from './private/engine-config';
import { coming } from '../private/coming';

/**
 * The database engine of a `CqrsAuroraCluster`.
 */
export class CqrsEngine {
  /**
   * Aurora PostgreSQL.
   *
   * @param version the default is Aurora PostgreSQL 18.4. An update of this library changes it only as a breaking change, since that
   * would upgrade the databases that use it. Set the version in production
   */
  public static postgres(version?: rds.AuroraPostgresEngineVersion): CqrsEngine {
    // The oldest aws-cdk-lib that this package supports has no constant for this version.
    const postgres = version ?? rds.AuroraPostgresEngineVersion.of('18.4', '18');
    return new CqrsEngine('postgres', () => ({
      clusterEngine: rds.DatabaseClusterEngine.auroraPostgres({ version: postgres }),
      requiredParameters: { 'rds.force_ssl': '1' },
      parameters: {
        // Compiling a short statement takes longer than running it. As a start-up option RDS Proxy would refuse it.
        jit: '0',
        log_lock_waits: '1',
        // In milliseconds: a transaction that is forgotten keeps its locks, and the outbox from being published.
        idle_in_transaction_session_timeout: '60000',
        ...hasTransactionTimeout(postgres) && { transaction_timeout: '300000' },
      },
      log: 'postgresql',
    }));
  }

  /**
   * Aurora MySQL. It is not available yet: a cluster with it is an error.
   *
   * @param version the default is a version of Aurora MySQL 3
   */
  public static mysql(version?: rds.AuroraMysqlEngineVersion): CqrsEngine {
    return new CqrsEngine('mysql', () => {
      const name = ['Aurora MySQL', version?.auroraMysqlFullVersion].filter(Boolean).join(' ');
      throw coming(`${name} (CqrsEngine.mysql)`, 'the serverless system (API Gateway, Lambda, SQS and MySQL)', 'use CqrsEngine.postgres()');
    });
  }

  private constructor(
    /**
     * The name of the engine for drivers and Secrets Manager: `postgres` or `mysql`. Workloads get it in `DB_ENGINE`.
     */
    public readonly engineName: string,
    private readonly config: () => EngineConfig) {
  }

  /**
   * The configuration of a cluster with this engine.
   *
   * @internal
   */
  public _bind(): EngineConfig {
    return this.config();
  }
}

/** PostgreSQL has it since version 17. An older one refuses a parameter group with it. */
function hasTransactionTimeout({ auroraPostgresMajorVersion }: rds.AuroraPostgresEngineVersion): boolean {
  return Number.parseInt(auroraPostgresMajorVersion, 10) >= 17;
}
