import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, type Registry } from 'prom-client';
import { unknownSkuProblem } from './order-request.ts';
import { isRetryable, isUnavailable } from '../../shared/database-errors.ts';
import type { Pool } from '../../shared/database.ts';
import { MAX_ITEMS, type Cause } from '../../shared/events/index.ts';
import type { Caller } from '../../shared/http/caller.ts';
import { invalid, Problem, unavailable } from '../../shared/http/problem.ts';
import { decideCommand, type CommandRequest } from '../lifecycle/decide.ts';
import { readForCommand, request as write } from '../lifecycle/statements.ts';
import { transitionOf, type Status } from '../lifecycle/transitions.ts';

export interface ChangeRequest {
  readonly orderId: string;
  /** An order of another customer than the caller's is not there. */
  readonly caller: Caller;
  readonly request: CommandRequest;
  /** The order must be one of these; undefined: whatever it is. */
  readonly versions: ReadonlySet<number> | undefined;
  readonly key: { readonly key: string; readonly fingerprint: Buffer } | undefined;
  readonly cause: Cause;
  /** The client's name for the SKU of an item. */
  readonly field?: (n: number) => string;
}

/** The order as it is now. */
export interface Changed {
  readonly version: number;
  readonly status: Status;
}

/** Another command was faster; each time one of them got further. */
const ATTEMPTS = 10;

/** Takes commands about orders: read, decide, write; again if the order has changed between. */
export function createChanger(pool: Pool, registry: Registry): (change: ChangeRequest) => Promise<Changed> {
  const commands = new Counter({
    name: 'order_commands_total', help: 'Commands about orders by what became of them: accepted, same, replayed, refused', labelNames: ['command', 'result'], registers: [registry],
  });

  async function attempt({ orderId, caller, request, versions, key, cause, field }: ChangeRequest): Promise<Changed & { result: string }> {
    const skus = request.command === 'update' ? request.items.map(({ sku }) => sku) : [];
    const known = await readForCommand(pool, { orderId, caller, key: key?.key, skus });
    const { order } = known;
    // First of all: also the key says nothing about an order that is not the caller's any more.
    if (!order) throw new Problem('order-not-found', `id ${orderId} is not the id of an order.`);
    if (key && known.key) {
      if (!known.key.fingerprint.equals(key.fingerprint)) {
        const message = 'was used before for another request; use a new key, or send the first request again';
        throw new Problem('idempotency-mismatch', `Idempotency-Key ${message}`, { errors: [{ field: 'Idempotency-Key', message }] });
      }
      // As it was answered then.
      const status = request.command === 'update' ? 'UPDATE_PENDING' : 'CANCEL_PENDING';
      return { version: known.key.version, status, result: 'replayed' };
    }
    const headers = { etag: `"${order.version}"` };
    if (versions && !versions.has(order.version)) {
      const message = `does not match: the order is at version ${order.version}; read it again and decide anew`;
      throw new Problem('precondition-failed', `If-Match ${message}`, { headers, errors: [{ field: 'If-Match', message }] });
    }
    if (known.unknownSkus.length > 0 && request.command === 'update' && transitionOf(order.status, 'update')) throw unknownSkuProblem(request.items, known.unknownSkus, field!);
    if (request.command === 'update') {
      // An event about a change has a line for each product in it.
      const products = new Set([...skus, ...order.items!.map(({ sku }) => sku)]).size;
      if (products > MAX_ITEMS) {
        throw invalid(
          'items', `and those that they take the place of are ${products} products; at most ${MAX_ITEMS} together, so change the order in two steps`,
        );
      }
    }
    const at = new Date();
    const decision = decideCommand(order, request, cause, at);
    switch (decision.result) {
      case 'illegal': {
        const can = decision.allowed.length > 0 ? `it can ${decision.allowed.join(' or ')} now` : 'nothing can be asked of it now';
        throw new Problem('illegal-transition', `The order is ${order.status}, so ${request.command} is not possible; ${can}.`, {
          headers, members: { orderStatus: order.status, allowed: decision.allowed },
        });
      }
      case 'same':
        return { version: order.version, status: order.status, result: 'same' };
      case 'change':
        await write(pool, key && { ...key, subject: caller.subject }, decision.change, at);
        return { version: order.version + 1, status: decision.change.status, result: 'accepted' };
    }
  }

  return async (change) => {
    const { command } = change.request;
    for (let tries = 1; ; tries++) {
      try {
        const { result, ...changed } = await attempt(change);
        commands.inc({ command, result });
        return changed;
      } catch (error) {
        if (error instanceof Problem) {
          commands.inc({ command, result: 'refused' });
          throw error;
        }
        const isConflict = isRetryable(error) || (error as { code?: string }).code === '23505';
        if (!isConflict && !isUnavailable(error)) throw error;
        if (!isConflict || tries >= ATTEMPTS) throw unavailable('The command could not be stored; send it again in a moment, with the same Idempotency-Key if it had one.', error);
        await sleep(Math.random() * 5 * tries);
      }
    }
  };
}
