import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Counter, Registry } from 'prom-client';
import { startHealthServer } from './health.ts';
import type { HealthServer, ReadyCheck } from './health.ts';

describe('health server', () => {
  let server: HealthServer;
  let ready: ReadyCheck = () => true;
  const registry = new Registry();

  before(async () => {
    new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(3);
    server = await startHealthServer({ port: 0, host: '127.0.0.1', ready: () => ready(), registry });
  });
  after(() => server.stop());

  it('lives', async () => {
    const answer = await fetch(`${server.url}/livez`);
    assert.equal(answer.status, 200);
  });

  it('is ready as the check says, with the reason if not, and not when the check throws or hangs', async () => {
    const answer = async () => {
      const response = await fetch(`${server.url}/readyz`);
      return [response.status, await response.text()];
    };
    ready = () => true;
    assert.deepEqual(await answer(), [200, 'ready\n']);
    ready = () => 'The database is away.';
    assert.deepEqual(await answer(), [503, 'not ready: The database is away.\n']);
    ready = () => Promise.reject(new Error('a secret'));
    assert.deepEqual(await answer(), [503, 'not ready: The check failed.\n']);
    ready = () => new Promise(() => undefined);
    assert.deepEqual(await answer(), [503, 'not ready: The check takes too long.\n']);
  });

  it('shows the metrics of the registry', async () => {
    const answer = await fetch(`${server.url}/metrics?x=1`);
    assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.match(await answer.text(), /^things_total 3$/m);
  });

  it('refuses other addresses and methods', async () => {
    assert.equal((await fetch(`${server.url}/`)).status, 404);
    const posted = await fetch(`${server.url}/livez`, { method: 'POST', body: 'x' });
    assert.equal(posted.status, 405);
    assert.equal(posted.headers.get('allow'), 'GET, HEAD');
  });

  it('stops although a client keeps its connection', async () => {
    const other = await startHealthServer({ port: 0, host: '127.0.0.1', ready: () => true, registry });
    await (await fetch(`${other.url}/livez`)).text();
    await other.stop();
    await assert.rejects(fetch(`${other.url}/livez`));
  });

  it('says when the port is taken', async () => {
    await assert.rejects(startHealthServer({ port: server.port, host: '127.0.0.1', ready: () => true, registry }), { code: 'EADDRINUSE' });
  });
});
