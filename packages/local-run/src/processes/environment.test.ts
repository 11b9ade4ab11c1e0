import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localEnvironment } from './environment.ts';
import type { ContainerPort } from './specs.ts';

const local = {
  region: 'eu-west-1',
  endpoints: { sqs: 'http://127.0.0.1:1', eventbridge: 'http://127.0.0.1:2', secretsManager: 'http://127.0.0.1:3' },
  databasePorts: new Map([['5433', 44001]]),
  readerPorts: new Map([['5433', 44002], ['44001', 44002]]),
  services: [{ name: 'api-write', ports: new Map([[3000, 44100]]) }],
};

function environmentOf(environment: Record<string, string>, declared: ContainerPort[] = [{ name: 'http', port: 8080 }]) {
  const ports = new Map(declared.map(({ port }) => [port, port + 30_000]));
  return localEnvironment({ name: 'main', command: ['node'], folder: '/', environment, ports: declared }, ports, local);
}

test('a process gets its own port, whether its template gives it one or not', () => {
  assert.equal(environmentOf({}).PORT, '38080');
  assert.equal(environmentOf({ PORT: '8080', METRICS_PORT: '9090', IMPORTANCE: '8080' }, [{ port: 8080 }, { port: 9090 }]).PORT, '38080');
  const { METRICS_PORT, IMPORTANCE } = environmentOf({ PORT: '8080', METRICS_PORT: '9090', IMPORTANCE: '8080' }, [{ port: 8080 }, { port: 9090 }]);
  assert.deepEqual([METRICS_PORT, IMPORTANCE], ['39090', '8080']);
  assert.equal(environmentOf({}, []).PORT, undefined);
});

test('the port that a template states for its database is the one that the server has here', () => {
  const environment = environmentOf({ DB_PORT: '5433', OTHER_PORT: '5434', WRITER: '127.0.0.1:5433', READER: '127.0.0.1:44002:5433', URL: 'postgres://127.0.0.1:5433/x', KEEP: '127.0.0.1:44002' });
  assert.deepEqual(['DB_PORT', 'OTHER_PORT', 'WRITER', 'READER', 'URL', 'KEEP'].map((name) => environment[name]),
    ['44001', '5434', '127.0.0.1:44001', '127.0.0.1:44002', 'postgres://127.0.0.1:44001/x', '127.0.0.1:44002']);
});

test('a port that is named after the reader is the replica\'s, whether its template states it or takes it from the cluster', () => {
  const environment = environmentOf({ DB_READER_PORT: '5433', READ_PORT: '44001', REPLICA_DB_PORT: '5433', THREAD_PORT: '5433', DB_READER_PORTS: '5433', READER_HTTP_PORT: '8080' });
  assert.deepEqual(['DB_READER_PORT', 'READ_PORT', 'REPLICA_DB_PORT', 'THREAD_PORT', 'DB_READER_PORTS', 'READER_HTTP_PORT'].map((name) => environment[name]),
    ['44002', '44002', '44002', '44001', '5433', '38080']);
});

test('names of Services lead to where they are here; other hosts stay', () => {
  const environment = environmentOf({ A: 'http://api-write:3000/orders', B: 'http://api-write.shop.svc.cluster.local:3000', C: 'http://api-write:9/x', D: 'https://example.com:3000' });
  assert.deepEqual(['A', 'B', 'C', 'D', 'API_WRITE_SERVICE_HOST', 'API_WRITE_SERVICE_PORT'].map((name) => environment[name]),
    ['http://127.0.0.1:44100/orders', 'http://127.0.0.1:44100', 'http://api-write:9/x', 'https://example.com:3000', '127.0.0.1', '44100']);
});

test('history is kept for ever, as the summary compares all of it, unless the template says how long', () => {
  const names = ['OUTBOX', 'INBOX', 'IDEMPOTENCY_KEY', 'NOTIFICATION'].map((what) => `${what}_RETENTION_HOURS`);
  assert.deepEqual(names.map((name) => environmentOf({})[name]), ['0', '0', '0', '0']);
  assert.deepEqual(names.map((name) => environmentOf({ INBOX_RETENTION_HOURS: '720' })[name]), ['0', '720', '0', '0']);
});

test('every call to AWS stays on this machine, with credentials that are nobody\'s', () => {
  const environment = environmentOf({ AWS_ACCESS_KEY_ID: 'real', AWS_REGION: 'us-west-2', HOST: '0.0.0.0' });
  assert.deepEqual(['HOST', 'AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_ENDPOINT_URL_EVENTBRIDGE', 'AWS_ENDPOINT_URL', 'AWS_EC2_METADATA_DISABLED'].map((name) => environment[name]),
    ['127.0.0.1', 'us-west-2', 'local', 'http://127.0.0.1:2', 'http://127.0.0.1:1', 'true']);
  assert.equal(environmentOf({}).AWS_REGION, 'eu-west-1');
});
