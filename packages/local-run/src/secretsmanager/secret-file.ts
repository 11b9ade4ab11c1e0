import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { codeOf, LocalRunError } from '../errors.ts';
import type { SecretsManager } from './endpoint.ts';
import type { SecretStore } from './secrets.ts';

/** Keeps the values of secrets over restarts, since databases keep the passwords; only their owner can read the file. */
export class SecretFile implements SecretStore {
  readonly #file: string;
  readonly #endpoint: SecretsManager;
  readonly #values: Map<string, string>;

  constructor(file: string, endpoint: SecretsManager) {
    this.#file = file;
    this.#endpoint = endpoint;
    this.#values = new Map(Object.entries(read(file)));
    endpoint.onCurrent((name, secretString) => this.#keep(name, secretString));
  }

  arn(name: string): string {
    return this.#endpoint.arnOf(name);
  }

  value(nameOrArn: string): string | undefined {
    const name = [...this.#values.keys()].find((candidate) => candidate === nameOrArn || this.arn(candidate) === nameOrArn);
    if (name === undefined) return undefined;
    const value = this.#values.get(name);
    // What is asked for belongs to this run: the endpoint has to know it, too.
    if (value !== undefined) this.#endpoint.put({ name, secretString: value });
    return value;
  }

  put(name: string, secretString: string): void {
    this.#endpoint.put({ name, secretString });
  }

  /** Writes a value that is current now. A program that rotates the secret may have given it. */
  #keep(name: string, secretString: string): void {
    if (this.#values.get(name) === secretString) return;
    this.#values.set(name, secretString);
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify(Object.fromEntries(this.#values)), { mode: 0o600 });
    chmodSync(draft, 0o600);
    renameSync(draft, this.#file);
  }
}

function read(file: string): Record<string, string> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return {};
    throw new LocalRunError(`The secrets of earlier runs in ${file} cannot be read: start with --fresh, which forgets them and the databases.`);
  }
}
