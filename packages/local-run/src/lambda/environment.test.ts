import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { Environment } from './environment.ts';
import { atEnd } from '../../test/temporary.ts';

test('no web page takes events of a function away', async (context) => {
  let ready = 0;
  const nothing = () => undefined;
  const environment = await Environment.open({
    functionArn: 'arn:aws:lambda:us-east-1:000000000000:function:Fn',
    timeoutSeconds: 3,
    onReady: () => { ready++; },
    onIdle: nothing,
    onInitError: nothing,
    onTimeout: nothing,
  });
  const status = (headers: Record<string, string>) => new Promise<number | undefined>((resolve, reject) => {
    const outgoing = request(`http://127.0.0.1:${environment.port}/2018-06-01/runtime/invocation/next`, { headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    atEnd(context, () => outgoing.destroy());
    outgoing.on('error', reject).end();
  });
  assert.deepEqual(await Promise.all([
    status({ origin: 'http://evil.example' }),
    // An image or a script of a page comes without an origin.
    status({ 'sec-fetch-site': 'cross-site' }),
    status({ host: 'evil.example' }),
  ]), [403, 403, 403]);
  assert.deepEqual([ready, environment.alive], [0, false]);
});
