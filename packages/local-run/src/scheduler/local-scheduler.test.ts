import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as eventTargets from 'aws-cdk-lib/aws-events-targets';
import * as scheduler from 'aws-cdk-lib/aws-scheduler';
import * as targets from 'aws-cdk-lib/aws-scheduler-targets';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as subscriptions from 'aws-cdk-lib/aws-sns-subscriptions';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import { eventually } from '../../test/temporary.ts';

const MINUTE = scheduler.ScheduleExpression.rate(cdk.Duration.minutes(1));
/** In a year, so that only a call of `fire` fires it. */
const LATER = scheduler.ScheduleExpression.at(new Date(Date.now() + 365 * 86_400_000));

test('schedules and rules with schedules invoke their targets', async (context) => {
  const stackTest = functionTest(context);
  const { stack } = stackTest;
  const queue = (name: string, props: sqs.QueueProps = {}) => new sqs.Queue(stack, `${name.replace('.', '')}Q`, { queueName: name, ...props });
  const schedule = (scheduleName: string, target: scheduler.IScheduleTarget, props: Partial<scheduler.ScheduleProps> = {}) =>
    new scheduler.Schedule(stack, scheduleName, { scheduleName, schedule: LATER, target, ...props });
  const input = (value: object) => scheduler.ScheduleTargetInput.fromObject(value);

  schedule('at-once', new targets.SqsSendMessage(queue('at-once'), { input: input({ a: 1 }) }), { schedule: MINUTE });
  schedule('off', new targets.SqsSendMessage(queue('off')), { schedule: MINUTE, enabled: false });
  schedule('not-yet', new targets.SqsSendMessage(queue('not-yet')), { schedule: MINUTE, start: new Date(Date.now() + 86_400_000) });
  schedule('over', new targets.SqsSendMessage(queue('over')), { schedule: scheduler.ScheduleExpression.at(new Date('2020-01-01T00:00:00Z')) });
  const group = new scheduler.ScheduleGroup(stack, 'Group', { scheduleGroupName: 'nightly' });
  schedule('fifo', new targets.SqsSendMessage(queue('lines.fifo', { fifo: true, contentBasedDeduplication: true }), {
    messageGroupId: 'g', input: scheduler.ScheduleTargetInput.fromText(`${scheduler.ContextAttribute.scheduleArn} ${scheduler.ContextAttribute.attemptNumber}`),
  }), { scheduleGroup: group });
  const topic = new sns.Topic(stack, 'Topic');
  topic.addSubscription(new subscriptions.SqsSubscription(queue('of-topic'), { rawMessageDelivery: true }));
  schedule('topic', new targets.SnsPublish(topic));
  const bus = new events.EventBus(stack, 'Bus');
  new events.Rule(stack, 'OnBus', { eventBus: bus, eventPattern: { source: ['nightly'] }, targets: [new eventTargets.SqsQueue(queue('of-bus'))] });
  schedule('bus', new targets.EventBridgePutEvents({ eventBus: bus, source: 'nightly', detailType: 'Closed', detail: input({ day: 1 }) }));
  const handler = stackTest.function('Handler', { 'index.js': `${RECORD}exports.handler = async (event) => record(event);` });
  schedule('function', new targets.LambdaInvoke(handler));
  const sdk = queue('of-sdk');
  schedule('sdk', new targets.Universal({ service: 'sqs', action: 'sendMessage', input: input({ QueueUrl: sdk.queueUrl, MessageBody: '<aws.scheduler.scheduled-time>' }) }));
  schedule('sdk-events', new targets.Universal({
    service: 'eventbridge',
    action: 'putEvents',
    input: input({
      Entries: [{ Source: 'nightly', DetailType: 'Closed', Detail: '{"day":2}', EventBusName: bus.eventBusName }],
    }),
  }));
  schedule('other-sdk', new targets.Universal({ service: 'rds', action: 'stopDBCluster' }));
  const denied = queue('denied');
  denied.addToResourcePolicy(new cdk.aws_iam.PolicyStatement({
    effect: cdk.aws_iam.Effect.DENY, principals: [new cdk.aws_iam.AnyPrincipal()], actions: ['sqs:SendMessage'], resources: [denied.queueArn],
  }));
  schedule('denied', new targets.SqsSendMessage(denied, { deadLetterQueue: queue('dead'), input: input({ lost: true }) }));
  new scheduler.CfnSchedule(stack, 'Strange', {
    scheduleExpression: 'cron(0 9 L-3 * ? *)', flexibleTimeWindow: { mode: 'OFF' }, target: { arn: sdk.queueArn, roleArn: 'arn:aws:iam::000000000000:role/r' },
  });

  new events.Rule(stack, 'Nightly', { ruleName: 'nightly', schedule: events.Schedule.cron({ hour: '3', minute: '0' }), targets: [new eventTargets.SqsQueue(queue('of-rule'))] });
  new events.Rule(stack, 'Disabled', {
    ruleName: 'disabled',
    enabled: false,
    schedule: events.Schedule.rate(cdk.Duration.minutes(1)),
    targets: [new eventTargets.SqsQueue(queue('of-disabled'))],
  });
  new events.Rule(stack, 'StrangeRule', { schedule: events.Schedule.expression('cron(0 25 * * ? *)') });

  const { run, seen, queue: find } = await stackTest.start();
  const bodies = (name: string) => find(name).messages();
  const named = (name: string) => run.schedules.find((each) => each.name === name) ?? assert.fail(`no schedule ${name}`);

  await context.test('what cannot fire is named, with its expression', () => {
    assert.deepEqual(run.warnings.map((warning) => warning.replace(/Test\/[\w/-]+/, 'X').replace(/at\(2020[^)]*\)/, 'at(past)').replace(/at\(2[^)]*\)/, 'at(...)')).toSorted(), [
      'Rule X does not fire at cron(0 25 * * ? *): Parameter ScheduleExpression is not valid: the hours 25 is not from 0 to 23.',
      'Schedule X does not fire at at(...): its target arn:aws:scheduler:::aws-sdk:rds:stopDBCluster takes no messages in this run.',
      'Schedule X does not fire at at(past): its last time has passed.',
      'Schedule X does not fire at cron(0 9 L-3 * ? *): the day of month L is not understood here.',
    ]);
  });

  await context.test('a rate without a start date begins at once; what is off, or begins later, waits', async () => {
    await eventually(() => bodies('at-once').length > 0, 'the first time', 30_000);
    assert.deepEqual([bodies('at-once'), bodies('off'), bodies('not-yet'), bodies('over')], [['{"a":1}'], [], [], []]);
    const distance = (name: string) => Math.round(((named(name).next()?.getTime() ?? NaN) - Date.now()) / 60_000);
    assert.deepEqual([distance('at-once') <= 1, distance('not-yet') > 1430, named('off').next(), named('over').next()], [true, true, undefined, undefined]);
  });

  await context.test('queues, topics, buses, functions and calls of the SDK are targets', async () => {
    for (const name of ['fifo', 'topic', 'bus', 'function', 'sdk', 'sdk-events']) await named(name).fire();
    assert.deepEqual(bodies('lines.fifo'), ['arn:aws:scheduler:us-east-1:000000000000:schedule/nightly/fifo 1']);
    const [event] = bodies('of-topic').map((body) => JSON.parse(body) as Record<string, unknown>);
    assert.deepEqual([event?.source, event?.['detail-type'], event?.detail, event?.resources],
      ['aws.scheduler', 'Scheduled Event', '{}', ['arn:aws:scheduler:us-east-1:000000000000:schedule/default/topic']]);
    assert.deepEqual(bodies('of-bus').map((body) => (JSON.parse(body) as { detail: unknown }).detail), [{ day: 1 }, { day: 2 }]);
    assert.match(bodies('of-sdk')[0] ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const [given] = await eventually(() => seen<{ source: string }>().length > 0 && seen<{ source: string }>(), 'the function');
    assert.equal(given?.source, 'aws.scheduler');
  });

  await context.test('an invocation that fails is in the dead-letter queue', async () => {
    await named('denied').fire();
    assert.deepEqual([bodies('denied'), bodies('dead')], [[], ['{"lost":true}']]);
  });

  await context.test('a rule sends the event of AWS to its own targets', async () => {
    const rule = named('nightly');
    assert.deepEqual([rule.next()?.getUTCHours(), rule.next()?.getUTCMinutes(), named('disabled').next()], [3, 0, undefined]);
    await rule.fire();
    const [event] = bodies('of-rule').map((body) => JSON.parse(body) as Record<string, unknown>);
    const { id, time, ...rest } = event ?? {};
    assert.ok(typeof id === 'string' && Math.abs(Date.now() - Date.parse(String(time))) < 60_000);
    assert.deepEqual(rest, {
      'version': '0',
      'detail-type': 'Scheduled Event',
      'source': 'aws.events',
      'account': '000000000000',
      'region': 'us-east-1',
      'resources': ['arn:aws:events:us-east-1:000000000000:rule/nightly'],
      'detail': {},
    });
  });
});
