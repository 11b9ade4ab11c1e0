import { createHash, randomUUID } from 'node:crypto';
import { AwsError } from '../http/aws-error.ts';
import { optionalText, page, requiredList, requiredText, serveAwsJson, structures } from '../http/aws-json.ts';
import type { Actions, AwsJsonServer, Input } from '../http/aws-json.ts';
import type { Log } from '../log.ts';
import { generate } from './secrets.ts';

/**
 * The part of Secrets Manager that services read their passwords with. Secrets live in the memory of this process, are given out on
 * loopback only, and their values are in no log and in no error.
 */
export interface SecretsManagerOptions {
  readonly log?: Log;
  readonly clock?: () => number;
  readonly region?: string;
  readonly accountId?: string;
}

export interface SecretInput {
  readonly name: string;
  readonly secretString: string;
  readonly description?: string;
}

/** A version of a secret, as it is kept over restarts. */
export interface KeptVersion {
  readonly id: string;
  readonly secretString?: string;
  readonly secretBinary?: string;
  readonly createdAt: number;
  readonly stages: readonly string[];
}

interface Version {
  readonly id: string;
  readonly secretString?: string;
  /** Base64, as it travels in JSON. */
  readonly secretBinary?: string;
  readonly createdAt: number;
  readonly stages: Set<string>;
}

interface Secret {
  readonly arn: string;
  readonly name: string;
  description: string | undefined;
  readonly createdAt: number;
  changedAt: number;
  readonly versions: Map<string, Version>;
}

const CURRENT = 'AWSCURRENT';
const PREVIOUS = 'AWSPREVIOUS';
const MAX_SECRET_BYTES = 65_536;

export class SecretsManager {
  readonly #region: string;
  readonly #accountId: string;
  readonly #log: Log;
  readonly #clock: () => number;
  readonly #secrets = new Map<string, Secret>();
  #listener: ((name: string, versions: readonly KeptVersion[]) => void) | undefined;
  #server: AwsJsonServer | undefined;

  constructor({ log = () => {}, clock = Date.now, region = 'us-east-1', accountId = '000000000000' }: SecretsManagerOptions = {}) {
    this.#log = log;
    this.#clock = clock;
    this.#region = region;
    this.#accountId = accountId;
  }

  /** Calls the listener with the versions of a secret whenever one of them, or a label, has changed. */
  onChange(listener: (name: string, versions: readonly KeptVersion[]) => void): void {
    this.#listener = listener;
  }

  /** Brings back a secret of an earlier run with its versions, whose ids programs may remember; one that is there already stays. */
  restore(name: string, versions: readonly KeptVersion[]): void {
    if (this.#secrets.has(name)) return;
    const secret = this.#create(name, undefined);
    for (const version of versions) secret.versions.set(version.id, { ...version, stages: new Set(version.stages) });
  }

  /** The ARN a secret of this name has or will have, the same in every run: AWS ends it with six characters, and so does this. */
  arnOf(name: string): string {
    const suffix = createHash('sha256')
      .update(name)
      .digest('base64')
      .replace(/[^A-Za-z]/g, '')
      .slice(0, 6);
    return `arn:aws:secretsmanager:${this.#region}:${this.#accountId}:secret:${name}-${suffix}`;
  }

  /** Creates the secret, or makes this its current value and what was current the previous one. The same value again changes nothing. */
  put({ name, secretString, description }: SecretInput): { ARN: string; Name: string; VersionId: string } {
    const secret = this.#secrets.get(name) ?? this.#create(name, description);
    const current = atStage(secret, CURRENT);
    const version =
      current?.secretString === secretString ? current : this.#addVersion(secret, { id: randomUUID(), secretString }, [CURRENT]);
    return { ARN: secret.arn, Name: name, VersionId: version.id };
  }

  async start({ port = 0 }: { port?: number } = {}): Promise<{ url: string; port: number }> {
    this.#server = await serveAwsJson({
      service: 'Secrets Manager',
      targetPrefix: 'secretsmanager',
      actions: this.#actions(),
      log: this.#log,
      port,
    });
    return { url: this.#server.url, port: this.#server.port };
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
  }

