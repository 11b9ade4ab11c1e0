import type { Pool } from '../database.ts';
import type { RefusalCause } from '../events/index.ts';
import { textArray } from '../sql-arrays.ts';

const NOTE = {
  name: 'refusals-note',
  text: 'SELECT messaging.note_refused($1, $2::text::text[], $3::text::text[], $4::text::text[], $5::text::text[])',
};

export interface Refusal {
  /** The queue's own. */
  readonly messageId: string;
  readonly cause: RefusalCause;
  readonly error: string;
  readonly claims: string;
}

/**
 * Notes what a consumer did not believe, apart from the dead letters: the author of the message chose its ids, and a dead letter ends an
 * order and holds back the events after it.
 */
export async function noteRefusals(consumer: string, refusals: readonly Refusal[], pool: Pool): Promise<void> {
  const column = (name: keyof Refusal) => textArray(refusals.map((refusal) => refusal[name]));
  await pool.query({ ...NOTE, values: [consumer, column('messageId'), column('cause'), column('error'), column('claims')] });
}

const MOST = 64;

/** The claims of a message that is not believed, as printable ASCII, however it is written. */
export function claimsOf(body: string | undefined): string {
  let claims: Record<string, unknown> = {};
  try {
    const json = JSON.parse(body ?? '') as Record<string, unknown> | null;
    const detail = (json?.detail ?? json) as Record<string, unknown> | null;
    const events = Array.isArray(detail?.events) ? detail.events as unknown[] : [detail];
    const { type, id, subject, source } = (events[0] ?? {}) as Record<string, unknown>;
    const said = Object.entries({ type, id, subject, source }).filter(([, value]) => typeof value === 'string');
    claims = { ...Object.fromEntries(said.map(([name, value]) => [name, (value as string).slice(0, MOST)])), events: events.length };
  } catch {
    // It says nothing that can be read.
  }
  return JSON.stringify(claims).replace(/[^ -~]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
