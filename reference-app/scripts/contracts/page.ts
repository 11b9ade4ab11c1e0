import { showInvisible, type JsonSchema } from './json-schema.ts';

// One HTML page of both documents: no script, nothing from elsewhere.

type Ref = { readonly $ref: string };
interface Parameter { name: string; in: string; required?: boolean; description?: string; schema: JsonSchema }
interface Header { description?: string; required?: boolean; schema: JsonSchema; $ref?: string }
interface Content { readonly [mediaType: string]: { readonly schema: JsonSchema } }
interface Response { description: string; headers?: Record<string, Header>; content?: Content }
interface Operation {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  parameters?: (Parameter | Ref)[];
  requestBody?: { required: boolean; description: string; content: Content };
  responses: Record<string, Response>;
  servers: { url: string; description: string }[];
  security?: Record<string, string[]>[];
}
export interface OpenApiDocument {
  info: { title: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, JsonSchema>; headers: Record<string, Header>; parameters: Record<string, Parameter> };
}
interface Placed { readonly path: string; readonly method: string; readonly operation: Operation }
interface Message { name: string; title: string; summary?: string; examples?: { name: string; payload: unknown }[] }
export interface AsyncApiDocument {
  info: { title: string; description: string };
  channels: Record<string, { title: string; description: string; messages: Record<string, Ref> }>;
  operations: Record<string, { action: string; title: string; summary: string; channel: Ref }>;
  components: { messages: Record<string, Message>; schemas: Record<string, JsonSchema> };
}

export function page(openapi: OpenApiDocument, asyncapi: AsyncApiDocument): string {
  const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })));
  const tagged = (name: string) => operations.filter(({ operation }) => operation.tags.includes(name));
  const groups = openapi.tags.map((tag) => ({ ...tag, operations: tagged(tag.name) }));
  const messages = Object.entries(asyncapi.components.messages);
  const rows = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<title>Orders: HTTP API and events</title>',
    `<style>\n${STYLE}\n</style>`,
    '</head>',
    '<body>',
    '<nav aria-label="Contents">',
    '<p><strong>HTTP API</strong> <a href="openapi.json">OpenAPI 3.1</a></p>',
    ...groups.flatMap((group) => [
      `<p class="group">${escape(group.name)}</p>`,
      '<ul>',
      ...group.operations.map(({ method, path, operation }) => `<li><a href="#${operation.operationId}">${verb(method)} ${escape(path)}</a></li>`),
      '</ul>',
    ]),
    '<ul>',
    '<li><a href="#common">Headers of every request and answer</a></li>',
    '<li><a href="#problems">Problems</a></li>',
    '</ul>',
    '<p><strong>Events</strong> <a href="asyncapi.json">AsyncAPI 3.0</a></p>',
    '<ul>',
    '<li><a href="#envelope">Envelope</a></li>',
    ...messages.map(([name]) => `<li><a href="#${name}">${name}</a></li>`),
    '<li><a href="#who">Who publishes, who consumes</a></li>',
    '</ul>',
    '</nav>',
    '<main>',
    '<h1>HTTP API and events</h1>',
    '<p class="note">Made from the schemas that validate requests and events, by <code>node scripts/contracts.ts</code> in <code>reference-app</code>.</p>',
    `<h2 id="http">${escape(openapi.info.title)}: HTTP API</h2>`,
    `<p>${prose(openapi.info.description)}</p>`,
    ...groups.flatMap((group) => [
      `<h3 class="group">${escape(group.name)}</h3>`,
      `<p>${prose(group.description)}</p>`,
      ...group.operations.flatMap(({ method, path, operation }) => operationRows(method, path, operation, openapi.components.schemas)),
    ]),
    ...commonRows(openapi),
    ...problemRows(openapi.components.schemas.Problem!, operations, openapi.components.schemas),
    `<h2 id="events">${escape(asyncapi.info.title)}</h2>`,
    `<p>${prose(asyncapi.info.description)}</p>`,
    '<section id="envelope">',
    '<h3>Envelope</h3>',
    `<p>${prose(asyncapi.components.schemas.Event!.description ?? '')} Every event has these fields, a <code>type</code> and <code>data</code>.</p>`,
    fields(asyncapi.components.schemas.Event!, asyncapi.components.schemas),
    '</section>',
    '<section id="bundle">',
    '<h3>Bundle</h3>',
    `<p>${prose(asyncapi.components.schemas.Bundle!.description ?? '')}</p>`,
    fields(asyncapi.components.schemas.Bundle!, asyncapi.components.schemas),
    '</section>',
    ...messages.flatMap(([name, message]) => messageRows(name, message, asyncapi)),
    '<section id="who">',
    '<h3>Who publishes, who consumes</h3>',
    table(['Event', 'Consumers'], messages.map(([name, { title }]) => [
      `<a href="#${name}">${name}</a> <code>${escape(title)}</code>`, consumersOf(name, asyncapi).map(escape).join(', ') || 'none',
    ])),
    ...Object.values(asyncapi.operations).filter(({ action }) => action === 'send')
      .map(({ title, summary }) => `<p><b>${escape(title)}.</b> ${prose(summary)}</p>`),
    '</section>',
    '</main>',
    '</body>',
    '</html>',
  ];
  return `${rows.filter((row) => row !== '').join('\n')}\n`;
}

