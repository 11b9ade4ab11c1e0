import type { EventType } from '../../shared/events/index.ts';

/**
 * The statuses of an order. `waiting` for an answer or a step that has to come, so it has a deadline; `resting` is the happy end of the
 * profiles without payment, from which a customer may still change the order; `final` absorbs every later event.
 */
export const STATUSES = {
  PENDING: 'waiting',
  CONFIRMED: 'resting',
  UPDATE_PENDING: 'waiting',
  CANCEL_PENDING: 'waiting',
  FULFILLING: 'waiting',
  SHIPPED: 'waiting',
  DELIVERED: 'waiting',
  COMPLETED: 'final',
  REJECTED: 'final',
  CANCELLED: 'final',
  EXPIRED: 'final',
  FAILED: 'final',
} as const satisfies Record<string, 'waiting' | 'resting' | 'final'>;
export type Status = keyof typeof STATUSES;

/** The commands of a client. */
export const COMMANDS = ['update', 'cancel'] as const;
export type Command = (typeof COMMANDS)[number];
/** Commands, the answers of the inventory, the passing of the deadline, and the steps of the commerce profile. */
export type Trigger = Command | 'reserved' | 'rejected' | 'released' | 'deadline' | 'fulfil' | 'ship' | 'deliver' | 'complete' | 'fail';

export interface Transition {
  readonly from: Status;
  readonly on: Trigger;
  readonly to: Status;
  /** Says that it happened. Steps of the commerce profile get theirs with it. */
  readonly event?: EventType;
}

const waitFor = (from: Status): Transition[] => [{ from, on: 'deadline', to: 'EXPIRED', event: 'order.expired' }];

/** All that may happen to an order after it was created as PENDING. The guards, the diagram and the model in the tests are made from it. */
export const TRANSITIONS: readonly Transition[] = [
  { from: 'PENDING', on: 'reserved', to: 'CONFIRMED', event: 'order.confirmed' },
  { from: 'PENDING', on: 'rejected', to: 'REJECTED', event: 'order.rejected' },
  { from: 'PENDING', on: 'cancel', to: 'CANCEL_PENDING', event: 'order.cancel-requested' },
  ...waitFor('PENDING'),
  { from: 'CONFIRMED', on: 'update', to: 'UPDATE_PENDING', event: 'order.update-requested' },
  { from: 'CONFIRMED', on: 'cancel', to: 'CANCEL_PENDING', event: 'order.cancel-requested' },
  { from: 'UPDATE_PENDING', on: 'reserved', to: 'CONFIRMED', event: 'order.updated' },
  { from: 'UPDATE_PENDING', on: 'rejected', to: 'CONFIRMED', event: 'order.update-rejected' },
  // The order was confirmed, and is so without the update.
  { from: 'UPDATE_PENDING', on: 'deadline', to: 'CONFIRMED', event: 'order.update-expired' },
  { from: 'CANCEL_PENDING', on: 'released', to: 'CANCELLED', event: 'order.cancelled' },
  ...waitFor('CANCEL_PENDING'),
  { from: 'CONFIRMED', on: 'fulfil', to: 'FULFILLING' },
  { from: 'FULFILLING', on: 'ship', to: 'SHIPPED' },
  { from: 'SHIPPED', on: 'deliver', to: 'DELIVERED' },
  { from: 'DELIVERED', on: 'complete', to: 'COMPLETED' },
  { from: 'FULFILLING', on: 'fail', to: 'FAILED' },
  { from: 'SHIPPED', on: 'fail', to: 'FAILED' },
];

const BY_TRIGGER = new Map(TRANSITIONS.map((transition) => [`${transition.from} ${transition.on}`, transition]));

/** The guard: undefined if the status does not allow it. */
export function transitionOf(from: Status, on: Trigger): Transition | undefined {
  return BY_TRIGGER.get(`${from} ${on}`);
}

/** The commands that this order takes in its present state. */
export function allowedCommands(status: Status): Command[] {
  return COMMANDS.filter((command) => transitionOf(status, command));
}

/** Statuses that a deadline ends. */
export const EXPIRING: readonly Status[] = TRANSITIONS.filter(({ on }) => on === 'deadline').map(({ from }) => from);
