import assert from 'node:assert/strict';
import { test } from 'node:test';
import Type from 'typebox';
import { ConfigError, databaseConfig, inboxConfig, maskConfig, processConfig, readConfig, readerConfig } from './config.ts';
import { createLogger } from './telemetry.ts';

const Schema = Type.Object({
  ...processConfig(8080),
  QUEUE_URL: Type.String({ pattern: '^https?://', description: 'the URL of the queue' }),
  API_KEY: Type.Optional(Type.String({ minLength: 10, secret: true, description: 'the key of the gateway' })),
});

test('reads numbers from text, fills defaults, leaves out what nobody asked for', () => {
  assert.deepEqual(readConfig(Schema, { PORT: '0', QUEUE_URL: 'http://q', HOME: '/root', LOG_LEVEL: '' }), {
    PORT: 0, HOST: '0.0.0.0', LOG_LEVEL: 'info', QUEUE_URL: 'http://q',
  });
});

test('tells all problems at once, each with the variable and the fix', () => {
  assert.throws(() => readConfig(Schema, { PORT: 'many', LOG_LEVEL: 'loud' }), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.problems.length, 3);
    assert.ok(error.problems.some((problem) => /^QUEUE_URL is missing; set it to: the URL of the queue$/.test(problem)));
    assert.ok(error.problems.some((problem) => /^PORT must be integer, but is "many"; set it to: the port/.test(problem)));
    assert.ok(error.problems.some((problem) => /^LOG_LEVEL .*"loud"; set it to: one of trace, debug/.test(problem)));
    return true;
  });
});

test('a secret is masked, in what is printed and in what is complained about', () => {
  const config = readConfig(Schema, { QUEUE_URL: 'http://q', API_KEY: 'very-secret-key' });
  assert.equal(maskConfig(Schema, config).API_KEY, '***');
  assert.throws(() => readConfig(Schema, { QUEUE_URL: 'http://q', API_KEY: 'short' }), (error) => error instanceof ConfigError && !error.message.includes('short'));
});

test('neither a password nor what an error knows of its connection is in the log', () => {
  const lines: string[] = [];
  const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(line) });
  const error = Object.assign(new Error('no answer'), { config: { headers: 'hidden' }, $response: 'hidden', client: { secretKey: 'hidden' } });
  logger.info({ password: 'hidden', secret: 'hidden', login: { username: 'shown', password: 'hidden', secret: 'hidden' }, err: error }, 'hello');
  assert.match(lines.join(''), /"username":"shown".*"no answer".*"hello"/);
  assert.doesNotMatch(lines.join(''), /hidden/);
});

test('the reader may have a port of its own, and another engine than PostgreSQL stops the start', () => {
  const schema = Type.Object({ ...databaseConfig, ...readerConfig });
  const environment = { DB_SECRET_ARN: 'arn', DB_WRITER_ENDPOINT: 'writer', DB_READER_ENDPOINT: 'reader', DB_PORT: '5433' };
  assert.equal(readConfig(schema, environment).DB_READER_PORT, undefined);
  const { DB_PORT, DB_READER_PORT, DB_ENGINE } = readConfig(schema, { ...environment, DB_READER_PORT: '6433', DB_ENGINE: 'postgres' });
  assert.deepEqual([DB_PORT, DB_READER_PORT, DB_ENGINE], [5433, 6433, 'postgres']);
  assert.throws(() => readConfig(schema, { ...environment, DB_ENGINE: 'mysql', DB_READER_PORT: '0' }), (error) => error instanceof ConfigError
    && /^DB_ENGINE .*"mysql"; set it to: postgres,/m.test(error.problems.join('\n')) && /^DB_READER_PORT must be >= 1, but is 0;/m.test(error.problems.join('\n')));
});

test('the inbox remembers for as long as queues can hold a message, or forever', () => {
  const hours = (value?: string) => readConfig(Type.Object(inboxConfig), { INBOX_RETENTION_HOURS: value }).INBOX_RETENTION_HOURS;
  assert.deepEqual([hours(), hours('0'), hours('672')], [720, 0, 672]);
  for (const wrong of ['671.9', '24', '-1', 'month']) {
    const message = /INBOX_RETENTION_HOURS.* at least 672, since a queue/;
    assert.throws(() => hours(wrong), (error) => error instanceof ConfigError && message.test(error.message), wrong);
  }
});