function operationRows(method: string, path: string, operation: Operation, schemas: Record<string, JsonSchema>): string[] {
  const { operationId, summary, description, parameters = [], requestBody, responses, servers, security = [] } = operation;
  const own = parameters.filter((parameter): parameter is Parameter => !('$ref' in parameter));
  const answers = Object.entries(responses);
  const problems = answers.filter(([, { content }]) => content && PROBLEM in content);
  return [
    `<section id="${operationId}">`,
    `<h4>${verb(method)} <code>${escape(path)}</code> ${escape(summary)}</h4>`,
    `<p class="note">${[...new Set(servers.map(({ description: name }) => escape(name)))].join(' and ')} service`
      + `${security.flatMap((one) => Object.values(one).flat()).map((scope) => `, scope <code>${escape(scope)}</code>`).join('')}</p>`,
    description ? `<p>${prose(description)}</p>` : '',
    own.length > 0 ? '<h5>Parameters</h5>' : '',
    own.length > 0 ? table(['Name', 'In', 'What'], own.map((parameter) => parameterRow(parameter, schemas))) : '',
    ...(requestBody ? [
      '<h5>Request</h5>',
      `<p class="note">${[...Object.keys(requestBody.content), ...(requestBody.required ? [] : ['none'])].map(escape).join(' or ')}. `
        + `${prose(requestBody.description)}</p>`,
      body(Object.values(requestBody.content)[0]!.schema, schemas),
    ] : []),
    ...answers.filter((response) => !problems.includes(response)).flatMap(([status, { description: what, headers = {}, content = {} }]) => {
      const special = Object.entries(headers).filter(([, header]) => header.$ref === undefined);
      return [
        `<h5>${code(status)} ${prose(what)}</h5>`,
        special.length > 0 ? table(['Header', 'What'], special.map(([name, header]) => headerRow(name, header, schemas))) : '',
        ...Object.entries(content).map(([mediaType, { schema }]) => `<p class="note">${escape(mediaType)}</p>\n${body(schema, schemas)}`),
      ];
    }),
    problems.length > 0 ? '<h5>Problems</h5>' : '',
    problems.length > 0 ? table(['Status', '<a href="#problems">Problem</a>'], problems.map(([status, { description: what }]) => [code(status), prose(what)])) : '',
    '</section>',
  ];
}

const PROBLEM = 'application/problem+json';

function commonRows({ components: { parameters, headers, schemas } }: OpenApiDocument): string[] {
  return [
    '<section id="common">',
    '<h3>Headers of every request and answer</h3>',
    table(['In requests', 'What'], Object.entries(parameters).map(([name, header]) => headerRow(name, header, schemas))),
    table(['In answers', 'What'], Object.entries(headers).map(([name, header]) => headerRow(name, header, schemas))),
    '</section>',
  ];
}

function problemRows(schema: JsonSchema, operations: readonly Placed[], schemas: Record<string, JsonSchema>): string[] {
  const types = (schema.properties!.type!.enum ?? []) as string[];
  return [
    '<section id="problems">',
    '<h3>Problems</h3>',
    `<p>${prose(schema.description ?? '')}, <code>${PROBLEM}</code>. A problem may have more fields of its own.</p>`,
    fields(schema, schemas),
    table(['Type', 'Answered by'], types.map((type) => {
      const name = last({ $ref: type.replaceAll(':', '/') });
      const by = operations.filter(({ operation }) => Object.values(operation.responses).some(({ description }) => description.includes(`\`${name}\``)));
      const isEvery = operations.every((one) => by.includes(one) || one.operation.tags.includes('health'));
      const ids = by.map(({ operation: { operationId } }) => `<a href="#${operationId}">${operationId}</a>`);
      return [`<code>${escape(type)}</code>`, isEvery ? 'every operation' : ids.join(', ') || 'addresses that are none'];
    })),
    '</section>',
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cell: 'th' | 'td', cells: readonly string[]) => `<tr>${cells.map((one) => `<${cell}>${one}</${cell}>`).join('')}</tr>`;
  return ['<table>', row('th', head), ...rows.map((cells) => row('td', cells)), '</table>'].join('\n');
}

