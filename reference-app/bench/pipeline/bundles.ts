import type { RelayOptions } from '../../services/outbox-relay/options.ts';
import { bundleHead, bundleOf } from '../../services/shared/events/index.ts';

export type Bundles = Required<Pick<RelayOptions, 'bundleBytes' | 'lingerMs'>>;

/** The bundles of the reference app. */
export const BUNDLES: Bundles = { bundleBytes: 60 * 1024, lingerMs: 40 };
/** A message per event. */
export const NO_BUNDLES: Bundles = { bundleBytes: 0, lingerMs: 0 };

const BEGIN = '{"specversion"';

/** The number of events in the detail of an entry; it is not parsed, since that would cost more than the relay. */
export function eventsIn(detail: string): number {
  let count = 0;
  for (let at = detail.indexOf(BEGIN); at >= 0; at = detail.indexOf(BEGIN, at + BEGIN.length)) count++;
  // A bundle begins like an event.
  return Math.max(1, count > 1 || detail.includes('"events":[') ? count - 1 : count);
}

/** The messages in which the relay would send events that wait together. */
export function messagesOf(events: readonly object[], { bundleBytes }: Bundles): string[] {
  const texts = events.map((event) => JSON.stringify(event));
  if (bundleBytes === 0) return texts;
  const messages: string[] = [];
  for (const [head, own] of Map.groupBy(texts, (text) => bundleHead(text)!)) {
    let bytes = 0;
    let bundle: string[] = [];
    for (const text of own) {
      if (bundle.length > 0 && bytes + text.length > bundleBytes) {
        messages.push(bundleOf(head, bundle));
        [bundle, bytes] = [[], 0];
      }
      bundle.push(text);
      bytes += text.length;
    }
    messages.push(bundleOf(head, bundle));
  }
  return messages;
}
