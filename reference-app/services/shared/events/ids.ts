import { randomHex } from '../random.ts';

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const UPPER_CASE = /[A-Z]/;

/**
 * The form in which ids are written and compared everywhere: a UUID in lower case, as PostgreSQL writes it. Others may write it in upper
 * case (RFC 9562, 4). An id that is no UUID stays as it is.
 */
export function normalId(id: string): string {
  // Nearly no id has an upper-case letter, so this is the only look at it.
  return UPPER_CASE.test(id) && UUID.test(id) ? id.toLowerCase() : id;
}

const VARIANTS = '89ab';
let lastMs = 0;
let prefix = '';
let counter = 0;

/**
 * UUID version 7: grows with time, so that index pages are filled one after the other. Within a millisecond a counter (12 bits,
 * RFC 9562, 6.2, method 1) grows; when it is used up, or the clock goes back, the time goes on from the last one.
 */
export function newId(): string {
  const now = Date.now();
  if (now > lastMs || ++counter > 0xfff) {
    lastMs = Math.max(now, lastMs + 1);
    // Only the lower half, so that the upper one is left to count.
    counter = Math.floor(Math.random() * 0x800);
    const hex = lastMs.toString(16).padStart(12, '0');
    prefix = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
  }
  const random = randomHex(8);
  // Variant 10: the digit is 8, 9, a or b.
  const variant = VARIANTS[random.charCodeAt(0) & 3]!;
  return `${prefix}${counter.toString(16).padStart(3, '0')}-${variant}${random.slice(1, 4)}-${random.slice(4)}`;
}
