import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { Registry } from 'prom-client';
import { createApp } from './app.ts';
import { TokenAuthentication, type TokenOptions } from './authentication.ts';
import { Recent } from './recent.ts';
import { serve, type Route } from './route.ts';
import { silentLogger } from '../testing.ts';

const ISSUER = 'https://login.example.com/';
const AUDIENCES = ['orders', 'orders-staging'];
const seconds = () => Math.floor(Date.now() / 1000);

interface Pair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

const pairs = Object.fromEntries(await Promise.all(
  ([
    ['RS256', 'RS256'], ['PS256', 'PS256'], ['ES256', 'ES256'], ['EdDSA', 'EdDSA'], ['RS512', 'RS512'], ['ES384', 'ES384'], ['stranger', 'RS256'], ['next', 'RS256'],
  ] as const).map(async ([name, alg]) => [name, await generateKeyPair(alg, { extractable: true })] as const),
)) as Record<'RS256' | 'PS256' | 'ES256' | 'EdDSA' | 'RS512' | 'ES384' | 'stranger' | 'next', Pair>;

async function jwkOf(kid: string, { publicKey }: Pair, more: Partial<JWK> = {}): Promise<JWK> {
  return { ...await exportJWK(publicKey), kid, ...more };
}

/** The issuer's own addresses, with keys that change and a server that is away. */
async function startIssuer(context?: TestContext) {
  let keys: unknown = { keys: [] };
  let away = false;
  let hangs = false;
  let asked = 0;
  const server = createServer((request, response) => {
    asked++;
    if (away) return void request.socket.destroy();
    if (hangs) return;
    const { port } = server.address() as AddressInfo;
    const discovery = { issuer: `http://127.0.0.1:${port}`, jwks_uri: `http://127.0.0.1:${port}/keys` };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(request.url === '/keys' ? keys : discovery));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  context?.after(close);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    jwksUrl: `${url}/keys`,
    close,
    asked: () => asked,
    give: (set: unknown) => void (keys = set),
    goAway: (gone: boolean) => void (away = gone),
    hang: (silent: boolean) => void (hangs = silent),
  };
}

const route = (method: 'GET' | 'POST', scope: Route['scope']): Route => ({ method, scope, path: '/things', summary: '', answers: {} });

function startApi(options: Partial<TokenOptions>) {
  const registry = new Registry();
  const authentication = new TokenAuthentication({ issuer: ISSUER, audiences: AUDIENCES, logger: silentLogger(), registry, ...options });
  const app = createApp({ logger: silentLogger(), registry, ready: () => true, authentication });
  serve(app, route('GET', 'orders.read'), async ({ caller }) => caller);
  serve(app, route('POST', 'orders.write'), async ({ caller }) => caller);
  return { app, authentication, registry };
}

const ask = async (app: FastifyInstance, authorization: string | undefined, method: 'GET' | 'POST' = 'GET') => {
  const { statusCode, headers, body } = await app.inject({ method, url: '/things', headers: { ...(authorization !== undefined && { authorization }) } });
  return { status: statusCode, headers, body: JSON.parse(body) as Record<string, string> };
};

interface Parts {
  readonly alg?: string;
  readonly kid?: string | null;
  readonly header?: Record<string, unknown>;
  readonly key?: CryptoKey;
  readonly claims?: Record<string, unknown>;
}

const CLAIMS = { iss: ISSUER, aud: 'orders', sub: 'cust-42', scope: 'orders.read orders.write' };

/** A good token, but for these parts; a claim or `kid` of null is left out. */
async function token({ alg = 'RS256', kid = alg, header = {}, key = pairs[alg as 'RS256'].privateKey, claims = {} }: Parts = {}): Promise<string> {
  const all = { ...CLAIMS, iat: seconds(), exp: seconds() + 600, ...claims };
  const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
  return new SignJWT(present).setProtectedHeader({ alg, ...(kid !== null && { kid }), ...header }).sign(key);
}

