/**
 * The invariants that the database can prove. Each statement selects the violations: `id` (of the order, the SKU or the event)
 * and `detail`. They read only, and any of them can be pasted into psql after replacing its parameter.
 */
export interface Check {
  readonly invariant: 'I1' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10';
  /** The problem of the rows that it finds. */
  readonly what: string;
  readonly sql: string;
  /** Names the parameters; see `Parameters` in invariants.ts. */
  readonly parameters?: readonly ('acceptedOrders' | 'acceptedKeys' | 'keyPrefix' | 'deadOrders')[];
}

/** The things that each invariant looks at. Their number tells an empty database from a correct one. */
export const POPULATION: Record<Check['invariant'] | 'I11', string> = {
  I1: 'accepted orders',
  I3: 'ledger entries',
  I4: 'stock counters',
  I5: 'order lines',
  I6: 'orders',
  I7: 'versions of reservations',
  I8: 'changes of status',
  I9: 'orders that came to nothing',
  I10: 'events',
  I11: 'deliveries',
};

export const COUNTS = `
  SELECT (SELECT count(*) FROM inventory.ledger)::int AS "I3",
         (SELECT count(*) FROM inventory.stock_level)::int AS "I4",
         (SELECT count(*) FROM orders.order_line)::int AS "I5",
         (SELECT count(*) FROM orders.orders)::int AS "I6",
         (SELECT count(DISTINCT (document_id, version)) FROM inventory.ledger WHERE event_id IS NOT NULL)::int AS "I7",
         (SELECT count(*) FROM orders.status_change)::int AS "I8",
         (SELECT count(*) FROM orders.orders WHERE status IN ('REJECTED', 'CANCELLED', 'EXPIRED'))::int AS "I9",
         (SELECT count(*) FROM messaging.outbox)::int AS "I10"`;

/** The progress of the relay: every event up to here was given to the bus, or refused by it and kept in outbox_dead. */
export const RELAY_CURSOR = 'SELECT xid::text, id FROM messaging.relay_cursor ORDER BY relay_cursor.xid, relay_cursor.id LIMIT 1';

/**
 * A page of the published events (after $1, $2 and up to the cursor $3, $4), each with the consumers that handled it or keep it
 * until its turn.
 */
export const PUBLISHED_PAGE = `
  SELECT e.xid::text, e.id, e.event_id AS "eventId", e.aggregate_id AS "aggregateId", e.detail_type AS "detailType", e.envelope,
         ARRAY(SELECT i.consumer FROM messaging.inbox i WHERE i.consumer = ANY($5::text[]) AND i.event_id = e.event_id
               UNION SELECT p.consumer FROM messaging.parked p WHERE p.consumer = ANY($5::text[]) AND p.event_id = e.event_id AND p.applied_at IS NULL) AS handled
    FROM messaging.outbox e
   WHERE (e.xid, e.id) > ($1::xid8, $2::bigint) AND (e.xid, e.id) <= ($3::xid8, $4::bigint)
     AND NOT EXISTS (SELECT FROM messaging.outbox_dead d WHERE (d.xid, d.id) = (e.xid, e.id))
   ORDER BY e.xid, e.id
   LIMIT $6`;

/** Handled by a consumer although nothing published it. */
export const HANDLED_UNPUBLISHED = `
  SELECT i.event_id::text AS id, i.consumer AS detail
    FROM messaging.inbox i
   WHERE i.consumer = ANY($1::text[]) AND NOT EXISTS (SELECT FROM messaging.outbox e WHERE e.event_id = i.event_id)`;

