import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CreateEventBusCommand, EventBridgeClient, PutEventsCommand, PutRuleCommand, PutTargetsCommand } from '@aws-sdk/client-eventbridge';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { EventBridge } from 'cdk-local-run/eventbridge/event-bridge';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { SqsEndpoint } from 'cdk-local-run/sqs/endpoint';
import { Registry } from 'prom-client';
import { inventoryHandler } from '../services/inventory-service/handler.ts';
import { createWriteApi } from '../services/order-service/api-write-service/api.ts';
import { orderStatusHandler } from '../services/order-service/order-status/handler.ts';
import { runRelay, type Relay } from '../services/outbox-relay/relay.ts';
import { EventKeys } from '../services/shared/event-keys.ts';
import { detailTypeOf, newEvent, newId, type EventEnvelope, type EventType } from '../services/shared/events/index.ts';
import { withoutAuthorization } from '../services/shared/http/caller.ts';
import { runConsumer } from '../services/shared/messaging/consumer.ts';
import type { Handler } from '../services/shared/messaging/handler.ts';
import { eventsRefused } from '../services/shared/messaging/metrics.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../services/shared/testing.ts';
import { createStockHandler } from '../services/stock-service/handler.ts';

// Somebody may put events on the bus: a role with too many permissions, in an account whose bus has no policy. The bus, the queues and the
// database are real, and so are the programs.

const REGION = 'eu-central-1';
const ACCOUNT = '000000000000';
const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
const SOURCE = 'com.example.orders';
const BUNDLES = { bundleBytes: 60 * 1024, lingerMs: 10 };

let server: TestServer;
let folder: string;
let queues: SqsEndpoint;
let sqs: SQSClient;
let bus: EventBridge;
let events: EventBridgeClient;
const secrets = new SecretsManager();
let secretsUrl: string;
before(async () => {
  server = await startTestServer();
  folder = await mkdtemp(join(tmpdir(), 'forged-events-'));
  queues = await SqsEndpoint.start({ dataDir: folder, region: REGION });
  sqs = new SQSClient({ endpoint: queues.url, region: REGION, credentials });
  bus = new EventBridge({
    region: REGION,
    accountId: ACCOUNT,
    log: () => undefined,
    deliver: async (arn, body, { ruleArn }) => queues.deliver(arn, body, { service: 'events.amazonaws.com', sourceArn: ruleArn, sourceAccount: ACCOUNT }),
  });
  events = new EventBridgeClient({ endpoint: (await bus.start()).url, region: REGION, credentials });
  secretsUrl = (await secrets.start()).url;
});
after(async () => {
  events.destroy();
  sqs.destroy();
  await Promise.all([bus.stop(), queues.stop(), secrets.stop()]);
  await server.stop();
  await rm(folder, { recursive: true });
});

interface Protection {
  readonly signatures: boolean;
  /** The handlers ask what an event rests on. */
  readonly foundations: boolean;
}

/** Takes the questions of the handlers out of the database. */
const UNASKED = `
  CREATE OR REPLACE FUNCTION orders.unfounded(p_order_ids uuid[], p_versions bigint[], p_event_ids uuid[], p_statuses text[], p_items text, OUT events int[], OUT causes text[])
    LANGUAGE sql AS $$ SELECT NULL::int[], NULL::text[] $$;
  CREATE OR REPLACE FUNCTION inventory.unfounded(p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_types text[]) RETURNS uuid[]
    LANGUAGE sql AS $$ SELECT '{}'::uuid[] $$;`;

/** A bus of its own, with the way of an order to its decision. */
class Pipeline {
  static async start(name: string, { signatures, foundations }: Protection): Promise<Pipeline> {
    const db = await server.database();
    await db.admin.query(`INSERT INTO inventory.product VALUES ('A', 'A');
      INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('A', 62);
      INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ('A', 'MAIN', 'RECEIPT', 62, 0)`);
    if (!foundations) await db.admin.query(UNASKED);
    const pipeline = new Pipeline(name, db, signatures);
    await events.send(new CreateEventBusCommand({ Name: name }));
    await pipeline.#consume(createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() }), ['OrderCreated']);
    await pipeline.#consume(inventoryHandler, ['StockValidated', 'OrderConfirmed', 'OrderCancelRequested']);
    await pipeline.#consume(orderStatusHandler, ['InventoryUpdated']);
    await pipeline.publish();
    return pipeline;
  }

  readonly db: TestDatabase;
  readonly busName: string;
  readonly #keys: EventKeys | undefined;
  readonly #api: ReturnType<typeof createWriteApi>;
  readonly #consumers: ReturnType<typeof runConsumer>[] = [];
  #relay: Relay | undefined;

