import { InvalidSchedule } from './invalid-schedule.ts';

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Names of values, the first of which is `min`. */
  readonly names?: readonly string[];
  /** Forms of a part that only this field has, with the same in the pattern. */
  readonly own?: (part: string, value: (text: string) => number) => string | undefined;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const ANY = '?';

const MINUTES: Field = { name: 'minutes', min: 0, max: 59 };
const HOURS: Field = { name: 'hours', min: 0, max: 23 };
const DAY_OF_MONTH: Field = { name: 'day of month', min: 1, max: 31, own: (part) => (/^(L|LW|\d+W)$/.test(part) ? part : undefined) };
const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS };
const DAY_OF_WEEK: Field = {
  name: 'day of week',
  min: 1,
  max: 7,
  names: DAYS,
  own: (part, value) => {
    // The last day of a week is Saturday.
    if (part === 'L') return '7';
    const [, last] = /^(\w+)L$/.exec(part) ?? [];
    if (last !== undefined) return `${value(last)}#L`;
    const [, nthDay, nth] = /^(\w+)#([1-5])$/.exec(part) ?? [];
    return nthDay === undefined ? undefined : `${value(nthDay)}#${nth}`;
  },
};
const YEAR: Field = { name: 'year', min: 1970, max: 2199 };

/**
 * Translates the six fields of AWS into the seven of croner, with seconds in front and days of the week from 1 (Sunday) to 7.
 *
 * @throws InvalidSchedule that names the field
 */
export function toCronPattern(content: string): string {
  const fields = content.trim().toUpperCase().split(/\s+/);
  if (fields.length !== 6) {
    throw new InvalidSchedule(`cron(${content}) has ${fields.length} fields; there are six: minutes, hours, day of month, month, day of week, year`);
  }
  const [minutes, hours, dayOfMonth, month, dayOfWeek, year] = fields as [string, string, string, string, string, string];
  if ((dayOfMonth === ANY) === (dayOfWeek === ANY)) {
    throw new InvalidSchedule(`cron(${content}) needs a ? in either the day of month or the day of week, and something else in the other`);
  }
  return [
    '0',
    translate(minutes, MINUTES),
    translate(hours, HOURS),
    day(dayOfMonth, DAY_OF_MONTH),
    translate(month, MONTH),
    day(dayOfWeek, DAY_OF_WEEK),
    translate(year, YEAR),
  ].join(' ');
}

function day(text: string, field: Field): string {
  return text === ANY ? '*' : translate(text, field);
}

function translate(text: string, field: Field): string {
  return text.split(',').map((part) => translatePart(part, field)).join(',');
}

function translatePart(part: string, field: Field): string {
  const value = (text: string) => valueOf(text, field);
  const own = field.own?.(part, value);
  if (own !== undefined) return own;
  const [, from, to, step] = /^(\*|\w+)(?:-(\w+))?(?:\/([1-9]\d*))?$/.exec(part) ?? [];
  if (from === undefined || (from === '*' && to !== undefined)) throw notUnderstood(part, field);
  const every = step === undefined ? '' : `/${step}`;
  if (from === '*') return step === undefined ? '*' : `${field.min}-${field.max}${every}`;
  const first = value(from);
  // A step without an end goes to the end of the field.
  if (to === undefined) return step === undefined ? String(first) : `${first}-${field.max}${every}`;
  const last = value(to);
  if (first <= last) return `${first}-${last}${every}`;
  // A range such as FRI-MON goes over the end of the field.
  if (step !== undefined) throw notUnderstood(part, field);
  return `${first}-${field.max},${field.min}-${last}`;
}

function valueOf(text: string, field: Field): number {
  const named = field.names?.indexOf(text) ?? -1;
  const value = named < 0 ? Number(text) : named + field.min;
  if (!/^\d+$/.test(text) && named < 0) throw notUnderstood(text, field);
  if (value < field.min || value > field.max) throw new InvalidSchedule(`the ${field.name} ${text} is not from ${field.min} to ${field.max}`);
  return value;
}

function notUnderstood(part: string, field: Field): InvalidSchedule {
  return new InvalidSchedule(`the ${field.name} ${part} is not understood here`);
}
