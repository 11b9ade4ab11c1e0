import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { synthesizeImages } from '../../test/images/app.ts';
import type { ImagesOptions } from '../../test/images/app.ts';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';
import type { LocalRun, LocalRunOptions } from '../local-run.ts';
import { startLocal } from '../run.ts';

process.env.CDK_VALIDATION = 'false';

const SERVER = `
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { greeting } from './greeting.mjs';
createServer((request, response) => response.end(greeting + readFileSync('suffix.txt', 'utf8'))).listen(process.env.PORT, process.env.HOST);
`;
const MULTI_STAGE = `FROM node:24 AS build
WORKDIR /src
COPY . .
RUN npm ci && npm run build
FROM node:24-slim
WORKDIR /app
COPY --from=build /src/dist ./
EXPOSE 8080
CMD ["node", "server.mjs"]
`;
const BUILT = { 'dist/server.mjs': SERVER, 'dist/greeting.mjs': 'export const greeting = "hello";\n', 'dist/suffix.txt': '!' };

function folderOf(context: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder(context);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

async function start(context: TestContext, images: ImagesOptions['images'], options: Partial<LocalRunOptions & ImagesOptions> = {}): Promise<LocalRun> {
  const folder = temporaryFolder(context);
  const assemblyDir = synthesizeImages({ outdir: join(folder, 'cdk.out'), images, ...options });
  const run = await startLocal({ assemblyDir, dataDir: join(folder, 'data'), ...options });
  atEnd(context, () => run.stop());
  return run;
}

async function ask(run: LocalRun, name: string): Promise<string> {
  return (await fetch(run.workloads.find((workload) => workload.name === name)?.urls[0] ?? '')).text();
}

test('a multi-stage image runs from the folder that its build has made, with the files beside its program', async (context) => {
  const run = await start(context, { web: folderOf(context, { Dockerfile: MULTI_STAGE, ...BUILT }) });
  assert.deepEqual(run.warnings, []);
  assert.equal(await ask(run, 'web'), 'hello!');
});

test('one that is not built is not started, with the line that matters and the remedy; the others run', async (context) => {
  const unbuilt = folderOf(context, { 'Dockerfile': MULTI_STAGE, 'src/server.ts': '' });
  const images = { web: folderOf(context, { Dockerfile: MULTI_STAGE, ...BUILT }), unbuilt };
  const run = await start(context, images);
  assert.deepEqual(run.warnings, ['Deployment unbuilt is not started: its container main runs node server.mjs, and dist/server.mjs is not in its build context: '
    + 'Dockerfile:7 `COPY --from=build /src/dist ./` copies it, Dockerfile:4 `RUN npm ci && npm run build` makes it, and the local run does not build images. '
    + 'Build it where its sources are, and use `cdk synth --no-staging`, which takes that folder as it is, or leave it out with --without unbuilt.']);
  assert.equal(await ask(run, 'web'), 'hello!');
  await run.stop();

  const without = await start(context, images, { without: ['unbuilt'] });
  assert.deepEqual([without.warnings, without.workloads.map(({ name }) => name)], [[], ['web']]);
});

test('without staging, the folder of the sources is what runs, with what .dockerignore names', async (context) => {
  const folder = folderOf(context, { 'Dockerfile': MULTI_STAGE, '.dockerignore': 'dist\nnode_modules\n', ...BUILT });
  const staged = await start(context, { web: folder });
  assert.match(staged.warnings.join(), /dist\/server\.mjs is not in its build context/);
  await staged.stop();
  assert.equal(await ask(await start(context, { web: folder }, { withoutStaging: true }), 'web'), 'hello!');
});

test('a crash because of a missing package shows the line that names it, the line of the Dockerfile, and how to leave it out', async (context) => {
  const files = {
    'Dockerfile': 'FROM node:24\nWORKDIR /app\nCOPY package.json .\nRUN npm ci\nCOPY . .\nCMD node server.cjs\n',
    'server.cjs': 'require("a-package-of-nobody");\n',
  };
  const images = { good: folderOf(context, { Dockerfile: MULTI_STAGE, ...BUILT }), broken: folderOf(context, files) };
  const container = { readinessProbe: { httpGet: { path: '/', port: 8080 } } };
  await assert.rejects(start(context, images, { container }), (error) => error instanceof LocalRunError
    && /^broken ended with code 1; its last words \(.*broken\.log\): /.test(error.message)
    && error.message.includes('Error: Cannot find module \'a-package-of-nobody\'')
    && error.message.includes('The local run does not build images, so the files of Dockerfile:4 `RUN npm ci` may be missing: do it where its sources are')
    && error.message.includes('--without broken'));
  const run = await start(context, images, { container, without: ['broken'] });
  assert.deepEqual([run.warnings, await ask(run, 'good')], [[], 'hello!']);
});

test('a program of a base image that is not on this machine', async (context) => {
  const run = await start(context, {
    proxy: folderOf(context, { 'Dockerfile': 'FROM haproxy:3\nCOPY haproxy.cfg /etc/\nENTRYPOINT ["no-such-proxy", "-f", "/etc/haproxy.cfg"]\n', 'haproxy.cfg': '' }),
    silent: folderOf(context, { Dockerfile: 'FROM nginx:1.29\nCOPY . /usr/share/nginx/html\n' }),
  });
  assert.deepEqual(run.warnings, [
    'Deployment proxy is not started: its container main runs no-such-proxy of its image (haproxy:3), and there is no such program on this machine. '
    + 'Install it, or leave it out with --without proxy.',
    'Deployment silent is not started: its container main has no command of its own: that of its base image nginx:1.29 cannot be read here. '
    + 'Give it one in Dockerfile or in the manifest, or leave it out with --without silent.',
  ]);
});

test('a Python image runs where Python is', { skip: spawnSync('python3', ['--version']).status !== 0 && 'no Python on this machine' }, async (context) => {
  const server = `
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ['GREETING'].encode())
HTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
`;
  const dockerfile = 'FROM python:3.13\nARG NAME=nobody\nENV GREETING="hello $NAME"\nWORKDIR /app\nCOPY app.py .\nUSER 1000\nEXPOSE 8080\nCMD ["python", "-u", "app.py"]\n';
  const container = { readinessProbe: { httpGet: { path: '/', port: 8080 } } };
  const run = await start(context, { python: folderOf(context, { 'Dockerfile': dockerfile, 'app.py': server }) }, { container });
  assert.equal(await ask(run, 'python'), 'hello nobody');
  await run.stop();

  const broken = folderOf(context, { 'Dockerfile': dockerfile, 'app.py': 'import a_package_of_nobody\n' });
  await assert.rejects(start(context, { broken }, { container }), /ModuleNotFoundError: No module named 'a_package_of_nobody'/);
});