  private constructor(busName: string, db: TestDatabase, signatures: boolean) {
    this.busName = busName;
    this.db = db;
    const registry = new Registry();
    this.#api = createWriteApi({ authentication: withoutAuthorization, pool: db.command, logger: silentLogger(), registry });
    if (!signatures) return;
    const { ARN } = secrets.put({ name: busName, secretString: newId() + newId() });
    const client = new SecretsManagerClient({ endpoint: secretsUrl, region: REGION, credentials });
    this.#keys = new EventKeys(ARN, { logger: silentLogger(), secrets: client, pauseMs: 20 });
  }

  async #consume<T extends EventType>(handler: Handler<T>, detailTypes: string[]): Promise<void> {
    const queue = `${this.busName}-${handler.name}`;
    const make = (name: string, Attributes: Record<string, string>) => sqs.send(new CreateQueueCommand({ QueueName: name, Attributes }));
    await make(`${queue}-dead`, {});
    await make(queue, { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arnOf(`${queue}-dead`), maxReceiveCount: 2 }) });
    const rules = { Effect: 'Allow', Principal: { Service: 'events.amazonaws.com' }, Action: 'sqs:SendMessage', Resource: arnOf(queue) };
    queues.addPolicy([queue], [rules]);
    const pattern = { 'source': [SOURCE], 'detail-type': detailTypes };
    await events.send(new PutRuleCommand({ Name: queue, EventBusName: this.busName, EventPattern: JSON.stringify(pattern) }));
    await events.send(new PutTargetsCommand({ Rule: queue, EventBusName: this.busName, Targets: [{ Id: 'queue', Arn: arnOf(queue) }] }));
    this.#consumers.push(runConsumer({
      handler,
      queueUrl: queues.queueUrl(queue, ACCOUNT),
      pool: this.db.command,
      sqs,
      logger: silentLogger(),
      waitTimeSeconds: 1,
      ...(this.#keys && { keys: this.#keys }),
    }));
  }

  /** Starts the relay. */
  async publish(): Promise<void> {
    await this.#keys?.known(new AbortController().signal);
    this.#relay = runRelay({
      pool: this.db.command,
      client: events,
      busName: this.busName,
      source: SOURCE,
      logger: silentLogger(),
      standbyMs: 20,
      ...BUNDLES,
      ...(this.#keys && { signingKey: () => this.#keys!.current! }),
    });
  }

  async pause(): Promise<void> {
    await this.#relay!.stop();
  }

  async order(quantity: number): Promise<string> {
    const answer = await this.#api.inject({
      method: 'POST', url: '/orders', headers: { 'content-type': 'application/json' }, payload: { customerId: 'jane', items: [{ sku: 'A', quantity }] },
    });
    assert.equal(answer.statusCode, 202);
    return answer.json<{ orderId: string }>().orderId;
  }

  async status(orderId: string): Promise<string> {
    return (await this.db.admin.query<{ status: string }>('SELECT status FROM orders.orders WHERE order_id = $1', [orderId])).rows[0]!.status;
  }

  /** Everything that an order or a piece of stock is. */
  async state(): Promise<unknown[]> {
    const tables = ['orders.orders', 'orders.status_change', 'inventory.ledger', 'inventory.stock_level', 'messaging.outbox', 'messaging.parked', 'messaging.dead_letter'];
    return Promise.all(tables.map(async (table) => (await this.db.admin.query(`SELECT to_jsonb(t) AS row FROM ${table} AS t ORDER BY 1`)).rows));
  }

  async deadLetters(consumer: string): Promise<number> {
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({
      QueueUrl: queues.queueUrl(`${this.busName}-${consumer}-dead`, ACCOUNT), AttributeNames: ['ApproximateNumberOfMessages'],
    }));
    return Number(Attributes!.ApproximateNumberOfMessages);
  }

  async atRest(): Promise<void> {
    await eventually(async () => {
      const depths = await Promise.all(['stock-service', 'inventory-service', 'order-status'].map(async (consumer) => {
        const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: queues.queueUrl(`${this.busName}-${consumer}`, ACCOUNT), AttributeNames: ['All'] }));
        return Number(Attributes!.ApproximateNumberOfMessages) + Number(Attributes!.ApproximateNumberOfMessagesNotVisible);
      }));
      return depths.reduce((sum, depth) => sum + depth, bus.counters().pending);
    }, (waiting) => waiting === 0);
  }

  async stop(): Promise<void> {
    await this.#relay!.stop();
    await Promise.all(this.#consumers.map((consumer) => consumer.stop()));
    await this.#keys?.stop();
    await this.#api.close();
  }
}

const arnOf = (queue: string) => `arn:aws:sqs:${REGION}:${ACCOUNT}:${queue}`;

