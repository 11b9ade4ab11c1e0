import Type from 'typebox';
import { createReadApi } from './api.ts';
import { STATEMENT_TIMEOUT_MS } from './statements.ts';
import { apiConfig, databaseConfig, processConfig, readerConfig } from '../../shared/config.ts';
import { authenticationConfig, createAuthentication } from '../../shared/http/authentication-config.ts';
import { limitsConfig, ratesOf } from '../../shared/http/limits.ts';
import { createReaderPool, createWriterPool } from '../../shared/pools.ts';
import { runApi } from '../../shared/service.ts';
import { registry } from '../../shared/telemetry.ts';

const config = Type.Object({
  ...processConfig(3001),
  ...apiConfig,
  ...authenticationConfig,
  ...limitsConfig,
  ...databaseConfig,
  ...readerConfig,
  DB_FALLBACK_POOL_SIZE: Type.Integer({
    minimum: 1, maximum: 50, default: 4, description: 'the most connections to the writer, for what the replica does not show yet',
  }),
});

await runApi('api-read-service', {
  config,
  create({ config: env, logger, name }) {
    const authentication = createAuthentication(env, { logger, registry });
    const common = { logger, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
    const reader = createReaderPool(env, { ...common, applicationName: name });
    const writer = createWriterPool(env, { ...common, applicationName: `${name}-fallback`, max: env.DB_FALLBACK_POOL_SIZE });
    const app = createReadApi({
      authentication, reader, writer, logger, registry, rates: ratesOf(env), maxConnections: env.API_MAX_CONNECTIONS,
    });
    return {
      app,
      async close() {
        authentication.stop();
        await Promise.all([reader.end(), writer.end()]);
      },
    };
  },
});
