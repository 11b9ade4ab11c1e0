import { randomInt } from 'node:crypto';
import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';

/** The part of the Secrets Manager endpoint that makes secrets. */
export interface SecretStore {
  arn(name: string): string;
  value(nameOrArn: string): string | undefined;
  put(name: string, secretString: string): void;
}

interface GenerateSecretString {
  readonly PasswordLength?: unknown;
  readonly ExcludeCharacters?: string;
  readonly ExcludeLowercase?: unknown;
  readonly ExcludeUppercase?: unknown;
  readonly ExcludeNumbers?: unknown;
  readonly ExcludePunctuation?: unknown;
  readonly IncludeSpace?: unknown;
  readonly RequireEachIncludedType?: unknown;
  readonly SecretStringTemplate?: string;
  readonly GenerateStringKey?: string;
}

/** Makes the secrets of the templates. One that is there from an earlier run keeps its value, as on a second deployment. */
export function makeSecrets(model: Model, store: SecretStore, warn: (sentence: string) => void): void {
  makeEach(model.ofType('AWS::SecretsManager::Secret'), warn, (secret) => {
    const name = secretName(secret);
    const given = secret.text('SecretString');
    if (given !== undefined) store.put(name, given);
    else if (store.value(name) === undefined) store.put(name, generate((secret.get('GenerateSecretString') ?? {}) as GenerateSecretString));
  });
}

export function secretName(secret: Resource): string {
  return secret.physicalName('Name', 512);
}

/** The secret that RDS makes for the administrator when it manages the password. */
export function managedSecretName(database: Resource): string {
  const kind = database.type === 'AWS::RDS::DBCluster' ? 'cluster' : 'db';
  return `rds!${kind}-${String(database.ref())}`;
}

/** Makes the administrator's credentials known, wherever the template wants them to come from. */
export function masterCredentials(database: Resource, store: SecretStore): { username: string; password: string } {
  const username = database.text('MasterUsername') ?? 'postgres';
  if (String(database.get('ManageMasterUserPassword')) !== 'true') return { username, password: database.text('MasterUserPassword') ?? generate({}) };
  const name = managedSecretName(database);
  const known = JSON.parse(store.value(name) ?? '{}') as { username?: string; password?: string };
  const password = known.username === username && known.password !== undefined ? known.password : generate({ ExcludeCharacters: '/@"\' \\' });
  store.put(name, JSON.stringify({ username, password }));
  return { username, password };
}

/** A running database, as secrets are attached to it. */
export interface AttachableDatabase {
  readonly resource: Resource;
  readonly name: string;
  readonly server: { readonly writer: { readonly host: string; readonly port: number } };
}

/** Writes into an attached secret how its database is reached, as Secrets Manager does. */
export function attachSecrets(model: Model, store: SecretStore, databases: readonly AttachableDatabase[]): void {
  for (const attachment of model.ofType('AWS::SecretsManager::SecretTargetAttachment')) {
    const secretId = attachment.text('SecretId') ?? '';
    const target = attachment.text('TargetId');
    const database = databases.find(({ resource }) => resource.ref() === target);
    const secret = model.byAttribute(['AWS::SecretsManager::Secret'], 'Ref', secretId);
    const before = store.value(secretId);
    if (!database || !secret || before === undefined) continue;
    const { host, port } = database.server.writer;
    const identifier = database.resource.type === 'AWS::RDS::DBCluster' ? { dbClusterIdentifier: target } : { dbInstanceIdentifier: target };
    const attached = { ...JSON.parse(before) as object, engine: 'postgres', host, port, dbname: database.name, ...identifier };
    if (JSON.stringify(attached) !== before) store.put(secretName(secret), JSON.stringify(attached));
  }
}

/** Secrets Manager's own sets of characters. */
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';

export function generate(options: GenerateSecretString): string {
  const on = (value: unknown) => String(value) === 'true';
  const allowed = (characters: string) => [...characters].filter((character) => !options.ExcludeCharacters?.includes(character)).join('');
  const sets = [
    on(options.ExcludeLowercase) ? '' : 'abcdefghijklmnopqrstuvwxyz',
    on(options.ExcludeUppercase) ? '' : 'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
    on(options.ExcludeNumbers) ? '' : '0123456789',
    on(options.ExcludePunctuation) ? '' : PUNCTUATION,
    on(options.IncludeSpace) ? ' ' : '',
  ].map(allowed).filter((set) => set !== '');
  const pick = (set: string) => set[randomInt(set.length)] ?? '';
  const characters = options.RequireEachIncludedType === undefined || on(options.RequireEachIncludedType) ? sets.map(pick) : [];
  const length = Number(options.PasswordLength ?? 32);
  while (characters.length < length) characters.push(pick(sets.join('')));
  for (let index = characters.length - 1; index > 0; index--) {
    const other = randomInt(index + 1);
    [characters[index], characters[other]] = [characters[other] ?? '', characters[index] ?? ''];
  }
  const password = characters.slice(0, length).join('');
  if (options.GenerateStringKey === undefined) return password;
  return JSON.stringify({ ...JSON.parse(options.SecretStringTemplate ?? '{}') as object, [options.GenerateStringKey]: password });
}
