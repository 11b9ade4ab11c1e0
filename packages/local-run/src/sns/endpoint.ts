import { SNS_ACTIONS } from './api.ts';
import type { Topics } from './topics.ts';
import { AwsError } from '../http/aws-error.ts';
import { QueryParameters, xmlAnswer, xmlError } from '../http/query-protocol.ts';
import { serveLocally } from '../http/server.ts';
import type { LocalAnswer, LocalServer } from '../http/server.ts';
import type { Log } from '../log.ts';
import { portError } from '../processes/ports.ts';

const NAMESPACE = 'http://sns.amazonaws.com/doc/2010-03-31/';

/** Serves the API of SNS, in the query protocol, on 127.0.0.1. */
export async function serveSns(topics: Topics, log: Log, port: number): Promise<LocalServer> {
  try {
    return await serveLocally({
      service: 'SNS',
      protocols: ['query'],
      log,
      port,
      handle: (request, requestId) => handle(request.body, requestId, topics, log),
    });
  } catch (error) {
    throw portError(error, 'sns', port);
  }
}

async function handle(body: string, requestId: string, topics: Topics, log: Log): Promise<LocalAnswer> {
  try {
    const input = QueryParameters.parse(body);
    const name = input.text('Action') ?? '';
    const action = Object.hasOwn(SNS_ACTIONS, name) ? SNS_ACTIONS[name] : undefined;
    if (!action) throw new AwsError('InvalidAction', `SNS has no ${name || 'action without a name'} in the local run. It has: ${Object.keys(SNS_ACTIONS).join(', ')}.`);
    return xmlAnswer(name, NAMESPACE, await action(input, topics), requestId);
  } catch (error) {
    if (error instanceof AwsError) {
      return xmlError(NAMESPACE, { code: error.name, message: error.message, status: error.status }, requestId);
    }
    log('error', `SNS: ${error instanceof Error ? error.stack : String(error)}`);
    return xmlError(NAMESPACE, { code: 'InternalError', message: 'The local endpoint failed; see its log.', status: 500 }, requestId);
  }
}