  #create(name: string, description: string | undefined): Secret {
    if (!/^[A-Za-z0-9/_+=.@!-]{1,512}$/.test(name)) {
      throw new AwsError(
        'ValidationException',
        'Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!',
      );
    }
    const now = this.#clock();
    const secret: Secret = { arn: this.arnOf(name), name, description, createdAt: now, changedAt: now, versions: new Map() };
    this.#secrets.set(name, secret);
    return secret;
  }

  #addVersion(secret: Secret, value: Pick<Version, 'id' | 'secretString' | 'secretBinary'>, stages: readonly string[]): Version {
    const version: Version = { ...value, createdAt: this.#clock(), stages: new Set() };
    secret.versions.set(version.id, version);
    for (const stage of stages) this.#moveStage(secret, stage, version);
    return version;
  }

  /** Moves a stage to a version. The version that was current becomes the previous one. */
  #moveStage(secret: Secret, stage: string, to: Version | undefined): void {
    const from = atStage(secret, stage);
    if (from === to) return;
    from?.stages.delete(stage);
    to?.stages.add(stage);
    if (stage === CURRENT && from && to) this.#moveStage(secret, PREVIOUS, from);
    // A version without a stage is one that AWS would soon delete.
    for (const [id, { stages: held }] of secret.versions) if (held.size === 0) secret.versions.delete(id);
    secret.changedAt = this.#clock();
    this.#listener?.(secret.name, [...secret.versions.values()].map((version) => ({ ...version, stages: [...version.stages] })));
  }

  /** Adds a version, or takes a repeated request for the one that it made. */
  #putVersion(secret: Secret, value: Pick<Version, 'id' | 'secretString' | 'secretBinary'>, stages: readonly string[]): Version {
    const known = secret.versions.get(value.id);
    if (known === undefined) return this.#addVersion(secret, value, stages);
    if (known.secretString === value.secretString && known.secretBinary === value.secretBinary) return known;
    throw new AwsError('ResourceExistsException', `A version ${value.id} of this secret already exists with another value.`);
  }

  /** The secret with a name, an ARN, or an ARN without its last six characters. */
  #find(id: string): Secret {
    const secret = this.#secrets.get(id) ?? [...this.#secrets.values()].find(({ arn }) => arn === id || arn.slice(0, -7) === id);
    if (secret === undefined) throw new AwsError('ResourceNotFoundException', "Secrets Manager can't find the specified secret.");
    return secret;
  }

  #actions(): Actions {
    return {
      GetSecretValue: input => {
        const secret = this.#find(requiredText(input, 'SecretId'));
        const [id, stage] = [optionalText(input, 'VersionId'), optionalText(input, 'VersionStage')];
        const version = id === undefined ? atStage(secret, stage ?? CURRENT) : secret.versions.get(id);
        if (version === undefined || (id !== undefined && stage !== undefined && !version.stages.has(stage))) {
          const wanted = id === undefined ? `staging label: ${stage ?? CURRENT}` : `VersionId: ${id}`;
          throw new AwsError('ResourceNotFoundException', `Secrets Manager can't find the specified secret value for ${wanted}`);
        }
        return {
          ARN: secret.arn,
          Name: secret.name,
          VersionId: version.id,
          SecretString: version.secretString,
          SecretBinary: version.secretBinary,
          VersionStages: [...version.stages],
          CreatedDate: version.createdAt / 1000,
        };
      },

      DescribeSecret: input => {
        const secret = this.#find(requiredText(input, 'SecretId'));
        return { ...summary(secret), VersionIdsToStages: stagesOf(secret) };
      },

      ListSecrets: input => {
        const { items, ...more } = page([...this.#secrets.values()].filter(nameFilter(input)), input, 'MaxResults');
        return { SecretList: items.map(secret => ({ ...summary(secret), SecretVersionsToStages: stagesOf(secret) })), ...more };
      },

      CreateSecret: input => {
        const name = requiredText(input, 'Name');
        const value = valueOf(input, false);
        if (this.#secrets.has(name)) {
          throw new AwsError('ResourceExistsException', `The operation failed because the secret ${name} already exists.`);
        }
        const secret = this.#create(name, optionalText(input, 'Description'));
        const version = value === undefined ? undefined : this.#addVersion(secret, value, [CURRENT]);
        return { ARN: secret.arn, Name: name, VersionId: version?.id };
      },

      PutSecretValue: input => {
        const secret = this.#find(requiredText(input, 'SecretId'));
        const value = valueOf(input, true)!;
        const stages = given(input, 'VersionStages')?.map(String) ?? [CURRENT];
        const version = this.#putVersion(secret, value, stages);
        return { ARN: secret.arn, Name: secret.name, VersionId: version.id, VersionStages: [...version.stages] };
      },

      UpdateSecret: input => {
        const secret = this.#find(requiredText(input, 'SecretId'));
        const value = valueOf(input, false);
        secret.description = optionalText(input, 'Description') ?? secret.description;
        const version = value === undefined ? undefined : this.#putVersion(secret, value, [CURRENT]);
        return { ARN: secret.arn, Name: secret.name, VersionId: version?.id };
      },

      UpdateSecretVersionStage: input => {
        const secret = this.#find(requiredText(input, 'SecretId'));
        const stage = requiredText(input, 'VersionStage');
        const [to, from] = [optionalText(input, 'MoveToVersionId'), optionalText(input, 'RemoveFromVersionId')];
        for (const id of [to, from]) {
          if (id === undefined || secret.versions.has(id)) continue;
          throw new AwsError('ResourceNotFoundException', `Secrets Manager can't find the specified secret version: ${id}.`);
        }
        const holder = atStage(secret, stage);
        if (holder !== undefined && holder.id !== to && holder.id !== from) {
          throw new AwsError(
            'InvalidParameterException',
            `The parameter RemoveFromVersionId can't be empty or another. Staging label ${stage} is currently attached to version ${holder.id}.`,
          );
        }
        if (stage === CURRENT && to === undefined) throw new AwsError('InvalidParameterException', `You can only move staging label ${CURRENT} to a different secret version.`);
        this.#moveStage(secret, stage, to === undefined ? undefined : secret.versions.get(to));
        return { ARN: secret.arn, Name: secret.name };
      },

      GetRandomPassword: input => ({ RandomPassword: generate(input as Parameters<typeof generate>[0]) }),
    };
  }
}

