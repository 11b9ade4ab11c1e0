import { CONSEQUENCES } from '../assembly/consequences.ts';
import { xml, xmlError } from '../http/query-protocol.ts';
import type { LocalAnswer, LocalRequest } from '../http/server.ts';

/** A call to a service that the run does not have. */
export interface UnknownCall {
  /** The name as in `AWS_ENDPOINT_URL_<SERVICE>`, in lower case. */
  readonly service: string;
  /** The service as people call it. */
  readonly title: string;
  /** The action, or the method and the beginning of the path where the protocol has no names of actions. */
  readonly operation: string;
}

/** Names in signatures that are not those of `AWS_ENDPOINT_URL_<SERVICE>`. */
const BY_SIGNATURE: Readonly<Record<string, string>> = {
  'states': 'sfn',
  'events': 'eventbridge',
  'email': 'sesv2',
  'monitoring': 'cloudwatch',
  'logs': 'cloudwatch_logs',
  'cognito-idp': 'cognito_identity_provider',
  'elasticloadbalancing': 'elastic_load_balancing_v2',
  'bedrock': 'bedrock_runtime',
};

const TITLES: Readonly<Record<string, string>> = {
  eventbridge: 'EventBridge', lambda: 'Lambda', sts: 'STS', iam: 'IAM', kms: 'KMS', cloudwatch: 'CloudWatch', cloudwatch_logs: 'CloudWatch Logs', ec2: 'EC2', ecs: 'ECS',
};

/** The services whose REST protocol has XML. */
const REST_XML: ReadonlySet<string> = new Set(['s3', 's3_control', 'route_53', 'route53', 'cloudfront']);

const FORM = /^application\/x-www-form-urlencoded/;
const CBOR_PATH = /^\/service\/[^/]+\/operation\/([^/?]+)/;

/** The service and the action of a request, from its headers; SDKs name them in various places. */
export function readCall(request: LocalRequest): UnknownCall {
  const service = serviceOf(request);
  const title = TITLES[service] ?? CONSEQUENCES.find(({ calls }) => calls?.[1] === service)?.calls?.[0] ?? service;
  return { service, title, operation: operationOf(request, service) };
}

function serviceOf({ headers }: LocalRequest): string {
  const [, api] = /(?:^| )api\/([\w-]+)#/.exec(String(headers['x-amz-user-agent'] ?? headers['user-agent'] ?? '')) ?? [];
  const [, scope] = /Credential=[^/]+\/[^/]+\/[^/]+\/([^/]+)\//.exec(headers.authorization ?? '') ?? [];
  const [, prefix] = /^([A-Za-z0-9]+?)(?:_\d+)?\./.exec(String(headers['x-amz-target'] ?? '')) ?? [];
  const name = api ?? (scope && (BY_SIGNATURE[scope] ?? scope)) ?? prefix ?? 'unknown';
  return name.toLowerCase().replaceAll('-', '_');
}

function operationOf({ method, path, headers, body }: LocalRequest, service: string): string {
  const target = headers['x-amz-target'];
  if (target !== undefined) return String(target).split('.').at(-1) ?? '';
  const action = FORM.test(headers['content-type'] ?? '') ? new URLSearchParams(body).get('Action') : undefined;
  const url = new URL(path, 'http://127.0.0.1');
  const named = action ?? CBOR_PATH.exec(url.pathname)?.[1] ?? url.searchParams.get('x-id');
  if (named) return named;
  // A path has names and ids in it: the rest would make a new operation of each of them.
  const parts = url.pathname.split('/').filter((part) => part !== '');
  const shown = parts.slice(0, service === 's3' ? 1 : 2);
  return `${method} /${shown.join('/')}${parts.length > shown.length ? '/...' : ''}`;
}

export function sentenceOf({ service, title, operation }: UnknownCall): string {
  return `${title} ${operation}: this service is not part of the local run. Give the address of one with --endpoint ${service}=URL.`;
}

/** Not one of the codes that SDKs try again. */
const CODE = 'NotPartOfLocalRun';
const STATUS = 400;

/** The error, in the protocol of the request, so that an SDK shows its sentence. */
export function refuse(call: UnknownCall, { headers }: LocalRequest, requestId: string): LocalAnswer {
  const message = sentenceOf(call);
  const type = headers['content-type'] ?? '';
  if (headers['smithy-protocol'] === 'rpc-v2-cbor') {
    return {
      status: STATUS, headers: { 'content-type': 'application/cbor', 'smithy-protocol': 'rpc-v2-cbor' }, body: cbor({ __type: CODE, message }),
    };
  }
  if (call.service === 's3' && !FORM.test(type)) {
    const body = `<?xml version="1.0" encoding="UTF-8"?>${xml('Error', { Code: CODE, Message: message, RequestId: requestId })}`;
    return { status: STATUS, headers: { 'content-type': 'application/xml' }, body };
  }
  if (call.service === 'ec2') {
    const body = xml('Response', { Errors: { Error: { Code: CODE, Message: message } }, RequestID: requestId });
    return { status: STATUS, headers: { 'content-type': 'text/xml' }, body };
  }
  if (FORM.test(type) || REST_XML.has(call.service)) return xmlError('', { code: CODE, message, status: STATUS }, requestId);
  const json = /^application\/x-amz-json-1\.[01]/.exec(type)?.[0] ?? 'application/json';
  return { status: STATUS, headers: { 'content-type': json, 'x-amzn-errortype': CODE }, body: JSON.stringify({ __type: CODE, message }) };
}

/** A map of texts in CBOR (RFC 8949), with lengths below 65536. */
function cbor(values: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    const head = bytes.length < 24 ? [0x60 + bytes.length] : [0x79, bytes.length >> 8, bytes.length & 0xff];
    return Buffer.concat([Buffer.from(head), bytes]);
  };
  const entries = Object.entries(values);
  return Buffer.concat([Buffer.from([0xa0 + entries.length]), ...entries.flatMap(([name, value]) => [text(name), text(value)])]);
}
