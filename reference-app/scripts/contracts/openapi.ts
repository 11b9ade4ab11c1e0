import { isDeepStrictEqual } from 'node:util';
import Type from 'typebox';
import { jsonSchema, type JsonSchema } from './json-schema.ts';
import { BODY_LIMIT } from '../../services/shared/http/app.ts';
import { PROBLEMS, ProblemDetails, problemType, type ProblemName } from '../../services/shared/http/problem.ts';
import { COMMON_HEADERS, COMMON_REQUEST_HEADERS, RetryAfter, type Answer, type Route, type Routes } from '../../services/shared/http/route.ts';

/** A service and its routes. */
export interface Api {
  readonly name: string;
  readonly description: string;
  readonly port: number;
  readonly routes: Routes;
}

type Json = Record<string, unknown>;

const TOKEN = 'accessToken';
const Challenge = Type.String({ pattern: '^Bearer ', description: 'what is missing or wrong, as RFC 6750 has it' });

/** The problems that the server itself may answer to any request. */
const ALWAYS: readonly ProblemName[] = [
  'malformed-request', 'unauthenticated', 'insufficient-scope', 'request-timeout', 'too-many-requests', 'headers-too-large', 'internal', 'unavailable',
];
const WITH_BODY: readonly ProblemName[] = ['malformed-json', 'payload-too-large', 'unsupported-media-type'];
/** May be answered before there is a request to speak of, and then without the headers that every other answer has. */
const BEFORE_REQUEST = [400, 408, 431];

/** The OpenAPI 3.1 document of what the services serve. */
export function openApi(apis: readonly Api[]): Json {
  const schemas: Record<string, JsonSchema> = {};
  const paths: Record<string, Json> = {};
  const components = new Components(schemas);
  for (const api of apis) {
    for (const [operationId, route] of Object.entries(api.routes)) {
      const path = (paths[templateOf(route)] ??= {});
      path[route.method.toLowerCase()] = operation(api, operationId, route, components);
    }
  }
  components.hoist(jsonSchema(ProblemDetails));
  return {
    openapi: '3.1.1',
    info: {
      title: 'Orders',
      version: '1.0.0',
      description: 'Orders are taken by the write service and shown by the read service. Every address is served under `/api` as well, and GET answers HEAD too. '
        + 'Field names are camelCase; clients that send snake_case are answered so, and `?style=snake` asks for it. '
        + 'What goes wrong is a problem (RFC 9457): 404 `route-not-found` where there is no such address, 405 `method-not-allowed` with `Allow` where it has no such method. '
        + 'A request that cannot even be read (400, 408, 431) may be answered without the headers of other answers.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: apis.flatMap((api) => [serverOf(api), serverOf(api, '/api')]),
    security: [],
    tags: apis.map(({ name, description }) => ({ name, description })),
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      headers: components.headers(COMMON_HEADERS),
      parameters: Object.fromEntries(components.parameters('header', COMMON_REQUEST_HEADERS).map((parameter) => [parameter.name, parameter])),
      securitySchemes: {
        [TOKEN]: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'An access token of the issuer that the services know. With the scope of the operation it is about the orders of its customer, '
            + 'and with `orders.operate` about those of all customers. Services without authorization ask for none.',
        },
      },
    },
  };
}

function operation(api: Api, operationId: string, route: Route, components: Components): Json {
  const { summary, description, params, query, headers, scope, body, bodyTypes = ['application/json'], bodyIsOptional = false, bodyLimit = BODY_LIMIT } = route;
  const parameters = [
    ...components.parameters('path', params),
    ...components.parameters('query', query),
    ...components.parameters('header', headers),
    ...Object.keys(COMMON_REQUEST_HEADERS.properties).map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ];
  return {
    operationId,
    tags: [api.name],
    summary,
    ...(description === undefined ? {} : { description }),
    servers: [serverOf(api), serverOf(api, '/api')],
    parameters,
    ...(body && {
      requestBody: {
        required: !bodyIsOptional,
        description: `At most ${Math.round(bodyLimit / 1024)} KiB.`,
        content: Object.fromEntries(bodyTypes.map((mediaType) => [mediaType, { schema: components.hoist(jsonSchema(body)) }])),
      },
    }),
    security: [{ [TOKEN]: [scope] }],
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, answer]) => [status, components.response(answer)])),
      ...Object.fromEntries([...problemsByStatus(route)].map(([status, names]) => [status, components.problem(status, names)])),
    },
  };
}

