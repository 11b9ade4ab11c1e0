import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { startLocal } from 'cdk-local-run';
import type { LocalRun } from 'cdk-local-run';
import pg from 'pg';
import type { InvariantResult } from '../invariants/invariants.ts';
import { feed } from '../load/feed.ts';
import type { FeedResult } from '../load/feed.ts';
import { httpClient } from '../load/http-client.ts';
import type { HttpClient } from '../load/http-client.ts';
import { randomOrders } from '../load/orders.ts';
import { openPipeline } from '../profiles/order-pipeline/pipeline.ts';
import type { Pipeline } from '../profiles/order-pipeline/pipeline.ts';
import { EventKeys } from '../services/shared/event-keys.ts';
import { withSignature } from '../services/shared/events/index.ts';
import { createLogger } from '../services/shared/telemetry.ts';

export interface System {
  readonly run: LocalRun;
  readonly pipeline: Pipeline;
  /** To the replica. */
  readonly reader: pg.Pool;
  /** Both as an operator. */
  readonly get: typeof get;
  readonly post: typeof post;
  /** Of the write API, as an operator. */
  client(): HttpClient;
  feed(count: number, rate: number, seed?: number): Promise<FeedResult>;
  stop(): Promise<void>;
}

/** A folder that is gone after the tests. */
export async function scratch(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'order-pipeline-e2e-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export async function startSystem(assemblyDir: string, dataDir: string): Promise<System> {
  const run = await startLocal({ assemblyDir, dataDir });
  const pipeline = await openPipeline(run, false);
  assert.ok(pipeline && run.database?.reader, 'the reference app has APIs, a database and a replica');
  const reader = new pg.Pool({ ...run.database.reader, max: 2 });
  reader.on('error', () => undefined);
  const { writeUrl, token } = pipeline;
  const authorized = (headers: Record<string, string> = {}) => ({ authorization: `Bearer ${token}`, ...headers });
  return {
    run,
    pipeline,
    reader,
    client: () => httpClient(writeUrl, { token }),
    get: (url, headers) => get(url, authorized(headers)),
    post: (url, body, headers) => post(url, body, authorized(headers)),
    async feed(count, rate, seed = 1) {
      const client = httpClient(writeUrl, { token });
      try {
        return await feed({ orders: randomOrders(count, seed), rate, client });
      } finally {
        client.close();
      }
    },
    async stop() {
      await reader.end();
      await pipeline.close();
      await run.stop();
    },
  };
}

export function assertAllTrue(results: readonly InvariantResult[]): void {
  assert.deepEqual(results.map(({ id }) => id), ['I1', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10', 'I11']);
  assert.deepEqual(results.filter(({ ok }) => !ok), []);
}

export function failedIds(results: readonly InvariantResult[]): string[] {
  return results.filter(({ ok }) => !ok).map(({ id }) => id);
}

/** Polls until the condition holds; nothing here sleeps for a fixed time. */
export async function until<T>(what: string, read: () => T | Promise<T>, holds: (value: T) => boolean, timeoutMs = 60_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what}: still not so after ${timeoutMs} ms: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// Answers are read as they come.
export async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, json: await response.json() as any };
}

export async function get(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, json: (text === '' ? {} : JSON.parse(text)) as any };
}

/** Which receive of a message failed, by the log of its consumer. */
export function failedReceives(system: System, service: string): number[] {
  const { logFiles } = system.run.workloads.find(({ name }) => name === service)!;
  return logFiles
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
    .filter((line) => line.includes('event failed'))
    .map((line) => (JSON.parse(line) as { receiveCount: number }).receiveCount)
    .sort();
}

/** Puts one event on the run's bus, as the relay would. */
export async function putEvent({ run }: System, event: { source: string; detailType: string; detail: string }): Promise<void> {
  const local = { region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  const client = new EventBridgeClient({ ...local, endpoint: run.endpoints.eventbridge });
  const { EVENT_BUS_NAME: bus, EVENT_SIGNING_SECRET_ARN: secretArn } = run.workloads.find(({ name }) => name === 'outbox-relay')!.environment;
  const secrets = new SecretsManagerClient({ ...local, endpoint: run.endpoints.secretsmanager });
  const keys = new EventKeys(secretArn!, { secrets, logger: createLogger({ service: 'test', level: 'silent' }) });
  try {
    await keys.known(AbortSignal.timeout(10_000));
    const detail = withSignature(event.detail, event.detail, keys.current!);
    const { FailedEntryCount } = await client.send(new PutEventsCommand({
      Entries: [{ EventBusName: bus, Source: event.source, DetailType: event.detailType, Detail: detail }],
    }));
    assert.equal(FailedEntryCount, 0);
  } finally {
    client.destroy();
    await keys.stop();
  }
}

/** The dead letters of a consumer. */
export function deadLettersOf({ run }: System, service: string): string[] {
  const queue = run.queues.find(({ consumer }) => consumer === service)!;
  return run.queues.find(({ deadLettersOf: sources }) => sources.includes(queue.name))!.messages();
}
