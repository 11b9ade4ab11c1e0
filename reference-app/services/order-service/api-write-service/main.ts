import Type from 'typebox';
import { createWriteApi } from './api.ts';
import { databaseConfig, processConfig } from '../../shared/config.ts';
import { createPool } from '../../shared/database.ts';
import { runService } from '../../shared/service.ts';
import { registry } from '../../shared/telemetry.ts';

const config = Type.Object({ ...processConfig(3000), ...databaseConfig });

await runService('api-write-service', {
  config,
  async start({ config: env, logger, name }) {
    const pool = createPool({
      endpoint: env.DB_WRITER_ENDPOINT,
      secretArn: env.DB_SECRET_ARN,
      applicationName: name,
      max: env.DB_POOL_SIZE,
      logger,
      // Longer than this, no client waits for its 202.
      statementTimeoutMs: 5_000,
    });
    const app = createWriteApi({ pool, logger, registry });
    const url = await app.listen({ host: env.HOST, port: env.PORT });
    logger.info({ url }, 'listening');
    return {
      async stop() {
        app.drain();
        await app.close();
        await pool.end();
      },
    };
  },
});
