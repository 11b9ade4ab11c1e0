import type { Pool } from 'pg';
import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { auroraLag, isAurora, streamingLag } from './statements.ts';

/** Measured when the metrics are scraped; a replica that does not answer leaves no value instead of an old one. */
export function registerReplicaLag(reader: Pool, registry: Registry): void {
  let aurora: boolean | undefined;
  new Gauge({
    name: 'db_replica_lag_seconds',
    help: 'How far the replica that answers queries is behind the writer.',
    registers: [registry],
    async collect() {
      try {
        aurora ??= (await reader.query<{ isAurora: boolean }>(isAurora())).rows[0]?.isAurora;
        const { rows } = await reader.query<{ lag: number }>(aurora ? auroraLag() : streamingLag());
        this.set(rows[0]?.lag ?? 0);
      } catch {
        this.remove();
      }
    },
  });
}