function problemsByStatus({ params, query, headers, body, problems = [] }: Route): Map<number, ProblemName[]> {
  const names = new Set<ProblemName>([
    ...ALWAYS, ...(body ? WITH_BODY : []), ...(body ?? params ?? query ?? headers ? ['validation' as const] : []), ...problems,
  ]);
  // In the order of the catalogue.
  const byStatus = new Map<number, ProblemName[]>();
  for (const name of Object.keys(PROBLEMS) as ProblemName[]) {
    const { status } = PROBLEMS[name];
    if (names.has(name)) byStatus.set(status, [...byStatus.get(status) ?? [], name]);
  }
  return byStatus;
}

function templateOf({ path }: Route): string {
  return path.replace(/:([A-Za-z]+)/g, '{$1}');
}

function serverOf({ name, port }: Api, base = ''): Json {
  return { url: `http://{host}:${port}${base}`, description: name, variables: { host: { default: 'localhost' } } };
}

/** Schemas with a title become components that are referred to by it. */
class Components {
  readonly #schemas: Record<string, JsonSchema>;

  constructor(schemas: Record<string, JsonSchema>) {
    this.#schemas = schemas;
  }

  hoist(schema: JsonSchema): JsonSchema {
    const { title, ...rest } = schema;
    const { properties, items, anyOf } = rest;
    const hoisted: JsonSchema = {
      ...rest,
      ...(properties && { properties: Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, this.hoist(one)])) }),
      ...(items && { items: this.hoist(items) }),
      ...(anyOf && { anyOf: anyOf.map((one) => this.hoist(one)) }),
    };
    if (title === undefined) return hoisted;
    const known = this.#schemas[title];
    if (known && !isDeepStrictEqual(known, hoisted)) throw new Error(`Two schemas have the title ${title}; give one of them another.`);
    this.#schemas[title] = hoisted;
    return { $ref: `#/components/schemas/${title}` };
  }

  parameters(place: 'path' | 'query' | 'header', schema: object | undefined): Json[] {
    const { properties = {}, required = [] } = schema ? jsonSchema(schema) : {};
    return Object.entries(properties).map(([name, one]) => {
      const { description, ...rest } = one;
      return {
        name,
        in: place,
        ...(place === 'path' || required.includes(name) ? { required: true } : {}),
        ...(description === undefined ? {} : { description }),
        schema: this.hoist(rest),
      };
    });
  }

  headers(schema: object): Json {
    const { properties = {}, required = [] } = jsonSchema(schema);
    return Object.fromEntries(Object.entries(properties).map(([name, { description, ...rest }]) => [name, {
      ...(required.includes(name) ? { required: true } : {}),
      ...(description === undefined ? {} : { description }),
      schema: this.hoist(rest),
    }]));
  }

  commonHeaders(): Json {
    return Object.fromEntries(Object.keys(COMMON_HEADERS.properties).map((name) => [name, { $ref: `#/components/headers/${name}` }]));
  }

  response({ description, headers, body, links }: Answer): Json {
    return {
      description,
      headers: { ...(headers ? this.headers(headers) : {}), ...this.commonHeaders() },
      ...(body && { content: { 'application/json': { schema: this.hoist(jsonSchema(body)) } } }),
      ...(links && {
        links: Object.fromEntries(Object.entries(links).map(([operationId, parameters]) => [operationId, { operationId, parameters }])),
      }),
    };
  }

  problem(status: number, names: readonly ProblemName[]): Json {
    const types = names.map(problemType);
    return {
      description: names.map((name) => `${PROBLEMS[name].title} (\`${name}\`).`).join(' '),
      ...(BEFORE_REQUEST.includes(status) ? {} : {
        headers: {
          ...([429, 503].includes(status) ? this.headers(Type.Object({ 'Retry-After': RetryAfter })) : {}),
          ...([401, 403].includes(status) ? this.headers(Type.Object({ 'WWW-Authenticate': Challenge })) : {}),
          ...this.commonHeaders(),
        },
      }),
      content: {
        'application/problem+json': {
          schema: {
            allOf: [
              this.hoist(jsonSchema(ProblemDetails)),
              { type: 'object', properties: { type: types.length === 1 ? { const: types[0] } : { enum: types }, status: { const: status } } },
            ],
          },
        },
      },
    };
  }
}
