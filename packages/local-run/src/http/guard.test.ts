import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { xmlAnswer } from './query-protocol.ts';
import { serveLocally } from './server.ts';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import { EventBridge } from '../eventbridge/event-bridge.ts';
import { SecretsManager } from '../secretsmanager/endpoint.ts';
import { SqsEndpoint } from '../sqs/endpoint.ts';

const log = () => undefined;
const SIGNATURE = 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0';

interface Endpoint {
  readonly port: number;
  /** A request that it answers with 200. */
  readonly json?: { readonly target: string; readonly version: string };
  readonly query?: string;
}

const endpoints: Record<string, (context: TestContext) => Promise<Endpoint>> = {
  'SQS': async (context) => {
    const sqs = await SqsEndpoint.start({ dataDir: temporaryFolder(context), region: 'us-east-1' });
    atEnd(context, () => sqs.stop());
    return { port: Number(new URL(sqs.url).port), json: { target: 'AmazonSQS.ListQueues', version: '1.0' }, query: 'Action=ListQueues&Version=2012-11-05' };
  },
  'EventBridge': async (context) => {
    const events = new EventBridge({ deliver: async () => undefined });
    atEnd(context, () => events.stop());
    return { port: (await events.start()).port, json: { target: 'AWSEvents.ListEventBuses', version: '1.1' } };
  },
  'Secrets Manager': async (context) => {
    const secrets = new SecretsManager();
    atEnd(context, () => secrets.stop());
    return { port: (await secrets.start()).port, json: { target: 'secretsmanager.ListSecrets', version: '1.1' } };
  },
  'an endpoint of the query protocol only': async (context) => {
    const server = await serveLocally({ service: 'SNS', log, protocols: ['query'], handle: (_, id) => xmlAnswer('ListTopics', 'urn:sns', {}, id) });
    atEnd(context, () => server.close());
    return { port: server.port, query: 'Action=ListTopics' };
  },
};

