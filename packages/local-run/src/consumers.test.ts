import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetQueueAttributesCommand, SendMessageCommand, SQSClient, StartMessageMoveTaskCommand } from '@aws-sdk/client-sqs';
import { startLocal } from './run.ts';
import { synthesizeConsumers } from '../test/consumers/app.ts';
import { atEnd, eventually, temporaryFolder } from '../test/temporary.ts';

process.env.CDK_VALIDATION = 'false';

interface Seen {
  readonly queue: string;
  readonly group?: string;
  readonly message: Record<string, unknown>;
}

test('what a consumer may ask for runs as its template says', async (context) => {
  const folder = temporaryFolder(context);
  const seenFile = join(folder, 'seen.jsonl');
  const run = await startLocal({ assemblyDir: synthesizeConsumers({ outdir: join(folder, 'cdk.out'), seen: seenFile }), dataDir: join(folder, 'data') });
  atEnd(context, () => run.stop());
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
  const eventBridge = new EventBridgeClient({ region: 'us-east-1', endpoint: run.endpoints.eventbridge, credentials });
  const sqs = new SQSClient({ region: 'us-east-1', endpoint: run.endpoints.sqs, credentials });
  atEnd(context, () => { eventBridge.destroy(); sqs.destroy(); });
  const put = async (DetailType: string, ...details: object[]) => {
    const { FailedEntryCount } = await eventBridge.send(new PutEventsCommand({
      Entries: details.map((detail) => ({ EventBusName: 'shop', Source: 'com.shop.orders', DetailType, Detail: JSON.stringify(detail) })),
    }));
    assert.equal(FailedEntryCount, 0);
  };
  const seen = (queue: RegExp): Seen[] => (existsSync(seenFile) ? readFileSync(seenFile, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Seen) : [])
    .filter((entry) => queue.test(entry.queue));
  const ids = (queue: RegExp) => seen(queue).map(({ message }) => message.id);
  const queueNamed = (name: RegExp) => run.queues.find((queue) => name.test(queue.name)) ?? assert.fail(`no queue ${name}`);
  const empty = (name: RegExp) => {
    const { visible, inFlight } = queueNamed(name).depth();
    return visible + inFlight === 0;
  };

  assert.equal(run.warnings.length, 1);
  assert.match(run.warnings[0] ?? '', /^Queue Consumers\/Refused may not use Consumers\/Reserved for its dead letters: its RedriveAllowPolicy refuses\./);

  await context.test('a dead-letter queue names the one queue that may use it, by the name that the queue has', async () => {
    for (const name of ['Large', 'Grouped']) {
      const dead = queueNamed(new RegExp(`${name}DeadLetterQueue`));
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: dead.url, AttributeNames: ['RedriveAllowPolicy'] }));
      assert.deepEqual(JSON.parse(Attributes?.RedriveAllowPolicy ?? ''), {
        redrivePermission: 'byQueue', sourceQueueArns: [queueNamed(new RegExp(`${name}Queue`)).arn],
      });
    }
  });

  await context.test('content filters and an input transformer, with the reserved variables', async () => {
    await put('Placed', { id: 'small', total: 99, country: 'DE' }, { id: 'barred', total: 500, country: 'XX' }, { id: 'large', total: 100, country: 'DE' });
    await eventually(() => ids(/LargeQueue/).length > 0 && empty(/LargeQueue/), 'the large order');
    const [{ message }] = seen(/LargeQueue/) as [Seen];
    const { rule, ruleArn, at, ...rest } = message;
    assert.deepEqual(rest, { total: 100, id: 'large', type: 'Placed', text: 'order large' });
    const made = run.rules.find(({ arn }) => arn === ruleArn);
    assert.equal(made?.name, rule);
    assert.ok(Date.now() - Date.parse(String(at)) < 60_000);
    assert.equal(seen(/LargeQueue/).length, 1);
  });

  await context.test('a part of the event and a constant, by two rules into one queue', async () => {
    await put('Detail', { id: 'part' });
    await put('Constant', { id: 'ignored' });
    await eventually(() => ids(/^plain$/).length === 2, 'both');
    assert.deepEqual(seen(/^plain$/).map(({ message }) => message).sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1)), [{ id: 'constant' }, { id: 'part' }]);
  });

  await context.test('a FIFO queue keeps the order when a message comes back, drops duplicates and what its function does not want', async () => {
    const kind = 'order';
    await put('Grouped', { id: 1, kind }, { id: 2, kind, failures: 1 }, { id: 3, kind }, { id: 3, kind });
    await put('GroupedToo', { id: 4, kind: 'noise' }, { id: 5, kind });
    await eventually(() => ids(/GroupedQueue.*\.fifo$/).includes(5), 'the last of the group');
    assert.deepEqual(seen(/GroupedQueue/).map(({ message, group }) => [message.id, group]), [1, 2, 3, 5].map((id) => [id, 'all']));
    await eventually(() => empty(/GroupedQueue/), 'the queue to be empty, of the noise too');
    assert.deepEqual(queueNamed(/GroupedDeadLetterQueue/).messages(), []);
    assert.deepEqual(queueNamed(/GroupedRuleDeadLetterQueue/).messages(), []);
  });

  await context.test('a queue that no rule fills', async () => {
    await sqs.send(new SendMessageCommand({ QueueUrl: queueNamed(/^direct$/).url, MessageBody: JSON.stringify({ id: 'direct' }), MessageGroupId: 'tenant' }));
    await eventually(() => ids(/^direct$/).length === 1, 'the message');
    assert.equal(seen(/^direct$/)[0]?.group, 'tenant');
  });

  await context.test('dead letters go back to their queue, or elsewhere, and are tried anew there', async () => {
    const { url } = queueNamed(/LargeQueue/);
    const dead = queueNamed(/LargeDeadLetterQueue/);
    await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: JSON.stringify({ id: 'again', failures: 1 }) }));
    // maxReceiveCount is 1, so what fails once is a dead letter.
    await eventually(() => dead.depth().visible === 1, 'the dead letter');
    // Its count starts at one again, so it fails once more.
    await sqs.send(new StartMessageMoveTaskCommand({ SourceArn: dead.arn }));
    await eventually(() => dead.depth().visible === 0, 'the way back');
    await eventually(() => dead.depth().visible === 1, 'the dead letter once more');
    await sqs.send(new StartMessageMoveTaskCommand({ SourceArn: dead.arn, DestinationArn: queueNamed(/^direct$/).arn }));
    await eventually(() => dead.depth().visible === 0, 'the way elsewhere');
  });
});
