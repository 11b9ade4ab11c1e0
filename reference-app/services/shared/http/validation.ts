import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { invalidFields } from './problem.ts';
import type { FieldError } from './problem.ts';

interface SchemaNode {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly maxItems?: number;
}

/** The most errors that are named, as TypeBox has it by default. */
const NAMED = 8;

/**
 * Compiles a schema into a parser that throws a `validation` problem. The `description` of each part says what is right
 * ("a whole number from 1 to 10000"), so the documentation and the error message are the same words.
 */
export function parser<S extends TSchema>(schema: S, root: string): (value: unknown) => Static<S> {
  const compiled = Compile(schema);
  return (value) => {
    if (!compiled.Check(value)) {
      throw invalidFields(fieldErrors(schema as SchemaNode, root, compiled.Errors(excerpt(schema, value))));
    }
    return value as Static<S>;
  };
}

/**
 * The part of a wrong value that its errors are about: a list is too long with one item too many, and a few unknown fields are enough. The
 * search for errors costs a hundred times the check and does not end at the last one that is named, so one body could block the process.
 */
function excerpt(schema: SchemaNode, value: unknown): unknown {
  const { items, maxItems = Infinity, properties } = schema;
  if (Array.isArray(value)) return items ? value.slice(0, maxItems + 1).map((item: unknown) => excerpt(items, item)) : value;
  if (!properties || typeof value !== 'object' || value === null) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const node = (name: string) => (Object.hasOwn(properties, name) ? properties[name] : undefined);
  let unknown = 0;
  const kept = Object.keys(fields).filter((name) => node(name) !== undefined || ++unknown <= NAMED);
  return Object.fromEntries(kept.map((name) => [name, excerpt(node(name) ?? {}, fields[name])]));
}

interface SchemaError {
  readonly keyword: string;
  readonly schemaPath: string;
  readonly instancePath: string;
  readonly params: object;
}

function fieldErrors(schema: SchemaNode, root: string, errors: readonly SchemaError[]): FieldError[] {
  const messages = new Map<string, string>();
  // The first complaint about a field wins: "must be text" says more than the "must match" behind it.
  const add = (field: string, message: string) => {
    if (!messages.has(field)) messages.set(field, message);
  };
  for (const error of errors) {
    const path = error.instancePath.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    if (error.keyword === 'boolean') {
      const known = Object.keys(nodeAt(schema, path.slice(0, -1))?.properties ?? {});
      add(fieldName(root, path), `is not a known field; remove it (known: ${known.join(', ')})`);
    } else if (error.keyword === 'required') {
      for (const name of (error.params as { requiredProperties: string[] }).requiredProperties) {
        const missing = [...path, name];
        add(fieldName(root, missing), `is missing; it must be ${describe(schema, missing)}`);
      }
    } else if (error.keyword !== 'additionalProperties') {
      add(fieldName(root, path), `must be ${describe(schema, path)}`);
    }
  }
  return [...messages].map(([field, message]) => ({ field, message }));
}

function describe(schema: SchemaNode, path: readonly string[]): string {
  return nodeAt(schema, path)?.description ?? 'valid';
}

function nodeAt(schema: SchemaNode, path: readonly string[]): SchemaNode | undefined {
  let node: SchemaNode | undefined = schema;
  for (const part of path) {
    node = node?.properties && Object.hasOwn(node.properties, part) ? node.properties[part] : node?.items;
  }
  return node;
}

/** `items[0].quantity`; a name that a client made up is quoted and shortened, it is only shown to be found again. */
function fieldName(root: string, path: readonly string[]): string {
  const parts = path.map((part) => {
    if (/^\d{1,9}$/.test(part)) return `[${part}]`;
    return /^[A-Za-z_]\w{0,63}$/.test(part) ? `.${part}` : `[${JSON.stringify(part.slice(0, 64))}]`;
  });
  return parts.join('').replace(/^\./, '') || root;
}
