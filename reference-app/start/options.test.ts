import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from 'cdk-local-run/cli/arguments';
import { helpText } from './help.ts';
import { parseCommand, sharesProcess } from './options.ts';
import { loadProfiles } from '../profiles/index.ts';

const profiles = await loadProfiles();
const parse = (...args: string[]) => parseCommand(args, profiles, '/repo', '/home/me');
const DEFAULTS = { seed: 1, exit: false, fresh: false, json: false, open: false, without: [], ports: {}, endpoints: {} };

function options(...args: string[]) {
  const command = parse(...args);
  assert.equal(command.kind, 'run');
  return command.kind === 'run' ? command.options : assert.fail();
}

test('nothing given runs the sample orders in the folder of the repository and stays up', () => {
  assert.deepEqual(options(), { ...DEFAULTS, profile: 'order-pipeline', dataDir: '/repo/.local' });
});

test('each profile keeps its data in a folder of its own', () => {
  assert.deepEqual(options('--profile', 'fan-out'), { ...DEFAULTS, profile: 'fan-out', dataDir: '/repo/.local/fan-out' });
});

test('every option arrives, paths from where the command was typed', () => {
  assert.deepEqual(
    options('--orders', '1000', '--rate=200.5', '--seed', '7', '--exit', '--fresh', '--json', '--open', '--data', 'd', '--app', '../cdk.out',
      '--stack', 'A', '--stack', 'B', '--replicas', '3', '--processes', 'separate', '--cpu-profile', 'p', '--port', 'writer=5432', '--write-port', '3000', '--read-port', '0',
      '--without', 'a', '--without', 'b', '--endpoint', 'dynamodb=http://127.0.0.1:8000', '--endpoint', 'kinesis=http://127.0.0.1:8001', '--failover', 'asynchronous'),
    {
      profile: 'order-pipeline',
      orders: 1000,
      rate: 200.5,
      seed: 7,
      failover: 'asynchronous',
      exit: true,
      fresh: true,
      json: true,
      open: true,
      dataDir: '/home/me/d',
      assemblyDir: '/home/cdk.out',
      stacks: ['A', 'B'],
      replicas: 3,
      processes: 'separate',
      cpuProfileDir: '/home/me/p',
      ports: { 'writer': 5432, 'api-write-service': 3000, 'api-read-service': 0 },
      without: ['a', 'b'],
      endpoints: { dynamodb: 'http://127.0.0.1:8000', kinesis: 'http://127.0.0.1:8001' },
    },
  );
  assert.equal(parse('--help').kind, 'help');
  assert.equal(parse('--orders', 'x', '-h').kind, 'help');
  assert.equal(parse('--version').kind, 'version');
});

for (const [args, sentence] of [
  [['--order', '5'], /Unknown option '--order'/],
  [['-x'], /Unknown option '-x'/],
  [['5'], /Unexpected argument '5'/],
  [['--orders'], /--orders expects a value/],
  [['--orders', '--exit'], /--orders expects a value/],
  [['--orders', '-5'], /--orders expects a value/],
  [['--orders=-5'], /--orders expects a whole number from 0 to 100000000, not '-5'/],
  [['--orders=1e3'], /--orders expects a whole number/],
  [['--orders='], /--orders expects a value/],
  [['--rate=0'], /--rate expects a number above 0/],
  [['--rate=fast'], /--rate expects a number above 0.*'fast'/],
  [['--seed=1.5'], /--seed expects a whole number/],
  [['--exit=yes'], /--exit takes no value/],
  [['--data='], /--data expects a value/],
  [['--failover', 'fast', '--orders', '1000'], /--failover expects synchronous or asynchronous, not 'fast'/],
  [['--failover', 'synchronous'], /--failover needs --orders with 100 or more/],
  [['--failover', 'synchronous', '--orders', '1000', '--profile', 'fan-out'], /--failover is not an option of --profile fan-out/],
  [['--processes', 'one'], /--processes expects shared or separate, not 'one'/],
  [['--processes', 'shared', '--replicas', '2'], /--processes shared and --replicas exclude each other/],
  [['--profile', 'kafka'], /--profile expects order-pipeline or fan-out, not 'kafka'/],
  [['--endpoint', 'dynamodb'], /--endpoint expects NAME=URL/],
  [['--profile', 'fan-out', '--write-port', '3000'], /--write-port is not an option of --profile fan-out/],
  [['--port', '3000'], /--port expects NAME=PORT/],
  [['--port', 'writer=70000'], /--port writer expects a whole number from 0 to 65535/],
  [['--write-port=http'], /--write-port expects a whole number/],
  [['--port', 'api-write-service=3000', '--write-port', '3002'], /--write-port gives api-write-service a port a second time/],
  [['--read-port', '3000', '--write-port', '3000'], /--read-port gives api-read-service the port 3000, which api-write-service has/],
] as [string[], RegExp][]) {
  test(`refused in one sentence that names the option: ${args.join(' ')}`, () => {
    assert.throws(() => parse(...args), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, sentence);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  });
}

test('workloads share a process with fewer than four cores, unless something else is asked for', () => {
  assert.deepEqual([2, 3, 4].map((cores) => sharesProcess({}, cores)), [true, true, false]);
  assert.equal(sharesProcess({ replicas: 2 }, 2), false);
  assert.equal(sharesProcess({ failover: 'synchronous' }, 2), false);
  assert.equal(sharesProcess({ processes: 'shared' }, 16), true);
  assert.equal(sharesProcess({ processes: 'separate' }, 2), false);
});

test('the help has every option, every profile and no line that is too long', () => {
  const help = helpText(profiles);
  const names = 'profile cpu-profile orders rate seed failover exit fresh json open data app stack without endpoint replicas processes port write-port read-port help version';
  for (const name of names.split(' ')) assert.match(help, new RegExp(`--${name}\\b`));
  for (const [name, profile] of profiles) {
    assert.ok(help.includes(`The profile ${name}`) && help.includes(profile.description) && help.includes(profile.defaults.orders), name);
  }
  assert.deepEqual(help.split('\n').filter((line) => line.length > 145 || line !== line.trimEnd()), []);
});
