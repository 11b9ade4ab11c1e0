import { AwsError } from '../http/aws-error.ts';
import { optionalNumber, optionalObject, requiredList, requiredText, serveAwsJson, structures } from '../http/aws-json.ts';
import type { AwsJsonServer, Input } from '../http/aws-json.ts';
import type { Log } from '../log.ts';
import { Alarm } from './alarm.ts';
import type { AlarmRule } from './alarm.ts';
import { keyOf, Metrics } from './metrics.ts';

interface CloudWatchOptions {
  readonly log: Log;
  /** Hears of every alarm whose state has changed. */
  readonly changed: (alarm: Alarm) => void;
  /** The milliseconds that a second of an alarm takes: 1000, or fewer in tests that can't wait for minutes. */
  readonly secondMs: number;
}

const [MAX_DATA, MAX_DIMENSIONS] = [1000, 30];
/** The longest time that an alarm looks back. */
const DAY_SECONDS = 86_400;
/** The share of the shortest period after which alarms are evaluated, so that values of a period that has just ended arrive before. */
const EVALUATIONS_PER_PERIOD = 6;

/** Amazon CloudWatch: takes metrics with PutMetricData, and evaluates alarms on them. Nothing outlives the run. */
export class CloudWatch {
  readonly #options: CloudWatchOptions;
  readonly #secondMs: number;
  readonly #metrics: Metrics;
  readonly alarms: Alarm[] = [];
  #server: AwsJsonServer | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CloudWatchOptions) {
    this.#options = options;
    this.#secondMs = options.secondMs;
    this.#metrics = new Metrics(DAY_SECONDS * this.#secondMs);
  }

  /** @returns the address */
  async start(port = 0): Promise<string> {
    this.#server = await serveAwsJson({
      service: 'CloudWatch',
      targetPrefix: 'GraniteServiceVersion20100801',
      actions: { PutMetricData: (input) => this.#put(input) },
      log: this.#options.log,
      port,
    });
    return this.#server.url;
  }

  /** Evaluates these alarms from now on. */
  watch(rules: readonly AlarmRule[]): void {
    this.alarms.push(...rules.map((rule) => new Alarm(rule, this.#secondMs, Date.now())));
    clearInterval(this.#timer);
    if (this.alarms.length === 0) return;
    const shortest = Math.min(...this.alarms.map(({ rule }) => rule.period)) * this.#secondMs;
    this.#timer = setInterval(() => this.#evaluate(), shortest / EVALUATIONS_PER_PERIOD);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#server?.close();
  }

  #evaluate(): void {
    const shortest = Math.min(...this.alarms.map(({ rule }) => rule.period)) * this.#secondMs;
    const now = Date.now() - shortest / EVALUATIONS_PER_PERIOD;
    for (const alarm of this.alarms) if (alarm.evaluate(this.#metrics, now)) this.#options.changed(alarm);
  }

  #put(input: Input): object {
    const namespace = requiredText(input, 'Namespace');
    if (namespace.startsWith('AWS/')) throw new AwsError('InvalidParameterValueException', 'The value AWS/ for parameter Namespace is invalid.');
    const data = structures(requiredList(input, 'MetricData'), 'MetricData');
    if (data.length > MAX_DATA) throw new AwsError('InvalidParameterValueException', `The collection MetricData must not have a size greater than ${MAX_DATA}.`);
    // All or none: a wrong one refuses the others.
    const points = data.map((datum) => read(namespace, datum));
    for (const { key, point } of points) this.#metrics.add(key, point);
    return {};
  }
}

function read(namespace: string, datum: Input) {
  const name = requiredText(datum, 'MetricName');
  const dimensions = structures((datum.Dimensions ?? []) as unknown[], 'Dimensions')
    .map((dimension) => ({ Name: requiredText(dimension, 'Name'), Value: requiredText(dimension, 'Value') }));
  if (dimensions.length > MAX_DIMENSIONS) {
    throw new AwsError('InvalidParameterValueException', `The collection MetricData.member.1.Dimensions must not have a size greater than ${MAX_DIMENSIONS}.`);
  }
  const at = (optionalNumber(datum, 'Timestamp') ?? Date.now() / 1000) * 1000;
  return { key: keyOf(namespace, name, dimensions), point: { at, ...valueOf(datum) } };
}

/** A datum has one value, a list of values with their numbers, or statistics of values. */
function valueOf(datum: Input) {
  const statistics = optionalObject(datum, 'StatisticValues');
  if (statistics) {
    const [count, sum, min, max] = ['SampleCount', 'Sum', 'Minimum', 'Maximum'].map((name) => optionalNumber(statistics, name));
    if (count !== undefined && sum !== undefined && min !== undefined && max !== undefined) return { count, sum, min, max };
  }
  const single = optionalNumber(datum, 'Value');
  const values = (datum.Values ?? (single === undefined ? [] : [single])) as number[];
  if (values.length === 0) {
    throw new AwsError('MissingRequiredParameterException', 'At least one of the parameters must be specified: Value, Values, StatisticValues.');
  }
  const counts = (datum.Counts ?? values.map(() => 1)) as number[];
  return {
    count: counts.reduce((sum, count) => sum + count, 0),
    sum: values.reduce((sum, value, index) => sum + value * (counts[index] ?? 1), 0),
    min: Math.min(...values),
    max: Math.max(...values),
  };
}