const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const claims = () => ({ ...CLAIMS, exp: seconds() + 600 });
const replaced = (text: string, part: number, change: (text: string) => string) => text.split('.').map((one, n) => (n === part ? change(one) : one)).join('.');
/** Another value of its part, which does not only change bits that Base64 has to spare. */
const flipped = (part: string) => `${part.startsWith('A') ? 'B' : 'A'}${part.slice(1)}`;

async function hmac(secret: string | Buffer, alg = 'HS256'): Promise<string> {
  const input = `${encode({ alg, kid: 'RS256' })}.${encode(claims())}`;
  return `${input}.${createHmac(`sha${alg.slice(2)}`, secret).update(input).digest('base64url')}`;
}

const accepted: Record<string, () => Promise<string>> = {
  'RS256': () => token(),
  'PS256': () => token({ alg: 'PS256' }),
  'ES256': () => token({ alg: 'ES256' }),
  'EdDSA': () => token({ alg: 'EdDSA' }),
  'another audience of the API': () => token({ claims: { aud: 'orders-staging' } }),
  'one of several audiences': () => token({ claims: { aud: ['billing', 'orders'] } }),
  'the client id where there is no audience (Amazon Cognito)': () => token({ claims: { aud: null, client_id: 'orders' } }),
  'a scope behind the name of the API (Amazon Cognito)': () => token({ claims: { scope: 'orders/orders.read' } }),
  'scp as a text': () => token({ claims: { scope: null, scp: 'openid orders.read' } }),
  'scp as a list': () => token({ claims: { scope: null, scp: ['orders.read'] } }),
  'typ at+jwt': () => token({ header: { typ: 'at+jwt' } }),
  'typ JWT': () => token({ header: { typ: 'JWT' } }),
  'typ application/AT+JWT': () => token({ header: { typ: 'application/AT+JWT' } }),
  'expired for less than the tolerance': () => token({ claims: { exp: seconds() - 2 } }),
  'valid from a moment within the tolerance': () => token({ claims: { nbf: seconds() + 2 } }),
  'a time with a fraction': () => token({ claims: { exp: seconds() + 60.5 } }),
};

