import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import {
  CancelReplayCommand,
  CreateArchiveCommand,
  CreateEventBusCommand,
  DeleteRuleCommand,
  DescribeArchiveCommand,
  DescribeEventBusCommand,
  DescribeReplayCommand,
  DescribeRuleCommand,
  DisableRuleCommand,
  EnableRuleCommand,
  EventBridgeClient,
  ListArchivesCommand,
  ListEventBusesCommand,
  ListReplaysCommand,
  ListRulesCommand,
  ListTargetsByRuleCommand,
  PutEventsCommand,
  PutRuleCommand,
  PutTargetsCommand,
  RemoveTargetsCommand,
  StartReplayCommand,
  TagResourceCommand,
  TestEventPatternCommand,
} from '@aws-sdk/client-eventbridge';
import type { PutEventsRequestEntry } from '@aws-sdk/client-eventbridge';
import fc from 'fast-check';
import { EventBridge } from './event-bridge.ts';
import type { BusEvent, DeliverOptions, DeliveryObservation, EventBridgeOptions, EventObservation, Target } from './types.ts';

const QUEUE = 'arn:aws:sqs:us-east-1:000000000000:orders';
const OTHER_QUEUE = 'arn:aws:sqs:us-east-1:000000000000:other';
const DEAD = 'arn:aws:sqs:us-east-1:000000000000:dead';

interface Message extends DeliverOptions {
  readonly arn: string;
  readonly body: string;
}

