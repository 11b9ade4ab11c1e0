import { createHash, randomUUID } from 'node:crypto';
import { AwsError } from '../http/aws-error.ts';
import { optionalText, page, requiredList, requiredText, serveAwsJson, structures } from '../http/aws-json.ts';
import type { Actions, AwsJsonServer, Input } from '../http/aws-json.ts';
import type { Log } from '../log.ts';

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
  #server: AwsJsonServer | undefined;

  constructor({ log = () => {}, clock = Date.now, region = 'us-east-1', accountId = '000000000000' }: SecretsManagerOptions = {}) {
    this.#log = log;
    this.#clock = clock;
    this.#region = region;
    this.#accountId = accountId;
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
    const now = this.#clock();
    const version: Version = { ...value, createdAt: now, stages: new Set(stages) };
    const former = stages.includes(CURRENT) ? atStage(secret, CURRENT) : undefined;
    for (const { stages: held } of secret.versions.values()) {
      for (const stage of former === undefined ? stages : [...stages, PREVIOUS]) held.delete(stage);
    }
    former?.stages.add(PREVIOUS);
    // A version without a stage is one that AWS would soon delete.
    for (const [id, { stages: held }] of secret.versions) if (held.size === 0) secret.versions.delete(id);
    secret.versions.set(version.id, version);
    secret.changedAt = now;
    return version;
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
        let version = secret.versions.get(value.id);
        if (version === undefined) {
          version = this.#addVersion(secret, value, stages);
        } else if (version.secretString !== value.secretString || version.secretBinary !== value.secretBinary) {
          throw new AwsError('ResourceExistsException', `A version ${value.id} of this secret already exists with another value.`);
        }
        return { ARN: secret.arn, Name: secret.name, VersionId: version.id, VersionStages: [...version.stages] };
      },
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
