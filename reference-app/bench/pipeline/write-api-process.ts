/** A write API in a process of its own: the service's, the same without a database, or a naive one. Started by rows/http.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as naive from './naive.ts';
import { createWriteApi } from '../../services/order-service/api-write-service/api.ts';
import { fingerprint, parseIdempotencyKey, parseOrderRequest } from '../../services/order-service/api-write-service/order-request.ts';
import type { Pool } from '../../services/shared/database.ts';
import { newEvent, newId } from '../../services/shared/events/index.ts';
import { createApp } from '../../services/shared/http/app.ts';
import { TokenAuthentication, type TokenOptions } from '../../services/shared/http/authentication.ts';
import { withoutAuthorization } from '../../services/shared/http/caller.ts';
import { createLogger, registry } from '../../services/shared/telemetry.ts';
import { commandPool, warm, type DatabaseLocation } from '../database/server.ts';

export type Kind = 'service' | 'no database' | 'naive';
export interface WriteApiData {
  readonly kind: Kind;
  readonly location: DatabaseLocation;
  readonly connections: number;
  /** The issuer whose tokens it asks for. @default - it is open */
  readonly issuer?: Pick<TokenOptions, 'issuer' | 'audiences' | 'jwksUrl'>;
}

const data = JSON.parse(process.argv[2]!) as WriteApiData;
const { kind, location, connections, issuer } = data;
// One line per order as in production, but it is written nowhere.
const logger = createLogger({ service: 'api-write-service', level: 'info' }, { write: () => undefined });

/** Answers the intake's statement as the database does when every order is new. */
function noDatabase(): Pool {
  return {
    waitingCount: 0,
    totalCount: 0,
    idleCount: 0,
    options: { max: connections },
    query: async () => ({ rows: [{ accepted: true, unknown_skus: [], taken_keys: null, taken_by: null, taken_hashes: null, stored: [] }] }),
    on: () => undefined,
  } as unknown as Pool;
}

const authentication = issuer ? new TokenAuthentication({ ...issuer, logger, registry }) : withoutAuthorization;
while (await authentication.ready() !== true) await sleep(10);

function naiveApi(pool: Pool) {
  const app = createApp({ logger, registry, ready: () => true, authentication });
  app.post('/orders', async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const order = parseOrderRequest(request.body, { customerId: undefined });
    const orderId = newId();
    const createdAt = new Date();
    const event = newEvent({
      type: 'order.created',
      source: '/order-service',
      subject: orderId,
      sequence: 1,
      time: createdAt,
      cause: { id: request.id, traceparent: request.traceparent },
      data: { orderId, customerId: order.customerId, items: [...order.items], createdAt: createdAt.toISOString() },
    });
    await naive.takeOrder(pool, {
      orderId,
      customerId: order.customerId,
      items: order.items,
      createdAt,
      traceparent: request.traceparent,
      causeId: request.id,
      idempotency: key === undefined ? undefined : { subject: '', key, fingerprint: fingerprint(order) },
      event: { id: event.id, envelope: JSON.stringify(event) },
    });
    request.orderId = orderId;
    return reply.code(202).header('location', `/orders/${orderId}`).send({ orderId, status: 'PENDING' });
  });
  return app;
}

const pool = kind === 'no database' ? noDatabase() : commandPool(location, connections, 'api-write-service');
if (kind !== 'no database') await warm(pool, connections);
const app = kind === 'naive' ? naiveApi(pool) : createWriteApi({ authentication, pool, logger, registry });
const url = await app.listen({ host: '127.0.0.1', port: 0 });
process.send?.({ url });
process.on('disconnect', () => process.exit(0));