const scratch = mkdtempSync(join(tmpdir(), 'event-bridge-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let messages: Message[];
let logged: string[];
/** Set to make a target fail. */
let refuse: (arn: string, attempt: number) => Error | undefined;
let attempts: Map<string, number>;
let bus: EventBridge;
let client: EventBridgeClient;
let url: string;

const open = async (options: Partial<EventBridgeOptions> = {}) => {
  bus = new EventBridge({
    deliver: async (arn, body, how) => {
      const attempt = (attempts.get(arn) ?? 0) + 1;
      attempts.set(arn, attempt);
      const error = refuse(arn, attempt);
      if (error !== undefined) throw error;
      messages.push({ arn, body, ...how });
    },
    log: (level, message) => logged.push(`${level} ${message}`),
    backoff: { baseMs: 1, maxMs: 5 },
    ...options,
  });
  ({ url } = await bus.start());
  client = new EventBridgeClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
};

beforeEach(async () => {
  messages = [];
  logged = [];
  attempts = new Map();
  refuse = () => undefined;
  await open();
});
afterEach(async () => {
  client.destroy();
  await bus.stop();
});

const eventually = async (what: string, holds: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`not within 20 s: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
};

const entry = (detail: object | string = {}, more: Partial<PutEventsRequestEntry> = {}): PutEventsRequestEntry => ({
  Source: 'com.example.orders',
  DetailType: 'OrderCreated',
  Detail: typeof detail === 'string' ? detail : JSON.stringify(detail),
  EventBusName: 'orders',
  ...more,
});
const put = (...entries: PutEventsRequestEntry[]) => client.send(new PutEventsCommand({ Entries: entries }));
const bodies = (arn = QUEUE) => messages.filter(message => message.arn === arn).map(({ body }) => JSON.parse(body) as BusEvent);

const subscribe = async (target: Partial<Target> = {}, pattern: object = { source: ['com.example.orders'] }) => {
  if (!bus.listBuses().some(({ Name }) => Name === 'orders')) await client.send(new CreateEventBusCommand({ Name: 'orders' }));
  await client.send(new PutRuleCommand({ Name: 'orders-rule', EventBusName: 'orders', EventPattern: JSON.stringify(pattern) }));
  const answer = await client.send(
    new PutTargetsCommand({ Rule: 'orders-rule', EventBusName: 'orders', Targets: [{ Id: 'queue', Arn: QUEUE, ...target } as never] }),
  );
  assert.equal(answer.FailedEntryCount, 0);
};

describe('PutEvents', () => {
  it('delivers the event envelope to the targets of matching rules before it answers', async () => {
    await subscribe({}, { 'detail-type': ['OrderCreated'], 'detail': { total: [{ numeric: ['>', 10] }] } });
    const time = new Date('2026-11-21T10:00:00.700Z');
    const answer = await put(entry({ orderId: 'a', total: 11 }, { Time: time, Resources: ['order/a'] }), entry({ orderId: 'b', total: 9 }));
    assert.equal(answer.FailedEntryCount, 0);
    assert.equal(messages.length, 1);
    const [id] = answer.Entries!.map(({ EventId }) => EventId);
    assert.deepEqual(bodies(), [
      {
        'version': '0',
        id,
        'detail-type': 'OrderCreated',
        'source': 'com.example.orders',
        'account': '000000000000',
        'time': '2026-11-21T10:00:00Z',
        'region': 'us-east-1',
        'resources': ['order/a'],
        'detail': { orderId: 'a', total: 11 },
      },
    ]);
  });

  it('hands numbers on as they were written', async () => {
    await subscribe();
    await put(entry('{"serial":12345678901234567890,"price":10.00}'));
    assert.match(messages[0]!.body, /"detail":\{"serial":12345678901234567890,"price":10\.00\}\}$/);
  });

  it('answers per entry what is wrong with it and takes the others', async () => {
    await subscribe();
    const answer = await put(
      entry({}, { Source: undefined }),
      entry({ good: 1 }),
      entry({}, { DetailType: '' }),
      entry({}, { Detail: undefined }),
      entry('{"a":'),
      entry('[1]'),
      entry('"a"'),
      entry({}, { Source: 'aws.ec2' }),
      entry({}, { DetailType: 'x'.repeat(129) }),
    );
    assert.equal(answer.FailedEntryCount, 8);
    assert.deepEqual(
      answer.Entries!.map(({ ErrorCode }) => ErrorCode),
      [
        'InvalidArgument',
        undefined,
        'InvalidArgument',
        'InvalidArgument',
        'MalformedDetail',
        'MalformedDetail',
        'MalformedDetail',
        'NotAuthorizedForSourceException',
        'InvalidArgument',
      ],
    );
    assert.equal(answer.Entries![0]!.ErrorMessage, 'Parameter Source is not valid. Reason: Source is a required argument.');
    assert.deepEqual(
      bodies().map(({ detail }) => detail),
      [{ good: 1 }],
    );
    assert.equal(bus.counters().rejected, 8);
  });

  it('refuses more than ten entries and more than 1 MiB', async () => {
    await assert.rejects(put(...Array.from({ length: 11 }, () => entry())), {
      name: 'ValidationException',
      message: /less than or equal to 10/,
    });
    await assert.rejects(put(), { name: 'ValidationException', message: /greater than or equal to 1/ });
    const half = () => entry({ filling: 'é'.repeat(262_200) });
    assert.equal((await put(half())).FailedEntryCount, 0);
    await assert.rejects(put(half(), half()), {
      name: 'ValidationException',
      message: 'Total size of the entries in the request is over the limit.',
    });
  });

  it('accepts events for a bus that is not there, loses them and says so once', async () => {
    const answer = await put(entry({}, { EventBusName: 'nowhere' }), entry({}, { EventBusName: 'nowhere' }));
    assert.equal(answer.FailedEntryCount, 0);
    assert.ok(answer.Entries![0]!.EventId);
    assert.equal(logged.filter(line => line.startsWith('warn') && line.includes('nowhere')).length, 1);
    assert.equal(bus.counters().lostToMissingBus, 2);
  });

  it('takes a bus by its ARN and delivers in the order of the entries', async () => {
    await subscribe();
    const EventBusName = bus.bus('orders').bus.Arn;
    await put(...Array.from({ length: 10 }, (_, n) => entry({ n }, { EventBusName })));
    assert.deepEqual(
      bodies().map(({ detail }) => detail.n),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
  });
});

describe('rules and targets', () => {
  it('can be listed, described, switched off and on, and removed', async () => {
    await subscribe({ RetryPolicy: { MaximumRetryAttempts: 3 } });
    const rule = await client.send(new DescribeRuleCommand({ Name: 'orders-rule', EventBusName: 'orders' }));
    assert.equal(rule.Arn, 'arn:aws:events:us-east-1:000000000000:rule/orders/orders-rule');
    assert.deepEqual(JSON.parse(rule.EventPattern!), { source: ['com.example.orders'] });
    const listed = await client.send(new ListRulesCommand({ EventBusName: 'orders', NamePrefix: 'orders' }));
    assert.deepEqual(
      listed.Rules!.map(({ Name, State }) => [Name, State]),
      [['orders-rule', 'ENABLED']],
    );
    const targets = await client.send(new ListTargetsByRuleCommand({ Rule: 'orders-rule', EventBusName: 'orders' }));
    assert.deepEqual(targets.Targets, [{ Id: 'queue', Arn: QUEUE, RetryPolicy: { MaximumRetryAttempts: 3 } }]);
    assert.equal(
      (await client.send(new DescribeEventBusCommand({ Name: 'orders' }))).Arn,
      'arn:aws:events:us-east-1:000000000000:event-bus/orders',
    );
    assert.deepEqual(
      (await client.send(new ListEventBusesCommand({}))).EventBuses!.map(({ Name }) => Name),
      ['default', 'orders'],
    );

    await client.send(new DisableRuleCommand({ Name: 'orders-rule', EventBusName: 'orders' }));
    await put(entry());
    assert.equal(messages.length, 0);
    await client.send(new EnableRuleCommand({ Name: 'orders-rule', EventBusName: 'orders' }));
    await put(entry());
    assert.equal(messages.length, 1);

    const rest = { Name: 'orders-rule', EventBusName: 'orders' };
    await assert.rejects(client.send(new DeleteRuleCommand(rest)), { name: 'ValidationException', message: /has targets/ });
    const removed = await client.send(new RemoveTargetsCommand({ Rule: 'orders-rule', EventBusName: 'orders', Ids: ['queue', 'none'] }));
    assert.deepEqual(
      removed.FailedEntries!.map(({ TargetId }) => TargetId),
      ['none'],
    );
    await client.send(new DeleteRuleCommand(rest));
    await assert.rejects(client.send(new DescribeRuleCommand(rest)), {
      name: 'ResourceNotFoundException',
      message: 'Rule orders-rule does not exist on EventBus orders.',
    });
  });

  it('can change while events flow', async () => {
    await subscribe({}, { detail: { a: [1] } });
    await put(entry({ a: 1, b: 2 }));
    await subscribe({}, { detail: { b: [2] } });
    await put(entry({ a: 1, b: 2 }), entry({ a: 1 }));
    assert.deepEqual(
      bodies().map(({ detail }) => detail),
      [
        { a: 1, b: 2 },
        { a: 1, b: 2 },
      ],
    );
  });

  it('pages listings', async () => {
    for (let i = 0; i < 5; i++) bus.putRule({ Name: `rule-${i}`, EventPattern: { source: ['a'] } });
    const first = await client.send(new ListRulesCommand({ Limit: 3 }));
    const second = await client.send(new ListRulesCommand({ Limit: 3, NextToken: first.NextToken }));
    assert.deepEqual([first.Rules!.length, second.Rules!.length, second.NextToken], [3, 2, undefined]);
  });

  it('refuses what AWS refuses, by name', async () => {
    await subscribe();
    const rule = (more: object) => client.send(new PutRuleCommand({ Name: 'bad', EventBusName: 'orders', ...more }));
    await assert.rejects(rule({ EventPattern: '{"detail":{"a":[{"starts":"x"}]}}' }), {
      name: 'InvalidEventPatternException',
      message: /Unrecognized match type starts \(field: detail\.a\)/,
    });
    await assert.rejects(rule({}), { name: 'ValidationException', message: /EventPattern or ScheduleExpression/ });
    await assert.rejects(rule({ EventPattern: '{"a":["b"]}', EventBusName: 'none' }), {
      name: 'ResourceNotFoundException',
      message: 'Event bus none does not exist.',
    });
    const target = (more: object) =>
      client.send(new PutTargetsCommand({ Rule: 'orders-rule', EventBusName: 'orders', Targets: [{ Id: 'bad', Arn: QUEUE, ...more }] }));
    const refused: [object, RegExp][] = [
      [{ Arn: 'orders' }, /not in correct format/],
      [{ Arn: `${QUEUE}.fifo` }, /SqsParameters must be specified for target: bad/],
      [{ DeadLetterConfig: { Arn: `${DEAD}.fifo` } }, /DeadLetterConfig\.Arn of target bad/],
      [{ RetryPolicy: { MaximumRetryAttempts: 186 } }, /MaximumRetryAttempts of target bad must be a whole number from 0 to 185/],
      [{ RetryPolicy: { MaximumEventAgeInSeconds: 59 } }, /from 60 to 86400/],
      [{ Input: '{}', InputPath: '$.detail' }, /Only one of Input, InputPath, or InputTransformer must be provided for target bad/],
      [{ InputTransformer: { InputTemplate: '"<nothing>"' } }, /contains invalid placeholder nothing/],
      [{ InputPath: 'detail' }, /InputPath for target bad is not a valid JSON path/],
    ];
    for (const [more, message] of refused) await assert.rejects(target(more), { name: 'ValidationException', message });
    const six = Array.from({ length: 6 }, (_, i) => ({ Id: `t${i}`, Arn: QUEUE }));
    await assert.rejects(client.send(new PutTargetsCommand({ Rule: 'orders-rule', EventBusName: 'orders', Targets: six })), {
      name: 'LimitExceededException',
    });
  });

  it('forwards to another bus, but not to a third', async () => {
    await subscribe({ Arn: 'arn:aws:events:us-east-1:000000000000:event-bus/second', DeadLetterConfig: { Arn: DEAD } });
    for (const [from, to] of [
      ['second', 'third'],
      ['third', 'orders'],
    ] as const) {
      bus.createBus(from);
      bus.putRule({ Name: 'on', EventBusName: from, EventPattern: { source: [{ exists: true }] } });
      const Arn = `arn:aws:events:us-east-1:000000000000:event-bus/${to}`;
      bus.putTargets('on', from, [
        { Id: 'bus', Arn, DeadLetterConfig: { Arn: DEAD } },
        { Id: 'queue', Arn: QUEUE },
      ]);
    }
    await put(entry({ a: 1 }));
    assert.deepEqual(
      bodies(QUEUE).map(({ detail }) => detail),
      [{ a: 1 }],
    );
    assert.deepEqual(
      messages.filter(({ arn }) => arn === DEAD).map(({ messageAttributes }) => messageAttributes!.ERROR_CODE),
      ['THIRD_ACCOUNT_HOP_DETECTED'],
    );
  });
});

describe('failed deliveries', () => {
  const failing = (code?: string) => Object.assign(new Error('the queue says no'), code === undefined ? {} : { code });

  it('are made again until they succeed, and PutEvents does not wait for that', async () => {
    let broken = true;
    refuse = () => (broken ? failing() : undefined);
    await subscribe();
    assert.equal((await put(entry({ a: 1 }))).FailedEntryCount, 0);
    assert.equal(bus.counters().pending, 1);
    broken = false;
    await eventually('delivered', () => messages.length === 1);
    await eventually('counted', () => bus.counters().delivered === 1);
    const { matched, delivered, pending, deadLettered, dropped, retried } = bus.counters();
    assert.deepEqual(
      { matched, delivered, pending, deadLettered, dropped },
      { matched: 1, delivered: 1, pending: 0, deadLettered: 0, dropped: 0 },
    );
    assert.ok(retried >= 1);
  });

  it('go to the dead-letter queue after the last attempt, with the event as published and the reason', async () => {
    refuse = arn => (arn === QUEUE ? failing('INTERNAL_ERROR') : undefined);
    const seen: DeliveryObservation[] = [];
    bus.observe({ onDelivery: observation => seen.push(observation) });
    await subscribe({ InputPath: '$.detail', RetryPolicy: { MaximumRetryAttempts: 2 }, DeadLetterConfig: { Arn: DEAD } });
    await put(entry({ orderId: 'a' }));
    await eventually('dead-lettered', () => messages.length === 1);
    const [letter] = messages;
    assert.equal(letter!.arn, DEAD);
    assert.deepEqual((JSON.parse(letter!.body) as BusEvent).detail, { orderId: 'a' });
    assert.equal((JSON.parse(letter!.body) as BusEvent)['detail-type'], 'OrderCreated');
    assert.deepEqual(letter!.messageAttributes, {
      RULE_ARN: 'arn:aws:events:us-east-1:000000000000:rule/orders/orders-rule',
      TARGET_ARN: QUEUE,
      ERROR_CODE: 'INTERNAL_ERROR',
      ERROR_MESSAGE: 'the queue says no',
      EXHAUSTED_RETRY_CONDITION: 'MaximumRetryAttempts',
      RETRY_ATTEMPTS: '2',
    });
    assert.equal(attempts.get(QUEUE), 3);
    await eventually('told', () => seen.length === 3);
    assert.deepEqual(
      seen.map(({ outcome, attempts: count, errorCode }) => [outcome, count, errorCode]),
      [
        ['retrying', 1, 'INTERNAL_ERROR'],
        ['retrying', 2, 'INTERNAL_ERROR'],
        ['dead-lettered', 3, 'INTERNAL_ERROR'],
      ],
    );
    assert.equal(bus.counters().deadLettered, 1);
  });

  it('are given up at the age limit', async () => {
    let now = Date.now();
    await bus.stop();
    await open({ clock: () => now });
    refuse = arn => (arn === QUEUE ? failing() : undefined);
    await subscribe({ RetryPolicy: { MaximumEventAgeInSeconds: 60 }, DeadLetterConfig: { Arn: DEAD } });
    await put(entry());
    await eventually('some attempts', () => attempts.get(QUEUE)! >= 3);
    assert.equal(messages.length, 0);
    now += 60_000;
    await eventually('dead-lettered', () => messages.length === 1);
    assert.equal(messages[0]!.messageAttributes!.EXHAUSTED_RETRY_CONDITION, 'MaximumEventAgeInSeconds');
    assert.equal(messages[0]!.messageAttributes!.ERROR_CODE, 'SDK_CLIENT_ERROR');
  });

  it('without permission or queue are not tried again', async () => {
    await subscribe({ DeadLetterConfig: { Arn: DEAD } });
    for (const [error, code] of [
      [failing('NO_PERMISSIONS'), 'NO_PERMISSIONS'],
      [Object.assign(failing(), { name: 'QueueDoesNotExist' }), 'NO_RESOURCE'],
    ] as const) {
      messages = [];
      attempts.clear();
      refuse = arn => (arn === QUEUE ? error : undefined);
      await put(entry());
      assert.equal(attempts.get(QUEUE), 1);
      const { messageAttributes } = messages[0]!;
      assert.deepEqual(
        [messageAttributes!.ERROR_CODE, messageAttributes!.RETRY_ATTEMPTS, messageAttributes!.EXHAUSTED_RETRY_CONDITION],
        [code, '0', undefined],
      );
    }
  });

  it('are dropped, counted and logged without a dead-letter queue', async () => {
    refuse = () => failing('NO_PERMISSIONS');
    await subscribe();
    assert.equal((await put(entry())).FailedEntryCount, 0);
    assert.equal(bus.counters().dropped, 1);
    assert.ok(
      logged.some(
        line => line.startsWith('error') && line.includes('no dead-letter queue') && line.includes('NO_PERMISSIONS: the queue says no'),
      ),
    );
  });

  it('of the dead-letter queue itself are tried again, then dropped', async () => {
    refuse = arn => (arn === QUEUE ? failing('NO_PERMISSIONS') : attempts.get(DEAD)! < 3 ? failing() : undefined);
    await subscribe({ DeadLetterConfig: { Arn: DEAD } });
    await put(entry());
    await eventually('dead-lettered', () => messages.length === 1);
    refuse = () => failing();
    await subscribe({ DeadLetterConfig: { Arn: DEAD }, RetryPolicy: { MaximumRetryAttempts: 0 } });
    await put(entry());
    await eventually('dropped', () => bus.counters().dropped === 1);
  });

  it('count a target that never answers as failed', async () => {
    await bus.stop();
    let calls = 0;
    await open({ deliver: () => (++calls === 1 ? new Promise(() => {}) : Promise.resolve()), deliveryTimeoutMs: 20 });
    await subscribe();
    await put(entry());
    await eventually('delivered', () => bus.counters().delivered === 1);
    assert.equal(calls, 2);
  });

  it('survive the end of the process', async () => {
    const dataDir = mkdtempSync(join(scratch, 'retries-'));
    await bus.stop();
    await open({ dataDir, backoff: { baseMs: 60_000, maxMs: 60_000 } });
    refuse = arn => (arn === QUEUE ? failing() : undefined);
    await subscribe({ DeadLetterConfig: { Arn: DEAD } });
    await put(entry({ kept: 1 }), entry({ kept: 2 }));
    // Nothing is closed: what the answered request left must be on disk, as after a kill.
    const left = readFileSync(join(dataDir, 'retries.jsonl'), 'utf8').trim().split('\n');
    assert.equal(left.length, 2);
    const old = bus;
    refuse = () => undefined;
    await open({ dataDir });
    await eventually('delivered by the next process', () => messages.length === 2);
    assert.deepEqual(
      bodies()
        .map(({ detail }) => detail.kept)
        .sort(),
      [1, 2],
    );
    await eventually('counted', () => bus.counters().delivered === 2);
    await bus.stop();
    await old.stop();
    messages = [];
    await open({ dataDir });
    assert.deepEqual([bus.counters().pending, messages.length], [0, 0]);
  });

  it('survive a kill', async () => {
    const dataDir = mkdtempSync(join(scratch, 'kill-'));
    const script = `
      import { EventBridge } from ${JSON.stringify(new URL('event-bridge.ts', import.meta.url).href)};
      const bus = new EventBridge({
        deliver: async () => { throw new Error('no'); },
        dataDir: ${JSON.stringify(dataDir)},
        backoff: { baseMs: 5, maxMs: 5 },
      });
      bus.putRule({ Name: 'rule', EventPattern: { source: ['com.example.orders'] } });
      bus.putTargets('rule', 'default', [{ Id: 'queue', Arn: '${QUEUE}' }]);
      await bus.createArchive({ ArchiveName: 'all', EventSourceArn: bus.bus().bus.Arn });
      process.stdout.write((await bus.start()).url + '\\n');
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
      const other = new EventBridgeClient({
        endpoint: line,
        region: 'us-east-1',
        credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      });
      for (let n = 0; n < 20; n++) await other.send(new PutEventsCommand({ Entries: [entry({ n }, { EventBusName: 'default' })] }));
      other.destroy();
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await bus.stop();
    await open({ dataDir });
    await eventually('delivered by the next process', () => new Set(bodies().map(({ detail }) => detail.n)).size === 20);
    await bus.createArchive({ ArchiveName: 'all', EventSourceArn: bus.bus().bus.Arn });
    assert.equal(bus.archives.archive('all').eventCount, 20);
  });

  it('lose nothing, whatever fails and in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async seed => {
        messages = [];
        let state = seed;
        const random = () => {
          state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
          return state / 0x7fffffff;
        };
        refuse = arn => {
          if (random() > 0.4) return undefined;
          return arn === QUEUE && random() < 0.2 ? failing('NO_PERMISSIONS') : failing();
        };
        const before = bus.counters();
        await subscribe({ DeadLetterConfig: { Arn: DEAD }, RetryPolicy: { MaximumRetryAttempts: 3 } });
        await Promise.all(
          Array.from({ length: 5 }, (_, batch) => put(...Array.from({ length: 10 }, (__, n) => entry({ n: batch * 10 + n })))),
        );
        await eventually('all at rest', () => bus.counters().pending === 0 && messages.length === 50);
        const ended = messages.map(({ body }) => (JSON.parse(body) as BusEvent).detail.n as number).sort((a, b) => a - b);
        assert.deepEqual(
          ended,
          Array.from({ length: 50 }, (_, n) => n),
        );
        await eventually('all counted', () => {
          const { matched, delivered, deadLettered, dropped } = bus.counters();
          return matched - before.matched === 50 && delivered + deadLettered + dropped === matched && dropped === before.dropped;
        });
      }),
      { numRuns: 20 },
    );
  });

  it('refuse the entry when the delivery cannot be written down', async () => {
    const dataDir = mkdtempSync(join(scratch, 'full-'));
    await bus.stop();
    await open({ dataDir });
    refuse = () => failing();
    await subscribe();
    await bus.stop();
    const answer = await bus.putEvents([{ Source: 'com.example.orders', DetailType: 'a', Detail: '{}', EventBusName: 'orders' }]);
    assert.equal(answer.Entries[0]!.ErrorCode, 'InternalFailure');
    assert.equal(bus.counters().matched, 0);
    await open();
  });
});

