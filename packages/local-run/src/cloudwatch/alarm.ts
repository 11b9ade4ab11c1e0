import { keyOf } from './metrics.ts';
import type { Metrics } from './metrics.ts';
import type { Resource } from '../assembly/model.ts';

export type AlarmState = 'INSUFFICIENT_DATA' | 'OK' | 'ALARM';

/** The properties of `AWS::CloudWatch::Alarm` that are evaluated. Times are in seconds. */
export interface AlarmRule {
  readonly name: string;
  /** The key of the metric, as `keyOf` makes it. */
  readonly metric: string;
  readonly statistic: Statistic;
  readonly period: number;
  readonly evaluationPeriods: number;
  readonly datapointsToAlarm: number;
  readonly threshold: number;
  readonly comparison: keyof typeof COMPARISONS;
  readonly missing: 'breaching' | 'notBreaching' | 'ignore' | 'missing';
  readonly description: string;
}

export type Statistic = (typeof STATISTICS)[number];

const STATISTICS = ['Maximum', 'Minimum', 'Sum', 'Average', 'SampleCount'] as const;

const COMPARISONS = {
  GreaterThanThreshold: (value: number, threshold: number) => value > threshold,
  GreaterThanOrEqualToThreshold: (value: number, threshold: number) => value >= threshold,
  LessThanThreshold: (value: number, threshold: number) => value < threshold,
  LessThanOrEqualToThreshold: (value: number, threshold: number) => value <= threshold,
};

/** Namespaces of metrics that only AWS itself and its agents send. */
const OF_AWS = /^(AWS\/|(ECS\/)?ContainerInsights|CWAgent|LambdaInsights)/;

/** Reads an alarm of a template; a text is the reason why it has no meaning here. */
export function readAlarm(resource: Resource): AlarmRule | string {
  const number = (property: string) => Number(resource.get(property));
  const namespace = resource.text('Namespace');
  const metricName = resource.text('MetricName');
  if (namespace === undefined || metricName === undefined) return 'alarms on expressions';
  if (OF_AWS.test(namespace)) return 'alarms on metrics of AWS services, which send none here';
  const statistic = STATISTICS.find((each) => each === resource.text('Statistic'));
  const comparison = resource.text('ComparisonOperator') ?? '';
  if (!statistic || !isComparison(comparison)) return 'alarms on percentiles and bands';
  const dimensions = (resource.get('Dimensions') ?? []) as { Name: string; Value: string }[];
  return {
    name: resource.constructPath.replace(/\/Resource$/, ''),
    metric: keyOf(namespace, metricName, dimensions),
    statistic,
    comparison,
    period: number('Period'),
    evaluationPeriods: number('EvaluationPeriods'),
    datapointsToAlarm: number(resource.get('DatapointsToAlarm') === undefined ? 'EvaluationPeriods' : 'DatapointsToAlarm'),
    threshold: number('Threshold'),
    missing: (resource.text('TreatMissingData') ?? 'missing') as AlarmRule['missing'],
    description: resource.text('AlarmDescription') ?? '',
  };
}

function isComparison(name: string): name is AlarmRule['comparison'] {
  return name in COMPARISONS;
}

/** An alarm of this run: periods from before its beginning don't count. */
export class Alarm {
  readonly rule: AlarmRule;
  state: AlarmState = 'INSUFFICIENT_DATA';
  /** The values of the last evaluation, the newest at the end; undefined is a period without data. */
  values: readonly (number | undefined)[] = [];
  readonly #periodMs: number;
  readonly #begin: number;

  /**
   * @param secondMs the milliseconds that a second of the rule takes
   * @param now the milliseconds since 1970
   */
  constructor(rule: AlarmRule, secondMs: number, now: number) {
    this.rule = rule;
    this.#periodMs = rule.period * secondMs;
    this.#begin = Math.ceil(now / this.#periodMs);
  }

  /** Looks at the last periods that are over. Returns whether the state has changed. */
  evaluate(metrics: Metrics, now: number): boolean {
    const { evaluationPeriods, metric, statistic } = this.rule;
    const end = Math.floor(now / this.#periodMs);
    const first = Math.max(this.#begin, end - evaluationPeriods);
    this.values = Array.from({ length: Math.max(0, end - first) }, (_, index) => (
      metrics.statistic(metric, statistic, (first + index) * this.#periodMs, this.#periodMs)));
    const before = this.state;
    this.state = this.#next();
    return this.state !== before;
  }

  #next(): AlarmState {
    const { comparison, threshold, missing, datapointsToAlarm, evaluationPeriods } = this.rule;
    const isBad = (value: number | undefined) => (value === undefined ? missing === 'breaching' : COMPARISONS[comparison](value, threshold));
    if (this.values.filter(isBad).length >= datapointsToAlarm) return 'ALARM';
    if (this.values.length < evaluationPeriods) return this.state;
    const silent = this.values.every((value) => value === undefined);
    if (silent && missing === 'ignore') return this.state;
    return silent && missing === 'missing' ? 'INSUFFICIENT_DATA' : 'OK';
  }
}
