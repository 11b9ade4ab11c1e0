#!/usr/bin/env node
// A page in a real browser (headless Chromium) tries to reach the local endpoints: by forms, by fetch, and by a name of its own that leads
// to this machine. Nothing that it sends may have an effect, and no secret may come back. Installs Chromium with apt where that is possible.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { delimiter, join } from 'node:path';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { root, Steps, withFolder } from './lib/user-project.mjs';

const USAGE = `usage: npm run test:browser [-- <options>]

  --chromium FILE the browser                                                  [chromium, chromium-browser or google-chrome of PATH]
  --keep          keeps the folder with the data and logs, and prints where it is
  --help          this text`;

const options = optionsOf(USAGE, { chromium: { type: 'string' }, keep: { type: 'boolean', default: false } });
requireTypeScript('test-browser');

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const find = () => options.chromium ?? process.env.PATH.split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))).find(existsSync);

function browser() {
  if (find() === undefined && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const settings = { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
    try {
      execFileSync('apt-get', ['update', '-qq'], settings);
      execFileSync('apt-get', ['install', '-qq', '--yes', '--no-install-recommends', 'chromium'], settings);
    } catch {
      // Said below.
    }
  }
  return find();
}

const chromium = browser();
if (chromium === undefined) {
  console.error('Chromium is not there, so nothing was tested: install it (Debian: sudo apt-get install chromium), or name it by --chromium.');
  process.exit(0);
}

const { startLocal } = await import('cdk-local-run');
const { synthesizeShop } = await import('../packages/local-run/test/shop/app.ts');
const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
const { SendMessageCommand, SQSClient } = await import('@aws-sdk/client-sqs');

/** Names of the page, which lead to this machine, as after DNS rebinding. */
const PAGE = 'page.example';
const REBOUND = 'rebound.example';

/** Loads an address, waits for its scripts, and returns the document as text. */
function load(url, profile) {
  const args = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', `--user-data-dir=${profile}`,
    `--host-resolver-rules=MAP ${PAGE} 127.0.0.1, MAP ${REBOUND} 127.0.0.1`, '--virtual-time-budget=8000', '--dump-dom', url,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(chromium, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
    let out = '';
    let error = '';
    child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
    child.stderr.setEncoding('utf8').on('data', (text) => { error += text; });
    child.on('error', reject);
    child.on('close', (code, signal) => (code === 0 ? resolve(out) : reject(new Error(`Chromium ended with ${code ?? signal}: ${error.slice(-500)}`))));
  });
}

/** Requests of every kind that a page can send, to each target, and what the page could read of the answers. */
function attack({ targets, queueUrl, busName, secretId }) {
  const form = { Action: 'SendMessage', Version: '2012-11-05', QueueUrl: queueUrl, MessageBody: 'from a page', TopicArn: 'arn:aws:sns:us-east-1:000000000000:t', Message: 'from a page' };
  const bodies = [
    ['AmazonSQS.SendMessage', { QueueUrl: queueUrl, MessageBody: 'from a page' }],
    ['AWSEvents.PutEvents', { Entries: [{ EventBusName: busName, Source: 'shop', DetailType: 'OrderCreated', Detail: '{"id":"from-a-page"}' }] }],
    ['secretsmanager.GetSecretValue', { SecretId: secretId }],
  ];
  return `<!doctype html><title>waiting</title><pre id="read"></pre><script>
    const read = [];
    const targets = ${JSON.stringify(targets)}, form = ${JSON.stringify(form)}, bodies = ${JSON.stringify(bodies)};
    const submit = (action, fields, enctype, n) => {
      const frame = document.createElement('iframe'); frame.name = 'f' + n; document.body.append(frame);
      const element = document.createElement('form'); Object.assign(element, { action, method: 'post', enctype, target: frame.name });
      for (const [name, value] of Object.entries(fields)) {
        const input = document.createElement('input'); Object.assign(input, { type: 'hidden', name, value }); element.append(input);
      }
      document.body.append(element); element.submit();
    };
    const ask = (url, options) => fetch(url, options).then((answer) => answer.text(), (error) => 'refused: ' + error.message).then((text) => read.push(text));
    (async () => {
      let n = 0;
      for (const target of targets) {
        submit(target + '/', form, 'application/x-www-form-urlencoded', n++);
        submit(target + '/', { [JSON.stringify(bodies[0][1])]: '' }, 'text/plain', n++);
        for (const [action, body] of bodies) {
          const text = JSON.stringify(body);
          await ask(target, { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'text/plain' }, body: text });
          await ask(target, { method: 'POST', headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': action }, body: text });
          await ask(target + '/?' + new URLSearchParams(form), { mode: 'no-cors' });
        }
        navigator.sendBeacon(target, new URLSearchParams(form));
      }
      await new Promise((resolve) => setTimeout(resolve, 3000));
      document.getElementById('read').textContent = read.join('\\n'); document.title = 'done';
    })();
  </script>`;
}