function parameterRow({ name, in: place, required, description, schema }: Parameter, schemas: Record<string, JsonSchema>): string[] {
  return [`<code>${escape(name)}</code>${required ? ' <em>required</em>' : ''}`, place, `${prose(description ?? '')} ${kind(schema, schemas)}`];
}

function headerRow(name: string, { description, schema }: Header, schemas: Record<string, JsonSchema>): string[] {
  return [`<code>${escape(name)}</code>`, `${prose(description ?? '')} ${kind(schema, schemas)}`];
}

function messageRows(name: string, { title, summary, examples = [] }: Message, { components: { schemas } }: AsyncApiDocument): string[] {
  return [
    `<section id="${name}">`,
    `<h3>${name} <code>${escape(title)}</code></h3>`,
    summary ? `<p>${prose(summary)}</p>` : '',
    '<h5>data</h5>',
    fields(schemas[name]!, schemas),
    ...examples.map(({ name: sample, payload }) => `<details><summary>Sample: ${escape(sample)}</summary>${pre(payload)}</details>`),
    '</section>',
  ];
}

function consumersOf(name: string, { operations, channels }: AsyncApiDocument): string[] {
  return Object.values(operations).filter(({ action, channel }) => action === 'receive' && name in channels[last(channel)]!.messages)
    .map(({ title }) => title);
}

/** A body with its fields and examples; alternatives to the first can be unfolded. */
function body(schema: JsonSchema, schemas: Record<string, JsonSchema>): string {
  if (schema.anyOf) {
    return schema.anyOf.map((one, n) => (n === 0 ? body(one, schemas)
      : `<details><summary>or ${one.$ref ? escape(last(one as Ref)) : kind(one, schemas)}</summary>\n${body(one, schemas)}\n</details>`)).join('\n');
  }
  const resolved = resolve(schema, schemas);
  const name = schema.$ref ? `<p><b>${escape(last(schema as Ref))}</b> ${prose(resolved.description ?? '')}</p>\n` : '';
  const examples = (resolved.examples ?? []).map((example) => `\n${pre(example)}`).join('');
  return `${name}${resolved.properties ? fields(resolved, schemas) : `<p>${kind(resolved, schemas)}</p>`}${examples}`;
}

/** The fields of an object and of what is in it, one row each. */
function fields(schema: JsonSchema, schemas: Record<string, JsonSchema>): string {
  return table(['Field', 'What'], fieldRows(schema, schemas, ''));
}

function fieldRows(schema: JsonSchema, schemas: Record<string, JsonSchema>, parent: string): string[][] {
  const { properties = {}, required = [] } = schema;
  return Object.entries(properties).flatMap(([name, property]) => {
    const field = resolve(property, schemas);
    const path = parent + name;
    const item = field.items && resolve(field.items, schemas);
    return [
      [
        `<code>${escape(path)}</code>${required.includes(name) ? '' : ' <em>optional</em>'}`,
        `${prose(field.description ?? '')} ${kind(property, schemas)}`,
      ],
      ...fieldRows(field, schemas, `${path}.`),
      ...(item ? fieldRows(item, schemas, `${path}[].`) : []),
      ...(item?.anyOf ?? []).flatMap((one) => [
        [`<code>${escape(path)}[]</code>`, one.$ref ? `is ${escape(last(one as Ref))}:` : kind(one, schemas)],
        ...fieldRows(resolve(one, schemas), schemas, `${path}[].`),
      ]),
    ];
  });
}

/** The type of a value, in a few words. */
function kind(schema: JsonSchema, schemas: Record<string, JsonSchema>): string {
  return `<span class="kind">${kindText(schema, schemas)}</span>`;
}

const MAX_PATTERN = 100;

