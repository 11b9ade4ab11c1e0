import type { Statistic } from './alarm.ts';

interface Point {
  readonly at: number;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

/** A metric is its namespace, its name and all of its dimensions. */
export function keyOf(namespace: string, name: string, dimensions: readonly { Name: string; Value: string }[]): string {
  return JSON.stringify([namespace, name, ...dimensions.map(({ Name, Value }) => [Name, Value]).sort()]);
}

/** The values of metrics, as long as an alarm can ask for them. */
export class Metrics {
  readonly #points = new Map<string, Point[]>();
  readonly #keepMs: number;

  /** @param keepMs the age from which values are forgotten */
  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  add(key: string, point: Point): void {
    const points = this.#points.get(key) ?? [];
    this.#points.set(key, points);
    points.push(point);
    const old = points.findIndex(({ at }) => at >= point.at - this.#keepMs);
    if (old > 0) points.splice(0, old);
  }

  /** The statistic of the values of a period; undefined if there is none. */
  statistic(key: string, statistic: Statistic, from: number, periodMs: number): number | undefined {
    const points = (this.#points.get(key) ?? []).filter(({ at }) => at >= from && at < from + periodMs);
    if (points.length === 0) return undefined;
    const total = (read: (point: Point) => number) => points.reduce((sum, point) => sum + read(point), 0);
    switch (statistic) {
      case 'Maximum': return Math.max(...points.map(({ max }) => max));
      case 'Minimum': return Math.min(...points.map(({ min }) => min));
      case 'Sum': return total(({ sum }) => sum);
      case 'SampleCount': return total(({ count }) => count);
      case 'Average': return total(({ sum }) => sum) / total(({ count }) => count);
    }
  }
}
