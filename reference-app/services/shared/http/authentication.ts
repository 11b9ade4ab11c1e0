import { errors, jwtVerify } from 'jose';
import type { JWTPayload, JWTVerifyResult } from 'jose';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { IssuerKeys, type IssuerKeysOptions, type KeySet } from './authentication-keys.ts';
import type { Authentication, Caller, RouteScope } from './caller.ts';
import type { Readiness } from './health.ts';
import { Problem, unavailable } from './problem.ts';
import { Recent } from './recent.ts';
import { textPattern } from './text.ts';
import type { Logger } from '../telemetry.ts';

/** Lets the senders of tokens in (RFC 9068, or any JWT with these claims), and nobody else. */
export interface TokenOptions {
  /** The `iss` of its tokens, to the letter. */
  readonly issuer: string;
  /** One of them must be in `aud`; or be the `client_id` of a token without `aud`, as those of Amazon Cognito are. */
  readonly audiences: readonly string[];
  /** Address of the key set. @default - the one in the discovery document of the issuer */
  readonly jwksUrl?: string;
  /** The claim with the customer id. @default sub */
  readonly customerClaim?: string;
  readonly logger: Logger;
  readonly registry: Registry;
  /** @default - as in production */
  readonly times?: IssuerKeysOptions['times'];
}

/** A token that was verified, and the result. */
interface Verified {
  readonly token: string;
  readonly caller: Caller;
  readonly scopes: readonly RouteScope[];
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** A key set, and the tokens that were verified with it: they are forgotten together. */
interface Known {
  readonly keys: KeySet;
  readonly tokens: Recent<Verified>;
}

/** Those of which the issuer alone has the private key. `none` and HMAC are not among them. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const MAX_TOKEN_BYTES = 8 * 1024;
/** The tolerated difference of clocks. */
const TOLERANCE_SECONDS = 5;
/** The characters of all remembered tokens together. */
const REMEMBERED_CHARACTERS = 4 * 1024 * 1024;
/** The end of a signature: no two tokens have the same. */
const TAIL = 32;
/** Access tokens. Others that an issuer signs with the same keys, such as `logout+jwt`, are for something else. */
const TOKEN_TYPES: readonly unknown[] = [undefined, 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'];
const ROUTE_SCOPES: readonly RouteScope[] = ['orders.read', 'orders.write'];
const OPERATOR = 'orders.operate';
/** The form of a `sub` in OpenID Connect; it is part of keys in the database. */
const SUBJECT = /^[\x20-\x7e]{1,255}$/;
const CUSTOMER = new RegExp(textPattern(64), 'u');
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

export class TokenAuthentication implements Authentication {
  readonly #options: TokenOptions;
  readonly #keys: IssuerKeys;
  readonly #refused: Counter<'cause'>;
  #known: Known | undefined;

  /** Begins to read the keys of the issuer, and does not wait for them. */
  constructor(options: TokenOptions) {
    this.#options = options;
    this.#keys = new IssuerKeys(options);
    this.#refused = new Counter({
      name: 'authentication_refusals_total',
      help: 'Requests that were not let in, by cause.',
      labelNames: ['cause'],
      registers: [options.registry],
    });
  }

  /** An issuer that is away makes nobody unready who has its keys. */
  readonly ready = (): Readiness => this.#keys.current !== undefined || `The keys of the issuer ${this.#options.issuer} are not known yet.`;

  authenticate(authorization: string | undefined, scope: RouteScope): Caller | Promise<Caller> {
    try {
      const token = this.#tokenOf(authorization);
      const known = this.#currentlyKnown();
      // To look for its end and compare the whole costs less than a hash of the whole.
      const verified = known.tokens.get(token.slice(-TAIL));
      return verified?.token === token ? this.#admit(verified, scope) : this.#verify(token, known, scope);
    } catch (error) {
      throw this.#counted(error);
    }
  }

  stop(): void {
    this.#keys.stop();
  }

