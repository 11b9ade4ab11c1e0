import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * Bounds the number of open connections; 0 is no limit. A new one takes the place of the one that has waited for a request for longest,
 * since one client that opens many and sends nothing could keep everybody else out. While all have a request in work, it is closed unread.
 */
export function limitConnections({ server }: Pick<FastifyInstance, 'server'>, registry: Registry, max: number): void {
  const refused = new Counter({
    name: 'http_connections_refused_total', help: 'Connections that were closed at once since too many were open.', registers: [registry],
  });
  const replaced = new Counter({
    name: 'http_connections_replaced_total', help: 'Connections without a request that were closed to make room for new ones.', registers: [registry],
  });
  new Gauge({
    name: 'http_connections',
    help: 'Open connections.',
    registers: [registry],
    async collect() {
      this.set(await promisify(server.getConnections.bind(server))());
    },
  });
  if (max === 0) return;

  /** Those without a request in work, the one that has waited for longest first. */
  const waiting = new Set<Socket>();
  const inWork = new WeakMap<Socket, number>();
  const open = new Set<Socket>();
  const forget = (socket: Socket) => {
    open.delete(socket);
    waiting.delete(socket);
  };
  const makeRoom = () => {
    const [longest] = waiting;
    if (!longest) return;
    // Now, not when it is closed: others may come in the meantime.
    forget(longest);
    longest.destroy();
    replaced.inc();
  };

  server.maxConnections = max;
  server.on('connection', (socket: Socket) => {
    // Each that takes the last place makes the next one free.
    if (open.add(socket).size >= max) makeRoom();
    waiting.add(socket);
    socket.once('close', () => forget(socket));
  });
  server.on('drop', () => {
    refused.inc();
    makeRoom();
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    waiting.delete(socket);
    // Several, if the client does not wait for the answers.
    inWork.set(socket, (inWork.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const left = inWork.get(socket)! - 1;
      inWork.set(socket, left);
      if (left === 0 && !socket.destroyed) waiting.add(socket);
    });
  });
}
