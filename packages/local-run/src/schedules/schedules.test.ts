import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseExpression } from './expression.ts';
import { Timetable } from './timetable.ts';
import { ManualTimers } from '../../test/manual-timers.ts';
import { eventually } from '../../test/temporary.ts';

const iso = (time: number | undefined) => (time === undefined ? undefined : new Date(time).toISOString().replace('.000Z', 'Z'));

function next(expression: string, from: string, count = 3, timeZone = 'UTC'): (string | undefined)[] {
  const occurrences = parseExpression(expression, { rateFrom: Date.parse(from), timeZone });
  const times: (string | undefined)[] = [];
  let time: number | undefined = Date.parse(from);
  while (times.length < count && time !== undefined) times.push(iso(time = occurrences.after(time)));
  return times;
}

describe('cron expressions', () => {
  // The first ones are the examples of "Cron expressions" in the user guide of EventBridge. 2026 begins on a Thursday.
  const cases: [expression: string, from: string, times: (string | undefined)[]][] = [
    ['cron(15 12 * * ? *)', '2026-01-01T13:00:00Z', ['2026-01-02T12:15:00Z', '2026-01-03T12:15:00Z']],
    ['cron(0 18 ? * MON-FRI *)', '2026-01-02T17:00:00Z', ['2026-01-02T18:00:00Z', '2026-01-05T18:00:00Z', '2026-01-06T18:00:00Z']],
    ['cron(0 8 1 * ? *)', '2026-01-01T09:00:00Z', ['2026-02-01T08:00:00Z', '2026-03-01T08:00:00Z']],
    ['cron(0/10 * ? * MON-FRI *)', '2026-01-02T23:45:00Z', ['2026-01-02T23:50:00Z', '2026-01-05T00:00:00Z', '2026-01-05T00:10:00Z']],
    ['cron(0/5 8-17 ? * MON-FRI *)', '2026-01-02T17:50:00Z', ['2026-01-02T17:55:00Z', '2026-01-05T08:00:00Z']],
    ['cron(0 9 ? * 2#1 *)', '2026-01-01T00:00:00Z', ['2026-01-05T09:00:00Z', '2026-02-02T09:00:00Z', '2026-03-02T09:00:00Z']],
    ['cron(15 10 ? * 6L 2026-2027)', '2026-01-01T00:00:00Z', ['2026-01-30T10:15:00Z', '2026-02-27T10:15:00Z']],
    ['cron(0 10 * * ? *)', '2026-01-01T00:00:00Z', ['2026-01-01T10:00:00Z', '2026-01-02T10:00:00Z']],
    ['cron(0/30 20-2 ? * MON-FRI *)', '2026-01-02T23:31:00Z', ['2026-01-05T00:00:00Z', '2026-01-05T00:30:00Z']],
    ['cron(1/10 5 ? * 2 *)', '2026-01-01T00:00:00Z', ['2026-01-05T05:01:00Z', '2026-01-05T05:11:00Z']],
    ['cron(0 0 3W * ? *)', '2026-01-01T00:00:00Z', ['2026-01-02T00:00:00Z', '2026-02-03T00:00:00Z']],
    ['cron(0 0 L * ? *)', '2026-01-01T00:00:00Z', ['2026-01-31T00:00:00Z', '2026-02-28T00:00:00Z']],
    ['cron(0 0 ? * 3#2 *)', '2026-01-01T00:00:00Z', ['2026-01-13T00:00:00Z', '2026-02-10T00:00:00Z']],
    ['cron(0 0 ? * L *)', '2026-01-01T00:00:00Z', ['2026-01-03T00:00:00Z', '2026-01-10T00:00:00Z']],
    ['cron(0 0 ? * FRI-MON *)', '2026-01-01T00:00:00Z', ['2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z', '2026-01-04T00:00:00Z', '2026-01-05T00:00:00Z', '2026-01-09T00:00:00Z']],
    ['cron(0 0 1,15 jan,FEB ? *)', '2026-01-10T00:00:00Z', ['2026-01-15T00:00:00Z', '2026-02-01T00:00:00Z', '2026-02-15T00:00:00Z', '2027-01-01T00:00:00Z']],
    ['cron(0 0 29 2 ? 2026/3)', '2026-01-01T00:00:00Z', ['2032-02-29T00:00:00Z']],
    ['cron(59 23 31 12 ? 2025)', '2026-01-01T00:00:00Z', [undefined]],
    ['cron(0 0 30 2 ? *)', '2026-01-01T00:00:00Z', [undefined]],
    ['at(2026-12-24T18:00:00)', '2026-01-01T00:00:00Z', ['2026-12-24T18:00:00Z', undefined]],
  ];
  for (const [expression, from, times] of cases) test(`${expression} from ${from}`, () => assert.deepEqual(next(expression, from, times.length), times));

  test('follow the clock of a time zone: a time that does not exist is left out, and one that comes twice counts once', () => {
    const zone = 'America/New_York';
    assert.deepEqual(next('cron(0 9 * * ? *)', '2026-03-07T15:00:00Z', 2, zone), ['2026-03-08T13:00:00Z', '2026-03-09T13:00:00Z']);
    assert.deepEqual(next('cron(30 2 * * ? *)', '2026-03-07T12:00:00Z', 2, zone), ['2026-03-09T06:30:00Z', '2026-03-10T06:30:00Z']);
    assert.deepEqual(next('cron(30 1 * * ? *)', '2026-10-31T12:00:00Z', 2, zone), ['2026-11-01T05:30:00Z', '2026-11-02T06:30:00Z']);
    assert.deepEqual(next('cron(0/30 1-2 * * ? *)', '2026-11-01T05:00:00Z', 4, zone),
      ['2026-11-01T05:30:00Z', '2026-11-01T07:00:00Z', '2026-11-01T07:30:00Z', '2026-11-02T06:00:00Z']);
    assert.deepEqual(next('at(2026-07-01T09:00:00)', '2026-01-01T00:00:00Z', 1, 'Asia/Kolkata'), ['2026-07-01T03:30:00Z']);
    // This zone changes by half an hour.
    assert.deepEqual(next('cron(45 1 * * ? *)', '2026-04-04T00:00:00Z', 2, 'Australia/Lord_Howe'), ['2026-04-04T14:45:00Z', '2026-04-05T15:15:00Z']);
  });
});