export const CHECKS: readonly Check[] = [
  {
    invariant: 'I1',
    what: 'accepted, but no such order exists',
    parameters: ['acceptedOrders'],
    sql: `SELECT a.order_id::text AS id, NULL AS detail FROM unnest($1::uuid[]) AS a(order_id)
           WHERE NOT EXISTS (SELECT FROM orders.orders o WHERE o.order_id = a.order_id)`,
  },
  {
    invariant: 'I1',
    what: 'the idempotency key of an accepted order leads to no order or to another',
    parameters: ['acceptedOrders', 'acceptedKeys'],
    sql: `SELECT a.order_id::text AS id, a.key || ' leads to ' || coalesce(k.order_id::text, 'nothing') AS detail
            FROM unnest($1::uuid[], $2::text[]) AS a(order_id, key) LEFT JOIN orders.idempotency_key k USING (key)
           WHERE k.order_id IS DISTINCT FROM a.order_id
             -- Another subject may have the same key.
             AND NOT EXISTS (SELECT FROM orders.idempotency_key own WHERE own.key = a.key AND own.order_id = a.order_id)`,
  },
  {
    invariant: 'I1',
    what: 'the intake made an order of this feed for which nobody got a 202',
    parameters: ['acceptedOrders', 'keyPrefix'],
    sql: `SELECT k.order_id::text AS id, k.key AS detail FROM orders.idempotency_key k
           WHERE starts_with(k.key, $2) AND k.order_id <> ALL ($1::uuid[])`,
  },
  {
    invariant: 'I3',
    what: 'more reserved than on hand, or a negative count, now',
    sql: `SELECT sku AS id, format('at %s: on hand %s, reserved %s', location, on_hand, reserved) AS detail
            FROM inventory.stock_level WHERE reserved > on_hand OR reserved < 0 OR on_hand < 0`,
  },
  {
    invariant: 'I3',
    what: 'an event says that more was reserved than on hand',
    sql: `SELECT e.aggregate_id AS id, format('event %s: %s', e.event_id, line) AS detail
            FROM messaging.outbox e, jsonb_array_elements(e.envelope::jsonb #> '{data,lines}') AS line
           WHERE e.detail_type = 'InventoryUpdated' AND (line->>'reserved')::int NOT BETWEEN 0 AND (line->>'onHand')::int`,
  },
  {
    invariant: 'I4',
    what: 'the counters differ from the sums of the ledger',
    sql: `SELECT coalesce(c.sku, m.sku) AS id,
                 format('at %s: counters %s on hand, %s reserved; ledger %s and %s', coalesce(c.location, m.location), c.on_hand, c.reserved, m.on_hand, m.reserved) AS detail
            FROM inventory.stock_level c
            FULL JOIN (SELECT sku, location, sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved
                         FROM inventory.ledger WHERE location IS NOT NULL GROUP BY sku, location) AS m USING (sku, location)
           WHERE c.on_hand IS DISTINCT FROM m.on_hand OR c.reserved IS DISTINCT FROM m.reserved`,
  },
  {
    invariant: 'I4',
    what: 'an order gave back more than it had',
    sql: `SELECT document_id::text AS id, format('%s at %s: %s reserved, %s taken', sku, location, sum(delta_reserved), -sum(delta_on_hand)) AS detail
            FROM inventory.ledger WHERE event_id IS NOT NULL AND location IS NOT NULL GROUP BY document_id, sku, location
          HAVING sum(delta_reserved) < 0 OR sum(delta_on_hand) > 0`,
  },
  {
    // Over all locations, and what was returned taken off: as far as the inventory has come with the order.
    invariant: 'I5',
    what: 'deducted more or less than the order line says',
    sql: `SELECT id, format('%s: %s ordered, %s deducted', sku, coalesce(l.quantity, 0), coalesce(m.deducted, 0)) AS detail
            FROM (SELECT o.order_id::text AS id, l.sku, l.quantity FROM orders.orders o JOIN orders.order_line l USING (order_id)
                   WHERE o.status = 'CONFIRMED' AND o.version <= (SELECT max(version) FROM inventory.ledger WHERE document_id = o.order_id)) AS l
            FULL JOIN (SELECT e.document_id::text AS id, e.sku, -sum(e.delta_on_hand) AS deducted FROM inventory.ledger e JOIN orders.orders o ON o.order_id = e.document_id
                   WHERE o.status = 'CONFIRMED' AND o.version <= (SELECT max(version) FROM inventory.ledger WHERE document_id = o.order_id)
                   GROUP BY e.document_id, e.sku HAVING sum(e.delta_on_hand) <> 0) AS m USING (id, sku)
           WHERE m.deducted IS DISTINCT FROM l.quantity`,
  },
  {
    invariant: 'I5',
    what: 'an order line was deducted again though no update asked for it',
    sql: `SELECT l.document_id::text AS id, format('%s at %s, version %s', l.sku, l.location, l.version) AS detail FROM inventory.ledger l
           WHERE l.type = 'COMMIT' AND EXISTS (SELECT FROM inventory.ledger b WHERE b.document_id = l.document_id AND b.type = 'COMMIT' AND b.version < l.version)
             AND NOT EXISTS (SELECT FROM messaging.outbox u WHERE u.aggregate_id = l.document_id::text AND u.detail_type = 'OrderUpdated'
                                AND (u.envelope::jsonb ->> 'sequence')::int = l.version)`,
  },
  {
    invariant: 'I5',
    what: 'the deduction of one order was announced twice',
    sql: `SELECT aggregate_id AS id, format('%s events', count(*)) AS detail FROM messaging.outbox
           WHERE detail_type = 'InventoryUpdated' AND envelope::jsonb #>> '{data,outcome}' = 'DEDUCTED'
           GROUP BY aggregate_id, envelope::jsonb ->> 'sequence' HAVING count(*) > 1`,
  },
  {
    // Promised or taken, at any moment: what an update wants on top is promised before it is an item of the order.
    invariant: 'I5',
    what: 'a confirmed order has less stock than its lines',
    sql: `SELECT o.order_id::text AS id, format('%s: %s ordered, %s held or taken', l.sku, l.quantity, coalesce(m.has, 0)) AS detail
            FROM orders.orders o JOIN orders.order_line l USING (order_id)
            LEFT JOIN (SELECT document_id AS order_id, sku, sum(delta_reserved - delta_on_hand) AS has FROM inventory.ledger WHERE event_id IS NOT NULL GROUP BY 1, 2) AS m
              USING (order_id, sku)
           WHERE o.status = 'CONFIRMED' AND coalesce(m.has, 0) < l.quantity`,
  },
  {
    invariant: 'I6',
    what: 'neither terminal nor explained by an open dead letter',
    parameters: ['deadOrders'],
    sql: `SELECT o.order_id::text AS id, o.status || ' since ' || o.updated_at AS detail FROM orders.orders o
           WHERE o.status NOT IN ('CONFIRMED', 'COMPLETED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')
             AND o.order_id::text <> ALL ($1::text[])
             AND NOT EXISTS (SELECT FROM messaging.outbox_dead d WHERE d.aggregate_id = o.order_id::text)`,
  },
  {
    invariant: 'I7',
    what: 'the inventory has skipped a version of an order',
    sql: `SELECT document_id::text AS id, format('versions %s', string_agg(DISTINCT version::text, ', ')) AS detail
            FROM inventory.ledger WHERE event_id IS NOT NULL GROUP BY document_id HAVING max(version) <> count(DISTINCT version)`,
  },
  {
    // The notification-service does not get the first version.
    invariant: 'I7',
    what: 'a consumer has handled an event of an order before the one that comes first',
    sql: `SELECT e.aggregate_id AS id, format('%s: version %s', i.consumer, e.envelope::jsonb ->> 'sequence') AS detail
            FROM messaging.outbox e JOIN messaging.inbox i ON i.event_id = e.event_id AND i.consumer IN ('analytics-service', 'notification-service')
           WHERE e.envelope::jsonb ? 'previousid' AND (e.envelope::jsonb ->> 'sequence')::int > CASE i.consumer WHEN 'notification-service' THEN 2 ELSE 1 END
             AND NOT EXISTS (SELECT FROM messaging.inbox b WHERE b.event_id = (e.envelope::jsonb ->> 'previousid')::uuid AND b.consumer = i.consumer)`,
  },
  {
    invariant: 'I7',
    what: 'an event waits although what it waits for was handled',
    sql: `SELECT p.order_id::text AS id, format('%s: version %s since %s', p.consumer, p.version, p.parked_at) AS detail FROM messaging.parked p
           WHERE p.applied_at IS NULL AND CASE p.consumer
             WHEN 'inventory-service' THEN p.version <= 1 + (SELECT max(l.version) FROM inventory.ledger l WHERE l.document_id = p.order_id)
             ELSE EXISTS (SELECT FROM messaging.inbox i WHERE i.event_id = (p.envelope::jsonb ->> 'previousid')::uuid AND i.consumer = p.consumer) END`,
  },
  {
    invariant: 'I8',
    what: 'a change of status that the table of transitions does not have, or that does not follow from the one before',
    sql: `SELECT c.order_id::text AS id, format('version %s: %s to %s', c.version, coalesce(c.from_status, 'nothing'), c.to_status) AS detail
            FROM orders.status_change c LEFT JOIN orders.status_change b ON b.order_id = c.order_id AND b.version = c.version - 1
           WHERE CASE c.version WHEN 1 THEN c.to_status <> 'PENDING'
                 ELSE b.to_status IS DISTINCT FROM c.from_status OR orders.is_transition(c.from_status, c.to_status) IS NOT TRUE END`,
  },
  {
    invariant: 'I9',
    what: 'an order that came to nothing holds stock',
    sql: `SELECT o.order_id::text AS id, format('%s, %s at %s: %s taken, %s reserved', o.status, l.sku, l.location, -sum(l.delta_on_hand), sum(l.delta_reserved)) AS detail
            FROM orders.orders o JOIN inventory.ledger l ON l.document_id = o.order_id
           WHERE o.status IN ('REJECTED', 'CANCELLED', 'EXPIRED')
           GROUP BY o.order_id, l.sku, l.location HAVING sum(l.delta_on_hand) <> 0 OR sum(l.delta_reserved) <> 0`,
  },
  {
    invariant: 'I9',
    what: 'stock is held or taken for an order that does not exist',
    sql: `SELECT l.document_id::text AS id, format('%s at %s: %s taken, %s reserved', l.sku, l.location, -sum(l.delta_on_hand), sum(l.delta_reserved)) AS detail
            FROM inventory.ledger l
           WHERE l.event_id IS NOT NULL AND NOT EXISTS (SELECT FROM orders.orders o WHERE o.order_id = l.document_id)
           GROUP BY l.document_id, l.sku, l.location HAVING sum(l.delta_on_hand) <> 0 OR sum(l.delta_reserved) <> 0`,
  },
  {
    invariant: 'I10',
    what: 'an order without exactly one OrderCreated',
    sql: `SELECT o.order_id::text AS id, format('%s events', count(e.event_id)) AS detail
            FROM orders.orders o LEFT JOIN messaging.outbox e ON e.aggregate_id = o.order_id::text AND e.detail_type = 'OrderCreated'
           GROUP BY o.order_id HAVING count(e.event_id) <> 1`,
  },
  {
    invariant: 'I10',
    what: 'the lines of an order differ from those of its OrderCreated or its last OrderUpdated',
    sql: `SELECT coalesce(l.aggregate_id, e.aggregate_id) AS id, format('%s: %s in the order, %s in the event', sku, l.quantity, e.quantity) AS detail
            FROM (SELECT order_id::text AS aggregate_id, sku, quantity FROM orders.order_line) AS l
            FULL JOIN (SELECT n.aggregate_id, item->>'sku' AS sku, (item->>'quantity')::int AS quantity
                         FROM (SELECT DISTINCT ON (aggregate_id) aggregate_id, envelope::jsonb -> 'data' AS data FROM messaging.outbox
                                WHERE detail_type IN ('OrderCreated', 'OrderUpdated') ORDER BY aggregate_id, (envelope::jsonb ->> 'sequence')::int DESC) AS n,
                              jsonb_array_elements(coalesce(n.data -> 'new', n.data -> 'items')) AS item) AS e USING (aggregate_id, sku)
           WHERE l.quantity IS DISTINCT FROM e.quantity`,
  },
  {
    invariant: 'I10',
    what: 'a change of status and its event do not belong to each other one to one',
    sql: `SELECT coalesce(c.id, e.id) AS id, format('version %s, %s: %s changes, %s events', version, coalesce(e.type, c.to_status),
                        coalesce(c.count, 0), coalesce(e.count, 0)) AS detail
            FROM (SELECT order_id::text AS id, event_id, version::text, to_status, count(*) FROM orders.status_change WHERE version > 1 GROUP BY 1, 2, 3, 4) AS c
            FULL JOIN (SELECT aggregate_id AS id, event_id, envelope::jsonb ->> 'sequence' AS version, detail_type AS type, count(*)
                         FROM messaging.outbox WHERE detail_type LIKE 'Order%' AND detail_type <> 'OrderCreated' GROUP BY 1, 2, 3, 4) AS e USING (id, event_id, version)
           WHERE c.count IS DISTINCT FROM 1 OR e.count IS DISTINCT FROM 1
              OR e.type <> ALL (CASE c.to_status WHEN 'CONFIRMED' THEN ARRAY['OrderConfirmed', 'OrderUpdated', 'OrderUpdateRejected', 'OrderUpdateExpired']
                   WHEN 'REJECTED' THEN ARRAY['OrderRejected']
                   WHEN 'UPDATE_PENDING' THEN ARRAY['OrderUpdateRequested'] WHEN 'CANCEL_PENDING' THEN ARRAY['OrderCancelRequested']
                   WHEN 'CANCELLED' THEN ARRAY['OrderCancelled'] WHEN 'EXPIRED' THEN ARRAY['OrderExpired'] ELSE '{}' END)`,
  },
  {
    invariant: 'I10',
    what: 'the status of an order is not that of its last change',
    sql: `SELECT o.order_id::text AS id, format('%s, version %s; last change to %s, version %s', o.status, o.version, c.to_status, c.version) AS detail
            FROM orders.orders o
            LEFT JOIN LATERAL (SELECT to_status, version FROM orders.status_change s WHERE s.order_id = o.order_id ORDER BY version DESC LIMIT 1) AS c ON true
           WHERE c.to_status IS DISTINCT FROM o.status OR c.version IS DISTINCT FROM o.version`,
  },
  {
    invariant: 'I10',
    what: 'a version of a reservation and its InventoryUpdated do not belong to each other one to one',
    sql: `SELECT coalesce(d.id, e.id) AS id, format('%s, version %s: %s in the ledger, %s events', outcome, version, coalesce(d.count, 0), coalesce(e.count, 0)) AS detail
            FROM (SELECT document_id::text AS id, event_id, version::text,
                         -- What is taken, or else returned, gives a version with several kinds of lines its name.
                         CASE WHEN bool_or(type = 'COMMIT') THEN 'DEDUCTED' WHEN bool_or(type = 'RETURN') THEN 'RETURNED' WHEN bool_or(type = 'RESERVE') THEN 'RESERVED'
                              WHEN bool_or(type = 'REJECT') THEN 'REJECTED' ELSE 'RELEASED' END AS outcome,
                         1 AS count
                    FROM inventory.ledger WHERE event_id IS NOT NULL GROUP BY 1, 2, 3) AS d
            FULL JOIN (SELECT aggregate_id AS id, event_id, envelope::jsonb ->> 'sequence' AS version, envelope::jsonb #>> '{data,outcome}' AS outcome, count(*)
                         FROM messaging.outbox WHERE detail_type = 'InventoryUpdated' GROUP BY 1, 2, 3, 4) AS e USING (id, event_id, version, outcome)
           WHERE d.count IS DISTINCT FROM e.count`,
  },
  {
    invariant: 'I10',
    what: 'the ledger of an order differs from the lines of its InventoryUpdated',
    sql: `SELECT coalesce(m.id, e.id) AS id, format('%s, event %s: ledger %s and %s, event %s and %s', sku, event_id, m.on_hand, m.reserved, e.on_hand, e.reserved) AS detail
            FROM (SELECT document_id::text AS id, event_id, sku, sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved
                    FROM inventory.ledger WHERE event_id IS NOT NULL AND location IS NOT NULL GROUP BY 1, 2, 3) AS m
            FULL JOIN (SELECT aggregate_id AS id, event_id, line->>'sku' AS sku, sum((line->>'deltaOnHand')::int) AS on_hand, sum((line->>'deltaReserved')::int) AS reserved
                         FROM messaging.outbox, jsonb_array_elements(envelope::jsonb #> '{data,lines}') AS line
                        WHERE detail_type = 'InventoryUpdated' AND envelope::jsonb #>> '{data,outcome}' <> 'REJECTED' GROUP BY 1, 2, 3) AS e
           USING (event_id, sku)
           WHERE m.on_hand IS DISTINCT FROM e.on_hand OR m.reserved IS DISTINCT FROM e.reserved`,
  },
  {
    invariant: 'I10',
    what: 'an event of a committed change has not been published',
    sql: `SELECT e.event_id::text AS id, format('%s of order %s', e.detail_type, e.aggregate_id) AS detail
            FROM messaging.outbox e, (SELECT xid, id FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1) AS c WHERE (e.xid, e.id) > (c.xid, c.id)`,
  },
];
