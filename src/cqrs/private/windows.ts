import { Token } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { invalid } from '../../private/validation';

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const DAY = 24 * 60;
const SHORTEST = 30;

/** Minutes from the begin of a day or a week. The end is after the begin, also if it is on the next day or in the next week. */
interface Window {
  readonly begin: number;
  readonly length: number;
}

/** Refuses times that RDS refuses: in another form, shorter than 30 minutes, or one that overlaps the other. A token passes. */
export function validateWindows(scope: Construct, backupWindow?: string, maintenanceWindow?: string): void {
  const backup = windowOf(scope, 'backupWindow', backupWindow, /^()(\d\d):(\d\d)-()(\d\d):(\d\d)$/, 'hh:mm-hh:mm', DAY);
  const maintenance = windowOf(
    scope, 'maintenanceWindow', maintenanceWindow, /^([a-z]{3}):(\d\d):(\d\d)-([a-z]{3}):(\d\d):(\d\d)$/i, 'ddd:hh:mm-ddd:hh:mm', 7 * DAY);
  if (backup && maintenance && overlap(backup, maintenance)) {
    throw invalid(scope, `backupWindow (${backupWindow}) and maintenanceWindow (${maintenanceWindow}) must not overlap: move one of them`);
  }
}

function windowOf(
  scope: Construct, name: string, text: string | undefined, form: RegExp, shown: string, cycle: number,
): Window | undefined {
  if (text === undefined || Token.isUnresolved(text)) { return undefined; }
  const [, ...parts] = form.exec(text) ?? [];
  const begin = minutesOf(parts.slice(0, 3));
  const end = minutesOf(parts.slice(3));
  if (begin === undefined || end === undefined) { throw invalid(scope, `${name} must have the form ${shown} in UTC, got '${text}'`); }
  const length = (end - begin + cycle) % cycle;
  if (length < SHORTEST || length > DAY) { throw invalid(scope, `${name} must be 30 minutes to 24 hours long, got '${text}'`); }
  return { begin, length };
}

function minutesOf([day, hour, minute]: string[]): number | undefined {
  const index = day ? DAYS.indexOf(day.toLowerCase()) : 0;
  const [hours, minutes] = [Number(hour), Number(minute)];
  return index >= 0 && hours < 24 && minutes < 60 ? (index * 24 + hours) * 60 + minutes : undefined;
}

/** The backup is made every day. */
function overlap(backup: Window, maintenance: Window): boolean {
  const after = (maintenance.begin - backup.begin + 7 * DAY) % DAY;
  return after < backup.length || DAY - after < maintenance.length;
}
