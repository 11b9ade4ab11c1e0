import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { startLocal } from '../../src/index.ts';
import { atEnd, temporaryFolder } from '../temporary.ts';
import { LocalParameterStore } from './parameter-store.ts';

test('a service of AWS is added by one class, and the run makes, names and stops it as its own', async (context) => {
  const app = new cdk.App({ outdir: temporaryFolder(context), analyticsReporting: false });
  new ssm.StringParameter(new cdk.Stack(app, 'Shop'), 'Currency', { parameterName: '/shop/currency', stringValue: 'EUR' });
  const steps: string[] = [];
  const run = await startLocal({
    assemblyDir: app.synth().directory,
    services: [(runContext) => new LocalParameterStore(runContext)],
    onProgress: ({ name, state, detail }) => steps.push(`${name} ${state} ${detail ?? ''}`),
  });
  atEnd(context, () => run.stop());

  const { ssm: url = assert.fail() } = run.endpoints;
  assert.equal(run.environment.AWS_ENDPOINT_URL_SSM, url);
  assert.ok(steps.some((step) => step.startsWith('endpoints done') && step.includes('1 parameters')));
  const headers = { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': 'AmazonSSM.GetParameter' };
  const ask = async (Name: string, more = {}) => {
    const response = await fetch(url, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify({ Name }) });
    return await response.json() as object;
  };
  assert.deepEqual(await ask('/shop/currency'), { Parameter: { Name: '/shop/currency', Type: 'String', Value: 'EUR' } });
  assert.deepEqual(await ask('/shop/none'), { __type: 'ParameterNotFound', message: 'There is no parameter /shop/none.' });
  // It has the guard of every endpoint: a web page does not reach it.
  assert.match(JSON.stringify(await ask('/shop/currency', { Origin: 'https://example.com' })), /web page|Origin/i);
  await run.stop();
  await assert.rejects(fetch(url));
  assert.ok(steps.includes('stop parameters done '));
});
