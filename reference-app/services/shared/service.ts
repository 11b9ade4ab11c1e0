import type { FastifyInstance } from 'fastify';
import Type, { type Static, type TObject } from 'typebox';
import { ConfigError, maskConfig, readConfig } from './config.ts';
import { startHealthServer, type Readiness } from './http/health.ts';
import { collectProcessMetrics, createLogger, registry, type Logger } from './telemetry.ts';

export interface ServiceContext<C> {
  readonly name: string;
  readonly config: C;
  readonly logger: Logger;
}

/** The promises of a started service to the process around it. */
export interface RunningService {
  /** May the service get work now? Asked by the readiness probe; no while it drains, whatever this says. */
  ready?(): Readiness | Promise<Readiness>;
  /** Takes no more work, finishes or gives back what is in hand, closes what it opened. */
  stop(): Promise<void>;
}

export interface ServiceOptions<T extends TObject> {
  readonly config: T;
  /** The time that a graceful stop may take. @default 25 s, below the grace period of a pod */
  readonly stopTimeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** Starts the service; must not wait for the database or the queue to be there. */
  start(context: ServiceContext<Static<T>>): Promise<RunningService>;
}

/** The services of this process that are not stopped: it ends with the last one. */
let services = 0;

/** The process around one service: configuration, log, signals, and an end that leaves nothing half done. */
async function runService<T extends TObject>(name: string, options: ServiceOptions<T>): Promise<void> {
  const env = options.env ?? process.env;
  const service = env.SERVICE_NAME || name;
  let logger = createLogger({ service });
  let config: Static<T>;
  const refuse = (error: ConfigError): never => {
    logger.fatal({ problems: error.problems }, error.message);
    return process.exit(1);
  };
  try {
    config = readConfig(options.config, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return refuse(error);
  }
  logger = createLogger({ service, level: (config as { LOG_LEVEL?: string }).LOG_LEVEL });
  collectProcessMetrics(service);

  services++;
  let running: RunningService | undefined;
  let stopping: Promise<void> | undefined;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) {
      logger.warn({ signal }, 'stopping at once after a second signal');
      process.exit(1);
    }
    logger.info({ signal }, 'stopping');
    const deadline = setTimeout(() => {
      logger.error('the graceful stop took too long; the process ends');
      process.exit(1);
    }, options.stopTimeoutMs ?? 25_000);
    stopping = (async () => {
      await running?.stop();
      clearTimeout(deadline);
      logger.info('stopped');
      if (--services === 0) process.exit(0);
    })().catch((error: unknown) => {
      logger.fatal({ err: error }, 'the graceful stop failed');
      process.exit(1);
    });
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // A supervisor starts a clean process; one in an unknown state must not go on.
  const crash = (error: unknown) => {
    logger.fatal({ err: error }, 'unexpected error; the process ends');
    process.exit(1);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);

  logger.info({ config: maskConfig(options.config, config) }, 'starting');
  try {
    running = await options.start({ name: service, config, logger });
  } catch (error) {
    // Some variables are right or wrong with others only.
    if (error instanceof ConfigError) return refuse(error);
    crash(error);
  }
  logger.info('started');
}

const WorkerProcess = Type.Object({
  PORT: Type.Integer(),
  HOST: Type.String(),
});

/** A service without an API of its own: the health endpoints answer from the first moment to the last. */
export function runWorker<T extends TObject>(name: string, options: ServiceOptions<T>): Promise<void> {
  return runService(name, {
    ...options,
    async start(context) {
      let worker: RunningService | undefined;
      let draining = false;
      const { PORT, HOST } = context.config as Static<typeof WorkerProcess>;
      const health = await startHealthServer({
        port: PORT,
        host: HOST,
        registry,
        ready: () => {
          if (draining) return 'The service is stopping.';
          return worker ? worker.ready?.() ?? true : 'The service is starting.';
        },
      });
      context.logger.info({ url: health.url }, 'listening');
      worker = await options.start(context);
      return {
        async stop() {
          draining = true;
          await worker?.stop();
          await health.stop();
        },
      };
    },
  });
}

const ApiProcess = Type.Object({ ...WorkerProcess.properties, MANAGEMENT_PORT: Type.Integer() });

/** The parts of a service with an API. */
export interface ApiParts {
  readonly app: FastifyInstance;
  /** Closes what the API uses; called when it has answered its last request. */
  close(): Promise<void>;
}

export interface ApiOptions<T extends TObject> extends Omit<ServiceOptions<T>, 'start'> {
  /** Makes the API; must not wait for the database to be there. */
  create(context: ServiceContext<Static<T>>): ApiParts | Promise<ApiParts>;
}

/**
 * A service with an API. The health endpoints have a port of their own, which the clients of the API cannot reach: they answer from the
 * first moment to the last, also when the API takes no more connections.
 */
export function runApi<T extends TObject>(name: string, { create, ...options }: ApiOptions<T>): Promise<void> {
  return runService(name, {
    ...options,
    async start(context) {
      const { PORT, MANAGEMENT_PORT, HOST } = context.config as Static<typeof ApiProcess>;
      if (PORT === MANAGEMENT_PORT && PORT !== 0) {
        throw new ConfigError([`MANAGEMENT_PORT is ${PORT}, and so is PORT; set one of them to another port`]);
      }
      const { app, close } = await create(context);
      let listening = false;
      const health = await startHealthServer({
        port: MANAGEMENT_PORT, host: HOST, registry, ready: () => (listening ? app.readiness() : 'The service is starting.'),
      });
      const url = await app.listen({ host: HOST, port: PORT });
      listening = true;
      context.logger.info({ url, managementUrl: health.url }, 'listening');
      return {
        async stop() {
          app.drain();
          await app.close();
          await close();
          await health.stop();
        },
      };
    },
  });
}