test('rates are counted from their first time', () => {
  assert.deepEqual(next('rate(1 minute)', '2026-01-01T00:00:30Z', 2), ['2026-01-01T00:01:30Z', '2026-01-01T00:02:30Z']);
  assert.deepEqual(next('rate(12 hours)', '2026-01-01T00:00:00Z', 2), ['2026-01-01T12:00:00Z', '2026-01-02T00:00:00Z']);
  const anyDays = fc.integer({ min: 1, max: 1000 });
  const anyStart = fc.integer({ min: 0, max: 1e12 });
  const anyDistance = fc.integer({ min: -1e9, max: 1e9 });
  fc.assert(fc.property(anyDays, anyStart, anyDistance, (days, rateFrom, distance) => {
    const { after } = parseExpression(`rate(${days === 1 ? '1 day' : `${days} days`})`, { rateFrom });
    const time = rateFrom + distance;
    const found = after(time) ?? assert.fail();
    assert.ok(found > time && found >= rateFrom && (found - rateFrom) % (days * 86_400_000) === 0);
    assert.ok(found === rateFrom || found - days * 86_400_000 <= time);
  }));
});

test('what is no schedule, or cannot be followed, is named', () => {
  const wrong: [expression: string, reason: RegExp, timeZone?: string][] = [
    ['every day', /is none of rate/],
    ['rate(1 minutes)', /^rate\(1 minutes\) has to be/],
    ['rate(5 minute)', /has to be/],
    ['rate(0 minutes)', /has to be/],
    ['rate(5 weeks)', /has to be/],
    ['cron(0 9 * * ?)', /has 5 fields; there are six/],
    ['cron(0 9 * * * *)', /needs a \? in either/],
    ['cron(0 9 ? * ? *)', /needs a \? in either/],
    ['cron(60 9 * * ? *)', /^the minutes 60 is not from 0 to 59/],
    ['cron(0 9 L-3 * ? *)', /^the day of month L is not understood here/],
    ['cron(0 9 ? * 0 *)', /^the day of week 0 is not from 1 to 7/],
    ['cron(0 9 ? * MONDAY *)', /^the day of week MONDAY is not understood/],
    ['cron(0 9 ? * MON#6 *)', /^the day of week MON#6 is not understood/],
    ['cron(0 9 ? FOO MON *)', /^the month FOO/],
    ['cron(0 9 99W * ? *)', /not understood here/],
    ['at(2026-13-01T00:00:00)', /has to be a time/],
    ['at(tomorrow)', /has to be a time/],
    ['cron(0 9 * * ? *)', /^Mars\/Olympus is no time zone/, 'Mars/Olympus'],
  ];
  for (const [expression, reason, timeZone] of wrong) {
    assert.throws(() => parseExpression(expression, { rateFrom: 0, ...(timeZone !== undefined && { timeZone }) }), { name: 'InvalidSchedule', message: reason }, expression);
  }
});

describe('a timetable', () => {
  const made = () => {
    const timers = new ManualTimers('2026-01-01T00:00:00Z');
    const fired: string[] = [];
    const errors: string[] = [];
    const timetable = new Timetable((name, error) => errors.push(`${name} ${String(error)}`), timers);
    const add = (name: string, expression: string) =>
      timetable.set(name, parseExpression(expression, { rateFrom: (period) => timers.now() + period }), async (time) => void fired.push(`${name} ${iso(time)?.slice(8, 16)}`));
    return { timers, fired, errors, timetable, add };
  };

  test('fires at the times, and not before it starts nor after it stops', async () => {
    const { timers, fired, timetable, add } = made();
    add('rate', 'rate(20 minutes)');
    add('cron', 'cron(30 * * * ? *)');
    timers.advance(60_000);
    assert.deepEqual([fired, timers.waiting], [[], 0]);
    timetable.start();
    timers.advance(60 * 60_000);
    assert.deepEqual(fired, ['rate 01T00:20', 'cron 01T00:30', 'rate 01T00:40', 'rate 01T01:00']);
    assert.equal(iso(timetable.next('cron')), '2026-01-01T01:30:00Z');
    timetable.delete('rate');
    add('cron', 'cron(45 * * * ? *)');
    timers.advance(60 * 60_000);
    assert.deepEqual(fired.slice(4), ['cron 01T01:45']);
    await timetable.stop();
    assert.equal(timers.waiting, 0);
  });

  test('fires days ahead, once', () => {
    const { timers, fired, timetable, add } = made();
    timetable.start();
    add('once', 'at(2026-03-01T12:00:00)');
    timers.advance(100 * 86_400_000);
    assert.deepEqual([fired, timers.waiting, timetable.next('once')], [['once 01T12:00'], 0, undefined]);
  });

  test('fires once for all the times that passed while the machine slept', () => {
    const { timers, fired, timetable, add } = made();
    add('rate', 'rate(1 minute)');
    timetable.start();
    timers.sleep(10 * 60_000);
    timers.advance(60_000);
    assert.deepEqual(fired, ['rate 01T00:01', 'rate 01T00:11']);
  });

  test('goes on after an error, and waits for what it has fired', async () => {
    const { timers, errors, timetable } = made();
    let done = false;
    timetable.set('bad', parseExpression('rate(1 minute)', { rateFrom: timers.now() + 60_000 }), async () => { throw new Error('no'); });
    timetable.set('slow', parseExpression('at(2026-01-01T00:01:00)', { rateFrom: 0 }), async () => {
      await new Promise((resolve) => setImmediate(resolve));
      done = true;
    });
    timetable.start();
    timers.advance(120_000);
    await timetable.stop();
    assert.deepEqual([errors, done], [['bad Error: no', 'bad Error: no'], true]);
  });

  test('with the timers of the machine', async () => {
    const fired: number[] = [];
    const timetable = new Timetable(() => undefined);
    timetable.set('often', { after: (time) => time + 5 }, async (time) => void fired.push(time));
    timetable.start();
    await eventually(() => fired.length >= 3, 'three times');
    await timetable.stop();
    assert.ok(fired.every((time, index) => index === 0 || time > (fired[index - 1] ?? 0)));
  });
});
