import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK } from 'jose';
import type { CryptoKey, JWK } from 'jose';
import { codeOf, LocalRunError } from '../errors.ts';

export interface SigningKey {
  readonly kid: string;
  readonly key: CryptoKey;
}

/** The algorithm of Amazon Cognito; an authorizer of API Gateway accepts no other. */
export const ALGORITHM = 'RS256';
/** Former keys, with which tokens are still checked. */
const FORMER_KEYS = 4;

/**
 * The keys of an issuer: a private one, and the public ones of those before it. They are kept over restarts, so that tokens stay good; only
 * their owner can read the file. The first key is made when it is needed.
 */
export class SigningKeys {
  readonly #file: string | undefined;
  #current: Promise<SigningKey> | undefined;
  /** The newest first. */
  #public: readonly JWK[] = [];

  /** @param file without one, the keys live as long as this object */
  constructor(file?: string) {
    this.#file = file;
  }

  current(): Promise<SigningKey> {
    return this.#current ??= this.#first();
  }

  async publicKeys(): Promise<readonly JWK[]> {
    await this.current();
    return this.#public;
  }

  /** Signs with a new key from now on. Tokens of former keys stay good, unless those are to be forgotten. */
  async rotate(forgetFormer = false): Promise<SigningKey> {
    await this.current();
    return this.#current = this.#make(forgetFormer ? [] : this.#public);
  }

  async #first(): Promise<SigningKey> {
    const kept = this.#read();
    if (!kept) return this.#make([]);
    this.#public = kept.public;
    const key = await importJWK(kept.private, ALGORITHM);
    return { kid: kept.private.kid, key: key as CryptoKey };
  }

  async #make(former: readonly JWK[]): Promise<SigningKey> {
    const { privateKey, publicKey } = await generateKeyPair(ALGORITHM, { extractable: true });
    const jwk = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    this.#public = [{ ...jwk, kid, alg: ALGORITHM, use: 'sig' }, ...former].slice(0, 1 + FORMER_KEYS);
    this.#keep({ private: { ...await exportJWK(privateKey), kid }, public: this.#public });
    return { kid, key: privateKey };
  }

  #keep(keys: Kept): void {
    if (this.#file === undefined) return;
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify(keys), { mode: 0o600 });
    chmodSync(draft, 0o600);
    renameSync(draft, this.#file);
  }

  #read(): Kept | undefined {
    if (this.#file === undefined) return undefined;
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Kept;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw new LocalRunError(`The keys of the local issuer in ${this.#file} cannot be read: delete the file, then new ones are made.`);
    }
  }
}

interface Kept {
  readonly private: JWK & { readonly kid: string };
  readonly public: readonly JWK[];
}
