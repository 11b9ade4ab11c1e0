import { pino, type DestinationStream, type Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';

export type { Logger } from 'pino';
export * from './trace-context.ts';

/** Every metric of the process. Labels hold names from short fixed lists, never ids. */
export const registry = new Registry();

/** Seconds; from one local hop to an order that waited for a queue to drain. */
export const LATENCY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

let collectsDefaults = false;

/** Adds the metrics of the Node.js process itself. Those of a process that runs several services are of no single one. */
export function collectProcessMetrics(service: string): void {
  registry.setDefaultLabels(collectsDefaults ? {} : { service });
  if (!collectsDefaults) {
    collectsDefaults = true;
    // Every 10 ms, the default, takes half a percent of a core in each process.
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  }
}

export function createLogger(options: { service: string; level?: string }, destination?: DestinationStream): Logger {
  return pino({
    level: options.level ?? 'info',
    base: { service: options.service },
    messageKey: 'message',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (level) => ({ level }) },
    // The fields of an error of the database or of AWS are not for the log: a client has the key that cancels its statements.
    redact: { paths: ['password', '*.password', 'secret', '*.secret', 'err.config', 'err.$response', 'err.client'], remove: true },
  }, destination ?? pino.destination({ dest: 1, sync: true }));
}
