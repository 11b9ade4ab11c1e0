import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;

/**
 * Clears the young generation of this thread before a slice: what was made for it moves to the old one, and the garbage of the slice
 * before is gone. So no slice pays for another, nor for its own input. A full collection would throw compiled code away, too.
 */
export function clearYoungGeneration(): void {
  // What survives twice moves.
  collect({ type: 'minor' });
  collect({ type: 'minor' });
}
