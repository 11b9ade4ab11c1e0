import type { TestContext } from 'node:test';
import { SQSClient } from '@aws-sdk/client-sqs';
import { atEnd } from './temporary.ts';
import type { SqsEndpoint } from '../src/sqs/endpoint.ts';

/** A client of the endpoint that tries each call once, and a stop of both that can be called early. */
export function clientOf(context: TestContext, sqs: SqsEndpoint): { client: SQSClient; stop: () => Promise<void> } {
  const client = new SQSClient({ region: 'us-east-1', endpoint: sqs.url, credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 1 });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    client.destroy();
    stopped ??= sqs.stop();
    return stopped;
  };
  atEnd(context, stop);
  return { client, stop };
}
