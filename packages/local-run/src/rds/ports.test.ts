import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withDatabasePort } from './ports.ts';

const ports = { writers: new Map([['5433', 44001]]), readers: new Map([['5433', 44002], ['44001', 44002]]) };

function valuesOf(environment: Record<string, string>): string[] {
  return Object.entries(environment).map(([name, value]) => withDatabasePort(name, value, ports));
}

test('the port that a template states for its database is the one that the server has here', () => {
  assert.deepEqual(
    valuesOf({ DB_PORT: '5433', OTHER_PORT: '5434', WRITER: '127.0.0.1:5433', READER: '127.0.0.1:44002:5433', URL: 'postgres://127.0.0.1:5433/x', KEEP: '127.0.0.1:44002' }),
    ['44001', '5434', '127.0.0.1:44001', '127.0.0.1:44002', 'postgres://127.0.0.1:44001/x', '127.0.0.1:44002'],
  );
});

test('a port that is named after the reader is the replica\'s, whether its template states it or takes it from the cluster', () => {
  assert.deepEqual(
    valuesOf({ DB_READER_PORT: '5433', READ_PORT: '44001', REPLICA_DB_PORT: '5433', THREAD_PORT: '5433', DB_READER_PORTS: '5433' }),
    ['44002', '44002', '44002', '44001', '5433'],
  );
});
