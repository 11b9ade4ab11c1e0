import type { TextAnswer } from './server.ts';

/**
 * The AWS query protocol, that of SNS and of older SDKs for SQS: parameters in a form, answers in XML.
 *
 *     Action=Subscribe&TopicArn=arn&Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value=true
 *
 *     const query = QueryParameters.parse(body);
 *     query.text('TopicArn');      // 'arn'
 *     query.map('Attributes');     // { RawMessageDelivery: 'true' }
 *     xmlAnswer('Subscribe', NAMESPACE, { SubscriptionArn: 'arn:..' }, requestId);
 *     xmlError(NAMESPACE, { code: 'NotFound', message: 'Topic does not exist', status: 404 }, requestId);
 */
export class QueryParameters {
  /** Reads a form; of a parameter that is given twice, the last counts. */
  static parse(form: string): QueryParameters {
    const root = new QueryParameters();
    for (const [name, value] of new URLSearchParams(form)) {
      let parameters = root;
      for (const part of name.split('.')) {
        let next = parameters.members.get(part);
        if (next === undefined) parameters.members.set(part, next = new QueryParameters());
        parameters = next;
      }
      parameters.value = value;
    }
    return root;
  }

  private value: string | undefined;
  private readonly members = new Map<string, QueryParameters>();

  /** The value of a parameter; undefined if it isn't there. */
  text(name: string): string | undefined {
    return this.members.get(name)?.value;
  }

  /** A structure: the parameters `name.…`; undefined if there is none. */
  structure(name: string): QueryParameters | undefined {
    const found = this.members.get(name);
    return found && found.members.size > 0 ? found : undefined;
  }

  /** A list of structures: `name.1.…` or `name.member.1.…`, in the order of the numbers. */
  structures(name: string): QueryParameters[] {
    const found = this.members.get(name);
    const list = found?.members.get('member') ?? found?.members.get('entry') ?? found;
    return [...list?.members ?? []]
      .filter(([number]) => /^\d+$/.test(number))
      .sort(([one], [other]) => Number(one) - Number(other))
      .map(([, each]) => each);
  }

  /** A list of texts: `name.1` or `name.member.1`. */
  texts(name: string): string[] {
    return this.structures(name).map((each) => each.value ?? '');
  }

  /** A map of texts: `name.1.Name` and `.Value`, `name.1.Key` and `.Value`, or `name.entry.1.key` and `.value`. */
  map(name: string): Record<string, string> {
    return Object.fromEntries(this.entries(name).map(([key, value]) => [key, value.value ?? '']));
  }

  /** A map like that of `map`, with values that are structures. */
  entries(name: string): [string, QueryParameters][] {
    return this.structures(name).map((each) => {
      const part = (...names: string[]) => names.map((one) => each.members.get(one)).find((found) => found !== undefined);
      return [part('Name', 'name', 'Key', 'key')?.value ?? '', part('Value', 'value') ?? EMPTY];
    });
  }
}

const EMPTY = QueryParameters.parse('');

/** A value that can be written as XML: a list is its element several times, and undefined is left out. */
export type XmlValue = string | number | boolean | undefined | readonly XmlValue[] | { readonly [name: string]: XmlValue };

export function xml(name: string, value: XmlValue): string {
  if (value === undefined) return '';
  if (isList(value)) return value.map((each) => xml(name, each)).join('');
  const content = typeof value === 'object' ? Object.entries(value).map(([child, one]) => xml(child, one)).join('') : escaped(String(value));
  return `<${name}>${content}</${name}>`;
}

/** The answer of an action that succeeded; `result` is undefined for an action without one. */
export function xmlAnswer(action: string, namespace: string, result: XmlValue, requestId: string): TextAnswer {
  const content = xml(`${action}Result`, result) + xml('ResponseMetadata', { RequestId: requestId });
  return { status: 200, headers: XML, body: `<?xml version="1.0"?><${action}Response xmlns="${namespace}">${content}</${action}Response>` };
}

export interface QueryError {
  readonly code: string;
  readonly message: string;
  /** The HTTP status. */
  readonly status: number;
}

export function xmlError(namespace: string, error: QueryError, requestId: string): TextAnswer {
  const { code: Code, message: Message, status } = error;
  const content = xml('Error', { Type: status < 500 ? 'Sender' : 'Receiver', Code, Message, Detail: '' }) + xml('RequestId', requestId);
  return { status, headers: XML, body: `<?xml version="1.0"?><ErrorResponse xmlns="${namespace}">${content}</ErrorResponse>` };
}

const XML = { 'content-type': 'text/xml' };

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#xD;', '\n': '&#xA;', '\t': '&#x9;' };

/** A parser of XML turns line ends into spaces or drops them, unless they are written as numbers. */
function escaped(text: string): string {
  return text.replace(/[&<>"\r\n\t]/g, (character) => ESCAPES[character]!);
}

function isList(value: XmlValue): value is readonly XmlValue[] {
  return Array.isArray(value);
}
