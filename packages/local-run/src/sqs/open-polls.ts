import { AsyncLocalStorage } from 'node:async_hooks';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** Whether nobody reads what is written to it any more. */
export function isGone(socket: Socket): boolean {
  return socket.destroyed || socket.readableEnded;
}

/** What a waiting receive is to a fauxqs queue. */
export interface WaitingQueue {
  readonly pollWaiters: { readonly timer: NodeJS.Timeout; resolve(): void }[];
  waitForMessages(seconds: number): Promise<void>;
  stopPollTimerIfEmpty(): void;
}

/**
 * A long poll whose client is gone gets no messages: nobody would handle them before their visibility timeout. fauxqs gives them to it
 * until its time is over, so that each stop of a consumer would cost half a minute for some messages.
 */
export class OpenPolls {
  readonly #request = new AsyncLocalStorage<FastifyRequest>();

  constructor(app: FastifyInstance) {
    app.addHook('preHandler', (request, _reply, done) => this.#request.run(request, done));
  }

  attach(queue: WaitingQueue): void {
    const wait = queue.waitForMessages.bind(queue);
    queue.waitForMessages = async (seconds) => {
      const socket = this.#request.getStore()?.raw.socket;
      const waited = wait(seconds);
      const waiter = queue.pollWaiters.at(-1)!;
      const gone = () => {
        const at = queue.pollWaiters.indexOf(waiter);
        if (at < 0) return;
        queue.pollWaiters.splice(at, 1);
        clearTimeout(waiter.timer);
        queue.stopPollTimerIfEmpty();
      };
      if (socket && isGone(socket)) gone();
      // An end comes at once, a close only when what is to be written has been.
      for (const event of ['end', 'close']) socket?.once(event, gone);
      await waited;
      for (const event of ['end', 'close']) socket?.off(event, gone);
    };
  }
}
