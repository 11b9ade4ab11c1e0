import { randomUUID } from 'node:crypto';
import { parseJson } from './json.ts';
import type { BusEvent, PutEventsEntry, PutEventsResultEntry } from './types.ts';

/** An event on its way to the targets of a bus. */
export interface Publication {
  readonly event: BusEvent;
  /** The event as JSON. */
  readonly body: string;
  readonly time: number;
  readonly replay?: { readonly name: string; readonly ruleArns: ReadonlySet<string> };
  /** It came from another bus, and EventBridge lets no event go on to a third. */
  readonly hopped?: boolean;
}

interface EntryPlace {
  readonly accountId: string;
  readonly region: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Makes an event of an entry of PutEvents, or the answer that says what is wrong with it. */
export function readEntry(entry: PutEventsEntry, { accountId, region, now }: EntryPlace): Publication | PutEventsResultEntry {
  for (const name of ['Source', 'DetailType', 'Detail'] as const) {
    if (!entry[name]) return invalid(`Parameter ${name} is not valid. Reason: ${name} is a required argument.`);
  }
  const { Source: source, DetailType: detailType, Detail: detail } = entry as Required<PutEventsEntry>;
  if (source.startsWith('aws.')) return { ErrorCode: 'NotAuthorizedForSourceException', ErrorMessage: 'Not authorized for the source.' };
  if (source.length > 256) return invalid('Parameter Source is not valid. Reason: Source must not have more than 256 characters.');
  if (detailType.length > 128) {return invalid('Parameter DetailType is not valid. Reason: DetailType must not have more than 128 characters.');}
  let parsed: unknown;
  try {
    parsed = parseJson(detail);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {return { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' };}
  const time = entry.Time === undefined ? now : entry.Time instanceof Date ? entry.Time.getTime() : entry.Time * 1000;
  if (!(Math.abs(time) <= 8.64e15)) return invalid('Parameter Time is not valid. Reason: Time must be a time stamp.');

  const head = {
    'version': '0',
    'id': randomUUID(),
    'detail-type': detailType,
    source,
    'account': accountId,
    'time': isoSeconds(time),
    region,
    'resources': entry.Resources ?? [],
  };
  return {
    event: { ...head, detail: parsed as Record<string, unknown> },
    // The detail goes on as it was written: no number loses digits, and it is not written a second time.
    body: `${JSON.stringify(head).slice(0, -1)},"detail":${detail.trim()}}`,
    time: Math.floor(time),
  };
}

const invalid = (ErrorMessage: string): PutEventsResultEntry => ({ ErrorCode: 'InvalidArgument', ErrorMessage });

/** The bytes of an entry that count for the limit of a request. */
export function entrySize({ Time, Source, DetailType, Detail, Resources }: PutEventsEntry): number {
  const size = (text: string | undefined) => (text === undefined ? 0 : Buffer.byteLength(text));
  return (
    (Time === undefined ? 0 : 14) +
    size(Source) +
    size(DetailType) +
    size(Detail) +
    (Resources ?? []).reduce((sum, each) => sum + size(each), 0)
  );
}

export const isoSeconds = (time: number): string => `${new Date(time).toISOString().slice(0, -5)}Z`;
