import type { IncomingHttpHeaders } from 'node:http';

/**
 * The protocols of local endpoints: `json` is AWS JSON 1.0 and 1.1, `query` the form-encoded protocol of older SDKs and of SNS. `any` is
 * every request of an SDK, of whatever method and content type. `plain` is every request but those of web pages, for an endpoint that is
 * none of AWS and gives nothing that changes anything.
 */
export type Protocol = 'json' | 'query' | 'any' | 'plain';

const OWN_HOSTS: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]']);
const JSON_TYPE = /^application\/x-amz-json-1\.[01]$/;
const FORM_TYPE = 'application/x-www-form-urlencoded';
const SIGNED = /^AWS4-(HMAC|ECDSA-P256)-SHA256 /;

const USE_AN_SDK = 'use an AWS SDK or the AWS CLI with this endpoint';

/**
 * The reason why a request is refused, as one sentence with the fix; undefined if it may pass.
 *
 * A page in a browser on this machine can send requests to 127.0.0.1 too, and queues and secrets are nothing for it. Four things keep it
 * out: no client but a browser sends `Origin` or `Sec-Fetch-Site`; a page that lets its own name point to 127.0.0.1 (DNS rebinding) sends
 * that name as `Host`; and what a page can send without being asked for permission first has neither the content type of the JSON protocols
 * nor an `Authorization` header. Nobody is ever given that permission (CORS).
 */
export function refusal(headers: IncomingHttpHeaders, port: number, protocols: readonly Protocol[]): string | undefined {
  const { host = '', origin } = headers;
  if (!isOwnHost(host, port)) return `This endpoint is for this machine only and does not answer for the host '${host}': use 127.0.0.1:${port}.`;
  if (origin !== undefined || headers['sec-fetch-site'] !== undefined) {
    return `A web page must not reach this endpoint: ${protocols.includes('plain') ? 'use a program that is not a browser' : USE_AN_SDK}.`;
  }
  if (protocols.includes('plain')) return undefined;
  if (protocols.includes('any')) return isOfSdk(headers) ? undefined : `The request is not one of an SDK: ${USE_AN_SDK}.`;
  const type = (headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (protocols.includes('json') && JSON_TYPE.test(type)) {
    return headers['x-amz-target'] === undefined ? `The request has no X-Amz-Target header: ${USE_AN_SDK}, or name the action there.` : undefined;
  }
  if (protocols.includes('query') && type === FORM_TYPE) {
    return SIGNED.test(headers.authorization ?? '') ? undefined : `A form must be signed (Authorization: AWS4-HMAC-SHA256 ...), by any key: ${USE_AN_SDK}.`;
  }
  return `The content type '${type}' is none of this endpoint, which takes ${protocols.map(typeOf).join(' or ')}: ${USE_AN_SDK}.`;
}

/** A page cannot send any of these headers without permission. */
function isOfSdk(headers: IncomingHttpHeaders): boolean {
  return SIGNED.test(headers.authorization ?? '') || headers['x-amz-target'] !== undefined || headers['amz-sdk-invocation-id'] !== undefined;
}

function typeOf(protocol: Protocol): string {
  return protocol === 'json' ? 'application/x-amz-json-1.0 and 1.1' : FORM_TYPE;
}

function isOwnHost(host: string, port: number): boolean {
  const suffix = `:${port}`;
  return host.endsWith(suffix) && OWN_HOSTS.has(host.slice(0, -suffix.length).toLowerCase());
}
