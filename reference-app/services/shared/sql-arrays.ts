/**
 * Array parameters, written by hand: node-postgres escapes every element, which for a batch costs more than the rest of
 * the call. In the statement they are cast through text, as in `$1::text::uuid[]`.
 */

/** An array of UUIDs; PostgreSQL refuses a text that is none. */
export function uuidArray(ids: readonly string[]): string {
  return `{${ids.join(',')}}`;
}

/** An array of numbers. */
export function numberArray(numbers: readonly number[]): string {
  return `{${numbers.join(',')}}`;
}

/** The bare word NULL is no text. */
const PLAIN = /^(?!null$)[a-z0-9._-]+$/i;

/** An array of any texts. */
export function textArray(texts: readonly (string | null)[]): string {
  return `{${texts.map(textElement).join(',')}}`;
}

function textElement(text: string | null): string {
  if (text === null) return 'NULL';
  return PLAIN.test(text) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/**
 * JSON documents in one text, a line each: JSON.stringify never writes a line break. The statement takes them apart with string_to_array.
 */
export function lines(documents: readonly string[]): string {
  return documents.join('\n');
}

/** The elements of an array that the statement casts to text; none is NULL. */
export function arrayOf(literal: string | null): string[] {
  if (literal === null || literal === '{}') return [];
  const inner = literal.slice(1, -1);
  if (!inner.includes('"')) return inner.split(',');
  return inner.match(/"(?:[^"\\]|\\.)*"|[^,]+/gs)!.map((element) => (element.startsWith('"') ? element.slice(1, -1).replace(/\\(.)/gs, '$1') : element));
}
