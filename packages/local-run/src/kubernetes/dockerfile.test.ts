import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDockerfile } from './dockerfile.ts';

test('the last stage counts, with what it takes from the stage it builds on', () => {
  const { entrypoint, command, workingDirectory, environment } = parseDockerfile(`
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
  # as ever
  "main.js"]
CMD ["--verbose"]
`);
  assert.deepEqual({ entrypoint, command, workingDirectory, environment }, {
    entrypoint: ['node', 'main.js'],
    command: ['--verbose'],
    workingDirectory: '/srv/app',
    environment: { MODE: 'live', GREETING: 'hello there', PLAIN: 'a b', OLD: 'some text', PATH_TO: 'live/x' },
  });
});

test('a build target ends the image there, also the last one', () => {
  const text = 'FROM a AS one\nCMD echo hi $HOME\nFROM one AS two\nCMD ["two"]\n';
  assert.deepEqual(parseDockerfile(text, { target: 'one' }).command, ['/bin/sh', '-c', 'echo hi $HOME']);
  assert.deepEqual(parseDockerfile(text, { target: 'two' }).command, ['two']);
  assert.deepEqual(parseDockerfile(text).command, ['two']);
});

test('a new entry point resets the command of the stage below', () => {
  const image = parseDockerfile('FROM a AS base\nCMD ["x"]\nFROM base\nENTRYPOINT ["node"]\n');
  assert.deepEqual([image.entrypoint, image.command], [['node'], []]);
});

test('the shell form goes through a shell, unless a shell changes nothing', () => {
  const command = (line: string) => parseDockerfile(`FROM a\n${line}\n`).command;
  assert.deepEqual(command('CMD exec node server.js --port 80'), ['node', 'server.js', '--port', '80']);
  assert.deepEqual(command('CMD node migrate.js && node server.js'), ['/bin/sh', '-c', 'node migrate.js && node server.js']);
  assert.deepEqual(command('CMD MODE=x node server.js'), ['/bin/sh', '-c', 'MODE=x node server.js']);
  assert.deepEqual(command('SHELL ["/bin/bash", "-c"]\nCMD echo "$0"'), ['/bin/bash', '-c', 'echo "$0"']);
});

test('arguments have the values of the app, else their own; a variable of the environment goes before', () => {
  const text = `
ARG VERSION=24
FROM node:\${VERSION} AS base
ARG VERSION
ARG MODE=dev FLAVOUR
ARG DIR=/opt/\${MODE}
ENV MODE2=\${MODE} FLAVOUR=\${FLAVOUR:-plain} V=$VERSION PRICE=\\$5 SET=\${MODE:+yes}
WORKDIR $DIR
FROM base
ENV LOST=\${MODE}
`;
  const { environment, workingDirectory, parent } = parseDockerfile(text, { buildArgs: { MODE: 'live', NOBODY: 'x' } });
  assert.equal(parent?.base, 'node:24');
  assert.equal(workingDirectory, '/opt/live');
  assert.deepEqual(environment, { MODE2: 'live', FLAVOUR: 'plain', V: '24', PRICE: '$5', SET: 'yes', LOST: '' });
});

test('ports, copies and commands of the build, with their lines', () => {
  const stage = parseDockerfile(`FROM node:24 AS build
WORKDIR /src
COPY package.json \\
  package-lock.json ./
RUN <<EOF
npm ci
FROM nowhere
EOF
COPY ["my sources", "."]
RUN npm run build

FROM nginx
USER 1000
EXPOSE 8080/tcp 53/udp
EXPOSE 9090
COPY --from=build --chown=1000 /src/dist /srv/
COPY --from=busybox /bin/x /bin/
COPY --from=0 /src/package.json /srv/
ADD https://example.com/x.tgz /srv/
`);
  assert.deepEqual([stage.base, stage.ports], ['nginx', [8080, 9090]]);
  const [dist, busybox, byNumber, address] = stage.copies;
  const build = dist?.from;
  assert.ok(typeof build === 'object' && byNumber?.from === build);
  assert.deepEqual([dist?.instruction.line, dist?.sources, dist?.destination], [16, ['/src/dist'], '/srv']);
  assert.deepEqual([busybox?.from, address?.sources], ['other image', []]);
  assert.deepEqual(build.copies.map(({ sources, destination }) => [sources, destination]), [[['package.json', 'package-lock.json'], '/src'], [['my sources'], '/src']]);
  assert.deepEqual(build.runs.map(({ line, rest }) => [line, rest]), [[5, '<<EOF'], [10, 'npm run build']]);
});

test('images without a shell start with their interpreter', () => {
  assert.deepEqual(parseDockerfile('FROM gcr.io/distroless/nodejs24-debian12\nCMD ["server.js"]\n').entrypoint, ['node']);
});
