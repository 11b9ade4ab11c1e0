import Type from 'typebox';
import { createReadApi } from './api.ts';
import { STATEMENT_TIMEOUT_MS } from './statements.ts';
import { databaseConfig, processConfig, readerConfig } from '../../shared/config.ts';
import { withoutAuthorization } from '../../shared/http/caller.ts';
import { createReaderPool, createWriterPool } from '../../shared/pools.ts';
import { runService } from '../../shared/service.ts';
import { registry } from '../../shared/telemetry.ts';

const config = Type.Object({
  ...processConfig(3001),
  ...databaseConfig,
  ...readerConfig,
  DB_FALLBACK_POOL_SIZE: Type.Integer({
    minimum: 1, maximum: 50, default: 4, description: 'the most connections to the writer, for what the replica does not show yet',
  }),
});

await runService('api-read-service', {
  config,
  async start({ config: env, logger, name }) {
    const common = { logger, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
    const reader = createReaderPool(env, { ...common, applicationName: name });
    const writer = createWriterPool(env, { ...common, applicationName: `${name}-fallback`, max: env.DB_FALLBACK_POOL_SIZE });
    const app = createReadApi({ authentication: withoutAuthorization, reader, writer, logger, registry });
    const url = await app.listen({ host: env.HOST, port: env.PORT });
    logger.info({ url }, 'listening');
    return {
      async stop() {
        app.drain();
        await app.close();
        await Promise.all([reader.end(), writer.end()]);
      },
    };
  },
});