const refused: Record<string, readonly [cause: string, make: () => Promise<string | undefined>]> = {
  'no header': ['missing', async () => undefined],
  'an empty header': ['missing', async () => ''],
  'Basic': ['missing', async () => 'Basic dXNlcjpwYXNz'],
  'Bearer alone': ['missing', async () => 'Bearer'],
  'the token without Bearer': ['missing', () => token()],
  'an empty token': ['malformed', async () => 'Bearer  '],
  'text': ['malformed', async () => 'Bearer let-me-in'],
  'a header and a payload only': ['malformed', async () => `Bearer ${(await token()).split('.').slice(0, 2).join('.')}`],
  'four parts': ['malformed', async () => `Bearer ${await token()}.x`],
  'five parts (encrypted)': ['malformed', async () => `Bearer ${encode({ alg: 'RSA-OAEP', enc: 'A256GCM' })}.a.b.c.d`],
  'two tokens': ['malformed', async () => `Bearer ${await token()}, Bearer ${await token()}`],
  'a header that is no JSON': ['malformed', async () => `Bearer ${replaced(await token(), 0, () => encode('x'))}`],
  'a payload that is no JSON': ['signature', async () => `Bearer ${replaced(await token(), 1, () => encode('x'))}`],
  'more than 8 KiB': ['too-large', async () => `Bearer ${await token({ claims: { more: 'x'.repeat(8_192) } })}`],
  'alg none without a signature': ['malformed', async () => `Bearer ${encode({ alg: 'none' })}.${encode(claims())}.`],
  'alg none with a signature': ['algorithm', async () => `Bearer ${encode({ alg: 'none', kid: 'RS256' })}.${encode(claims())}.AAAA`],
  'alg nOnE': ['algorithm', async () => `Bearer ${encode({ alg: 'nOnE', kid: 'RS256' })}.${encode(claims())}.AAAA`],
  'no alg': ['algorithm', async () => `Bearer ${encode({ kid: 'RS256' })}.${encode(claims())}.AAAA`],
  'HS256 with the public key (PEM)': ['algorithm', async () => `Bearer ${await hmac(await exportSPKI(pairs.RS256.publicKey))}`],
  'HS256 with the public key (modulus)': ['algorithm', async () => `Bearer ${await hmac(Buffer.from((await exportJWK(pairs.RS256.publicKey)).n!, 'base64url'))}`],
  'HS256 with an empty secret': ['algorithm', async () => `Bearer ${await hmac('')}`],
  'HS512': ['algorithm', async () => `Bearer ${await hmac('secret', 'HS512')}`],
  'a secret that is in the key set': ['algorithm', async () => `Bearer ${await hmac(Buffer.from('shared-secret'))}`],
  'RS512, which is not asked for': ['algorithm', async () => `Bearer ${await token({ alg: 'RS512' })}`],
  'ES384, which is not asked for': ['algorithm', async () => `Bearer ${await token({ alg: 'ES384' })}`],
  'the key of another algorithm': ['unknown-key', async () => `Bearer ${replaced(await token(), 0, () => encode({ alg: 'ES256', kid: 'RS256' }))}`],
  'a key of a stranger under a known name': ['signature', async () => `Bearer ${await token({ key: pairs.stranger.privateKey })}`],
  'a key of a stranger under its own name': ['unknown-key', async () => `Bearer ${await token({ kid: 'stranger', key: pairs.stranger.privateKey })}`],
  'a key in the token (jwk)': ['unknown-key', async () =>
    `Bearer ${await token({ kid: 'stranger', key: pairs.stranger.privateKey, header: { jwk: await jwkOf('stranger', pairs.stranger) } })}`],
  'an address of keys in the token (jku)': ['unknown-key', async () =>
    `Bearer ${await token({ kid: 'stranger', key: pairs.stranger.privateKey, header: { jku: 'https://evil.example/keys' } })}`],
  'a path as the name of the key': ['unknown-key', async () => `Bearer ${await token({ kid: '../../dev/null', key: pairs.stranger.privateKey })}`],
  'no name of a key, where several would do': ['unknown-key', async () => `Bearer ${await token({ kid: null })}`],
  'a key for encryption': ['unknown-key', async () => `Bearer ${await token({ kid: 'for-encryption' })}`],
  'a key of 1024 bits': ['malformed', async () => `Bearer ${await token({ kid: 'short' })}`],
  'another payload': ['signature', async () => `Bearer ${replaced(await token(), 1, () => encode({ ...claims(), sub: 'cust-1' }))}`],
  'another signature': ['signature', async () => `Bearer ${replaced(await token(), 2, flipped)}`],
  'a critical header that nobody knows': ['malformed', async () => `Bearer ${replaced(await token(), 0, () => encode({ alg: 'RS256', kid: 'RS256', crit: ['x'], x: 1 }))}`],
  'expired': ['expired', async () => `Bearer ${await token({ claims: { exp: seconds() - 6 } })}`],
  'no end': ['claims', async () => `Bearer ${await token({ claims: { exp: null } })}`],
  'an end that is a text': ['claims', async () => `Bearer ${await token({ claims: { exp: String(seconds() + 600) } })}`],
  'not valid yet': ['not-yet', async () => `Bearer ${await token({ claims: { nbf: seconds() + 60 } })}`],
  'another issuer': ['issuer', async () => `Bearer ${await token({ claims: { iss: 'https://evil.example/' } })}`],
  'the issuer without its slash': ['issuer', async () => `Bearer ${await token({ claims: { iss: ISSUER.slice(0, -1) } })}`],
  'no issuer': ['issuer', async () => `Bearer ${await token({ claims: { iss: null } })}`],
  'another audience': ['audience', async () => `Bearer ${await token({ claims: { aud: 'billing' } })}`],
  'no audience': ['audience', async () => `Bearer ${await token({ claims: { aud: null } })}`],
  'the beginning of an audience': ['audience', async () => `Bearer ${await token({ claims: { aud: 'order' } })}`],
  'a client id beside another audience': ['audience', async () => `Bearer ${await token({ claims: { aud: 'billing', client_id: 'orders' } })}`],
  'no subject': ['claims', async () => `Bearer ${await token({ claims: { sub: null } })}`],
  'an empty subject': ['subject', async () => `Bearer ${await token({ claims: { sub: '' } })}`],
  'a subject of 256 characters': ['subject', async () => `Bearer ${await token({ claims: { sub: 'x'.repeat(256) } })}`],
  'a subject with a NUL': ['subject', async () => `Bearer ${await token({ claims: { sub: 'a\0b' } })}`],
  'a subject that can be no customer id': ['customer', async () => `Bearer ${await token({ claims: { sub: 'x'.repeat(65) } })}`],
  'a token of a logout': ['type', async () => `Bearer ${await token({ header: { typ: 'logout+jwt' } })}`],
};

