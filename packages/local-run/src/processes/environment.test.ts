import assert from 'node:assert/strict';
import { test } from 'node:test';
import { awsEnvironment, callersEnvironment, localEnvironment } from './environment.ts';
import type { ContainerPort } from './specs.ts';

function environmentOf(environment: Record<string, string>, declared: ContainerPort[] = [{ name: 'http', port: 8080 }]) {
  const ports = new Map(declared.map(({ port }) => [port, port + 30_000]));
  return localEnvironment({ name: 'main', command: ['node'], folder: '/', environment, ports: declared }, ports, {
    region: 'eu-west-1',
    otherServices: 'http://127.0.0.1:1',
    defaults: { RETENTION_HOURS: '0', COLOR: 'red' },
    parts: [() => ({ AWS_ENDPOINT_URL_SQS: 'http://127.0.0.1:1' }), ({ COLOR = '' }) => ({ COLOR: `dark ${COLOR}` })],
  });
}

test('a process gets its own port, whether its template gives it one or not', () => {
  assert.equal(environmentOf({}).PORT, '38080');
  assert.equal(environmentOf({ PORT: '8080', METRICS_PORT: '9090', IMPORTANCE: '8080' }, [{ port: 8080 }, { port: 9090 }]).PORT, '38080');
  const { METRICS_PORT, IMPORTANCE } = environmentOf({ PORT: '8080', METRICS_PORT: '9090', IMPORTANCE: '8080' }, [{ port: 8080 }, { port: 9090 }]);
  assert.deepEqual([METRICS_PORT, IMPORTANCE], ['39090', '8080']);
  assert.equal(environmentOf({}, []).PORT, undefined);
});

test('every call to AWS stays on this machine, with credentials that are nobody\'s', () => {
  const environment = environmentOf({ AWS_ACCESS_KEY_ID: 'real', AWS_REGION: 'us-west-2', HOST: '0.0.0.0' });
  assert.deepEqual(['HOST', 'AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_ENDPOINT_URL_SQS', 'AWS_ENDPOINT_URL', 'AWS_EC2_METADATA_DISABLED'].map((name) => environment[name]),
    ['127.0.0.1', 'us-west-2', 'local', 'http://127.0.0.1:1', 'http://127.0.0.1:1', 'true']);
  assert.equal(environmentOf({}).AWS_REGION, 'eu-west-1');
});

test('a default holds unless the template gives the variable, and services may change it', () => {
  assert.deepEqual([environmentOf({}).RETENTION_HOURS, environmentOf({ RETENTION_HOURS: '720' }).RETENTION_HOURS], ['0', '720']);
  assert.deepEqual([environmentOf({}).COLOR, environmentOf({ COLOR: 'blue' }).COLOR], ['dark red', 'dark blue']);
});

test('a profile of the caller does not go before the credentials of the run', (context) => {
  const options = { region: 'us-east-1', otherServices: 'http://127.0.0.1:1' };
  const before = process.env.AWS_PROFILE;
  context.after(() => {
    if (before === undefined) delete process.env.AWS_PROFILE;
    else process.env.AWS_PROFILE = before;
  });
  delete process.env.AWS_PROFILE;
  assert.equal('AWS_PROFILE' in callersEnvironment(options), false);
  process.env.AWS_PROFILE = 'work';
  assert.deepEqual([callersEnvironment(options).AWS_PROFILE, awsEnvironment(options).AWS_PROFILE], ['', undefined]);
});
