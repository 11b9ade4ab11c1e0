import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SecretsManager } from './endpoint.ts';
import { SecretFile } from './secret-file.ts';
import { generate, makeSecrets } from './secrets.ts';
import { temporaryFolder } from '../../test/temporary.ts';
import type { Model, Resource } from '../assembly/model.ts';

test('a generated secret has the length and the characters that were asked for, one of each kind', () => {
  fc.assert(fc.property(
    fc.record({
      PasswordLength: fc.integer({ min: 4, max: 100 }),
      ExcludeLowercase: fc.boolean(),
      ExcludeUppercase: fc.boolean(),
      ExcludePunctuation: fc.boolean(),
      ExcludeCharacters: fc.constantFrom('', '"@/\\', 'abc012'),
    }),
    (options) => {
      const password = generate(options);
      assert.equal(password.length, options.PasswordLength);
      assert.ok(![...password].some((character) => options.ExcludeCharacters.includes(character)));
      assert.match(password, /[0-9]/);
      assert.equal(/[a-z]/.test(password), !options.ExcludeLowercase);
      assert.equal(/[A-Z]/.test(password), !options.ExcludeUppercase);
      assert.equal(/[^A-Za-z0-9]/.test(password), !options.ExcludePunctuation);
    },
  ));
});

test('by default it is 32 characters, never the same, and goes into a template of its secret', () => {
  assert.equal(generate({}).length, 32);
  assert.notEqual(generate({}), generate({}));
  const secret = JSON.parse(generate({ SecretStringTemplate: '{"username":"admin"}', GenerateStringKey: 'password', PasswordLength: 20 })) as Record<string, string>;
  assert.deepEqual(Object.keys(secret), ['username', 'password']);
  assert.equal(secret.password?.length, 20);
});

test('a value that a program has rotated is there at the next start', async (context) => {
  const file = join(temporaryFolder(context), 'secrets.json');
  const endpoint = new SecretsManager();
  new SecretFile(file, endpoint).put('database', 'one');
  endpoint.put({ name: 'database', secretString: 'two' });
  assert.equal(new SecretFile(file, new SecretsManager()).value('database'), 'two');
});

test('versions, their ids and labels are there at the next start', (context) => {
  const file = join(temporaryFolder(context), 'secrets.json');
  const endpoint = new SecretsManager();
  new SecretFile(file, endpoint).put('signing', 'one');
  const { VersionId: two } = endpoint.put({ name: 'signing', secretString: 'two' });
  const kept: unknown[] = [];
  for (let start = 0; start < 2; start++) {
    const next = new SecretsManager();
    const secrets = new SecretFile(file, next);
    assert.equal(secrets.value('signing'), 'two');
    assert.equal(next.put({ name: 'signing', secretString: 'two' }).VersionId, two);
    kept.push(JSON.parse(readFileSync(file, 'utf8')));
  }
  assert.deepEqual(kept[0], kept[1]);
  const { signing } = kept[0] as { signing: { secretString: string; stages: string[] }[] };
  assert.deepEqual(signing.map(({ secretString, stages }) => [secretString, ...stages]), [['one', 'AWSPREVIOUS'], ['two', 'AWSCURRENT']]);
});

test('a file of a run that kept only values is read', (context) => {
  const file = join(temporaryFolder(context), 'secrets.json');
  writeFileSync(file, JSON.stringify({ database: 'password' }));
  assert.equal(new SecretFile(file, new SecretsManager()).value('database'), 'password');
});

test('a secret of a template gets a password at the first start only', () => {
  const secret = { physicalName: () => 'database', text: () => undefined, get: () => ({}) } as unknown as Resource;
  const values = new Map<string, string>();
  const start = () => makeSecrets({ ofType: () => [secret] } as unknown as Model, {
    arn: (name) => name, value: (name) => values.get(name), put: (name, value) => void values.set(name, value),
  }, assert.fail);
  start();
  const first = values.get('database');
  assert.equal(first?.length, 32);
  start();
  assert.equal(values.get('database'), first);
});
