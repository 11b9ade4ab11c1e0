import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { JsonSchema } from './json-schema.ts';

// Only tests import this file.

interface Described { readonly schema: JsonSchema; readonly required?: boolean; readonly $ref?: string }
interface Parameter extends Described { readonly name: string; readonly in: 'path' | 'query' | 'header' }
interface Content { readonly [mediaType: string]: { readonly schema: JsonSchema } }
interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly headers?: Readonly<Record<string, Described>>; readonly content?: Content }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

export interface Watch {
  /** `createOrder 202` for each kind of answer that was given. */
  readonly seen: ReadonlySet<string>;
  /** Answers that are not as the document says, and requests that were taken though the document forbids them. */
  readonly violations: readonly string[];
}

/** A wrong order of a batch is an outcome of its own, so the request is still accepted. */
const JUDGED_BY_PARTS: readonly string[] = ['createOrders'];

/** Compares everything that an application answers with the OpenAPI document. Call it before the application is ready. */
export function watchAnswers(app: FastifyInstance, openapi: object): Watch {
  const document = openapi as Document;
  const seen = new Set<string>();
  const violations: string[] = [];
  const check = checker(document);
  app.addHook('onSend', (request, reply, payload, done) => {
    // The body of an answer to HEAD is none, whatever the document says of GET.
    if (request.method !== 'HEAD') {
      const operation = operationOf(document, request);
      const name = operation ? `${operation.operationId} ${reply.statusCode}` : `no operation ${reply.statusCode}`;
      seen.add(name);
      const where = `${request.method} ${request.url.slice(0, 100)}: ${name}`;
      const text = payload === null || payload === undefined ? undefined : String(payload as string | Buffer);
      violations.push(...check(operation, request, reply, text).map((problem) => `${where}: ${problem}`));
    }
    done(null, payload);
  });
  return { seen, violations };
}

function operationOf({ paths }: Document, request: FastifyRequest): Operation | undefined {
  const template = request.routeOptions.url?.replace(/:([A-Za-z]+)/g, '{$1}');
  if (request.is404 || template === undefined) return undefined;
  return paths[template.replace(/^\/api(?=\/)/, '')]?.[request.method.toLowerCase()];
}

function checker(document: Document) {
  const { schemas } = document.components;
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  const refer = <T>(value: T): T => JSON.parse(JSON.stringify(value).replaceAll('#/components/schemas/', 'document#/$defs/')) as T;
  // A problem may have fields of its own.
  const $defs = Object.fromEntries(Object.entries(schemas).map(([title, schema]) => [title, title === 'Problem' ? schema : closed(schema)]));
  ajv.addSchema({ $id: 'document', $defs: refer($defs) });
  const validators = new Map<JsonSchema, ValidateFunction>();
  const errors = (schema: JsonSchema, value: unknown): string | undefined => {
    let validate = validators.get(schema);
    if (!validate) validators.set(schema, validate = ajv.compile(refer(schema)));
    return validate(value) ? undefined : ajv.errorsText(validate.errors);
  };
  const resolve = <T extends Described>(described: T): T => (described.$ref === undefined ? described
    : described.$ref.replace('#/', '').split('/').reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], document) as T);

  return (operation: Operation | undefined, request: FastifyRequest, reply: FastifyReply, text: string | undefined): string[] => {
    const problems: string[] = [];
    const status = reply.statusCode;
    const mediaType = String(reply.getHeader('content-type') ?? '').split(';', 1)[0]!;
    const value = mediaType.endsWith('json') && text !== undefined ? JSON.parse(text) as unknown : text;
    if (!operation) {
      const wrong = errors({ $ref: '#/components/schemas/Problem' }, value);
      return wrong ? [`is no problem: ${wrong}`] : [];
    }
    const response = operation.responses[status];
    if (!response) return ['this status is not described'];
    const headers = Object.entries(response.headers ?? {});
    problems.push(...headers.flatMap(([name, described]) => headerProblems(name, described, reply.getHeader(name))));
    const content = response.content?.[mediaType];
    if (response.content && !content) problems.push(`media type ${mediaType || 'none'} is not described`);
    else if (!response.content && text) problems.push('a body is not described');
    const wrong = content && errors(content.schema, value);
    if (wrong) problems.push(`body: ${wrong}`);
    if (status < 400) problems.push(...requestProblems(operation, request));
    return problems;
  };

  function headerProblems(name: string, described: Described, value: unknown): string[] {
    const { schema, required } = resolve(described);
    if (value === undefined) return required ? [`header ${name} is missing`] : [];
    const wrong = errors(schema, String(value));
    return wrong ? [`header ${name}: ${wrong}`] : [];
  }

  function requestProblems({ operationId, parameters = [], requestBody }: Operation, request: FastifyRequest): string[] {
    const problems: string[] = [];
    const places = { path: request.params, query: request.query, header: request.headers } as Record<string, Record<string, unknown>>;
    for (const parameter of parameters) {
      const { name, in: place, schema, required } = resolve(parameter);
      const value = places[place]![place === 'header' ? name.toLowerCase() : name];
      if (value === undefined && required) problems.push(`was taken without ${name}`);
      const wrong = value !== undefined && errors(schema, value);
      if (wrong) problems.push(`was taken with ${name} ${JSON.stringify(value)}: ${wrong}`);
    }
    if (!requestBody || JUDGED_BY_PARTS.includes(operationId)) return problems;
    if (request.body === undefined || request.body === null) return requestBody.required ? [...problems, 'was taken without a body'] : problems;
    const wrong = errors(Object.values(requestBody.content)[0]!.schema, request.body);
    if (wrong) problems.push(`was taken with a body that is not described: ${wrong}`);
    return problems;
  }
}

/** Objects with nothing but what is described; those that are described as anything stay open. */
function closed(schema: JsonSchema): JsonSchema {
  const { properties = {}, items, anyOf } = schema;
  const isDescribed = Object.keys(properties).length > 0;
  return {
    ...schema,
    ...(isDescribed && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, closed(one)])),
      additionalProperties: false,
    }),
    ...(items && { items: closed(items) }),
    ...(anyOf && { anyOf: anyOf.map(closed) }),
  };
}