  #tokenOf(authorization: string | undefined): string {
    if (authorization === undefined || !/^bearer /i.test(authorization)) {
      throw new Refusal('missing', 'Send an access token in the header Authorization: Bearer <token>.');
    }
    const token = authorization.slice('bearer '.length).trimStart();
    if (token.length > MAX_TOKEN_BYTES) {
      throw new Refusal('too-large', `The token has more than ${MAX_TOKEN_BYTES} bytes; ask the issuer for a smaller one.`);
    }
    return token;
  }

  #currentlyKnown(): Known {
    const keys = this.#keys.current;
    if (!keys) throw unavailable('Tokens cannot be checked yet, since the issuer has not given its keys; try again later.');
    if (this.#known?.keys !== keys) {
      this.#known = { keys, tokens: new Recent(REMEMBERED_CHARACTERS, ({ token }) => token.length) };
    }
    return this.#known;
  }

  async #verify(token: string, known: Known, scope: RouteScope): Promise<Caller> {
    try {
      if (!COMPACT.test(token)) throw new Refusal('malformed', 'The token is not a signed JWT; get one from the issuer.');
      const { result, keys } = await this.#checked(token, known.keys);
      const verified = this.#read(token, result);
      // If its key was forgotten meanwhile, so is the token.
      if (keys === this.#keys.current) this.#currentlyKnown().tokens.set(token.slice(-TAIL), verified);
      return this.#admit(verified, scope);
    } catch (error) {
      throw this.#counted(error);
    }
  }

  async #checked(token: string, keys: KeySet): Promise<{ readonly result: JWTVerifyResult; readonly keys: KeySet }> {
    const { issuer } = this.#options;
    try {
      const options = { algorithms: ALGORITHMS, issuer, requiredClaims: ['exp', 'sub'], clockTolerance: TOLERANCE_SECONDS };
      return { result: await jwtVerify(token, keys.key, options), keys };
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw refusalOf(error);
      const newer = await this.#keys.after(keys);
      if (newer === keys) throw new Refusal('unknown-key', 'The token is signed with a key that the issuer does not have (now); get a new one.');
      return this.#checked(token, newer);
    }
  }

  #read(token: string, { payload, protectedHeader: { typ } }: JWTVerifyResult): Verified {
    const { audiences, customerClaim = 'sub' } = this.#options;
    if (!TOKEN_TYPES.includes(typ?.toLowerCase())) throw new Refusal('type', 'The token is not an access token (typ).');
    if (!audiencesOf(payload).some((audience) => typeof audience === 'string' && audiences.includes(audience))) {
      throw new Refusal('audience', 'The token is for another API (aud); ask the issuer for one for this API.');
    }
    const { sub: subject, exp } = payload;
    if (typeof subject !== 'string' || !SUBJECT.test(subject)) throw new Refusal('subject', 'The subject (sub) of the token is not 1 to 255 ASCII characters.');
    const names = scopesOf(payload, audiences);
    const isOperator = names.includes(OPERATOR);
    const customerId = isOperator ? undefined : customerOf(payload[customerClaim], customerClaim);
    const scopes = isOperator ? ROUTE_SCOPES : ROUTE_SCOPES.filter((scope) => names.includes(scope));
    return { token, caller: { subject, customerId }, scopes, until: (exp! + TOLERANCE_SECONDS) * 1_000 };
  }

  #admit({ caller, scopes, until }: Verified, scope: RouteScope): Caller {
    if (Date.now() >= until) throw expired();
    if (scopes.includes(scope)) return caller;
    this.#refused.inc({ cause: 'scope' });
    throw new Problem('insufficient-scope', `The token does not have the scope ${scope}, which this needs; ask the issuer for one that has it.`, {
      headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"` },
    });
  }

  #counted(error: unknown): unknown {
    if (!(error instanceof Refusal)) return error;
    this.#refused.inc({ cause: error.reason });
    return error;
  }
}

/** The reason not to let a request in: a word for the metric, and a sentence for the sender. */
class Refusal extends Problem {
  readonly reason: string;

  constructor(reason: string, detail: string, cause?: unknown) {
    // A request without a token made no error (RFC 6750, 3.1).
    const challenge = reason === 'missing' ? 'Bearer realm="orders"' : `Bearer error="invalid_token", error_description="${detail}"`;
    super('unauthenticated', detail, { headers: { 'www-authenticate': challenge }, cause });
    this.reason = reason;
  }
}

function expired(cause?: unknown): Refusal {
  return new Refusal('expired', 'The token has expired; get a new one from the issuer.', cause);
}

function refusalOf(error: unknown): unknown {
  if (error instanceof Refusal) return error;
  if (error instanceof errors.JWTExpired) return expired(error);
  if (error instanceof errors.JWTClaimValidationFailed) {
    switch (error.claim) {
      case 'iss': return new Refusal('issuer', 'The token is of another issuer (iss).', error);
      case 'nbf': return new Refusal('not-yet', 'The token does not count yet (nbf); try again later.', error);
      default: return new Refusal('claims', `The claim ${error.claim} of the token is missing or wrong.`, error);
    }
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) {
    return new Refusal('algorithm', `The token is not signed with one of ${ALGORITHMS.join(', ')}.`, error);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return new Refusal('signature', 'The signature of the token is wrong.', error);
  if (error instanceof errors.JWKSMultipleMatchingKeys) return new Refusal('unknown-key', 'The token does not say which key it is signed with (kid).', error);
  // What is left is wrong with the token, or with a key of the issuer that is too short or broken.
  return new Refusal('malformed', 'The token is not a signed JWT that can be checked; get one from the issuer.', error);
}

/** API Gateway does the same with tokens of Amazon Cognito, which have no `aud`. */
function audiencesOf({ aud, client_id: clientId }: JWTPayload): readonly unknown[] {
  return aud === undefined ? [clientId] : [aud].flat();
}

/**
 * Those of `scope` (RFC 8693) and of `scp` (Microsoft, Okta). Amazon Cognito puts the name of the API before a scope; it has to be one of
 * the audiences.
 */
function scopesOf({ scope, scp }: JWTPayload, audiences: readonly string[]): string[] {
  const names = [scope, scp].flat().filter((name) => typeof name === 'string').flatMap((name) => name.split(' '));
  return names.map((name) => {
    const audience = audiences.find((one) => name.startsWith(`${one}/`));
    return audience === undefined ? name : name.slice(audience.length + 1);
  });
}

function customerOf(value: unknown, claim: string): string {
  if (typeof value === 'string' && value.isWellFormed() && CUSTOMER.test(value)) return value;
  throw new Refusal('customer', `The token does not say whose orders it is for: its claim ${claim} must be text of 1 to 64 visible characters.`);
}
