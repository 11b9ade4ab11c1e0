import type pg from 'pg';
import { check, deadCheck } from './checks.ts';
import type { FanOutCheck } from './checks.ts';

interface Finding {
  readonly checked: number;
  readonly violations: readonly string[];
}

/** Each statement returns the number of rows that it looked at, and a line for each that is wrong. */
const DIFFERENT = `
  SELECT count(*)::int AS checked, coalesce(array_agg('order ' || order_id || ': the consumers are at versions ' || versions) FILTER (WHERE wrong), '{}') AS violations
    FROM (SELECT order_id, string_agg(version::text, ', ' ORDER BY consumer) AS versions, count(*) <> $1 OR min(version) <> max(version) AS wrong
            FROM fan_out.progress GROUP BY order_id) AS p`;
const ORDERS = `
  SELECT count(*)::int AS checked,
         coalesce(array_agg('order ' || order_id || ': version ' || o.version || ', and the consumer is at ' || coalesce(p.version, 0))
                  FILTER (WHERE o.version IS DISTINCT FROM p.version), '{}') AS violations
    FROM fan_out.orders o LEFT JOIN fan_out.progress p USING (order_id)
   WHERE p.consumer = 'order-consumer' OR p.consumer IS NULL`;
const COUNTED = `
  SELECT applied::int AS checked, CASE WHEN counted = applied THEN '{}' ELSE ARRAY[counted || ' events counted, ' || applied || ' applied'] END AS violations
    FROM (SELECT coalesce(sum(created + updated + cancelled), 0) AS counted FROM fan_out.order_minute) AS m,
         (SELECT coalesce(sum(version), 0) AS applied FROM fan_out.progress WHERE consumer = 'analytics-consumer') AS p`;
const NOTIFIED = `
  SELECT count(*)::int AS checked,
         coalesce(array_agg('order ' || order_id || ': ' || coalesce(sent, 0) || ' notifications sent for ' || version || ' versions')
                  FILTER (WHERE sent IS DISTINCT FROM version), '{}') AS violations
    FROM (SELECT order_id, version FROM fan_out.progress WHERE consumer = 'notification-consumer') AS p
    LEFT JOIN (SELECT order_id, count(*) AS sent FROM fan_out.notification WHERE sent_at IS NOT NULL GROUP BY order_id) AS n USING (order_id)`;

/** Checks the data of earlier runs. Their events are not known any more, so the data of the consumers are compared with each other. */
export async function checkKept(database: pg.Pool, consumers: number, dead: readonly string[]): Promise<FanOutCheck[]> {
  const find = async (sql: string, values: unknown[] = []) => (await database.query<Finding>(sql, values)).rows[0]!;
  const titled = (id: string, title: string, { checked, violations }: Finding) => check(id, title, checked, violations);
  const different = await find(DIFFERENT, [consumers]);
  return [
    titled('I7', 'every consumer is at the same version of each order', different),
    titled('orders', 'every order has the version that its consumer applied', await find(ORDERS)),
    titled('analytics', 'every applied event is counted once', await find(COUNTED)),
    titled('notifications', 'the customer is notified of every version, once', await find(NOTIFIED)),
    deadCheck(dead, different.checked),
  ];
}
