import { GroupCommit } from '../../services/order-service/api-write-service/group-commit.ts';
import type { NewOrder } from '../../services/order-service/api-write-service/intake.ts';
import type { Pool } from '../../services/shared/database.ts';

/** The path of one request after its validation. Resolves when the order is stored, and rejects when it is not. */
export type Accept = (order: NewOrder) => Promise<void>;

/**
 * Accepts orders by the write API's own group commit.
 *
 * @param connections connections that it may use at once @default - the service's own number
 */
export function acceptBy(pool: Pool, connections?: number): Accept {
  const intake = new GroupCommit(pool, connections === undefined ? {} : { connections });
  return async (order) => {
    const outcome = await intake.accept(order);
    if (outcome.result !== 'accepted') throw new Error(`The order ${order.orderId} was not accepted: ${outcome.result}`);
  };
}
