import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { generate } from './secrets.ts';

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