interface Answer {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

/** A request as it goes over the wire: a client library would mend what is wrong with it. */
function raw(port: number, headers: Record<string, string | undefined>, body: string, method = 'POST'): Promise<Answer> {
  const all = { 'host': `127.0.0.1:${port}`, 'content-length': String(Buffer.byteLength(body)), 'connection': 'close', ...headers };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${method} / HTTP/1.1\r\n${lines.join('')}\r\n${body}`));
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('error', reject).on('close', () => {
      const [head = '', ...rest] = text.split('\r\n\r\n');
      resolve({ status: Number(head.split(' ')[1]), headers: head.toLowerCase(), body: rest.join('') });
    });
  });
}

for (const [name, start] of Object.entries(endpoints)) {
  describe(`a web page does not reach ${name}`, () => {
    const good = ({ json, query }: Endpoint): [Record<string, string>, string] => (json
      ? [{ 'content-type': `application/x-amz-json-${json.version}`, 'x-amz-target': json.target }, '{}']
      : [{ 'content-type': 'application/x-www-form-urlencoded', 'authorization': SIGNATURE }, query!]);

    test('while an SDK does, by each of the names of this machine', async (context) => {
      const endpoint = await start(context);
      const [headers, body] = good(endpoint);
      for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]']) {
        const answer = await raw(endpoint.port, { ...headers, host: `${host}:${endpoint.port}` }, body);
        assert.equal(answer.status, 200, `${host}: ${answer.body}`);
        assert.doesNotMatch(answer.headers, /access-control/);
      }
      if (endpoint.query !== undefined) {
        const form = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8', 'authorization': SIGNATURE };
        const answer = await raw(endpoint.port, form, endpoint.query);
        assert.deepEqual([answer.status, /content-type: text\/xml/.test(answer.headers)], [200, true]);
      }
    });

    const forged: [what: string, change: (endpoint: Endpoint) => [Record<string, string | undefined>, string?, string?], why: RegExp][] = [
      ['with its own name pointing to 127.0.0.1', ({ port }) => [{ host: `evil.example:${port}` }], /does not answer for the host 'evil\.example/],
      ['with a name that only begins like one of ours', ({ port }) => [{ host: `localhost.evil.example:${port}` }], /does not answer for the host/],
      ['with another port', ({ port }) => [{ host: `127.0.0.1:${port + 1}` }], /does not answer for the host/],
      ['without a port', () => [{ host: '127.0.0.1' }], /does not answer for the host/],
      ['from an origin', () => [{ origin: 'http://evil.example' }], /web page must not reach this endpoint: use an AWS SDK/],
      ['from a sandbox without an origin', () => [{ origin: 'null' }], /web page/],
      ['as a fetch of another site', () => [{ 'sec-fetch-site': 'cross-site' }], /web page/],
      ['from its own server on this machine', () => [{ 'sec-fetch-site': 'same-site' }], /web page/],
      ['as text, which needs no permission', () => [{ 'content-type': 'text/plain' }], /content type 'text\/plain'/],
      ['as JSON', () => [{ 'content-type': 'application/json' }], /content type 'application\/json'/],
      ['without a content type', () => [{ 'content-type': undefined }], /content type ''/],
      ['as a form', () => [{ 'content-type': 'application/x-www-form-urlencoded', 'authorization': undefined }], /content type|must be signed/],
      ['as a form with a password', () => [{ 'content-type': 'application/x-www-form-urlencoded', 'authorization': 'Basic YTpi' }], /content type|must be signed/],
      ['as a form with files', () => [{ 'content-type': 'multipart/form-data; boundary=x' }], /content type 'multipart/],
      ['by asking for permission', () => [{ 'origin': 'http://evil.example', 'access-control-request-method': 'POST' }, '', 'OPTIONS'], /web page/],
      ['by a link or an image', () => [{ 'content-type': undefined }, '', 'GET'], /POST requests of AWS SDKs/],
      ['by a link, with its own name', ({ port }) => [{ host: `evil.example:${port}` }, '', 'GET'], /does not answer for the host/],
    ];
    for (const [what, change, why] of forged) {
      test(what, async (context) => {
        const endpoint = await start(context);
        const [headers, body] = good(endpoint);
        const [changed, otherBody = body, method] = change(endpoint);
        const answer = await raw(endpoint.port, { ...headers, ...changed }, otherBody, method);
        assert.equal(answer.status, 403, answer.body);
        assert.match(answer.body.replaceAll('&quot;', '"'), why);
        assert.doesNotMatch(answer.headers, /access-control/);
      });
    }

    test('and from no other machine', async (context) => {
      const { port } = await start(context);
      const outside = Object.values(networkInterfaces()).flat().find((address) => address?.family === 'IPv4' && !address.internal);
      if (!outside) return context.skip('this machine has no address but 127.0.0.1');
      await assert.rejects(new Promise((resolve, reject) => connect(port, outside.address, () => resolve(undefined)).on('error', reject)), { code: 'ECONNREFUSED' });
    });
  });
}

test('a JSON request has to name its action', async (context) => {
  const { port } = await endpoints.EventBridge!(context);
  const answer = await raw(port, { 'content-type': 'application/x-amz-json-1.1' }, '{}');
  assert.deepEqual([answer.status, /has no X-Amz-Target header/.test(answer.body)], [403, true]);
});

describe('a body', () => {
  const serve = async (context: TestContext, options: { maxBodyBytes?: number; requestTimeoutMs?: number }) => {
    const server = await serveLocally({
      service: 'SNS', log, protocols: ['query', 'json'], handle: ({ body }, id) => xmlAnswer('Echo', 'urn:sns', { Length: body.length }, id), ...options,
    });
    atEnd(context, () => server.close());
    return server.port;
  };
  const form = { 'content-type': 'application/x-www-form-urlencoded', 'authorization': SIGNATURE };

  test('that is too large is refused with an answer in the format of its protocol', async (context) => {
    const port = await serve(context, { maxBodyBytes: 1000 });
    assert.equal((await raw(port, form, 'x'.repeat(1000))).status, 200);
    const answer = await raw(port, form, 'x'.repeat(1001));
    assert.equal(answer.status, 413);
    assert.match(answer.body, /<ErrorResponse.*<Code>RequestEntityTooLargeException<\/Code>/);
    assert.match(answer.body, /<Message>The request has 1001 bytes, more than the 1000 that SNS takes/);
    const json = await raw(port, { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'x' }, 'x'.repeat(1001));
    assert.deepEqual([json.status, (JSON.parse(json.body) as { __type: string }).__type], [413, 'RequestEntityTooLargeException']);
  });

  test('that never ends is cut off', async (context) => {
    const port = await serve(context, { maxBodyBytes: 1000 });
    const socket = connect(port, '127.0.0.1', () => {
      socket.write([
        'POST / HTTP/1.1', `host: 127.0.0.1:${port}`, 'content-length: 100000000', 'content-type: application/x-www-form-urlencoded',
        `authorization: ${SIGNATURE}`, '\r\n',
      ].join('\r\n'));
      socket.write('x'.repeat(100_000));
    });
    await new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve));
  });

  test('that does not come ends with 408', async (context) => {
    const port = await serve(context, { requestTimeoutMs: 200 });
    const answer = await raw(port, { ...form, 'content-length': '10' }, 'x');
    assert.equal(answer.status, 408);
  });

  test('of an endpoint that fails is answered with 500 and logged', async (context) => {
    const logged: string[] = [];
    const server = await serveLocally({
      service: 'SNS', protocols: ['query'], log: (_, message) => logged.push(message), handle: () => { throw new Error('broken'); },
    });
    atEnd(context, () => server.close());
    const answer = await raw(server.port, form, 'x');
    assert.deepEqual([answer.status, logged.length, /broken/.test(logged[0]!), /broken/.test(answer.body)], [500, 1, true, false]);
  });
});
