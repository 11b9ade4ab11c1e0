import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeleteRuleCommand, DisableRuleCommand, EnableRuleCommand, EventBridgeClient, PutRuleCommand, PutTargetsCommand, RemoveTargetsCommand } from '@aws-sdk/client-eventbridge';
import { EventBridge } from './event-bridge.ts';
import type { BusEvent } from './types.ts';
import { ManualTimers } from '../../test/manual-timers.ts';
import { atEnd } from '../../test/temporary.ts';

test('rules with a schedule fire at their times, for their own targets, as long as they are enabled', async (context) => {
  const timers = new ManualTimers('2026-01-01T00:00:00.500Z');
  const got: [target: string, event: BusEvent][] = [];
  const bus = new EventBridge({ timers, deliver: async (arn, body) => void got.push([arn.split(':').at(-1) ?? '', JSON.parse(body) as BusEvent]) });
  atEnd(context, () => bus.stop());
  const { url } = await bus.start();
  const client = new EventBridgeClient({ region: 'us-east-1', endpoint: url, credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 1 });
  atEnd(context, () => client.destroy());
  const rule = async (Name: string, more: object) => {
    await client.send(new PutRuleCommand({ Name, ...more }));
    await client.send(new PutTargetsCommand({ Rule: Name, Targets: [{ Id: 'queue', Arn: `arn:aws:sqs:us-east-1:000000000000:${Name}` }] }));
  };
  const minute = { ScheduleExpression: 'rate(1 minute)' };
  await rule('often', minute);
  await rule('hourly', { ScheduleExpression: 'cron(0 * * * ? *)' });
  await rule('listening', { EventPattern: '{"source":["aws.events"]}' });
  const fired = async (ms: number) => {
    got.length = 0;
    timers.advance(ms);
    // The deliveries have been started, and end without timers.
    await new Promise((resolve) => setImmediate(resolve));
    return got.map(([target, { time }]) => `${target} ${time.slice(11, 16)}`);
  };
  assert.deepEqual(await fired(59_000), []);
  assert.deepEqual(await fired(61_000), ['often 00:01', 'often 00:02']);
  assert.equal(got[0]?.[1]['detail-type'], 'Scheduled Event');
  await client.send(new DisableRuleCommand({ Name: 'often' }));
  assert.deepEqual(await fired(3_600_000), ['hourly 01:00']);
  await client.send(new EnableRuleCommand({ Name: 'often' }));
  assert.deepEqual(await fired(60_000), ['often 01:03']);
  await client.send(new RemoveTargetsCommand({ Rule: 'often', Ids: ['queue'] }));
  await client.send(new DeleteRuleCommand({ Name: 'often' }));
  assert.deepEqual(await fired(120_000), []);

  const put = (more: object) => client.send(new PutRuleCommand({ Name: 'bad', ...more }));
  await assert.rejects(put({ ScheduleExpression: 'rate(1 minutes)' }), {
    name: 'ValidationException', message: /^Parameter ScheduleExpression is not valid: rate\(1 minutes\) has to be/,
  });
  await assert.rejects(put({ ScheduleExpression: 'at(2026-01-01T00:00:00)' }), { name: 'ValidationException', message: /a rule has no at/ });
  bus.createBus('orders');
  await assert.rejects(put({ ...minute, EventBusName: 'orders' }), { name: 'ValidationException', message: 'ScheduleExpression is supported only on the default event bus.' });
});
