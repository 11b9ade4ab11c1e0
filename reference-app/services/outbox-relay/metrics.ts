import { Counter, Gauge } from 'prom-client';
import { DETAIL_TYPES } from '../shared/events/index.ts';
import { registry } from '../shared/telemetry.ts';

export const entriesPublished = new Counter({
  name: 'outbox_publish_total', help: 'Entries of PutEvents calls by result: ok, retry, dead', labelNames: ['result'], registers: [registry],
});
export const eventsPublished = new Counter({
  name: 'outbox_events_published_total', help: 'Events that the bus took; an entry has one or, as a bundle, several', labelNames: ['type'], registers: [registry],
});
export const oldestPending = new Gauge({
  name: 'outbox_oldest_pending_age_seconds',
  help: 'Age of the oldest event that is not published, by shard; 0 on a relay that does not lead the shard',
  labelNames: ['shard'],
  registers: [registry],
});
export const heldBack = new Gauge({
  name: 'outbox_held_back_seconds', help: 'Age of the oldest transaction that writes, while events wait for it; 0 if none waits', labelNames: ['shard'], registers: [registry],
});
export const leading = new Gauge({ name: 'outbox_relay_leader', help: '1 on the relay that publishes the shard', labelNames: ['shard'], registers: [registry] });

/** Sets the gauges of a shard that this relay does not lead any more. */
export function clearGauges(shard: number): void {
  leading.set({ shard }, 0);
  oldestPending.set({ shard }, 0);
  heldBack.set({ shard }, 0);
}

const TYPES = new Map(Object.entries(DETAIL_TYPES).map(([type, detailType]): [string, string] => [detailType, type]));

/** The type of an event by the detail type of its entry. */
export function typeOf(detailType: string): string {
  return TYPES.get(detailType) ?? detailType;
}
