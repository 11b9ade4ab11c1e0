import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { onThisMachine } from './command.ts';
import { readImage } from './dockerfile.ts';
import { ImageFiles } from './image-files.ts';
import { temporaryFolder } from '../../test/temporary.ts';

interface Image {
  readonly folder: string;
  readonly files: ImageFiles;
  /** The command of the image, or other words, with paths relative to the build context. */
  run(...words: string[]): { readonly command: readonly string[]; readonly folder: string } | object;
}

function image(context: TestContext, dockerfile: string, present: readonly string[]): Image {
  const folder = temporaryFolder(context);
  for (const [path, content] of Object.entries({ Dockerfile: dockerfile, ...Object.fromEntries(present.map((file) => [file, ''])) })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  const asset = { directory: folder, dockerFile: 'Dockerfile' };
  const stage = readImage(asset);
  const files = new ImageFiles(stage, asset);
  const relative = (path: string) => (path === folder ? '.' : path.replace(`${folder}/`, '<context>/'));
  return {
    folder,
    files,
    run: (...words) => {
      const { workingDirectory, entrypoint, command } = stage;
      const found = onThisMachine(words.length > 0 ? words : [...entrypoint, ...command], { workingDirectory, files, otherwise: folder });
      return 'command' in found ? { command: found.command.map(relative), folder: relative(found.folder) } : found;
    },
  };
}

const MULTI_STAGE = `FROM node:24 AS build
WORKDIR /src
COPY package*.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:24-slim
WORKDIR /app
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./
COPY config/default.json /etc/shop/
CMD ["node", "server.js"]
`;

test('a file of the last stage is found where it lies in the build context, through the stages', (context) => {
  const { run, files, folder } = image(context, MULTI_STAGE, ['dist/server.js', 'dist/lib/x.js', 'package.json', 'config/default.json', 'node_modules/a/index.js']);
  assert.deepEqual(run(), { command: ['node', 'server.js'], folder: '<context>/dist' });
  assert.deepEqual(run('node', '/app/server.js', '--config', '/etc/shop/default.json'), {
    command: ['node', '<context>/dist/server.js', '--config', '<context>/config/default.json'], folder: '<context>/dist',
  });
  assert.equal(files.find('/app/lib/x.js'), join(folder, 'dist/lib/x.js'));
  assert.equal(files.find('/app/node_modules/a'), join(folder, 'node_modules/a'));
});

test('a build writes beside the files that are copied one by one, here as in its stage', (context) => {
  const dockerfile = `FROM node:24 AS build
WORKDIR /src
COPY package.json tsconfig.json ./
RUN npm ci
COPY src ./src
RUN npx tsc
FROM gcr.io/distroless/nodejs24
WORKDIR /app
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/dist dist
CMD ["dist/server.js"]
`;
  const present = ['package.json', 'tsconfig.json', 'src/server.ts'];
  const { run, files, folder } = image(context, dockerfile, [...present, 'dist/server.js', 'node_modules/a/index.js']);
  assert.deepEqual(run(), { command: ['node', 'dist/server.js'], folder: '.' });
  assert.equal(files.find('/app/node_modules', 'folder'), join(folder, 'node_modules'));
  const unbuilt = image(context, dockerfile, present);
  assert.deepEqual(unbuilt.run(), { file: '/app/dist/server.js' });
  assert.deepEqual(unbuilt.files.missing('/app/dist/server.js'), {
    file: 'dist/server.js',
    isBelow: true,
    reason: 'Dockerfile:10 `COPY --from=build /src/dist dist` copies it, Dockerfile:6 `RUN npx tsc` makes it, and the local run does not build images',
  });
});

test('a build that writes elsewhere has no place in the build context', (context) => {
  const { run, files } = image(context, [
    'FROM golang AS build', 'WORKDIR /src', 'COPY . .', 'RUN go build -o /out/server',
    'FROM scratch', 'COPY --from=build /out/server /server', 'ENTRYPOINT ["/server"]', '',
  ].join('\n'), ['main.go']);
  assert.deepEqual(run(), { file: '/server' });
  assert.deepEqual(files.missing('/server'), {
    file: '/server',
    isBelow: false,
    reason: 'Dockerfile:6 `COPY --from=build /out/server /server` copies it, '
      + 'Dockerfile:4 `RUN go build -o /out/server` makes it, and the local run does not build images',
  });
});

test('a file that only a build makes is missing, with the lines that copy and make it', (context) => {
  const { run, files } = image(context, MULTI_STAGE, ['src/server.ts']);
  assert.deepEqual(run(), { file: '/app/server.js' });
  assert.deepEqual(files.missing('/app/server.js'), {
    file: 'dist/server.js',
    isBelow: true,
    reason: 'Dockerfile:11 `COPY --from=build /src/dist ./` copies it, Dockerfile:6 `RUN npm run build` makes it, '
      + 'and the local run does not build images',
  });
  assert.equal(files.installs(), 'Dockerfile:4 `RUN npm ci`');
});

test('a file of another image, and one that nothing copies', (context) => {
  const other = image(context, 'FROM node:24\nCOPY --from=busybox /bin/x.js /srv/\n', []);
  assert.match(other.files.missing('/srv/x.js').reason, /^Dockerfile:2 `COPY --from=busybox \/bin\/x\.js \/srv\/` takes files from another image$/);
  const none = image(context, 'FROM node:24\nCOPY a.js /srv/\n', ['a.js']);
  assert.deepEqual(none.run('node', '/opt/x.js'), { file: '/opt/x.js' });
  assert.match(none.files.missing('/opt/x.js').reason, /no line of Dockerfile copies it, so it is part of the image node:24 or made by a command/);
});

test('sources: files with other names, folders, patterns, lists; the last line that copies wins', (context) => {
  const { files, folder } = image(context, `FROM scratch
WORKDIR /app
COPY src/main.js server.js
COPY src lib
COPY ["a.json", "b.json", "conf/"]
COPY assets/*.css styles/
COPY other .
`, ['src/main.js', 'src/x.js', 'a.json', 'b.json', 'assets/one.css', 'assets/two.js', 'other/b.json', 'other/conf/b.json']);
  const found = (path: string) => files.find(path, 'file')?.slice(folder.length + 1);
  const paths = ['server.js', 'lib/x.js', 'conf/a.json', 'conf/b.json', 'styles/one.css', 'styles/two.js', 'b.json'];
  assert.deepEqual(paths.map((path) => found(`/app/${path}`)), [
    'src/main.js', 'src/x.js', 'a.json', 'other/conf/b.json', 'assets/one.css', undefined, 'other/b.json',
  ]);
});

test('a stage that builds on another has its files', (context) => {
  const { run } = image(context, 'FROM node:24 AS base\nWORKDIR /app\nCOPY . .\nFROM base AS debug\nFROM base\nCMD node main\n', ['main.js']);
  assert.deepEqual(run(), { command: ['node', 'main'], folder: '.' });
});

test('an image that copies nothing has the build context as its content', (context) => {
  const { run } = image(context, 'FROM node:24\nWORKDIR /srv\nCMD ["node", "/srv/main.js", "/srv/not-yet", "/etc"]\n', ['main.js']);
  assert.deepEqual(run(), { command: ['node', '<context>/main.js', '<context>/not-yet', '/etc'], folder: '.' });
});

test('the file of an interpreter, whatever stands before it', (context) => {
  const { run } = image(context, 'FROM node:24\nWORKDIR /app\nCOPY . .\n', ['dist/main.mjs', 'start.sh', 'app.py', 'app.jar', 'index.js']);
  for (const words of [
    ['node', '--enable-source-maps', '-r', 'absent.js', 'dist/main'], ['node', '-e', 'absent.js'], ['node', '.'], ['node'], ['/usr/local/bin/node', 'dist/main.mjs'],
    ['python3', '-u', 'app.py'], ['python3', '-m', 'absent'], ['java', '-Xmx1g', '-jar', 'app.jar'], ['sh', '-c', 'absent'], ['sh', './start.sh'],
    ['/sbin/tini', '-g', '--', 'node', 'dist/main'], ['docker-entrypoint.sh', 'node', 'dist/main'],
  ]) assert.ok('command' in run(...words), words.join(' '));
  assert.deepEqual(run('tini', '--', 'node', 'dist/main.mjs'), { command: ['node', 'dist/main.mjs'], folder: '.' });
  assert.deepEqual(run('/usr/local/bin/node', 'dist/main.mjs'), { command: ['node', 'dist/main.mjs'], folder: '.' });
  assert.deepEqual(run('./start.sh'), { command: ['<context>/start.sh'], folder: '.' });
  for (const [words, file] of [
    [['node', 'absent'], 'absent'], [['node', '--import', 'x', 'absent.js'], 'absent.js'], [['python3', '-W', 'ignore', 'absent.py'], 'absent.py'],
    [['java', '-jar', 'absent.jar'], 'absent.jar'], [['bash', 'absent.sh'], 'absent.sh'], [['./absent'], 'absent'],
  ] as const) assert.deepEqual(run(...words), { file: `/app/${file}` });
});

test('a program that is not on this machine', (context) => {
  const { run } = image(context, 'FROM nginx\nCOPY . /usr/share/nginx/html\n', []);
  assert.deepEqual(run('no-such-program', '-g', 'daemon off;'), { program: 'no-such-program' });
  assert.deepEqual(run('/usr/sbin/no-such-program'), { program: '/usr/sbin/no-such-program' });
});
