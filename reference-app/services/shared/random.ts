import { randomFillSync } from 'node:crypto';

// One call of the system for many ids: a call for each would cost more than everything else about an event.
const pool = Buffer.allocUnsafe(16_384);
let used = pool.length;

/** A number of random bytes, as lower-case hexadecimal digits. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}
