import type { Socket } from 'node:net';
import { AwsError } from '../http/aws-error.ts';
import { readJson } from '../http/aws-json.ts';
import type { Input } from '../http/aws-json.ts';
import { QueryParameters, xmlAnswer, xmlError } from '../http/query-protocol.ts';
import type { LocalAnswer, LocalRequest } from '../http/server.ts';
import type { Log } from '../log.ts';
import type { Action, Context, Output } from './actions/action.ts';
import { permissionActions } from './actions/permissions.ts';
import { queueActions } from './actions/queues.ts';
import { receiveActions } from './actions/receive.ts';
import { sendActions } from './actions/send.ts';
import { tagActions } from './actions/tags.ts';
import { visibilityActions } from './actions/visibility.ts';
import { SqsError } from './errors.ts';
import type { Client } from './long-polls.ts';
import { moveTaskActions } from './move-tasks.ts';
import { inputOf, NAMESPACE, VERSION, xmlOf } from './query-shapes.ts';

const ACTIONS: ReadonlyMap<string, Action> = new Map(Object.entries({
  ...queueActions, ...tagActions, ...permissionActions, ...sendActions, ...receiveActions, ...visibilityActions, ...moveTaskActions,
}));

const TARGET_PREFIX = 'AmazonSQS.';

/** A request of either protocol. */
interface Call {
  readonly action: string;
  readonly input: Input;
}

interface Protocol {
  read(request: LocalRequest): Call;
  answer(action: string, output: Output, requestId: string): LocalAnswer;
  error(error: AwsError, requestId: string): LocalAnswer;
}

/** Answers a request; nobody hears of a change before it is written down. */
export async function handleSqs(request: LocalRequest, requestId: string, context: Context, log: Log): Promise<LocalAnswer> {
  const protocol = request.protocol === 'json' ? JSON_PROTOCOL : QUERY_PROTOCOL;
  const { journal } = context.store;
  try {
    const { action, input } = protocol.read(request);
    const output = await ACTIONS.get(action)!(input, context, clientOf(request.socket));
    await journal.committed();
    // A consumer that was killed while it waited handles nothing: its messages are for somebody else.
    if (isGone(request.socket)) output.undelivered?.();
    return protocol.answer(action, output, requestId);
  } catch (error) {
    if (error instanceof AwsError) return protocol.error(error, requestId);
    log('error', `SQS: ${error instanceof Error ? error.stack : String(error)}`);
    return protocol.error(new SqsError('InternalFailure', 'The local endpoint failed; see its log.'), requestId);
  }
}

const JSON_TYPE = 'application/x-amz-json-1.0';

const JSON_PROTOCOL: Protocol = {
  read({ headers, body }) {
    const target = String(headers['x-amz-target']);
    const action = target.startsWith(TARGET_PREFIX) ? target.slice(TARGET_PREFIX.length) : '';
    if (!ACTIONS.has(action)) {
      throw new SqsError('UnknownOperationException', `SQS has no ${target} in the local run. It has: ${[...ACTIONS.keys()].join(', ')}`, 'InvalidAction');
    }
    return { action, input: readJson(body) };
  },

  answer: (_action, { result }) => ({ status: 200, headers: { 'content-type': JSON_TYPE }, body: JSON.stringify(result) }),

  error(error) {
    const code = error instanceof SqsError ? error.queryCode : error.name;
    const body = JSON.stringify({ __type: `com.amazonaws.sqs#${error.name}`, message: error.message });
    return { status: error.status, headers: { 'content-type': JSON_TYPE, 'x-amzn-query-error': `${code};Sender` }, body };
  },
};

const QUERY_PROTOCOL: Protocol = {
  read({ path, body }) {
    const query = QueryParameters.parse(body);
    const action = query.text('Action');
    if (action === undefined) throw new SqsError('MissingAction', 'The request must contain the parameter Action.');
    const version = query.text('Version') ?? VERSION;
    if (version !== VERSION) throw new SqsError('NoSuchVersion', `The requested version ( ${version} ) is not valid.`);
    if (!ACTIONS.has(action)) throw new SqsError('InvalidAction', `The action ${action} is not valid for this endpoint.`);
    const input = inputOf(action, query);
    // Some SDKs name the queue by the path of the request only.
    const [place = '/'] = path.split('?');
    return { action, input: place === '/' || input.QueueUrl !== undefined ? input : { ...input, QueueUrl: place } };
  },

  answer: (action, output, requestId) => xmlAnswer(action, NAMESPACE, xmlOf(action, output.result), requestId),

  error(error, requestId) {
    const code = error instanceof SqsError ? error.queryCode : error.name;
    return xmlError(NAMESPACE, { code, message: error.message, status: error.status }, requestId);
  },
};

function isGone(socket: Socket): boolean {
  return socket.destroyed || socket.readableEnded;
}

function clientOf(socket: Socket): Client {
  return {
    isGone: () => isGone(socket),
    onGone: (callback) => {
      // An end comes at once, a close only when what is to be written has been.
      for (const event of ['end', 'close']) socket.once(event, callback);
      return () => {
        for (const event of ['end', 'close']) socket.off(event, callback);
      };
    },
  };
}
