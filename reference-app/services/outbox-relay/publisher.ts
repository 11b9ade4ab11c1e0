import { EventBridgeClient, PutEventsCommand, type PutEventsRequestEntry } from '@aws-sdk/client-eventbridge';
import { SIGNATURE_BYTES } from '../shared/events/index.ts';

/** The answer of the bus about one entry. */
export type PublishResult =
  | { readonly result: 'ok' }
  /** `mayPass`: a fault of the way or of the bus, which ends some time; otherwise the entry itself is under suspicion. */
  | { readonly result: 'retry'; readonly error: string; readonly mayPass: boolean }
  /** Final: the same entry would be refused again. */
  | { readonly result: 'refused'; readonly error: string };

export interface Entry {
  readonly detailType: string;
  /** One event, or a bundle of them. */
  readonly detail: string;
  readonly time: Date;
  /** The number of events in it. */
  readonly events: number;
}

/** Limits of one PutEvents call. */
export const MAX_ENTRIES = 10;
const LIMIT = 256 * 1024;
/** The most bytes of the entries of a call before they are signed. */
export const MAX_BYTES = LIMIT - MAX_ENTRIES * SIGNATURE_BYTES;

/** The size as EventBridge counts it: 14 bytes for the time, and the UTF-8 bytes of source, detail type and detail. */
export function entrySize(detailType: string, detailBytes: number, source: string): number {
  return 14 + Buffer.byteLength(source) + Buffer.byteLength(detailType) + detailBytes;
}

export interface PublisherOptions {
  readonly client: EventBridgeClient;
  readonly busName: string;
  readonly source: string;
}

/** Error codes of an entry that say: it is wrong. */
const REFUSALS = new Set(['InvalidArgument', 'InvalidArgumentException', 'MalformedDetail', 'ValidationException']);
const PASSING = new Set([
  'ThrottlingException', 'ThrottledException', 'InternalFailure', 'InternalException', 'InternalError', 'ServiceUnavailable', 'NoAnswer',
]);

/** Publishes at most ten entries in one call. PutEvents answers 200 with failed entries inside: every entry has its own result. */
export async function publish(entries: readonly Entry[], options: PublisherOptions): Promise<PublishResult[]> {
  const [first] = entries;
  const bytes = entrySize(first!.detailType, Buffer.byteLength(first!.detail), options.source);
  if (entries.length === 1 && bytes > LIMIT) return [{ result: 'refused', error: `The entry has ${bytes} bytes; the limit is ${LIMIT}.` }];
  const request = entries.map(({ detailType, detail, time }): PutEventsRequestEntry => ({
    EventBusName: options.busName, Source: options.source, DetailType: detailType, Detail: detail, Time: time,
  }));
  try {
    const { Entries = [] } = await options.client.send(new PutEventsCommand({ Entries: request }));
    return entries.map((_, i): PublishResult => {
      const entry = Entries[i];
      if (entry?.EventId && !entry.ErrorCode) return { result: 'ok' };
      const code = entry?.ErrorCode ?? 'NoAnswer';
      const error = `${code}: ${entry?.ErrorMessage ?? ''}`;
      return REFUSALS.has(code) ? { result: 'refused', error } : { result: 'retry', error, mayPass: PASSING.has(code) };
    });
  } catch (error) {
    const { name, message } = error as Error;
    // Possibly for one of its entries: each alone, so that it does not hold back the others. The same goes for the events of an entry.
    const isWrong = name === 'ValidationException';
    if (isWrong && entries.length > 1) return (await Promise.all(entries.map((entry) => publish([entry], options)))).flat();
    // No credentials, a wrong bus name, no network: never the fault of an event, so none is given up for it.
    return entries.map(({ events }) => ({ result: 'retry', error: `${name}: ${message}`, mayPass: !isWrong || events === 1 }));
  }
}
