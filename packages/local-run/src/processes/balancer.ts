import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { LOOPBACK } from './ports.ts';

/** The time that a new connection waits for a replica while none is ready. */
const PATIENCE_MS = 5_000;

/** Stands for a Kubernetes Service: spreads TCP connections over the replicas that are ready. */
export class Balancer {
  static async start(port: number, backends: () => number[] | Promise<number[]>): Promise<Balancer> {
    const balancer = new Balancer(backends);
    await new Promise<void>((resolve, reject) => {
      balancer.#server.once('error', reject);
      balancer.#server.listen({ host: LOOPBACK, port, exclusive: true }, resolve);
    });
    const address = balancer.#server.address();
    balancer.#port = typeof address === 'object' && address ? address.port : port;
    return balancer;
  }

  readonly #server: Server;
  readonly #backends: () => number[] | Promise<number[]>;
  readonly #open = new Set<Socket>();
  #next = 0;
  #stopping = false;
  #port = 0;

  private constructor(backends: () => number[] | Promise<number[]>) {
    this.#backends = backends;
    // Half-open, since a client may end its side and still wait for the answer.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => void this.#serve(client));
  }

  get port(): number { return this.#port; }

  async #serve(client: Socket): Promise<void> {
    this.#track(client);
    const deadline = Date.now() + PATIENCE_MS;
    while (!client.destroyed && !this.#stopping) {
      const ports = await this.#backends();
      // Every ready replica once: one of them may just have ended.
      for (let attempt = 0; attempt < ports.length; attempt++) {
        const port = ports[this.#next++ % ports.length] ?? 0;
        const backend = await this.#connect(port);
        if (!backend) continue;
        this.#track(backend);
        client.pipe(backend);
        backend.pipe(client);
        client.once('close', () => backend.destroy());
        backend.once('close', () => client.destroy());
        return;
      }
      if (Date.now() > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    client.destroy();
  }

  #track(socket: Socket): void {
    this.#open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#open.delete(socket));
  }

  #connect(port: number): Promise<Socket | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ port, host: LOOPBACK, allowHalfOpen: true, noDelay: true });
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(socket);
      });
      socket.once('error', () => resolve(undefined));
    });
  }

  /** Takes no more connections; those that are open end with their replicas. */
  drain(): void {
    this.#stopping = true;
    this.#server.close();
  }

  stop(): void {
    this.drain();
    for (const socket of this.#open) socket.destroy();
  }
}
