import { Cron } from 'croner';
import { toCronPattern } from './cron-pattern.ts';
import { InvalidSchedule } from './invalid-schedule.ts';

/** The times of a schedule, in milliseconds since 1970. */
export interface Occurrences {
  /** The first time after this one; undefined when there is none. */
  after(time: number): number | undefined;
}

export interface ExpressionOptions {
  /** The first time of a rate. */
  readonly rateFrom: number | ((periodMs: number) => number);
  /** A name such as `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string;
}

const UNIT_MS: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };
/** More than any change of clocks. */
const THREE_HOURS = 3 * 3_600_000;

/**
 * Reads `rate(5 minutes)`, `cron(0 9 ? * MON-FRI *)` or `at(2026-12-24T18:00:00)`.
 *
 * @throws InvalidSchedule that says which part is wrong
 */
export function parseExpression(expression: string, { rateFrom, timeZone = 'UTC' }: ExpressionOptions): Occurrences {
  const [, kind, content = ''] = /^(rate|cron|at)\((.*)\)$/s.exec(expression.trim()) ?? [];
  if (kind === 'rate') {
    const periodMs = periodOf(content);
    return rate(typeof rateFrom === 'number' ? rateFrom : rateFrom(periodMs), periodMs);
  }
  if (kind === undefined) throw new InvalidSchedule(`${expression} is none of rate(...), cron(...) and at(...)`);
  checkTimeZone(timeZone);
  return kind === 'cron' ? cron(toCronPattern(content), timeZone) : at(content.trim(), timeZone);
}

function periodOf(content: string): number {
  const [, value = '', unit = '', plural] = /^\s*([1-9]\d*)\s+(minute|hour|day)(s?)\s*$/.exec(content) ?? [];
  if (unit === '' || (value === '1') === (plural === 's')) {
    throw new InvalidSchedule(`rate(${content}) has to be a number from 1 and a unit, such as rate(1 minute), rate(5 minutes), rate(2 hours), rate(7 days)`);
  }
  return Number(value) * UNIT_MS[unit]!;
}

function rate(from: number, periodMs: number): Occurrences {
  return { after: (time) => (time < from ? from : from + (Math.floor((time - from) / periodMs) + 1) * periodMs) };
}

function at(content: string, timeZone: string): Occurrences {
  const once = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(content) ? moment(content, timeZone) : undefined;
  if (once === undefined) throw new InvalidSchedule(`at(${content}) has to be a time such as at(2026-12-24T18:00:00)`);
  return { after: (time) => (time < once ? once : undefined) };
}

function moment(local: string, timeZone: string): number | undefined {
  try {
    return new Cron(local, { timezone: timeZone, paused: true }).getOnce()?.getTime();
  } catch {
    return undefined;
  }
}

/**
 * The times of a cron expression. When clocks go forward, a time that does not exist is left out, and when they go back, a time that comes
 * twice counts once, as the documentation of EventBridge Scheduler says it.
 */
function cron(pattern: string, timeZone: string): Occurrences {
  const job = (() => {
    try {
      return new Cron(pattern, { timezone: timeZone, mode: '7-part', alternativeWeekdays: true, paused: true });
    } catch (error) {
      throw new InvalidSchedule(`the cron expression is not understood here (${(error as Error).message})`);
    }
  })();
  const offset = offsets(timeZone);
  const isRepeated = (time: number) => {
    const back = offset(time - THREE_HOURS) - offset(time);
    return back > 0 && offset(time - back) === offset(time) + back;
  };
  return {
    after: (time) => {
      let next = job.nextRun(new Date(time));
      while (next && (!job.match(next) || isRepeated(next.getTime()))) next = job.nextRun(next);
      return next?.getTime();
    },
  };
}

/** The distance of a time zone from UTC at a time, in milliseconds. */
function offsets(timeZone: string): (time: number) => number {
  if (timeZone === 'UTC') return () => 0;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
  });
  return (time) => {
    const numbers = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const parts = numbers as Record<'year' | 'month' | 'day' | 'hour' | 'minute' | 'second', number>;
    return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second) - Math.floor(time / 1000) * 1000;
  };
}

function checkTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone });
  } catch {
    throw new InvalidSchedule(`${timeZone} is no time zone that is known here`);
  }
}