function kindText(schema: JsonSchema, schemas: Record<string, JsonSchema>): string {
  const resolved = resolve(schema, schemas);
  const { type, items, anyOf } = resolved;
  if ('const' in resolved) return `<code>${escape(JSON.stringify(resolved.const))}</code>`;
  if (resolved.enum) return resolved.enum.map((value) => `<code>${escape(JSON.stringify(value))}</code>`).join(' | ');
  if (anyOf) return anyOf.map((one) => (one.$ref ? escape(last(one as Ref)) : kindText(one, schemas))).join(' or ');
  if (items) return `array of ${items.$ref ? escape(last(items as Ref)) : kindText(items, schemas)}${range(resolved, 'minItems', 'maxItems')}`;
  const name = schema.$ref ? `${escape(last(schema as Ref))} ` : '';
  const format = typeof resolved.format === 'string' ? ` (${escape(resolved.format)})` : '';
  // The description says it in words; a longer pattern, with a list of characters, would hide them.
  const isReadable = typeof resolved.pattern === 'string' && showInvisible(resolved.pattern).length <= MAX_PATTERN;
  const pattern = isReadable ? ` <code>${escape(showInvisible(resolved.pattern as string))}</code>` : '';
  return `${name}${type ?? 'any'}${format}${range(resolved, 'minimum', 'maximum')}${range(resolved, 'minLength', 'maxLength')}${pattern}`;
}

function range(schema: JsonSchema, lower: string, upper: string): string {
  const [least, most] = [schema[lower], schema[upper]];
  if (least === undefined && most === undefined) return '';
  const what = lower === 'minLength' ? ' characters' : '';
  if (most === undefined) return `, at least ${String(least)}${what}`;
  return least === undefined ? `, at most ${String(most)}${what}` : `, ${String(least)} to ${String(most)}${what}`;
}

function resolve(schema: JsonSchema, schemas: Record<string, JsonSchema>): JsonSchema {
  if (schema.$ref) return resolve(schemas[last(schema as Ref)]!, schemas);
  if (!schema.allOf) return schema;
  const parts = schema.allOf.map((part) => resolve(part, schemas));
  const properties: Record<string, JsonSchema> = {};
  const named = parts.flatMap((part) => Object.entries(part.properties ?? {}));
  for (const [name, one] of named) properties[name] = { ...properties[name], ...one };
  const description = parts.find((part) => part.description)?.description ?? '';
  return { type: 'object', description, properties, required: parts.flatMap((part) => part.required ?? []) };
}

function verb(method: string): string {
  return `<b class="${method.toLowerCase()}">${method}</b>`;
}

function code(status: string): string {
  return `<b class="s${status[0]}">${status}</b>`;
}

function pre(value: unknown): string {
  return `<pre>${escape(JSON.stringify(value, undefined, 2))}</pre>`;
}

function last({ $ref }: Ref): string {
  return $ref.slice($ref.lastIndexOf('/') + 1);
}

/** Text with `code` in it. */
function prose(text: string): string {
  return escape(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const STYLE = `:root { color-scheme: light dark; --line: #8884; --soft: light-dark(#666, #aaa); --code: light-dark(#f2f2f0, #2a2a2a); }
* { box-sizing: border-box; }
body { margin: 0; display: grid; grid-template-columns: 18rem minmax(0, 1fr); font: 15px/1.5 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; border-right: 1px solid var(--line); font-size: 13px; }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0; }
nav li { margin: .2rem 0; }
nav a { text-decoration: none; }
main { padding: 1rem 2rem 4rem; max-width: 62rem; }
h1 { margin-top: 0; }
h2 { margin-top: 3rem; border-bottom: 2px solid var(--line); }
h4 { font-size: 1.1rem; margin: 0; }
h5 { margin: 1rem 0 .3rem; }
section { margin: 1.5rem 0; padding: 1rem; border: 1px solid var(--line); border-radius: 6px; scroll-margin-top: 1rem; }
section > h3 { margin-top: 0; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0 .8rem; font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td:first-child { width: 34%; }
td:first-child:has(> b) { width: 4rem; }
th { overflow-wrap: normal; }
td:nth-child(2):not(:last-child) { white-space: nowrap; }
code, pre { font: 12.5px/1.45 ui-monospace, monospace; background: var(--code); border-radius: 3px; }
code { padding: 0 .25em; }
pre { padding: .7rem; overflow: auto; }
details { margin: .4rem 0; }
summary { cursor: pointer; }
em, .note, .kind { color: var(--soft); font-style: normal; }
em { font-size: 12px; }
p.note { margin: .2rem 0; font-size: 13px; }
.group { text-transform: capitalize; margin-bottom: .2rem; }
.get { color: light-dark(#0a5c9e, #6cb6ff); } .post, .patch, .put { color: light-dark(#1a7f37, #57d37c); } .delete { color: light-dark(#b3261e, #ff8a80); }
.s2, .s3 { color: light-dark(#1a7f37, #57d37c); } .s4 { color: light-dark(#9a6700, #e3b341); } .s5 { color: light-dark(#b3261e, #ff8a80); }
@media (max-width: 60rem) {
  body { display: block; }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); }
  main { padding: 1rem; }
}`;
