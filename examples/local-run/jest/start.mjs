// Once before all test files. Their processes inherit the variables with which the SDK calls the run.
import { startLocal } from 'cdk-local-run';
import { shop } from '../shop.mjs';

export default async function start() {
  globalThis.localRun = await startLocal({ assemblyDir: shop().synth().directory });
  Object.assign(process.env, globalThis.localRun.environment);
}
