import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withServiceAddresses } from './addresses.ts';

test('names of Services lead to where they are here; other hosts stay', () => {
  const given = { A: 'http://api-write:3000/orders', B: 'http://api-write.shop.svc.cluster.local:3000', C: 'http://api-write:9/x', D: 'https://example.com:3000' };
  assert.deepEqual(withServiceAddresses(given, [{ name: 'api-write', ports: new Map([[3000, 44100]]) }]), {
    A: 'http://127.0.0.1:44100/orders',
    B: 'http://127.0.0.1:44100',
    C: 'http://api-write:9/x',
    D: 'https://example.com:3000',
    API_WRITE_SERVICE_HOST: '127.0.0.1',
    API_WRITE_SERVICE_PORT: '44100',
  });
});
