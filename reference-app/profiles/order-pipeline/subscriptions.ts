import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Position, Subscription } from '../../invariants/invariants.ts';
import type { Route } from '../queues.ts';

/**
 * A rule knows nothing of the events before it was made or changed, and the data of earlier runs are kept. So the place in the outbox
 * where a consumer began to get its present events is kept, too, beside the data.
 */
export function rememberBeginnings(dataDir: string, routes: readonly Route[], now: Position, fresh: boolean): Subscription[] {
  const file = join(dataDir, 'subscriptions.json');
  const known: Record<string, Beginning> = !fresh && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const begun = [...Map.groupBy(routes, ({ consumer }) => consumer)].map(([consumer, own]) => {
    const signature = JSON.stringify(own.map(({ rule, queue, pattern }) => [rule, queue, pattern]).sort());
    const before = known[consumer];
    return { consumer, own, routes: signature, since: before?.routes === signature ? before.since : now };
  });
  const beginnings = begun.map(({ consumer, routes: signature, since }): [string, Beginning] => [consumer, { routes: signature, since }]);
  writeFileSync(file, JSON.stringify(Object.fromEntries(beginnings)));
  return begun.flatMap(({ own, since }) => own.map((route) => ({ ...route, since })));
}

interface Beginning {
  readonly routes: string;
  readonly since: Position;
}
