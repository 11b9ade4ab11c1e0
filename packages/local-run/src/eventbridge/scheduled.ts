import { randomUUID } from 'node:crypto';
import { validation } from './errors.ts';
import type { BusEvent, Rule } from './types.ts';
import { parseExpression } from '../schedules/expression.ts';
import type { Occurrences } from '../schedules/expression.ts';
import { InvalidSchedule } from '../schedules/invalid-schedule.ts';

/** The times of a rule with a schedule. A rate is counted from now. */
export function occurrencesOf(expression: string, busName: string, now: number): Occurrences {
  if (busName !== 'default') throw validation('ScheduleExpression is supported only on the default event bus.');
  if (expression.trim().startsWith('at(')) throw validation(`Parameter ScheduleExpression is not valid: a rule has no ${expression}; use a schedule of EventBridge Scheduler.`);
  try {
    return parseExpression(expression, { rateFrom: (periodMs) => now + periodMs });
  } catch (error) {
    if (!(error instanceof InvalidSchedule)) throw error;
    throw validation(`Parameter ScheduleExpression is not valid: ${error.message}.`);
  }
}

/** The event that the targets of a rule get when its time has come. */
export function scheduledEvent(
  { Arn }: Rule, { account, region, time }: { readonly account: string; readonly region: string; readonly time: string },
): BusEvent {
  return {
    'version': '0',
    'id': randomUUID(),
    'detail-type': 'Scheduled Event',
    'source': 'aws.events',
    account,
    time,
    region,
    'resources': [Arn],
    'detail': {},
  };
}
