import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Alarm } from './alarm.ts';
import type { AlarmRule, AlarmState } from './alarm.ts';
import { keyOf, Metrics } from './metrics.ts';

const metric = keyOf('Shop', 'Age', [{ Name: 'Pipeline', Value: 'one' }]);

function ruleOf(more: Partial<AlarmRule> = {}): AlarmRule {
  return {
    name: 'Late',
    metric,
    statistic: 'Maximum',
    period: 60,
    evaluationPeriods: 3,
    datapointsToAlarm: 3,
    threshold: 10,
    comparison: 'GreaterThanThreshold',
    missing: 'missing',
    description: '',
    ...more,
  };
}

/** The states after each minute, whose values are given. The first minute is that after the beginning. */
function states(rule: AlarmRule, values: readonly (number | undefined)[], begin = 30_000): AlarmState[] {
  const metrics = new Metrics(86_400_000);
  const alarm = new Alarm(rule, 1000, begin);
  return values.map((value, minute) => {
    const at = (minute + 1) * 60_000;
    if (value !== undefined) metrics.add(metric, { at: at + 10_000, count: 1, sum: value, min: value, max: value });
    alarm.evaluate(metrics, at + 60_000);
    return alarm.state;
  });
}

const [NO, OK, ALARM] = ['INSUFFICIENT_DATA', 'OK', 'ALARM'] as const;
const none = undefined;

describe('an alarm', () => {
  test('goes off when enough periods in a row are bad, and is over at the first good one', () => {
    assert.deepEqual(states(ruleOf(), [11, 12, 13, 13, 9]), [NO, NO, ALARM, ALARM, OK]);
    assert.deepEqual(states(ruleOf(), [11, 10, 13]), [NO, NO, OK]);
    assert.deepEqual(states(ruleOf({ datapointsToAlarm: 2 }), [11, 1, 13, 1, 1]), [NO, NO, ALARM, OK, OK]);
    assert.deepEqual(states(ruleOf({ evaluationPeriods: 1, datapointsToAlarm: 1 }), [11, 9]), [ALARM, OK]);
  });

  test('compares as it says', () => {
    const once = { evaluationPeriods: 1, datapointsToAlarm: 1 };
    const bad = (comparison: AlarmRule['comparison']) => states(ruleOf({ ...once, comparison }), [9, 10, 11]).map((state) => state === ALARM);
    assert.deepEqual(bad('GreaterThanThreshold'), [false, false, true]);
    assert.deepEqual(bad('GreaterThanOrEqualToThreshold'), [false, true, true]);
    assert.deepEqual(bad('LessThanThreshold'), [true, false, false]);
    assert.deepEqual(bad('LessThanOrEqualToThreshold'), [true, true, false]);
  });

  test('treats missing data as it says', () => {
    const values = [none, none, none, 1, none, none, none];
    assert.deepEqual(states(ruleOf({ missing: 'breaching' }), values), [NO, NO, ALARM, OK, OK, OK, ALARM]);
    assert.deepEqual(states(ruleOf({ missing: 'notBreaching' }), values), [NO, NO, OK, OK, OK, OK, OK]);
    assert.deepEqual(states(ruleOf({ missing: 'missing' }), values), [NO, NO, NO, OK, OK, OK, NO]);
    assert.deepEqual(states(ruleOf({ missing: 'ignore' }), [11, 11, 11, none, none, none]), [NO, NO, ALARM, OK, OK, OK]);
  });

  test('does not count the time before it, not even a part of a period', () => {
    assert.deepEqual(states(ruleOf({ missing: 'breaching', evaluationPeriods: 1, datapointsToAlarm: 1 }), [none, none], 70_000), [NO, ALARM]);
  });

  test('takes the statistic of a period', () => {
    const metrics = new Metrics(86_400_000);
    for (const value of [1, 5, 3]) metrics.add(metric, { at: 1_000, count: 1, sum: value, min: value, max: value });
    metrics.add(metric, { at: 60_000, count: 9, sum: 9, min: 9, max: 9 });
    const found = (['Maximum', 'Minimum', 'Sum', 'Average', 'SampleCount'] as const).map((statistic) => metrics.statistic(metric, statistic, 0, 60_000));
    assert.deepEqual(found, [5, 1, 9, 3, 3]);
    assert.equal(metrics.statistic(keyOf('Shop', 'Age', []), 'Sum', 0, 60_000), undefined);
  });
});

test('dimensions have no order, and old values are forgotten', () => {
  const [a, b] = [{ Name: 'A', Value: '1' }, { Name: 'B', Value: '2' }];
  assert.equal(keyOf('N', 'm', [a, b]), keyOf('N', 'm', [b, a]));
  const metrics = new Metrics(1_000);
  for (const at of [0, 500, 1_400]) metrics.add('k', { at, count: 1, sum: 1, min: 1, max: 1 });
  assert.equal(metrics.statistic('k', 'SampleCount', 0, 10_000), 2);
});
