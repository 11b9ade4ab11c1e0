/** The part of JSON Schema that our schemas use. Other keywords are kept as they are. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
  readonly title?: string;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly $ref?: string;
}

/** The JSON Schema of a TypeBox schema, without the parts that TypeBox keeps for itself. */
export function jsonSchema(schema: unknown): JsonSchema {
  return JSON.parse(JSON.stringify(schema)) as JsonSchema;
}

/** The one text of a value on every machine, with short values in one line. */
export function formatJson(value: unknown): string {
  return `${showInvisible(layOut(value, ''))}\n`;
}

/** Characters that nobody can see, or that turn the direction of text, as the escapes of JSON. */
export function showInvisible(text: string): string {
  return text.replace(/[^\P{C}\n]|[^\P{Z} ]/gu, (character) => Array.from(
    { length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''));
}

const WIDTH = 140;

function layOut(value: unknown, indent: string): string {
  const line = JSON.stringify(value);
  if (typeof value !== 'object' || value === null || indent.length + line.length < WIDTH * 0.6) return spaced(value);
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((one) => `${inner}${layOut(one, inner)}`)
    : Object.entries(value).filter(([, one]) => one !== undefined).map(([key, one]) => `${inner}${JSON.stringify(key)}: ${layOut(one, inner)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${parts.join(',\n')}\n${indent}${close}`;
}

function spaced(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return entries.length === 0 ? '{}' : `{ ${entries.map(([key, one]) => `${JSON.stringify(key)}: ${spaced(one)}`).join(', ')} }`;
}