const withoutScope: Record<string, readonly [method: 'GET' | 'POST', claims: Record<string, unknown>]> = {
  'no scope': ['GET', { scope: null }],
  'an empty scope': ['GET', { scope: '' }],
  'to write, for a read': ['GET', { scope: 'orders.write' }],
  'to read, for a write': ['POST', { scope: 'orders.read' }],
  'a longer name': ['GET', { scope: 'orders.readonly xorders.read' }],
  'in other letters': ['GET', { scope: 'ORDERS.READ' }],
  'with another separator': ['GET', { scope: 'orders.read,orders.write' }],
  'behind the name of another API': ['GET', { scope: 'billing/orders.read' }],
  'a scope that is an object': ['GET', { scope: { 'orders.read': true } }],
};

describe('tokens', () => {
  let issuer: Awaited<ReturnType<typeof startIssuer>>;
  let api: ReturnType<typeof startApi>;
  before(async () => {
    issuer = await startIssuer();
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    issuer.give({
      keys: [
        ...await Promise.all((['RS256', 'PS256', 'ES256', 'EdDSA', 'RS512', 'ES384'] as const).map((name) => jwkOf(name, pairs[name]))),
        await jwkOf('for-encryption', pairs.RS256, { use: 'enc' }),
        { ...short, kid: 'short' },
        { kty: 'oct', kid: 'RS256', k: encode('shared-secret') },
        { kty: 'of the future', kid: 'x' },
      ],
    });
    api = startApi({ jwksUrl: issuer.jwksUrl });
    await eventually(() => api.authentication.ready() === true);
  });
  after(async () => {
    api.authentication.stop();
    await api.app.close();
    issuer.close();
  });

  it(`lets in ${Object.keys(accepted).length} kinds of good ones, the second time as well`, async () => {
    for (const [name, make] of Object.entries(accepted)) {
      const authorization = `Bearer ${await make()}`;
      for (const _ of [1, 2]) {
        const { status, body } = await ask(api.app, authorization);
        assert.deepEqual([name, status, body], [name, 200, { subject: 'cust-42', customerId: 'cust-42' }]);
      }
    }
    assert.equal((await ask(api.app, `bearer   ${await token()}`)).status, 200, 'the scheme is in small letters, with more spaces');
  });

  it(`refuses ${Object.keys(refused).length} kinds of bad ones, the second time as well, and counts why`, async () => {
    const causes: Record<string, number> = {};
    for (const [name, [cause, make]] of Object.entries(refused)) {
      const authorization = await make();
      for (const _ of [1, 2]) {
        const { status, headers, body } = await ask(api.app, authorization);
        const challenge = cause === 'missing' ? /^Bearer realm="orders"$/ : /^Bearer error="invalid_token", error_description="[\x20-\x7e]+"$/;
        assert.deepEqual([name, status, body.type], [name, 401, 'urn:cdk-order-pipeline:problem:unauthenticated']);
        assert.match(String(headers['www-authenticate']), challenge, name);
        causes[cause] = (causes[cause] ?? 0) + 1;
      }
    }
    const { values } = await api.registry.getSingleMetric('authentication_refusals_total')!.get();
    assert.deepEqual(Object.fromEntries(values.map(({ labels, value }) => [labels.cause, value])), causes);
  });

  it(`answers 403 to ${Object.keys(withoutScope).length} kinds of good ones without the scope of the route`, async () => {
    for (const [name, [method, more]] of Object.entries(withoutScope)) {
      const { status, headers, body } = await ask(api.app, `Bearer ${await token({ claims: more })}`, method);
      assert.deepEqual([name, status, body.type], [name, 403, 'urn:cdk-order-pipeline:problem:insufficient-scope']);
      assert.equal(headers['www-authenticate'], `Bearer error="insufficient_scope", scope="orders.${method === 'GET' ? 'read' : 'write'}"`);
    }
  });

  it('lets operators do everything, for all customers', async () => {
    const authorization = `Bearer ${await token({ claims: { sub: `ops ${'x'.repeat(80)}`, scope: 'orders.operate' } })}`;
    for (const method of ['GET', 'POST'] as const) {
      const { status, body } = await ask(api.app, authorization, method);
      assert.deepEqual([status, body.customerId, body.subject!.slice(0, 3)], [200, undefined, 'ops']);
    }
  });

  it('asks nothing of who asks for an address that is not there', async () => {
    assert.equal((await api.app.inject({ url: '/nothing' })).statusCode, 404);
    assert.equal((await api.app.inject({ method: 'DELETE', url: '/things' })).statusCode, 405);
  });

  it('takes the customer from the claim that it is configured for', async (t) => {
    const { app, authentication } = startApi({ jwksUrl: issuer.jwksUrl, customerClaim: 'custom:customer' });
    t.after(() => authentication.stop());
    await eventually(() => authentication.ready() === true);
    const { body } = await ask(app, `Bearer ${await token({ claims: { 'sub': 'a9b8', 'custom:customer': 'Zoë' } })}`);
    assert.deepEqual(body, { subject: 'a9b8', customerId: 'Zoë' });
    for (const customer of [null, '', 7, ['a'], 'a\u202eb', ' a', 'x'.repeat(65)]) {
      assert.equal((await ask(app, `Bearer ${await token({ claims: { 'custom:customer': customer } })}`)).status, 401, JSON.stringify(customer));
    }
  });

  it('no change of a single character of a good one is let in', async () => {
    const good = await token();
    assert.equal((await ask(api.app, `Bearer ${good}`)).status, 200);
    await fc.assert(fc.asyncProperty(fc.nat(good.length - 1), fc.constantFrom(...'ABab01-_.'), async (at, character) => {
      fc.pre(good[at] !== character);
      const changed = good.slice(0, at) + character + good.slice(at + 1);
      // The last character has bits to spare: the signature is the same then.
      const signatures = [good, changed].map((one) => Buffer.from(one.split('.')[2] ?? '', 'base64url').toString('hex'));
      fc.pre(at < good.lastIndexOf('.') || signatures[0] !== signatures[1]);
      assert.equal((await ask(api.app, `Bearer ${changed}`)).status, 401);
    }), { numRuns: 150, examples: [...'ABgwQZ'].map((one): [number, string] => [good.length - 1, one]) });
  });

  it('a remembered token lets in nothing that only ends like it', async () => {
    const good = await token({ claims: { sub: 'cust-1' } });
    assert.equal((await ask(api.app, `Bearer ${good}`)).status, 200);
    const forged = replaced(good, 1, () => encode({ ...claims(), scope: 'orders.operate' }));
    assert.equal((await ask(api.app, `Bearer ${forged}`)).status, 401);
    assert.equal((await ask(api.app, `Bearer ${good}`)).body.subject, 'cust-1');
  });

  it('a token that is remembered still expires', async (t) => {
    const authorization = `Bearer ${await token()}`;
    assert.equal((await ask(api.app, authorization)).status, 200);
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 604_000 });
    assert.equal((await ask(api.app, authorization)).status, 200, 'within the tolerance');
    t.mock.timers.setTime(Date.now() + 2_000);
    assert.equal((await ask(api.app, authorization)).status, 401);
  });

  it('remembers no more tokens than it says, those that are in use before others', () => {
    const recent = new Recent<number>(1_000, () => 10);
    for (let n = 0; n < 1_000; n++) {
      recent.set(`token ${n}`, n);
      recent.set('token 0', 0);
      assert.equal(recent.get('token 0'), 0);
      assert.ok(recent.size <= 100, `${recent.size}`);
    }
    assert.ok(recent.size >= 50, 'and not fewer than it has room for');
    assert.equal(recent.get('token 500'), undefined);
  });
});

