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
export const oldestOfAllShards = new Gauge({
  name: 'outbox_oldest_pending_of_all_age_seconds',
  help: 'Age of the oldest event that is not published, of all shards and so also of one without a leader; by each leader, with the shard that it leads',
  labelNames: ['shard'],
  registers: [registry],
});
export const heldBack = new Gauge({
  name: 'outbox_held_back_seconds', help: 'Age of the oldest transaction that writes, while events wait for it; 0 if none waits', labelNames: ['shard'], registers: [registry],
});
export const leading = new Gauge({ name: 'outbox_relay_leader', help: '1 on the relay that publishes the shard', labelNames: ['shard'], registers: [registry] });

export const halted = new Gauge({
  name: 'outbox_relay_halted', help: '1 while nothing is published because the cursor does not fit this cluster, as after a restore', registers: [registry],
});
const deadEvents = new Gauge({ name: 'outbox_dead_events', help: 'Events that the bus refused for good, by the leader of the first shard', registers: [registry] });
const parkedAge = new Gauge({
  name: 'outbox_parked_oldest_age_seconds', help: 'Since when the oldest parked event of any consumer waits, by the leader of the first shard', registers: [registry],
});
const snapshotAge = new Gauge({
  name: 'oldest_snapshot_age_seconds', help: 'Age of the oldest snapshot, after which nothing can be cleaned up, by the leader of the first shard', registers: [registry],
});

export interface Surroundings {
  readonly dead: number;
  readonly parked: number;
  readonly snapshot: number;
}

export function setSurroundings({ dead, parked, snapshot }: Surroundings): void {
  deadEvents.set(dead);
  parkedAge.set(parked);
  snapshotAge.set(snapshot);
}

/** Sets the gauges of a shard that this relay does not lead. */
export function clearGauges(shard: number): void {
  leading.set({ shard }, 0);
  oldestPending.set({ shard }, 0);
  oldestOfAllShards.set({ shard }, 0);
  heldBack.set({ shard }, 0);
  if (shard === 0) setSurroundings({ dead: 0, parked: 0, snapshot: 0 });
}

const TYPES = new Map(Object.entries(DETAIL_TYPES).map(([type, detailType]): [string, string] => [detailType, type]));

/** The type of an event by the detail type of its entry. */
export function typeOf(detailType: string): string {
  return TYPES.get(detailType) ?? detailType;
}
