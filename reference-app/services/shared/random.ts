import { randomFillSync } from 'node:crypto';

// One call of the system, and one conversion, for many ids: a call for each would cost more than everything else about an event.
const pool = Buffer.allocUnsafe(16_384);
let digits = '';
let used = 0;

/** A number of random bytes, as lower-case hexadecimal digits. */
export function randomHex(bytes: number): string {
  const end = used + 2 * bytes;
  if (end > digits.length) {
    digits = randomFillSync(pool).toString('hex');
    used = 0;
    return randomHex(bytes);
  }
  const taken = digits.slice(used, end);
  used = end;
  return taken;
}
