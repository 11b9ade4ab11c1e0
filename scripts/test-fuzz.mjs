#!/usr/bin/env node
// Starts both APIs over a real database, with authorization, and lets Schemathesis send them what their OpenAPI document describes and what
// it forbids: as two customers, whose orders must stay private to each other, without a token, and with a made-up one. Then it takes the
// authorization out, and the condition on the customer, which the fuzzer has to find.
import { fork } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, install, missingTool } from './judges/judges.mjs';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { root, run, Steps, withFolder } from './lib/user-project.mjs';

const FUZZER = { name: 'schemathesis', package: { python: 'schemathesis', version: '4.32.5' } };

const USAGE = `usage: npm run test:fuzz [-- <options>]

  --examples <n>  the most requests of each kind to each operation; default: 30
  --seed <n>      repeats the requests of a run; default: another one each time
  --keep          keeps the folder with the report, and prints where it is
  --help          this text

The fuzzer is kept in ${cacheFolder()}; the variable CDK_ORDER_PIPELINE_CACHE names another folder.`;

const options = optionsOf(USAGE, {
  examples: { type: 'string', default: '30' }, seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) }, keep: { type: 'boolean', default: false },
}, ({ examples, seed }) => {
  for (const [name, value] of Object.entries({ examples, seed })) { if (!/^[1-9]\d{0,8}$/.test(value)) { throw new Error(`--${name} expects a whole number`); } }
});
requireTypeScript('test-fuzz');

let programs;
try {
  const missing = missingTool(FUZZER);
  if (missing) { throw new Error(missing); }
  programs = install(FUZZER);
} catch (error) {
  console.log(`skip: the fuzzer ${FUZZER.name} can't be installed here, so nothing was tested (${error.message.split('\n')[0]})`);
  process.exit(0);
}

/** Calls `use` with both APIs. */
async function withApis(hole, use) {
  const child = fork(join(root, 'reference-app/test/fuzz-apis.ts'), [hole], { cwd: join(root, 'reference-app'), stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { errors += text; });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const started = new Promise((resolve) => child.once('message', resolve));
    const failed = ended.then((code) => { throw new Error(`the APIs ended with ${code}\n${errors.slice(-2000)}`); });
    return await use(await Promise.race([started, failed]));
  } finally {
    if (child.connected) { child.disconnect(); }
    await ended;
  }
}

/** Whether wrong requests are refused and right ones taken is not asked here: the tests of the contracts do that, and know what a schema can't say. */
const CHECKS = [
  'not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance', 'response_schema_conformance',
  'ignored_auth', 'object_level_authorization',
];

/** With each of them the fuzzer has to find something; it ends when it has. */
const HOLES = {
  'no authentication': ['--checks', 'ignored_auth', '--phases', 'examples,coverage'],
  'no isolation': ['--checks', 'object_level_authorization', '--phases', 'stateful'],
};

const EXAMPLES_OF_HOLES = 100;

/** Lets the fuzzer ask as two customers, who must not see each other's orders, and returns its report. */
async function fuzz({ url, openapi, tokens }, folder, examples, args) {
  const file = (name) => join(folder, name);
  writeFileSync(file('openapi.json'), JSON.stringify(openapi));
  writeFileSync(file('users.json'), JSON.stringify({
    auth: Object.entries(tokens).map(([name, token]) => ({ name, fixedHeaders: [{ name: 'Authorization', value: `Bearer ${token}` }] })),
  }));
  writeFileSync(file('schemathesis.toml'), `[auth.wfc]
path = ${JSON.stringify(file('users.json'))}
peers = ${JSON.stringify(Object.keys(tokens))}

# What follows from each other: an order is placed, and then shown, changed or cancelled, by its customer and by the other one.
[phases.stateful.generation]
mode = "positive"
max-examples = ${5 * examples}
`);
  const report = file('report.json');
  const common = ['--url', url, '--seed', options.seed, '--max-examples', String(examples), '--request-timeout', '20', '--report', 'json', '--report-json-path', report];
  rmSync(report, { force: true });
  const ended = await run(join(programs, 'schemathesis'), ['--config-file', file('schemathesis.toml'), 'run', file('openapi.json'), ...common, ...args], {
    cwd: folder, env: { ...process.env, NO_COLOR: '1' },
  }).then(() => undefined, (error) => error);
  if (!existsSync(report)) { throw ended; }
  return { ended, ...JSON.parse(readFileSync(report, 'utf8')) };
}

const steps = new Steps();
await withFolder('fuzz', options.keep, async (folder) => {
  await steps.step(`the fuzzer finds nothing (--seed ${options.seed})`, () => withApis('', async (apis) => {
    const { ended, test_cases: requests, operations } = await fuzz(apis, folder, Number(options.examples), ['--checks', CHECKS.join(), '--continue-on-failure']);
    if (ended) { throw ended; }
    return { note: `${requests.generated} requests to ${operations.tested} operations` };
  }));
  for (const [hole, args] of Object.entries(HOLES)) {
    await steps.step(`the fuzzer finds it when there is ${hole}`, () => withApis(hole, async (apis) => {
      const { failures, errors } = await fuzz(apis, folder, EXAMPLES_OF_HOLES, [...args, '--max-failures', '1']);
      if (failures.length === 0) { throw new Error(`nothing was found${errors.length > 0 ? `, but an error: ${JSON.stringify(errors).slice(0, 1000)}` : ''}`); }
      return { note: failures[0].title };
    }));
  }
});
steps.finish();
