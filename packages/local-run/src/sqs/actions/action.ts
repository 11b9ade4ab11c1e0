import type { Input } from '../../http/aws-json.ts';
import { requiredText } from '../input.ts';
import type { Client } from '../long-polls.ts';
import type { MoveTasks } from '../move-tasks.ts';
import type { Queue } from '../queue.ts';
import type { QueueStore } from '../store.ts';

/** The state that actions work on. */
export interface Context {
  readonly store: QueueStore;
  readonly moveTasks: MoveTasks;
}

export interface Output {
  /** The fields of the answer in the JSON protocol. */
  readonly result: Readonly<Record<string, unknown>>;
  /** Called if the client is gone before it has the answer. */
  readonly undelivered?: () => void;
}

/** An action of the API; what it changes is written down before its answer goes out. */
export type Action = (input: Input, context: Context, client: Client) => Output | Promise<Output>;

export const NOTHING: Output = { result: {} };

export function queueOf(input: Input, { store }: Context): Queue {
  return store.withUrl(requiredText(input, 'QueueUrl'));
}
