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
   * @param version by default Aurora PostgreSQL 18.4. An update of this library moves the default only as a breaking change, since it
   * would upgrade the databases that count on it. Name the version in production
   */
  public static postgres(version?: rds.AuroraPostgresEngineVersion): CqrsEngine {
    return new CqrsEngine('postgres', () => ({
      // The constants of this version came after the oldest aws-cdk-lib that this package works with.
      clusterEngine: rds.DatabaseClusterEngine.auroraPostgres({ version: version ?? rds.AuroraPostgresEngineVersion.of('18.4', '18') }),
      parameters: { 'rds.force_ssl': '1' },
      log: 'postgresql',
    }));
  }

  /**
   * Aurora MySQL. It is not available yet: a cluster with it is an error.
   *
   * @param version by default a version of Aurora MySQL 3
   */
  public static mysql(version?: rds.AuroraMysqlEngineVersion): CqrsEngine {
    return new CqrsEngine('mysql', () => {
      const name = ['Aurora MySQL', version?.auroraMysqlFullVersion].filter(Boolean).join(' ');
      throw coming(`${name} (CqrsEngine.mysql)`, 'the serverless system (API Gateway, Lambda, SQS and MySQL)', 'use CqrsEngine.postgres()');
    });
  }

  private constructor(
    /**
     * The name of the engine as drivers and Secrets Manager know it: `postgres` or `mysql`. Workloads find it in `DB_ENGINE`.
     */
    public readonly engineName: string,
    private readonly config: () => EngineConfig) {
  }

  /**
   * What a cluster with this engine is made of.
   *
   * @internal
   */
  public _bind(): EngineConfig {
    return this.config();
  }
}
