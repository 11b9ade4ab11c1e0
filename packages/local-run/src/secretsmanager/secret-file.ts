import { randomUUID } from 'node:crypto';
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { codeOf, LocalRunError } from '../errors.ts';
import type { KeptVersion, SecretsManager } from './endpoint.ts';
import type { SecretStore } from './secrets.ts';

const CURRENT = 'AWSCURRENT';

/**
 * Keeps secrets over restarts, since databases keep the passwords, and messages the ids of the versions that signed them. Only their owner
 * can read the file.
 */
export class SecretFile implements SecretStore {
  readonly #file: string;
  readonly #endpoint: SecretsManager;
  readonly #secrets: Map<string, readonly KeptVersion[]>;

  constructor(file: string, endpoint: SecretsManager) {
    this.#file = file;
    this.#endpoint = endpoint;
    this.#secrets = new Map(Object.entries(read(file)));
    if (this.#secrets.size > 0) this.#write();
    endpoint.onChange((name, versions) => this.#keep(name, versions));
  }

  arn(name: string): string {
    return this.#endpoint.arnOf(name);
  }

  value(nameOrArn: string): string | undefined {
    const name = [...this.#secrets.keys()].find((candidate) => candidate === nameOrArn || this.arn(candidate) === nameOrArn);
    if (name === undefined) return undefined;
    // What is asked for belongs to this run: the endpoint has to know it, too.
    this.#restore(name);
    return this.#secrets.get(name)!.find(({ stages }) => stages.includes(CURRENT))?.secretString;
  }

  put(name: string, secretString: string): void {
    this.#restore(name);
    this.#endpoint.put({ name, secretString });
  }

  #restore(name: string): void {
    const versions = this.#secrets.get(name);
    if (versions) this.#endpoint.restore(name, versions);
  }

  /** Writes what has changed. A program that rotates the secret may have done it. */
  #keep(name: string, versions: readonly KeptVersion[]): void {
    this.#secrets.set(name, versions);
    this.#write();
  }

  #write(): void {
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify(Object.fromEntries(this.#secrets)), { mode: 0o600 });
    chmodSync(draft, 0o600);
    renameSync(draft, this.#file);
  }
}

function read(file: string): Record<string, readonly KeptVersion[]> {
  try {
    const secrets = JSON.parse(readFileSync(file, 'utf8')) as Record<string, readonly KeptVersion[] | string>;
    return Object.fromEntries(Object.entries(secrets).map(([name, kept]) => [name, typeof kept === 'string' ? [former(kept)] : kept]));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return {};
    throw new LocalRunError(`The secrets of earlier runs in ${file} cannot be read: start with --fresh, which forgets them and the databases.`);
  }
}

/** The version for a secret of a run that kept only the current value of each. */
function former(secretString: string): KeptVersion {
  return { id: randomUUID(), secretString, createdAt: Date.now(), stages: [CURRENT] };
}
