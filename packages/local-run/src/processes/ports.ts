import { createServer } from 'node:net';
import { codeOf, LocalRunError } from '../errors.ts';

export const LOOPBACK = '127.0.0.1';

/** A port was asked for by name and something else listens on it. */
export class PortTakenError extends LocalRunError {
  constructor(name: string, port: number) {
    super(`Port ${port} is already in use on ${LOOPBACK}: stop what listens there, or choose another with --port ${name}=<port> (0 picks a free one).`);
  }
}

/**
 * A port that is free now: `wanted` itself, or one that the system picks when `wanted` is 0.
 * The caller may still lose the race for it, and then asks again.
 */
export async function freePort(name: string, wanted = 0): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(portError(error, name, wanted)));
    server.listen({ port: wanted, host: LOOPBACK, exclusive: true }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Turns the error of a `listen` into one that says what to do. */
export function portError(error: unknown, name: string, port: number): unknown {
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return new PortTakenError(name, port);
    case 'EACCES':
      return new LocalRunError(`Port ${port} needs rights that this user has not: choose one above 1023 with --port ${name}=<port>.`);
    default:
      return error;
  }
}