describe('keys of the issuer', () => {
  const times = { refresh: 600_000, retry: 600_000, firstRetry: 20, coolDown: 60_000, timeout: 2_000 };

  async function start(t: TestContext, options: Partial<TokenOptions> = {}) {
    const issuer = await startIssuer(t);
    issuer.give({ keys: [await jwkOf('RS256', pairs.RS256)] });
    const api = startApi({ jwksUrl: issuer.jwksUrl, times, ...options });
    t.after(async () => {
      api.authentication.stop();
      await api.app.close();
    });
    return { ...api, issuer };
  }

  const next = () => token({ kid: 'next', key: pairs.next.privateKey });

  it('without them: 503 and not ready, until the issuer is there', async (t) => {
    const issuer = await startIssuer(t);
    issuer.goAway(true);
    const { app, authentication } = startApi({ jwksUrl: issuer.jwksUrl, times });
    t.after(() => authentication.stop());
    const authorization = `Bearer ${await token()}`;
    const { status, headers, body } = await ask(app, authorization);
    assert.deepEqual([status, body.type, headers['retry-after']], [503, 'urn:cdk-order-pipeline:problem:unavailable', '1']);
    assert.match(String(await app.readiness()), /keys of the issuer https:\/\/login\.example\.com\/ are not known yet/);
    for (const wrong of [{ keys: [] }, {}, [], null, { keys: [null] }, { keys: 'x' }]) {
      issuer.give(wrong);
      issuer.goAway(false);
      const before = issuer.asked();
      await eventually(() => issuer.asked() > before + 1);
      assert.notEqual(await app.readiness(), true, JSON.stringify(wrong));
    }
    issuer.give({ keys: [await jwkOf('RS256', pairs.RS256)] });
    await eventually(async () => await app.readiness() === true);
    assert.equal((await ask(app, authorization)).status, 200);
  });

  it('known ones go on when the issuer is away, for new tokens too', async (t) => {
    const { app, authentication, issuer, registry } = await start(t, { times: { ...times, refresh: 20, retry: 20 } });
    await eventually(() => authentication.ready() === true);
    issuer.goAway(true);
    const failures = async () => (await registry.getSingleMetric('authentication_key_refreshes_total')!.get()).values.find(({ labels }) => labels.result === 'failed')?.value ?? 0;
    await eventually(async () => await failures() >= 3);
    assert.equal(await app.readiness(), true);
    assert.equal((await ask(app, `Bearer ${await token()}`)).status, 200);
    assert.equal((await ask(app, `Bearer ${await next()}`)).status, 503, 'nobody knows whether this key is a new one');
  });

  it('made-up names take little memory while the issuer hangs: a hundred wait for it, then none for a while, and those with known keys get in', async (t) => {
    const clock = performance.now.bind(performance);
    let later = 0;
    t.mock.method(performance, 'now', () => clock() + later);
    const { app, authentication, issuer } = await start(t, { times: { ...times, timeout: 600 } });
    await eventually(() => authentication.ready() === true);
    issuer.hang(true);
    const before = issuer.asked();
    const madeUp = `Bearer ${await token({ kid: 'made up' })}`;
    const begun = Date.now();
    const waits = Array.from({ length: 150 }, async () => {
      const { status, headers } = await ask(app, madeUp);
      assert.deepEqual([status, headers['retry-after']], [503, '1']);
      return Date.now() - begun;
    });
    await Promise.race(waits);
    later += 40_000;
    assert.equal((await Promise.all(waits)).filter((ms) => ms >= 550).length, 100);
    // The pause of a minute begins at the end of the question.
    later += 40_000;
    assert.equal((await ask(app, madeUp)).status, 503);
    assert.equal((await ask(app, `Bearer ${await token()}`)).status, 200);
    assert.equal(issuer.asked(), before + 1);
    issuer.hang(false);
    later += 40_000;
    assert.equal((await ask(app, madeUp)).status, 401);
    assert.equal(issuer.asked(), before + 2);
  });

  it('one that is rotated in is found by the first token that names it, by one question for a hundred of them', async (t) => {
    const { app, authentication, issuer } = await start(t);
    await eventually(() => authentication.ready() === true);
    issuer.give({ keys: [await jwkOf('next', pairs.next), await jwkOf('RS256', pairs.RS256)] });
    const before = issuer.asked();
    const tokens = await Promise.all(Array.from({ length: 100 }, next));
    const answers = await Promise.all(tokens.map((one) => ask(app, `Bearer ${one}`)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(issuer.asked() - before, 1);
    assert.equal((await ask(app, `Bearer ${await token()}`)).status, 200, 'the former key counts as long as the issuer gives it');
  });

  it('unknown names make the issuer be asked once in a cool-down, from any number of senders', async (t) => {
    const { app, authentication, issuer } = await start(t);
    await eventually(() => authentication.ready() === true);
    const before = issuer.asked();
    for (let n = 0; n < 20; n++) assert.equal((await ask(app, `Bearer ${await token({ kid: `made up ${n}` })}`)).status, 401);
    assert.equal(issuer.asked(), before + 1);
  });

  it('one that the issuer has dropped is forgotten at the next refresh, with its tokens', async (t) => {
    const { app, authentication, issuer } = await start(t, { times: { ...times, refresh: 50 } });
    await eventually(() => authentication.ready() === true);
    const authorization = `Bearer ${await token()}`;
    assert.equal((await ask(app, authorization)).status, 200);
    issuer.give({ keys: [await jwkOf('next', pairs.next)] });
    await eventually(async () => (await ask(app, authorization)).status === 401);
    assert.equal((await ask(app, `Bearer ${await next()}`)).status, 200);
    issuer.give({ keys: [] });
    const asked = issuer.asked();
    await eventually(() => issuer.asked() > asked + 1);
    assert.equal((await ask(app, `Bearer ${await next()}`)).status, 401, 'an issuer that takes all keys back is obeyed');
    assert.equal(await app.readiness(), true);
  });

  it('are found by the discovery document, if it is that of the issuer', async (t) => {
    const { issuer } = await start(t);
    const found = startApi({ issuer: issuer.url, times });
    t.after(() => found.authentication.stop());
    await eventually(() => found.authentication.ready() === true);
    assert.equal((await ask(found.app, `Bearer ${await token({ claims: { iss: issuer.url } })}`)).status, 200);
    const other = startApi({ issuer: issuer.url.replace('127.0.0.1', 'localhost'), times });
    t.after(() => other.authentication.stop());
    const before = issuer.asked();
    await eventually(() => issuer.asked() > before + 2);
    assert.notEqual(other.authentication.ready(), true);
  });
});

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error('Not within 10 s.');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
