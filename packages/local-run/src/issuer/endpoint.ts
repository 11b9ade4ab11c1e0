import { LocalRunError } from '../errors.ts';
import { serveLocally } from '../http/server.ts';
import type { LocalAnswer, LocalRequest, LocalServer } from '../http/server.ts';
import type { Log } from '../log.ts';
import { ALGORITHM } from './signing-keys.ts';
import { DEFAULT_LIFETIME_SECONDS } from './token-issuer.ts';
import type { TokenIssuer, TokenRequest } from './token-issuer.ts';

type Handler = (request: LocalRequest) => LocalAnswer | Promise<LocalAnswer>;

const EXAMPLE = 'sub=cust-42&scope=orders.read%20orders.write';

/** The addresses of an issuer (OpenID Connect Discovery, RFC 7517, RFC 6749). Every program of this machine that asks gets a token. */
export async function serveIssuer(issuer: TokenIssuer, { port = 0, log }: { port?: number; log: Log }): Promise<LocalServer> {
  const server: LocalServer = await serveLocally({
    service: 'The issuer of tokens',
    protocols: ['plain'],
    log,
    port,
    handle: (request) => answer(request, routesOf(issuer, () => server.url)),
  });
  return server;
}

function routesOf(issuer: TokenIssuer, url: () => string): Readonly<Record<string, Handler>> {
  return {
    'GET /.well-known/openid-configuration': () => json(200, {
      issuer: issuer.standsInFor[0]?.issuer ?? url(),
      jwks_uri: `${url()}/jwks.json`,
      token_endpoint: `${url()}/token`,
      token_endpoint_auth_methods_supported: ['none'],
      grant_types_supported: ['client_credentials'],
      response_types_supported: ['token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [ALGORITHM],
    }),
    'GET /jwks.json': async () => json(200, { keys: await issuer.keys.publicKeys() }),
    'POST /token': async (request) => {
      const wanted = tokenRequestOf(fieldsOf(request));
      const { expiresInSeconds: seconds = DEFAULT_LIFETIME_SECONDS, scope } = wanted;
      const token = await issuer.token(wanted);
      return /^text\/plain\b/.test(request.headers.accept ?? '')
        ? { status: 200, headers: { ...NO_STORE, 'content-type': 'text/plain' }, body: token }
        : json(200, { access_token: token, token_type: 'Bearer', expires_in: seconds, ...(scope !== undefined && { scope }) });
    },
    'POST /rotate': async (request) => json(200, { kid: (await issuer.keys.rotate(String(fieldsOf(request).forget) === 'true')).kid }),
  };
}

async function answer(request: LocalRequest, routes: Readonly<Record<string, Handler>>): Promise<LocalAnswer> {
  const path = request.path.split('?', 1)[0]!;
  const handler = routes[`${request.method} ${path}`];
  if (!handler) return refused(404, `There is nothing at ${request.method} ${path}; there is ${Object.keys(routes).join(', ')}.`);
  try {
    return await handler(request);
  } catch (error) {
    if (!(error instanceof LocalRunError)) throw error;
    return refused(400, error.message);
  }
}

/** Reads the fields of a form, as OAuth sends them, or of a JSON object, whose values may be of any type. */
function fieldsOf({ headers, body }: LocalRequest): Record<string, unknown> {
  if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) return Object.fromEntries(new URLSearchParams(body));
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new LocalRunError(`The body is not a JSON object: send one, or a form such as ${EXAMPLE}.`);
  }
  return { ...value };
}

function tokenRequestOf(fields: Record<string, unknown>): TokenRequest {
  const { client_id: client, client_secret: _, sub = client, scope, iss, aud, audience = aud, expires_in: seconds, ...others } = fields;
  const { grant_type: grantType = 'client_credentials', ...claims } = others;
  if (grantType !== 'client_credentials') throw new LocalRunError('grant_type expects client_credentials, or leave it out.');
  if (typeof sub !== 'string') throw new LocalRunError(`sub is missing, the name of whom the token is for: send a form such as ${EXAMPLE}.`);
  const isText = (value: unknown) => typeof value === 'string';
  if (![scope ?? '', iss ?? ''].every(isText)) throw new LocalRunError('scope and iss expect a text.');
  if (![audience ?? ''].flat().every(isText)) throw new LocalRunError('aud expects a text, or a list of texts.');
  return {
    subject: sub,
    claims: { ...(client !== undefined && { client_id: client }), ...claims },
    ...(scope !== undefined && { scope: scope as string }),
    ...(iss !== undefined && { issuer: iss as string }),
    ...(audience !== undefined && { audience: audience as string | string[] }),
    ...(seconds !== undefined && { expiresInSeconds: Number(seconds) }),
  };
}

const NO_STORE = { 'cache-control': 'no-store' };

function json(status: number, value: object): LocalAnswer {
  return { status, headers: { ...NO_STORE, 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/** An error response of OAuth (RFC 6749, 5.2). */
function refused(status: number, message: string): LocalAnswer {
  return json(status, { error: 'invalid_request', error_description: message });
}
