import { createSecretKey } from 'node:crypto';
import { DescribeSecretCommand, GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { createSecretsClient } from './database-login.ts';
import { keyIdOf, type SigningKey, type SigningKeys } from './events/index.ts';
import type { Readiness } from './http/health.ts';
import { runLoop, type Loop } from './run-loop.ts';
import type { RunningService } from './service.ts';
import type { Logger } from './telemetry.ts';

const CURRENT = 'AWSCURRENT';
/** After this a rotation is noticed without a message that needs it: by who signs, and by who must not believe an older key any more. */
const RENEW_MS = 300_000;
/** The secret is read at most once in this time, whatever messages come. */
const PAUSE_MS = 5_000;
/** The length of a key of HMAC-SHA-256: a shorter key is a weaker one (RFC 2104, 3). */
const MIN_BYTES = 32;

export interface EventKeysOptions {
  readonly logger: Logger;
  readonly secrets?: SecretsManagerClient;
  /** @default 5 minutes */
  readonly renewMs?: number;
  /** The least time between two readings. @default 5 s */
  readonly pauseMs?: number;
}

interface Known {
  readonly current: SigningKey;
  readonly accepted: SigningKeys;
}

/**
 * The keys by which events are signed: all versions of a secret that have a staging label. The relay signs with AWSCURRENT. Consumers
 * accept AWSPREVIOUS, too, so messages of before a rotation hold, AWSPENDING, and versions with a label that somebody gave them, for
 * replays of an archive. Only AWSCURRENT has to be there: another version that can't be read or is too short is left out, and tried
 * again with the next reading. Without Secrets Manager, keys that are known go on.
 */
export class EventKeys {
  readonly #secretArn: string;
  readonly #secrets: SecretsManagerClient;
  readonly #log: Logger;
  readonly #loop: Loop;
  /** The keys by version; a version never changes. */
  #versions = new Map<string, SigningKey>();
  #known: Known | undefined;
  /** Versions that the log says are left out. */
  readonly #leftOut = new Set<string>();
  #readAt = -Infinity;
  readonly #first = Promise.withResolvers<void>();
  #wanted: PromiseWithResolvers<void>[] = [];

  constructor(secretArn: string, { logger, secrets = createSecretsClient(), renewMs = RENEW_MS, pauseMs = PAUSE_MS }: EventKeysOptions) {
    this.#secretArn = secretArn;
    this.#secrets = secrets;
    this.#log = logger;
    this.#loop = runLoop({
      round: async () => {
        const tooEarly = this.#readAt + pauseMs - performance.now();
        if (tooEarly > 0) return tooEarly;
        await this.#read();
        return this.#wanted.length > 0 ? pauseMs : renewMs * (1 - Math.random() / 4);
      },
      failed: (error, failures) => {
        if (failures > 1) return;
        logger.warn({ err: error }, this.#known ? 'the signing secret could not be read again; the known keys go on' : 'events wait: the signing secret can\'t be read');
      },
      recovered: () => logger.info('the signing secret can be read again'),
    });
  }

  ready(): Readiness {
    return this.#known ? true : 'The signing secret of the events cannot be read.';
  }

  /** The key that signs; undefined until it was read. */
  get current(): SigningKey | undefined {
    return this.#known?.current;
  }

  /** The keys that are believed; undefined until they were read. */
  get accepted(): SigningKeys | undefined {
    return this.#known?.accepted;
  }

  /** Once the secret was read for the first time. */
  async known(signal: AbortSignal): Promise<void> {
    await this.#until(this.#first, signal);
  }

  /** Once the secret was read again, from now on; waits for Secrets Manager as long as it takes. */
  async renewed(signal: AbortSignal): Promise<void> {
    const wanted = Promise.withResolvers<void>();
    this.#wanted.push(wanted);
    this.#loop.wake();
    await this.#until(wanted, signal);
  }

  async #until({ promise }: PromiseWithResolvers<void>, signal: AbortSignal): Promise<void> {
    const ended = Promise.withResolvers<void>();
    const end = () => ended.resolve();
    if (signal.aborted) return;
    signal.addEventListener('abort', end, { once: true });
    await Promise.race([promise, ended.promise]);
    signal.removeEventListener('abort', end);
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#secrets.destroy();
  }

  async #read(): Promise<void> {
    this.#readAt = performance.now();
    const answered = this.#wanted.splice(0);
    try {
      const { VersionIdsToStages = {} } = await this.#secrets.send(new DescribeSecretCommand({ SecretId: this.#secretArn }));
      const versions = new Map<string, SigningKey>();
      let current: SigningKey | undefined;
      for (const [version, stages] of Object.entries(VersionIdsToStages)) {
        if (stages.length === 0) continue;
        const key = this.#versions.get(version) ?? await this.#keyOf(version, stages);
        if (!key) continue;
        versions.set(version, key);
        if (stages.includes(CURRENT)) current = key;
      }
      if (!current) throw new Error(`The signing secret ${this.#secretArn} has no version AWSCURRENT.`);
      if (current.id !== this.#known?.current.id) {
        const accepted = [...versions.values()].map(({ id }) => id);
        this.#log.info({ keyId: current.id, accepted }, 'the signing key of the events is known');
      }
      this.#versions = versions;
      const byId = Map.groupBy(versions.values(), ({ id }) => id);
      this.#known = { current, accepted: new Map([...byId].map(([id, keys]) => [id, keys.map(({ secret }) => secret)])) };
    } catch (error) {
      this.#wanted.push(...answered);
      throw error;
    }
    this.#first.resolve();
    answered.forEach(({ resolve }) => resolve());
  }

  /** Undefined for a version that is left out, as one that a rotation has only begun. */
  async #keyOf(version: string, stages: readonly string[]): Promise<SigningKey | undefined> {
    try {
      const request = new GetSecretValueCommand({ SecretId: this.#secretArn, VersionId: version });
      const { SecretString, SecretBinary } = await this.#secrets.send(request);
      const bytes = Buffer.from(SecretString ?? SecretBinary ?? '');
      if (bytes.length >= MIN_BYTES) {
        this.#leftOut.delete(version);
        return { id: keyIdOf(version), secret: createSecretKey(bytes) };
      }
      throw new Error(`The signing secret ${this.#secretArn} must have at least ${MIN_BYTES} characters; its version ${version} has ${bytes.length}.`);
    } catch (error) {
      if (stages.includes(CURRENT)) throw error;
      if (!isWithoutValue(error) && !this.#leftOut.has(version)) {
        this.#leftOut.add(version);
        this.#log.warn({ err: error, version, stages }, 'a version of the signing secret is left out: events that it has signed are refused');
      }
      return undefined;
    }
  }
}

/** Starts who signs when the key is known, so that nothing is sent without; at once if nothing is to be signed. */
export function startWithKeys(keys: EventKeys | undefined, start: (signingKey?: () => SigningKey) => RunningService): RunningService {
  if (!keys) return start();
  const stopping = new AbortController();
  let running: RunningService | undefined;
  const waiting = keys.known(stopping.signal).then(() => {
    if (!stopping.signal.aborted) running = start(() => keys.current!);
  });
  return {
    ready: () => (running ? running.ready?.() ?? true : keys.ready()),
    async stop() {
      stopping.abort();
      await waiting;
      await running?.stop();
    },
  };
}

function isWithoutValue(error: unknown): boolean {
  return (error as Error).name === 'ResourceNotFoundException';
}
