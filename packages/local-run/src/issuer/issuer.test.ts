import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { serveIssuer } from './endpoint.ts';
import { LocalIssuer } from './local-issuer.ts';
import { TokenIssuer } from './token-issuer.ts';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import type { RunContext } from '../service.ts';

const ISSUER = 'https://login.example.com/';
const AUDIENCE = 'orders';

async function start(context: TestContext, issuer: TokenIssuer) {
  const server = await serveIssuer(issuer, { log: () => undefined });
  atEnd(context, () => server.close());
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(server.url + path, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } });
  const verify = (token: string) => jwtVerify(token, createRemoteJWKSet(new URL(`${server.url}/jwks.json`)), { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt' });
  return { ...server, post, verify };
}

function ofPrograms(file?: string): TokenIssuer {
  const issuer = new TokenIssuer(file);
  issuer.standInFor({ issuer: ISSUER, audiences: [AUDIENCE, 'billing'] });
  return issuer;
}

test('gives a token to every client that asks, in the name of the issuer of the programs', async (context) => {
  const { url, post, verify } = await start(context, ofPrograms());
  const discovered = await (await fetch(`${url}/.well-known/openid-configuration`)).json() as Record<string, unknown>;
  assert.deepEqual([discovered.issuer, discovered.jwks_uri, discovered.token_endpoint], [ISSUER, `${url}/jwks.json`, `${url}/token`]);

  const answer = await post('/token', 'sub=cust-42&scope=orders.read%20orders.write&tenant=acme');
  assert.deepEqual([answer.status, answer.headers.get('cache-control')], [200, 'no-store']);
  const body = await answer.json() as { access_token: string; expires_in: number; scope: string; token_type: string };
  assert.deepEqual([body.token_type, body.expires_in, body.scope], ['Bearer', 28_800, 'orders.read orders.write']);
  const { payload } = await verify(body.access_token);
  assert.deepEqual([payload.sub, payload.scope, payload.tenant, payload.exp! - payload.iat!], ['cust-42', 'orders.read orders.write', 'acme', 28_800]);

  const plain = await post('/token', '{"sub":"job","scope":"orders.operate","aud":["orders","x"],"expires_in":60,"roles":["a"]}', {
    'content-type': 'application/json', 'accept': 'text/plain',
  });
  const { payload: claims } = await verify(await plain.text());
  assert.deepEqual([claims.aud, claims.roles, claims.exp! - claims.iat!], [['orders', 'x'], ['a'], 60]);
  const client = await post('/token', 'grant_type=client_credentials&client_id=batch&client_secret=x&audience=orders');
  assert.deepEqual((await verify((await client.json() as { access_token: string }).access_token)).payload.sub, 'batch');
});

test('publishes nothing but public keys', async (context) => {
  const { url } = await start(context, ofPrograms());
  const { keys } = await (await fetch(`${url}/jwks.json`)).json() as { keys: object[] };
  assert.deepEqual(keys.map((key) => Object.keys(key).sort()), [['alg', 'e', 'kid', 'kty', 'n', 'use']]);
});

test('requests that make no sense are refused with the fix', async (context) => {
  const { url, post } = await start(context, ofPrograms());
  const cases: [body: string, type: string, message: RegExp][] = [
    ['scope=orders.read', 'application/x-www-form-urlencoded', /sub is missing.*sub=cust-42/],
    ['sub=a%00b', 'application/x-www-form-urlencoded', /sub expects/],
    ['sub=a&expires_in=0', 'application/x-www-form-urlencoded', /expires_in expects/],
    ['sub=a&grant_type=password', 'application/x-www-form-urlencoded', /grant_type/],
    ['sub=a&iss=https://other', 'application/x-www-form-urlencoded', /aud is missing/],
    ['[]', 'application/json', /not a JSON object/],
    ['{"sub":"a","scope":1}', 'application/json', /scope/],
    ['{"sub":"a","aud":[1]}', 'application/json', /aud/],
  ];
  for (const [body, type, message] of cases) {
    const answer = await post('/token', body, { 'content-type': type });
    assert.equal(answer.status, 400, body);
    assert.match((await answer.json() as { error_description: string }).error_description, message);
  }
  assert.equal((await fetch(`${url}/token?sub=a`)).status, 404, 'an address in a page or a link makes no token');
  await assert.rejects(new TokenIssuer().token({ subject: 'a' }), /no program of this run asks for tokens/);
});

test('the key is its owner\'s alone and outlives the run; a rotated one stays good until it is forgotten', async (context) => {
  const file = join(temporaryFolder(context), 'issuer.json');
  const before = await ofPrograms(file).token({ subject: 'a' });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const { post, verify } = await start(context, ofPrograms(file));
  await verify(before);

  const { kid } = await (await post('/rotate', '')).json() as { kid: string };
  const after = await (await post('/token', 'sub=a', { accept: 'text/plain' })).text();
  assert.deepEqual([decodeProtectedHeader(after).kid, decodeProtectedHeader(before).kid === kid], [kid, false]);
  await verify(after);
  await verify(before);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const kept = JSON.parse(readFileSync(file, 'utf8')) as { public: { kid: string; d?: string }[] };
  assert.deepEqual(kept.public.map((key) => [key.kid === kid, key.d]), [[true, undefined], [false, undefined]], 'a former private key is gone');

  await post('/rotate', 'forget=true');
  await assert.rejects(verify(after), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
});

test('a file that cannot be read is named', async (context) => {
  await assert.rejects(ofPrograms(temporaryFolder(context)).token({ subject: 'a' }), /The keys of the local issuer in .* cannot be read: delete/);
});

test('no web page gets a token: not by its own name, and not by another one for this machine', async (context) => {
  const { url } = await start(context, ofPrograms());
  const { port } = new URL(url);
  const send = (headers: Record<string, string>) => new Promise<number | undefined>((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/token', headers }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    sent.on('error', reject);
    sent.end('sub=a');
  });
  assert.equal(await send({ host: `127.0.0.1:${port}` }), 200);
  const pages = [['host', `evil.example:${port}`], ['origin', 'https://evil.example'], ['origin', 'null'], ['sec-fetch-site', 'cross-site']] as const;
  for (const [name, value] of pages) {
    assert.equal(await send({ host: `127.0.0.1:${port}`, [name]: value }), 403, `${name}: ${value}`);
  }
});

test('programs that ask for tokens get the keys, others and those with an issuer of their own nothing; an open run says so once', async (context) => {
  const dataDir = temporaryFolder(context);
  const warnings: string[] = [];
  const service = (open: boolean, fresh = false, without: readonly string[] = []) => new LocalIssuer({
    dataDir, open, fresh, without, port: async () => 0, log: () => undefined, warn: (sentence: string) => void warnings.push(sentence),
  } as Partial<RunContext> as RunContext);
  const asks = { API_AUTHORIZATION: 'jwt', API_JWT_ISSUER: ISSUER, API_JWT_AUDIENCE: 'orders, billing' };
  const issuer = service(false);
  await issuer.start();
  atEnd(context, () => issuer.stop());
  assert.deepEqual([issuer.environment({ PORT: '80' }), issuer.environment({ API_AUTHORIZATION: 'none' }), issuer.url], [{}, {}, undefined]);
  const { API_JWKS_URL: keys } = issuer.environment(asks);
  assert.equal(keys, `${issuer.url}/jwks.json`);
  assert.deepEqual(issuer.tokens.standsInFor, [{ issuer: ISSUER, audiences: ['orders', 'billing'] }]);
  const token = await issuer.tokens.token({ subject: 'a' });
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(keys!)));
  assert.deepEqual([payload.iss, payload.aud], [ISSUER, 'orders']);

  const open = service(true);
  assert.deepEqual([open.environment(asks), open.environment(asks)], [{ API_AUTHORIZATION: 'none' }, { API_AUTHORIZATION: 'none' }]);
  assert.deepEqual(warnings, ['The APIs are open (--open): they take every request, with or without a token.']);

  const own = service(false, false, ['issuer']);
  await own.start();
  atEnd(context, () => own.stop());
  assert.deepEqual([own.environment(asks), own.url], [{}, undefined], 'the issuer in the template is the one that counts');

  const { kid } = await service(false).tokens.keys.current();
  assert.equal(kid, decodeProtectedHeader(token).kid);
  assert.notEqual((await service(false, true).tokens.keys.current()).kid, kid, '--fresh forgets the key');
});
