import { accessChecks } from './access.ts';
import type { Check } from './bench.ts';
import { deadLetterChecks } from './dead-letters.ts';
import { fifoChecks } from './fifo.ts';
import { inFlightChecks } from './in-flight.ts';
import { protocolChecks } from './protocols.ts';
import { queueAttributeChecks } from './queue-attributes.ts';
import { queueChecks } from './queues.ts';
import { receiveChecks } from './receive.ts';
import { sendChecks } from './send.ts';

/** The rules of SQS that the endpoint is checked against, each with the page that states it. */
export const CHECKS: readonly Check[] = [
  ...queueChecks,
  ...queueAttributeChecks,
  ...sendChecks,
  ...receiveChecks,
  ...inFlightChecks,
  ...fifoChecks,
  ...deadLetterChecks,
  ...accessChecks,
  ...protocolChecks,
];

/** The rules that the endpoint does not keep, and why; `docs/local-run.md` has the same list. */
export const NOT_HELD: ReadonlyMap<string, string> = new Map([
  ['delete-queue-recently', 'Tests delete and make queues all the time; a minute of waiting would show no mistake of theirs.'],
  ['sse-missing-key', 'There is no KMS on this machine, so no key is missing.'],
  ['signature', 'There is no account whose keys could be checked. A form has to be signed, but by any key.'],
]);
