import { createLocalJWKSet } from 'jose';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { unavailable, type Problem } from './problem.ts';
import type { Logger } from '../telemetry.ts';

/** The keys of an issuer at one time. Another object stands for other keys. */
export interface KeySet {
  /** The key of a token with this header; throws `JWKSNoMatchingKey` if there is none. */
  readonly key: JWTVerifyGetKey;
}

export interface IssuerKeysOptions {
  readonly issuer: string;
  /** Address of the key set. @default - the one in the discovery document of the issuer */
  readonly jwksUrl?: string;
  readonly logger: Logger;
  readonly registry: Registry;
  /** @default - as in production */
  readonly times?: Partial<typeof TIMES>;
}

/** In milliseconds. */
const TIMES = {
  /** A key that the issuer has dropped counts for so long. */
  refresh: 5 * 60_000,
  /** After a failure, when keys are known. */
  retry: 30_000,
  /** After a failure, when no keys are known yet. */
  firstRetry: 1_000,
  /** Unknown keys, which anybody can name in a token, make the issuer be asked this often at most, and so long after a failure. */
  coolDown: 5_000,
  timeout: 5_000,
};

const MAX_ANSWER_BYTES = 256 * 1024;
/** Requests that may wait for an answer of the issuer; more would take the memory of those whose keys are known. */
const MAX_WAITING = 100;
/** The accepted types of keys. Shared secrets are not among them: a program that can check a token with one can also make one. */
const KEY_TYPES: readonly unknown[] = ['RSA', 'EC', 'OKP'];

/** Keeps the public keys of an issuer. When the issuer is away, the known keys go on. */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #times: typeof TIMES;
  readonly #refreshes: Counter<'result'>;
  #current: KeySet | undefined;
  #text = '';
  #refreshing: Promise<void> | undefined;
  #lookedAt = -Infinity;
  #waiting = 0;
  #loadedAt = -Infinity;
  #failing = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    const registers = [options.registry];
    this.#refreshes = new Counter({
      name: 'authentication_key_refreshes_total', help: 'Times that the issuer was asked for its keys, by result.', labelNames: ['result'], registers,
    });
    const loadedAt = () => this.#loadedAt;
    new Gauge({
      name: 'authentication_keys_age_seconds',
      help: 'Time since the issuer last gave its keys.',
      registers,
      collect() {
        this.set(loadedAt() === -Infinity ? NaN : (performance.now() - loadedAt()) / 1_000);
      },
    });
    void this.#refresh();
  }

  /** Undefined until the issuer has been reached once. */
  get current(): KeySet | undefined {
    return this.#current;
  }

  /**
   * The keys after those that did not have the key of a token; the same ones if the issuer has no others, or was asked because of another
   * unknown key just now. Throws a `Problem` "unavailable" if the issuer does not answer: nobody knows then whether it has the key.
   */
  async after(keys: KeySet): Promise<KeySet> {
    const now = performance.now();
    if (this.#current === keys && (this.#refreshing || now - this.#lookedAt >= this.#times.coolDown)) {
      // Refreshes of other reasons do not count: a key may be new since then.
      if (!this.#refreshing) this.#lookedAt = now;
      if (this.#waiting >= MAX_WAITING) throw isAway();
      this.#waiting++;
      await this.#refresh();
      this.#waiting--;
    }
    if (this.#current === keys && this.#failing) throw isAway();
    return this.#current ?? keys;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #refresh(): Promise<void> {
    return this.#refreshing ??= this.#load().finally(() => {
      this.#refreshing = undefined;
    });
  }

  async #load(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.#take(await this.#read());
      this.#loadedAt = performance.now();
      this.#refreshes.inc({ result: 'loaded' });
      if (this.#failing) this.#options.logger.info({ issuer: this.#options.issuer }, 'the issuer gives its keys again');
      this.#failing = false;
    } catch (error) {
      this.#refreshes.inc({ result: 'failed' });
      const consequence = this.#current ? 'the known ones go on' : 'no request can be let in yet';
      if (!this.#failing) this.#options.logger.warn({ err: error, issuer: this.#options.issuer }, `the keys of the issuer can't be read; ${consequence}`);
      this.#failing = true;
      // An issuer that hangs is asked for half of the time at most.
      this.#lookedAt = performance.now();
    }
    if (this.#stopped) return;
    const pause = !this.#failing ? this.#times.refresh : this.#current ? this.#times.retry : this.#times.firstRetry;
    this.#timer = setTimeout(() => void this.#refresh(), pause).unref();
  }

  #take({ keys }: JSONWebKeySet): void {
    const usable = keys.filter(({ kty }) => KEY_TYPES.includes(kty));
    // An issuer that takes all of its keys back is obeyed; one that never had any is a wrong address.
    if (usable.length === 0 && !this.#current) throw new Error('The key set has no public key.');
    const text = JSON.stringify(usable);
    if (text === this.#text && this.#current) return;
    this.#current = { key: createLocalJWKSet({ keys: usable }) };
    this.#text = text;
    this.#options.logger.info({ issuer: this.#options.issuer, keys: usable.map(({ kid }) => kid) }, 'keys of the issuer');
  }

  async #read(): Promise<JSONWebKeySet> {
    const signal = AbortSignal.timeout(this.#times.timeout);
    const url = this.#options.jwksUrl ?? await this.#discover(signal);
    const set = await readJson(url, signal) as Partial<JSONWebKeySet>;
    if (!Array.isArray(set.keys) || set.keys.some((key) => typeof key !== 'object' || key === null)) throw new Error(`${url} has no list of keys.`);
    return { keys: set.keys };
  }

  async #discover(signal: AbortSignal): Promise<string> {
    const { issuer } = this.#options;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const { issuer: named, jwks_uri: jwksUri } = await readJson(url, signal) as { readonly issuer?: unknown; readonly jwks_uri?: unknown };
    if (named !== issuer) throw new Error(`${url} is of the issuer ${String(named)}, not of ${issuer}: set API_JWT_ISSUER to that one, or give API_JWKS_URL.`);
    if (typeof jwksUri !== 'string' || !isSafeUrl(jwksUri)) throw new Error(`${url} has no jwks_uri with https: give API_JWKS_URL.`);
    return jwksUri;
  }
}

function isAway(): Problem {
  return unavailable('The token is signed with an unknown key, and the issuer does not say whether it is new; try again later.');
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** Keys may come over TLS only, or from this machine: an attacker who can change them on the way can make tokens. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.includes(hostname));
}

async function readJson(url: string, signal: AbortSignal): Promise<object> {
  const answer = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new Error(`${url} answered ${answer.status}.`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`${url} has more than ${MAX_ANSWER_BYTES} bytes.`);
    chunks.push(chunk);
  }
  const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  if (typeof value !== 'object' || value === null) throw new Error(`${url} is not a JSON object.`);
  return value;
}
