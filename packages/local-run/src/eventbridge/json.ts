/**
 * JSON whose numbers lose nothing. `JSON.parse` alone turns 12345678901234567890 into another number; a bus has to hand it on and
 * compare it as it was written.
 */

/** A number that a double cannot hold; `JSON.stringify` writes it as it was read. */
export interface RawNumber {
  readonly rawJSON: string;
}

export type Scalar = string | number | boolean | null | RawNumber;

interface RawJson {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
  parse(text: string, reviver: (key: string, value: unknown, context: { source: string }) => unknown): unknown;
}
// Node 24 has these; the es2024 library types do not name them yet.
const json = JSON as unknown as RawJson;

export const isRawNumber = (value: unknown): value is RawNumber => json.isRawJSON(value);

// Sixteen digits (a point among them allowed) or an exponent is the least that a double can fail on. What stands before keeps the many
// hexadecimal ids in strings from looking like numbers.
const SUSPECT = /(?:^|[[:,\s])-?(?:\d[\d.]{15}|\d[\d.]*[eE])/;

export function parseJson(text: string): unknown {
  if (!SUSPECT.test(text)) return JSON.parse(text);
  return json.parse(text, (_key, value, { source }) => (typeof value === 'number' && !isExact(source) ? json.rawJSON(source) : value));
}

/** Whether the shortest way to write the double says the same number as the text. */
function isExact(source: string): boolean {
  const value = Number(source);
  return Number.isFinite(value) && sameDecimal(source, String(value));
}

function sameDecimal(a: string, b: string): boolean {
  const [x, y] = [decimal(a), decimal(b)];
  return x.digits === y.digits && (x.digits === '' || (x.exponent === y.exponent && x.negative === y.negative));
}

function decimal(text: string): { negative: boolean; digits: string; exponent: number } {
  const [mantissa = '', power = '0'] = text.replace(/^-/, '').toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  return {
    negative: text.startsWith('-'),
    digits: significant,
    exponent: Number(power) - fraction.length + (digits.length - significant.length),
  };
}