function atStage({ versions }: Secret, stage: string): Version | undefined {
  return [...versions.values()].find(({ stages }) => stages.has(stage));
}

const stagesOf = ({ versions }: Secret) => Object.fromEntries([...versions.values()].map(({ id, stages }) => [id, [...stages]]));

function summary({ arn, name, description, createdAt, changedAt }: Secret) {
  return { ARN: arn, Name: name, Description: description, CreatedDate: createdAt / 1000, LastChangedDate: changedAt / 1000 };
}

function valueOf(input: Input, required: boolean): Pick<Version, 'id' | 'secretString' | 'secretBinary'> | undefined {
  const [secretString, secretBinary] = [optionalText(input, 'SecretString'), optionalText(input, 'SecretBinary')];
  if (secretString === undefined && secretBinary === undefined) {
    if (!required) return undefined;
    throw new AwsError('InvalidParameterException', 'You must provide either SecretString or SecretBinary.');
  }
  if (secretString !== undefined && secretBinary !== undefined) {
    throw new AwsError(
      'InvalidParameterException',
      "You can't specify both a binary secret value and a string secret value in the same secret.",
    );
  }
  if (Buffer.byteLength(secretString ?? secretBinary!) > MAX_SECRET_BYTES) {
    throw new AwsError('ValidationException', `The secret value must not have more than ${MAX_SECRET_BYTES} bytes.`);
  }
  const id = optionalText(input, 'ClientRequestToken') ?? randomUUID();
  return { id, ...(secretString === undefined ? { secretBinary: secretBinary! } : { secretString }) };
}

const given = (input: Input, list: string) => ((input[list] ?? undefined) === undefined ? undefined : requiredList(input, list));

function nameFilter(input: Input): (secret: Secret) => boolean {
  const prefixes = structures(given(input, 'Filters') ?? [], 'Filters').map(({ Key, Values }) => {
    if (Key !== 'name' || !Array.isArray(Values)) {throw new AwsError('InvalidParameterException', `ListSecrets has only the filter "name" in the local run, not ${String(Key)}.`);}
    return Values.map(String);
  });
  return ({ name }) => prefixes.every(any => any.some(prefix => name.startsWith(prefix)));
}