describe('input of a target', () => {
  const render = async (
    target: Partial<Target>,
    detail: object | string = { orderId: 'a-1', items: [{ sku: 's1' }, { sku: 's2' }], note: 'say "hi"', n: 5 },
  ) => {
    await subscribe(target);
    await put(entry(detail, { Time: new Date('2026-11-21T10:00:00Z') }));
    return messages.pop()!.body;
  };
  const transform = (InputTemplate: string, InputPathsMap: Record<string, string> = {}, detail?: object | string) =>
    render({ InputTransformer: { InputTemplate, InputPathsMap } }, detail);

  it('can be a constant or a part of the event', async () => {
    assert.equal(await render({ Input: '{"constant": true}' }), '{"constant": true}');
    assert.equal(await render({ InputPath: '$.detail' }, '{"a":1,"big":12345678901234567890}'), '{"a":1,"big":12345678901234567890}');
    assert.equal(await render({ InputPath: '$.detail.orderId' }), '"a-1"');
    assert.equal(await render({ InputPath: '$.detail.items[1].sku' }), '"s2"');
    assert.equal(await render({ InputPath: '$.detail.items[*].sku' }), '["s1","s2"]');
    assert.equal(await render({ InputPath: '$.detail.none' }), 'null');
  });

  it('fills a JSON template: quotes only where there are none, and minifies', async () => {
    const paths = { id: '$.detail.orderId', items: '$.detail.items', n: '$.detail.n', none: '$.detail.none' };
    assert.equal(
      await transform(
        '{\n  "id": <id>, "text": "order <id> of <n>",\n "items": <items>, "n": <n>, "none": <none>, "empty": "<none>" }',
        paths,
      ),
      '{"id":"a-1","text":"order a-1 of 5","items":[{"sku":"s1"},{"sku":"s2"}],"n":5,"none":"","empty":""}',
    );
    assert.equal(await transform('{"text": "items <items>"}', paths), '{"text":"items [{sku:s1},{sku:s2}]"}');
    assert.equal(await transform('{"escaped": "\\"<id>\\"", "next": <id>}', paths), '{"escaped":"\\"a-1\\"","next":"a-1"}');
  });

  it('fills a string template and leaves its quotes', async () => {
    const paths = { type: '$.detail-type', none: '$.detail.none' };
    assert.equal(await transform('"Event of <type> type, <none>"', paths), '"Event of OrderCreated type, "');
    assert.equal(await transform('"{[/ <type>"', paths), '"{[/ OrderCreated"');
  });

  it('knows the predefined variables', async () => {
    assert.equal(
      await transform('"<aws.events.rule-name> <aws.events.rule-arn>"'),
      '"orders-rule arn:aws:events:us-east-1:000000000000:rule/orders/orders-rule"',
    );
    const filled = JSON.parse(
      await transform('{"event": <aws.events.event>, "json": <aws.events.event.json>, "at": <aws.events.event.ingestion-time>}'),
    ) as { event: Record<string, unknown>; json: BusEvent; at: string };
    assert.equal(filled.event.detailType, 'OrderCreated');
    assert.equal(filled.event.detail, undefined);
    assert.equal(filled.json.detail.orderId, 'a-1');
    assert.equal(filled.json['detail-type'], 'OrderCreated');
    assert.match(filled.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  it('that is no JSON any more is a failed delivery, because EventBridge escapes nothing', async () => {
    await subscribe({
      InputTransformer: { InputTemplate: '{"note": "<note>"}', InputPathsMap: { note: '$.detail.note' } },
      DeadLetterConfig: { Arn: DEAD },
    });
    await put(entry({ note: 'say "hi"' }));
    assert.deepEqual(
      messages.map(({ arn, messageAttributes }) => [arn, messageAttributes!.ERROR_CODE, messageAttributes!.RETRY_ATTEMPTS]),
      [[DEAD, 'INVALID_JSON', '0']],
    );
  });

  it('carries the message group', async () => {
    await subscribe({ Arn: `${QUEUE}.fifo`, SqsParameters: { MessageGroupId: 'group' } });
    await put(entry());
    assert.equal(messages[0]!.messageGroupId, 'group');
  });
});

describe('archive and replay', () => {
  const archiveArn = 'arn:aws:events:us-east-1:000000000000:archive/all';
  const day = (n: number) => new Date(Date.UTC(2026, 0, n));
  const archive = (more: object = {}) =>
    client.send(new CreateArchiveCommand({ ArchiveName: 'all', EventSourceArn: bus.bus('orders').bus.Arn, ...more }));
  const start = (ReplayName: string, from: Date, to: Date, FilterArns?: string[]) =>
    client.send(
      new StartReplayCommand({
        ReplayName,
        EventSourceArn: archiveArn,
        EventStartTime: from,
        EventEndTime: to,
        Destination: { Arn: bus.bus('orders').bus.Arn, ...(FilterArns && { FilterArns }) },
      }),
    );
  const finished = async (ReplayName: string) => {
    let state: string | undefined;
    await eventually(`replay ${ReplayName} ends`, async () => {
      ({ State: state } = await client.send(new DescribeReplayCommand({ ReplayName })));
      return state === 'COMPLETED' || state === 'CANCELLED' || state === 'FAILED';
    });
    return state;
  };

  it('keeps what its pattern wants and puts it again, marked, within the window and only to the rules asked for', async () => {
    await subscribe();
    bus.putRule({ Name: 'second', EventBusName: 'orders', EventPattern: { source: ['com.example.orders'] } });
    bus.putTargets('second', 'orders', [{ Id: 'other', Arn: OTHER_QUEUE }]);
    await archive({ EventPattern: JSON.stringify({ detail: { keep: [true] } }) });
    for (const n of [1, 2, 3]) await put(entry({ n, keep: true }, { Time: day(n) }), entry({ n, keep: false }, { Time: day(n) }));
    const described = await client.send(new DescribeArchiveCommand({ ArchiveName: 'all' }));
    assert.equal(described.EventCount, 3);
    assert.ok(described.SizeBytes! > 300);
    assert.deepEqual(
      (await client.send(new ListArchivesCommand({}))).Archives!.map(({ ArchiveName }) => ArchiveName),
      ['all'],
    );

    const [original] = bodies().filter(({ detail }) => detail.n === 2 && detail.keep === true);
    messages = [];
    assert.equal((await start('again', day(2), day(3))).ReplayArn, 'arn:aws:events:us-east-1:000000000000:replay/again');
    assert.equal(await finished('again'), 'COMPLETED');
    assert.deepEqual(bodies(QUEUE), [{ ...original, 'replay-name': 'again' }]);
    assert.equal(bodies(OTHER_QUEUE).length, 1);
    assert.equal(
      (await client.send(new DescribeArchiveCommand({ ArchiveName: 'all' }))).EventCount,
      3,
      'what is replayed is not archived again',
    );

    messages = [];
    await start('filtered', day(1), day(4), [bus.describeRule('second', 'orders').Arn]);
    assert.equal(await finished('filtered'), 'COMPLETED');
    assert.deepEqual([bodies(QUEUE).length, bodies(OTHER_QUEUE).length], [0, 3]);
    assert.equal((await client.send(new ListReplaysCommand({ State: 'COMPLETED' }))).Replays!.length, 2);
    assert.equal(bus.counters().replayed, 4);
  });

  it('lets a rule tell replayed events apart', async () => {
    await subscribe({}, { 'source': ['com.example.orders'], 'replay-name': [{ exists: false }] });
    await archive();
    await put(entry({}, { Time: day(1) }));
    assert.equal(messages.length, 1);
    await start('ignored', day(1), day(2));
    await finished('ignored');
    assert.equal(messages.length, 1);
  });

  it('refuses replays that AWS refuses', async () => {
    await subscribe();
    await archive();
    await start('one', day(1), day(2));
    await assert.rejects(start('one', day(1), day(2)), { name: 'ResourceAlreadyExistsException' });
    await assert.rejects(start('two', day(2), day(1)), {
      name: 'ValidationException',
      message: /EventStartTime must be before EventEndTime/,
    });
    await assert.rejects(
      client.send(
        new StartReplayCommand({
          ReplayName: 'three',
          EventSourceArn: archiveArn,
          EventStartTime: day(1),
          EventEndTime: day(2),
          Destination: { Arn: bus.bus('default').bus.Arn },
        }),
      ),
      { name: 'ValidationException', message: /Cross event bus replay is not permitted/ },
    );
    await assert.rejects(start('four', day(1), day(2), ['arn:aws:events:us-east-1:000000000000:rule/orders/none']), {
      name: 'ResourceNotFoundException',
    });
    await assert.rejects(client.send(new DescribeReplayCommand({ ReplayName: 'none' })), { name: 'ResourceNotFoundException' });
    await assert.rejects(archive(), { name: 'ResourceAlreadyExistsException' });
    await finished('one');
    await assert.rejects(client.send(new CancelReplayCommand({ ReplayName: 'one' })), { name: 'IllegalStatusException' });
  });

  it('can be cancelled', async () => {
    await subscribe();
    await archive();
    for (let i = 0; i < 30; i++) await put(...Array.from({ length: 10 }, () => entry({}, { Time: day(1) })));
    messages = [];
    let release = () => {};
    const held = new Promise<void>(resolve => {
      release = resolve;
    });
    bus.observe({
      onEvent: ({ replayName }) => {
        if (replayName === 'long' && bus.archives.replay('long').state === 'RUNNING') bus.archives.replay('long').cancel();
        release();
      },
    });
    await start('long', day(1), day(2));
    await held;
    assert.equal(await finished('long'), 'CANCELLED');
    assert.ok(messages.length < 300);
  });

  it('survives restarts and a torn last line, and forgets what is too old', async () => {
    const dataDir = mkdtempSync(join(scratch, 'archive-'));
    const settings = { ArchiveName: 'all', EventSourceArn: 'arn:aws:events:us-east-1:000000000000:event-bus/orders', RetentionDays: 10 };
    let now = day(1).getTime();
    const reopen = async () => {
      await bus.stop();
      await open({ dataDir, clock: () => now });
      await subscribe();
      await bus.createArchive(settings);
    };
    await reopen();
    await put(entry({ n: 1 }));
    now = day(8).getTime();
    await reopen();
    assert.equal(bus.archives.archive('all').eventCount, 1);
    await put(entry({ n: 8 }));
    await bus.stop();
    const file = join(dataDir, 'archives', 'all.jsonl');
    const whole = readFileSync(file, 'utf8');
    appendFileSync(file, '{"time":1,"stored":1767225600000,"event":{"versi');
    await reopen();
    assert.equal(bus.archives.archive('all').eventCount, 2);
    assert.equal(readFileSync(file, 'utf8'), whole);
    await put(entry({ n: 9 }));

    messages = [];
    await start('all', day(1), day(30));
    await finished('all');
    assert.deepEqual(
      bodies().map(({ detail }) => detail.n),
      [1, 8, 9],
    );

    now = day(12).getTime();
    messages = [];
    await start('young', day(1), day(30));
    await finished('young');
    assert.deepEqual(
      bodies().map(({ detail }) => detail.n),
      [8, 9],
    );
    await reopen();
    assert.equal(bus.archives.archive('all').eventCount, 2);
    assert.ok(!readFileSync(file, 'utf8').includes('"n":1}'));
  });
});

describe('the endpoint', () => {
  const post = (headers: Record<string, string>, body: string) =>
    fetch(url, { method: 'POST', headers: { 'content-type': 'application/x-amz-json-1.1', ...headers }, body });
  const shaped = async (response: Response, status: number, type: string) => {
    assert.equal(response.status, status);
    assert.equal(response.headers.get('content-type'), 'application/x-amz-json-1.1');
    assert.ok(response.headers.get('x-amzn-requestid'));
    const { __type, message } = (await response.json()) as { __type: string; message: string };
    assert.equal(__type, type);
    return message;
  };

  it('answers errors in the shape of AWS', async () => {
    const target = { 'x-amz-target': 'AWSEvents.PutEvents' };
    await shaped(await post(target, '{"Entries":'), 400, 'SerializationException');
    await shaped(await post(target, '[]'), 400, 'SerializationException');
    await shaped(await post(target, '{"Entries":{}}'), 400, 'SerializationException');
    await shaped(await post(target, '{"Entries":[1]}'), 400, 'SerializationException');
    await shaped(await post(target, '{"Entries":[{"Detail":{}}]}'), 400, 'SerializationException');
    assert.match(await shaped(await post(target, '{}'), 400, 'ValidationException'), /Value null at 'entries'/);
    await shaped(await post({ 'x-amz-target': 'AmazonSQS.SendMessage' }, '{}'), 400, 'UnknownOperationException');
    await shaped(await post({ 'x-amz-target': 'AWSEvents.toString' }, '{}'), 400, 'UnknownOperationException');
    await shaped(await post(target, `{"Entries":"${'x'.repeat(5 * 1024 * 1024)}"}`), 413, 'RequestEntityTooLargeException');
    const unsupported = client.send(new TagResourceCommand({ ResourceARN: bus.bus().bus.Arn, Tags: [] }));
    await assert.rejects(unsupported, {
      name: 'UnknownOperationException',
      message: /EventBridge has no TagResource in the local run\. It has: PutEvents/,
    });
  });

  it('ignores fields that it does not know, as AWS does', async () => {
    await subscribe();
    const body = JSON.stringify({ Entries: [{ ...entry({ a: 1 }), Colour: 'red' }], Weather: 'fine' });
    const response = await post({ 'x-amz-target': 'AWSEvents.PutEvents' }, body);
    assert.equal(response.status, 200);
    assert.equal(messages.length, 1);
  });

  it('tests patterns', async () => {
    const event = {
      'id': '1',
      'account': '1',
      'source': 's',
      'time': '2026-11-21T00:00:00Z',
      'region': 'r',
      'resources': [],
      'detail-type': 't',
      'detail': { n: 12345678901234567890n },
    };
    const Event = JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)).replace(
      '12345678901234567000',
      '12345678901234567890',
    );
    const test = (EventPattern: string, given = Event) => client.send(new TestEventPatternCommand({ EventPattern, Event: given }));
    assert.equal((await test('{"detail":{"n":[12345678901234567890]}}')).Result, true);
    assert.equal((await test('{"detail":{"n":[12345678901234567891]}}')).Result, false);
    await assert.rejects(test('{"detail":[]}'), { name: 'InvalidEventPatternException' });
    await assert.rejects(test('{"source":["s"]}', '{"source":"s"}'), { name: 'ValidationException', message: /field id is missing/ });
  });

  it('shows events and where they went', async () => {
    const seen: EventObservation[] = [];
    await subscribe();
    const stopWatching = bus.observe({ onEvent: observation => seen.push(observation) });
    bus.observe({
      onEvent: () => {
        throw new Error('a bad observer');
      },
    });
    await put(entry({ a: 1 }), entry({}, { Source: 'other' }));
    stopWatching();
    await put(entry());
    assert.deepEqual(
      seen.map(({ event, busName, rules }) => [event.source, busName, rules]),
      [
        ['com.example.orders', 'orders', ['orders-rule']],
        ['other', 'orders', []],
      ],
    );
    assert.equal(messages.length, 2);
    assert.ok(logged.some(line => line.includes('a bad observer')));
    const [subscription] = bus.deliveries();
    assert.deepEqual(subscription, {
      busName: 'orders',
      ruleName: 'orders-rule',
      targetId: 'queue',
      targetArn: QUEUE,
      matched: 2,
      delivered: 2,
      retried: 0,
      deadLettered: 0,
      dropped: 0,
      pending: 0,
    });
    assert.deepEqual([bus.counters().published, bus.counters().unmatched], [3, 1]);
  });

  it('listens on loopback and says which port is taken', async () => {
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
    const second = new EventBridge({ deliver: async () => {} });
    const port = Number(new URL(url).port);
    await assert.rejects(second.start({ port }), { message: `EventBridge: port ${port} is taken; give another one or 0 for a free one` });
  });
});