/** A server that takes everything: it shows what has left the browser. */
async function serve(answer) {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.headers['content-type'] ?? ''}`);
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'text/html' }).end(answer(request)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: server.address().port, seen, close: () => server.close() };
}

const steps = new Steps();

await withFolder('browser', options.keep, async (folder) => {
  const assemblyDir = synthesizeShop({ outdir: join(folder, 'cdk.out'), seen: join(folder, 'seen.jsonl'), withDatabase: true });
  // Nobody reads the queue, so that a message would stay.
  const run = await startLocal({ assemblyDir, dataDir: join(folder, 'data') });
  const queue = run.queues.find(({ name }) => name.startsWith('Shop-Dead'));
  const secretId = run.workloads.find(({ name }) => name === 'web')?.environment.SECRET;
  const client = { region: run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  const secrets = new SecretsManagerClient({ ...client, endpoint: run.endpoints.secretsmanager });
  const { SecretString: secret } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId }));
  const { password } = JSON.parse(secret);
  const takesAll = await serve(() => 'taken');
  const targets = [...Object.values(run.endpoints)];
  const addresses = targets.flatMap((url) => [url, url.replace('127.0.0.1', REBOUND)]);
  const plan = { targets: [`http://127.0.0.1:${takesAll.port}`, ...addresses], queueUrl: queue.url, busName: 'shop', secretId };
  const page = await serve(() => attack(plan));
  const events = () => run.eventBridge.counters();
  const before = events();

  await steps.step('a page sends forms, fetches and beacons to every endpoint', async () => {
    const dom = await load(`http://${PAGE}:${page.port}/`, join(folder, 'profile'));
    if (!dom.includes('<title>done</title>')) { throw new Error(`the page did not get to its end: ${dom.slice(-500)}`); }
    if (dom.includes(password)) { throw new Error('the page has read the password of the database'); }
    const kinds = new Set(takesAll.seen);
    for (const kind of ['POST application/x-www-form-urlencoded', 'POST text/plain']) {
      if (![...kinds].some((seen) => seen.startsWith(kind))) { throw new Error(`the browser has not sent ${kind}: ${[...kinds].join(', ')}`); }
    }
    return { note: `${targets.length} endpoints, by two names each; ${takesAll.seen.length} requests reached the server that takes all` };
  });
  await steps.step('none of it has an effect', () => {
    const { visible, inFlight, delayed } = queue.depth();
    if (visible + inFlight + delayed !== 0) { throw new Error(`${queue.messages().length} messages of a page: ${queue.messages()[0]}`); }
    if (JSON.stringify(events()) !== JSON.stringify(before)) { throw new Error(`events of a page: ${JSON.stringify(events())}`); }
  });
  await steps.step('a name of the page that leads here gets nothing from an endpoint', async () => {
    const open = async (url) => (await load(url.replace('127.0.0.1', REBOUND), join(folder, 'profile'))).replace(/<[^>]*>/g, '').trim();
    if (await open(`http://127.0.0.1:${takesAll.port}`) !== 'taken') { throw new Error('the name does not lead to this machine, so nothing was tried'); }
    for (const url of targets) {
      const text = await open(url);
      // The browser shows no answer of a type that it does not know.
      if (text !== '' && !text.includes('does not answer for the host')) { throw new Error(`${url}: ${text.slice(0, 300)}`); }
    }
  });
  await steps.step('an SDK still reaches the same queue', async () => {
    const sqs = new SQSClient({ ...client, endpoint: run.endpoints.sqs });
    await sqs.send(new SendMessageCommand({ QueueUrl: queue.url, MessageBody: 'from an SDK' }));
    sqs.destroy();
    if (queue.depth().visible !== 1) { throw new Error('the message is not there'); }
  });
  secrets.destroy();
  page.close();
  takesAll.close();
  await run.stop();
});
steps.finish();
