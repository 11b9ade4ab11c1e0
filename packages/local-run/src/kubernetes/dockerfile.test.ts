import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDockerfile } from './dockerfile.ts';

test('the last stage counts, with what it takes from the stage it builds on', () => {
  const image = parseDockerfile(`
# syntax=docker/dockerfile:1
FROM node:24-slim AS base
WORKDIR /srv
ENV MODE=live GREETING="hello there" PLAIN='a b'
ENV OLD some text
FROM node:24 as build
CMD ["npm", "run", "build"]
FROM --platform=linux/amd64 base
ENV PATH_TO=\${MODE}/x
WORKDIR app
ENTRYPOINT ["node", \\
  "main.js"]
CMD ["--verbose"]
`);
  assert.deepEqual(image, {
    entrypoint: ['node', 'main.js'],
    command: ['--verbose'],
    workingDirectory: '/srv/app',
    environment: { MODE: 'live', GREETING: 'hello there', PLAIN: 'a b', OLD: 'some text', PATH_TO: 'live/x' },
  });
});

test('a build target ends the image there; the shell form goes through a shell', () => {
  const text = 'FROM a AS one\nCMD echo hi $HOME\nFROM one AS two\nCMD ["two"]\n';
  assert.deepEqual(parseDockerfile(text, 'one').command, ['/bin/sh', '-c', 'echo hi $HOME']);
  assert.deepEqual(parseDockerfile(text).command, ['two']);
});

test('a new entry point resets the command of the stage below', () => {
  const image = parseDockerfile('FROM a AS base\nCMD ["x"]\nFROM base\nENTRYPOINT ["node"]\n');
  assert.deepEqual([image.entrypoint, image.command], [['node'], []]);
});