/** Three events that look like those of the services, about an order that is confirmed, one that isn't, and one that waits for stock. */
function forgeries(confirmed: string, waiting: string): EventEnvelope[] {
  const at = new Date().toISOString();
  const of = (orderId: string, sequence: number, source: string) => ({ source, subject: orderId, sequence, cause: { id: newId() } });
  const nowhere = newId();
  return [
    newEvent({
      ...of(confirmed, 3, '/order-service'),
      type: 'order.cancel-requested',
      data: { orderId: confirmed, customerId: 'jane', version: 3, reason: 'forged', requestedAt: at },
    }),
    newEvent({
      ...of(nowhere, 1, '/stock-service'),
      type: 'inventory.validated',
      data: { orderId: nowhere, lines: [{ sku: 'A', requested: 50, available: 62 }], sufficient: true, asOf: at },
    }),
    newEvent({
      ...of(waiting, 1, '/inventory-service'),
      type: 'inventory.updated',
      data: {
        orderId: waiting,
        reservationId: newId(),
        outcome: 'RESERVED',
        lines: [{ sku: 'A', quantity: 10_000, deltaOnHand: 0, deltaReserved: 10_000, onHand: 10_000, reserved: 10_000 }],
        shortages: [],
      },
    }),
  ];
}

const refused = async (cause: string) => Object.fromEntries((await eventsRefused.get()).values
  .filter(({ labels }) => labels.cause === cause).map(({ labels, value }) => [labels.consumer, value]));

/** Attacks a pipeline; answers what it has changed, and how the three were refused. */
async function attack(name: string, protection: Protection, cause: string) {
  const pipeline = await Pipeline.start(name, protection);
  try {
    const confirmed = await pipeline.order(2);
    await eventually(() => pipeline.status(confirmed), (status) => status === 'CONFIRMED');
    const commits = 'SELECT FROM inventory.ledger WHERE document_id = $1 AND type = \'COMMIT\'';
    await eventually(async () => (await pipeline.db.admin.query(commits, [confirmed])).rowCount, (count) => count === 1);
    await pipeline.atRest();
    // The order for 10,000 pieces waits: nothing is published.
    await pipeline.pause();
    const waiting = await pipeline.order(10_000);
    const before = await pipeline.state();
    const entries = forgeries(confirmed, waiting).map((event) => ({
      EventBusName: name, Source: SOURCE, DetailType: detailTypeOf(event), Detail: JSON.stringify(event), Time: new Date(),
    }));
    assert.equal((await events.send(new PutEventsCommand({ Entries: entries }))).FailedEntryCount, 0);
    await pipeline.atRest();
    const after = await pipeline.state();
    const counts = await refused(cause);
    // A message can be a dead letter before its note is there.
    const refusals = Object.values(counts as Record<string, number>).reduce((sum, count) => sum + count, 0);
    const { rows: notes } = await eventually(
      () => pipeline.db.admin.query<{ consumer: string; cause: string }>('SELECT consumer, cause FROM messaging.refused ORDER BY 1, 2'),
      ({ rowCount }) => (rowCount ?? 0) >= refusals,
    );
    const dead = { inventory: await pipeline.deadLetters('inventory-service'), status: await pipeline.deadLetters('order-status') };
    const [{ rows: [stock] }, statuses] = [
      await pipeline.db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level'), await Promise.all([confirmed, waiting].map((id) => pipeline.status(id))),
    ];
    // And orders go on.
    await pipeline.publish();
    const end = protection.foundations ? await eventually(() => pipeline.status(waiting), (status) => status !== 'PENDING') : undefined;
    return { unchanged: JSON.stringify(after) === JSON.stringify(before), counts, notes, dead, stock, statuses, end };
  } finally {
    await pipeline.stop();
  }
}

const REFUSED = (cause: string) => ({
  unchanged: true,
  counts: { 'inventory-service': 2, 'order-status': 1 },
  notes: [{ consumer: 'inventory-service', cause }, { consumer: 'inventory-service', cause }, { consumer: 'order-status', cause }],
  // One sets off the alarm of a consumer (test/consumer/consumer-alarms.test.ts of the library).
  dead: { inventory: 2, status: 1 },
  stock: { on_hand: 60, reserved: 0 },
  statuses: ['CONFIRMED', 'PENDING'],
  end: 'REJECTED',
});

describe('three forged events', { concurrency: true }, () => {
  test('change nothing, and each is counted, noted and a dead letter, by their signatures', async () => {
    assert.deepEqual(await attack('signed', { signatures: true, foundations: true }, 'unsigned'), REFUSED('unsigned'));
  });

  test('are refused by the handlers without signatures, since nothing supports them', async () => {
    assert.deepEqual(await attack('unsigned', { signatures: false, foundations: true }, 'unfounded'), REFUSED('unfounded'));
  });

  test('give stock back, take it for nobody and sell what is not there, without both', async () => {
    assert.deepEqual(await attack('open', { signatures: false, foundations: false }, 'wrong-signature'), {
      unchanged: false,
      counts: {},
      notes: [],
      dead: { inventory: 0, status: 0 },
      stock: { on_hand: 62, reserved: 50 },
      statuses: ['CONFIRMED', 'CONFIRMED'],
      end: undefined,
    });
  });
});
