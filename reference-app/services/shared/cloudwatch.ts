import { type CloudWatchClient, type MetricDatum, PutMetricDataCommand, type StandardUnit } from '@aws-sdk/client-cloudwatch';
import type { Registry } from 'prom-client';
import { backOffOf, runLoop } from './run-loop.ts';
import type { RunningService } from './service.ts';
import type { Logger } from './telemetry.ts';

/** A metric of CloudWatch that is made of one of the registry. */
export interface ReportedMetric {
  /** In the registry. */
  readonly source: string;
  /** In CloudWatch. */
  readonly name: string;
  readonly unit: StandardUnit;
  /**
   * The source is a counter with this label, which becomes a dimension. Each report has the increase since the one before.
   * @default - the source is a gauge, of which the greatest value counts
   */
  readonly countedBy?: { readonly label: string; readonly dimension: string };
}

export interface ReporterOptions {
  readonly client: CloudWatchClient;
  readonly registry: Registry;
  readonly metrics: readonly ReportedMetric[];
  readonly namespace: string;
  /** The dimensions of every metric. */
  readonly dimensions: Readonly<Record<string, string>>;
  readonly everyMs: number;
  readonly logger: Logger;
  /** Brings gauges up to date before a report, except the last one. If it fails, the report has the values that there are. */
  measure?(): Promise<void>;
}

/** A call that gets no answer must not take the place of the next report, or hold up the end of the process. */
const [CALL_TIMEOUT_MS, LAST_CALL_TIMEOUT_MS] = [10_000, 2_000];

/** Sends metrics to CloudWatch until it is stopped, and then the last values. */
export function reportMetrics(options: ReporterOptions): RunningService {
  const { everyMs, logger, measure } = options;
  const reporter = new Reporter(options);
  const hurry = new AbortController();
  const loop = runLoop({
    round: async () => {
      if (measure) await unlessAborted(measure(), hurry.signal).catch((error: unknown) => logger.debug({ err: error }, 'not all metrics could be measured'));
      await reporter.report(AbortSignal.any([hurry.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]));
      return everyMs;
    },
    failed: (error, failures) => {
      if (failures === 1) logger.warn({ err: error }, 'CloudWatch did not take the metrics; they are sent again');
    },
    recovered: () => logger.info('CloudWatch takes the metrics'),
    backOff: backOffOf({ firstMs: everyMs / 8, maxMs: everyMs }),
  });
  return {
    async stop() {
      // The call that is under way may still arrive: what it has must not be counted twice.
      const timer = setTimeout(() => hurry.abort(), LAST_CALL_TIMEOUT_MS);
      await loop.stop();
      clearTimeout(timer);
      if (hurry.signal.aborted) return;
      await reporter.report(AbortSignal.timeout(LAST_CALL_TIMEOUT_MS)).catch((error: unknown) => logger.warn({ err: error }, 'CloudWatch did not take the last metrics'));
    },
  };
}

/** Waits for the work, less if the signal ends it. */
function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => resolve();
    signal.addEventListener('abort', end, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
  });
}

class Reporter {
  readonly #options: ReporterOptions;
  /** The values of counters in the last report that arrived, by metric and label. */
  readonly #reported = new Map<string, number>();

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  async report(abortSignal: AbortSignal): Promise<void> {
    const { client, namespace } = this.#options;
    const counted = new Map<string, number>();
    const data = (await Promise.all(this.#options.metrics.map((metric) => this.#read(metric, counted)))).flat();
    if (data.length === 0) return;
    await client.send(new PutMetricDataCommand({ Namespace: namespace, MetricData: data }), { abortSignal });
    counted.forEach((value, key) => this.#reported.set(key, value));
  }

  async #read({ source, name, unit, countedBy }: ReportedMetric, counted: Map<string, number>): Promise<MetricDatum[]> {
    const { values = [] } = await this.#options.registry.getSingleMetric(source)?.get() ?? {};
    if (!countedBy) return values.length > 0 ? [this.#datum(name, unit, Math.max(...values.map(({ value }) => value)))] : [];
    return values.flatMap(({ value, labels }) => {
      const label = String(labels[countedBy.label]);
      const key = `${source} ${label}`;
      counted.set(key, value);
      const increase = value - (this.#reported.get(key) ?? 0);
      return increase > 0 ? [this.#datum(name, unit, increase, { [countedBy.dimension]: label })] : [];
    });
  }

  #datum(name: string, unit: StandardUnit, value: number, more: Record<string, string> = {}): MetricDatum {
    const dimensions = Object.entries({ ...this.#options.dimensions, ...more });
    return {
      MetricName: name, Unit: unit, Value: value, Timestamp: new Date(), Dimensions: dimensions.map(([Name, Value]) => ({ Name, Value })),
    };
  }
}
