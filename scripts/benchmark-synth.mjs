// How much processor time the synthesis of 100 consumers takes, compared with the same resources made by the constructs of aws-cdk-lib.
//
//   node --expose-gc --disable-warning=MODULE_TYPELESS_PACKAGE_JSON scripts/benchmark-synth.mjs [consumers] [rounds]
//
// Both take turns, each first as often as second, so that what else the machine does falls on both; that's also why it is processor
// time. The result is the median of the ratios within the rounds. The library has to be compiled (`npx projen compile`).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// A second for either, which would hide the difference: the validation of the template by CDK.
process.env.CDK_VALIDATION = 'false';
const { App, Stack } = await import('aws-cdk-lib');
const lambda = await import('aws-cdk-lib/aws-lambda');
const { BufferedEventConsumer, ConsumerTarget } = await import('../lib/index.js');
const { rawConsumer } = await import('../test/consumer/raw-consumer.ts');

const [consumers = 100, rounds = 20] = process.argv.slice(2).map(Number);
const variants = {
  library: (scope, id, fn) => new BufferedEventConsumer(scope, id, {
    eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.lambdaFunction(fn),
  }),
  raw: rawConsumer,
};

/** Milliseconds of processor time from an empty app to its written assembly. */
function synthesize(add) {
  const outdir = mkdtempSync(join(tmpdir(), 'benchmark-synth-'));
  try {
    globalThis.gc?.();
    const start = process.cpuUsage();
    const app = new App({ outdir, analyticsReporting: false, context: { '@aws-cdk/core:stackResourceLimit': '0' } });
    const stack = new Stack(app, 'Shop');
    for (let index = 0; index < consumers; index++) {
      add(stack, `Consumer${index}`, new lambda.Function(stack, `Function${index}`, {
        runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
      }));
    }
    const { template } = app.synth().getStackByName('Shop');
    const { user, system } = process.cpuUsage(start);
    const milliseconds = (user + system) / 1000;
    return { milliseconds, constructs: stack.node.findAll().length, resources: Object.keys(template.Resources).length };
  } finally {
    rmSync(outdir, { recursive: true });
  }
}

const median = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
const milliseconds = { library: [], raw: [] };
const ratios = [];
const size = {};
const WARM_UP = 3;
for (let round = 0; round < WARM_UP + rounds; round++) {
  const order = round % 2 === 0 ? ['library', 'raw'] : ['raw', 'library'];
  const taken = Object.fromEntries(order.map((name) => [name, synthesize(variants[name])]));
  if (round < WARM_UP) { continue; }
  for (const name of order) {
    milliseconds[name].push(taken[name].milliseconds);
    size[name] = taken[name];
  }
  ratios.push(taken.library.milliseconds / taken.raw.milliseconds);
}

const sorted = ratios.toSorted((one, other) => one - other);
for (const name of ['library', 'raw']) {
  console.log(`${name.padEnd(8)} ${median(milliseconds[name]).toFixed(0).padStart(5)} ms (median), `
    + `${size[name].constructs} constructs, ${size[name].resources} resources`);
}
console.log(`ratio    ${median(ratios).toFixed(2)} (median of ${rounds} rounds; middle half ${sorted[Math.floor(rounds / 4)].toFixed(2)} to `
  + `${sorted[Math.floor(rounds * 3 / 4)].toFixed(2)}), ${consumers} consumers, Node ${process.version}`);
