import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalServer } from '../http/server.ts';
import type { LocalService, RunContext } from '../service.ts';
import { serveIssuer } from './endpoint.ts';
import { TokenIssuer } from './token-issuer.ts';

/** Its name in the options of a run. */
export const ISSUER = 'issuer';

/**
 * The issuer of the tokens that programs ask for with API_AUTHORIZATION=jwt: it stands in for the one in API_JWT_ISSUER, whose tokens
 * nobody on this machine has. The programs get the address of its keys, unless the run is without it.
 */
export class LocalIssuer implements LocalService {
  readonly name = ISSUER;
  readonly title = 'issuer';
  readonly types = {};
  readonly tokens: TokenIssuer;
  readonly #context: RunContext;
  #server: LocalServer | undefined;
  #saidThatOpen = false;

  constructor(context: RunContext) {
    const file = join(context.dataDir, 'issuer.json');
    if (context.fresh) rmSync(file, { force: true });
    this.#context = context;
    this.tokens = new TokenIssuer(file);
  }

  /** Undefined when no program asks for its tokens. */
  get url(): string | undefined {
    return this.tokens.standsInFor.length > 0 ? this.#server?.url : undefined;
  }

  async start(): Promise<undefined> {
    this.#server = await serveIssuer(this.tokens, { port: await this.#context.port(this.name), log: this.#context.log });
  }

  environment(given: Readonly<Record<string, string>>): Record<string, string> {
    const { API_AUTHORIZATION: authorization, API_JWT_ISSUER: issuer, API_JWT_AUDIENCE: audiences } = given;
    if (authorization !== 'jwt') return {};
    if (this.#context.open) {
      if (!this.#saidThatOpen) this.#context.warn('The APIs are open (--open): they take every request, with or without a token.');
      this.#saidThatOpen = true;
      return { API_AUTHORIZATION: 'none' };
    }
    if (this.#context.without.includes(ISSUER)) return {};
    if (issuer !== undefined && audiences !== undefined) {
      this.tokens.standInFor({ issuer, audiences: audiences.split(',').map((one) => one.trim()).filter((one) => one !== '') });
    }
    return { API_JWKS_URL: `${this.#server?.url ?? ''}/jwks.json` };
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }
}
