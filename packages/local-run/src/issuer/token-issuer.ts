import { isDeepStrictEqual } from 'node:util';
import { SignJWT } from 'jose';
import { LocalRunError } from '../errors.ts';
import { ALGORITHM, SigningKeys } from './signing-keys.ts';

/** A token to be made. */
export interface TokenRequest {
  /** The person or program that the token is for, its `sub`. */
  readonly subject: string;
  /** The scopes, with spaces between them. @default - none */
  readonly scope?: string;
  /** Its `iss`. @default - that of the first program of the run that asks for tokens */
  readonly issuer?: string;
  /** Its `aud`. @default - the first audience of that program */
  readonly audience?: string | readonly string[];
  /** The time in seconds until it expires. @default 28800, which is 8 hours */
  readonly expiresInSeconds?: number;
  /** More claims, such as the one with the id of a customer. @default - none */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** An issuer that programs ask for tokens of, as their variables name it. */
export interface TokenAudience {
  readonly issuer: string;
  readonly audiences: readonly string[];
}

export const DEFAULT_LIFETIME_SECONDS = 8 * 60 * 60;
const LONGEST_LIFETIME_SECONDS = 30 * 24 * 60 * 60;
const SUBJECT = /^[\x20-\x7e]{1,255}$/;

/** Signs access tokens (RFC 9068) in the name of any issuer. */
export class TokenIssuer {
  readonly keys: SigningKeys;
  readonly #audiences: TokenAudience[] = [];

  /** @param file of the keys; without one they live as long as this object */
  constructor(file?: string) {
    this.keys = new SigningKeys(file);
  }

  /** The issuers that it stands in for. */
  get standsInFor(): readonly TokenAudience[] {
    return this.#audiences;
  }

  standInFor(audience: TokenAudience): void {
    if (!this.#audiences.some((known) => isDeepStrictEqual(known, audience))) this.#audiences.push(audience);
  }

  /** @throws LocalRunError when the request makes no sense */
  async token({ subject, scope, claims = {}, expiresInSeconds = DEFAULT_LIFETIME_SECONDS, ...request }: TokenRequest): Promise<string> {
    if (!SUBJECT.test(subject)) throw new LocalRunError('sub expects 1 to 255 ASCII characters.');
    if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > LONGEST_LIFETIME_SECONDS) {
      throw new LocalRunError(`expires_in expects a whole number of seconds from 1 to ${LONGEST_LIFETIME_SECONDS}.`);
    }
    const issuer = request.issuer ?? this.#audiences[0]?.issuer;
    const audience = request.audience ?? this.#audiences.find((one) => one.issuer === issuer)?.audiences[0];
    if (issuer === undefined) throw new LocalRunError('iss is missing: no program of this run asks for tokens (API_AUTHORIZATION=jwt).');
    if (audience === undefined) throw new LocalRunError(`aud is missing: no program of this run asks for tokens of ${issuer}.`);
    const { kid, key } = await this.keys.current();
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ ...claims, ...(scope !== undefined && { scope }) })
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(typeof audience === 'string' ? audience : [...audience])
      .setSubject(subject)
      .setIssuedAt(now)
      .setExpirationTime(now + expiresInSeconds)
      .sign(key);
  }
}
