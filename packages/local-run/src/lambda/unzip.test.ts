import assert from 'node:assert/strict';
import { existsSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { strToU8, zipSync } from 'fflate';
import type { Zippable } from 'fflate';
import { temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';
import { unpackOnce } from './unzip.ts';

const link = (target: string): Zippable[string] => [strToU8(target), { os: 3, attrs: (0o120777 << 16) >>> 0 }];

function unpack(context: TestContext, entries: Zippable): string {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, 'a.zip'), zipSync(entries));
  return unpackOnce(join(folder, 'a.zip'), join(folder, 'made', 'a'));
}

test('files, folders, modes and links within the archive', (context) => {
  const made = unpack(context, {
    'lib/real.so': strToU8('x'),
    'lib/link.so': link('real.so'),
    'run': [strToU8('y'), { os: 3, attrs: 0o100750 << 16 }],
    'locked': [strToU8('z'), { os: 3, attrs: 0o100444 << 16 }],
    'empty/': [new Uint8Array(), {}],
  });
  assert.equal(readFileSync(join(made, 'lib/link.so'), 'utf8'), 'x');
  assert.ok(lstatSync(join(made, 'lib/link.so')).isSymbolicLink());
  assert.equal(statSync(join(made, 'run')).mode & 0o777, 0o750);
  assert.equal(statSync(join(made, 'locked')).mode & 0o200, 0o200, 'its owner can delete and replace it');
  assert.ok(statSync(join(made, 'empty')).isDirectory());
});

test('an archive is unpacked once, and again after one that failed', (context) => {
  const folder = temporaryFolder(context);
  const archive = join(folder, 'a.zip');
  writeFileSync(archive, 'no archive at all');
  assert.throws(() => unpackOnce(archive, join(folder, 'a')), (error) => error instanceof LocalRunError && /a\.zip cannot be unpacked: /.test(error.message));
  assert.ok(!existsSync(join(folder, 'a')));
  writeFileSync(archive, zipSync({ file: strToU8('first') }));
  unpackOnce(archive, join(folder, 'a'));
  writeFileSync(archive, 'no archive at all');
  assert.equal(readFileSync(join(unpackOnce(archive, join(folder, 'a')), 'file'), 'utf8'), 'first');
});

for (const [what, entries] of Object.entries<Zippable>({
  'a path upwards': { 'a/../../b': strToU8('') },
  'an absolute path': { '/etc/b': strToU8('') },
  'a Windows path': { 'C:\\b': strToU8('') },
  'a link to an absolute path': { a: link('/etc/passwd') },
  'a link upwards': { 'a/b': link('../../c') },
  'a file through a link': { 'a': link('b'), 'a/c': strToU8('') },
  'a link through a link that leads upwards': { 'a': link('../..'), 'a/b': link('c') },
  'a link through another link': { 'x/y/up': link('../..'), 'out': link('x/y/up/../..') },
})) {
  test(`${what} is refused`, (context) => {
    assert.throws(() => unpack(context, entries), /outside of the folder that it is unpacked into/);
  });
}
