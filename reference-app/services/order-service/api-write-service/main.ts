import Type from 'typebox';
import { createWriteApi } from './api.ts';
import { apiConfig, databaseConfig, processConfig } from '../../shared/config.ts';
import { authenticationConfig, createAuthentication } from '../../shared/http/authentication-config.ts';
import { limitsConfig, ratesOf } from '../../shared/http/limits.ts';
import { createWriterPool } from '../../shared/pools.ts';
import { runApi } from '../../shared/service.ts';
import { registry } from '../../shared/telemetry.ts';

const config = Type.Object({
  ...processConfig(3000),
  ...apiConfig,
  ...authenticationConfig,
  ...limitsConfig,
  ...databaseConfig,
  INTAKE_GATHER_MS: Type.Integer({
    minimum: 0, maximum: 100, default: 0, description: 'how long orders that come one after the other are gathered for one commit, at most',
  }),
});

await runApi('api-write-service', {
  config,
  create({ config: env, logger, name }) {
    const authentication = createAuthentication(env, { logger, registry });
    // Longer than this, no client waits for its 202.
    const pool = createWriterPool(env, { applicationName: name, logger, statementTimeoutMs: 5_000 });
    const app = createWriteApi({
      authentication, pool, logger, registry, gatherMs: env.INTAKE_GATHER_MS, rates: ratesOf(env), maxConnections: env.API_MAX_CONNECTIONS,
    });
    return {
      app,
      async close() {
        authentication.stop();
        await pool.end();
      },
    };
  },
});
