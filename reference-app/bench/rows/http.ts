import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { serveIssuer } from 'cdk-local-run/issuer/endpoint';
import { TokenIssuer } from 'cdk-local-run/issuer/token-issuer';
import { median } from '../../load/statistics.ts';
import type { Row } from '../context.ts';
import type { BenchDatabase } from '../database/server.ts';
import { assertInvariants } from '../measure/assert-invariants.ts';
import type { Variant } from '../measure/slices.ts';
import type { ClientsData, ClientsResult } from '../pipeline/http-clients.ts';
import { PLENTY, stockUp, UNIFORM } from '../pipeline/orders.ts';
import type { Kind, WriteApiData } from '../pipeline/write-api-process.ts';
import { compare, number, plural, type ComparedVariant, type Design } from '../report/results.ts';

const CLIENTS = 256;
/** Each number of connections that is tried is a process. */
const MOST = 32;
const ISSUER = { issuer: 'https://login.example.com/', audiences: ['orders'] };

/** Write APIs in processes, each with a thread of clients. */
export class WriteApis {
  readonly #database: BenchDatabase;
  readonly #processes: ChildProcess[] = [];
  readonly #clients: Worker[] = [];
  readonly #issuer = new TokenIssuer();
  #issuerServer: Awaited<ReturnType<typeof serveIssuer>> | undefined;
  readonly #latencies = new Map<string, ClientsResult[]>();
  /** Orders that an API with a database has accepted. */
  accepted = 0;

  constructor(database: BenchDatabase) {
    this.#database = database;
  }

  get pids(): number[] {
    return this.#processes.flatMap(({ pid }) => pid ?? []);
  }

  /** @param withTokens each client has a token of its own, and the API checks it */
  async start(name: string, kind: Kind, connections: number, withTokens = false): Promise<Variant> {
    const access = withTokens ? await this.#access() : undefined;
    const data: WriteApiData = { kind, location: this.#database.location, connections, ...(access && { issuer: access.issuer }) };
    const child = fork(fileURLToPath(new URL('../pipeline/write-api-process.ts', import.meta.url)), [JSON.stringify(data)]);
    this.#processes.push(child);
    const [{ url }] = await once(child, 'message') as [{ url: string }];
    const port = Number(new URL(url).port);
    const workerData: ClientsData = { port, connections: CLIENTS, seed: 1, ...(access && { tokens: access.tokens }) };
    const clients = new Worker(new URL('../pipeline/http-clients.ts', import.meta.url), { workerData });
    this.#clients.push(clients);
    await once(clients, 'message');
    const results: ClientsResult[] = [];
    this.#latencies.set(name, results);
    return {
      name,
      run: async (ms) => {
        clients.postMessage({ ms });
        const [result] = await once(clients, 'message') as [ClientsResult];
        if (result.refused > 0) throw new Error(`${name}: ${result.refused} requests were not answered with 202`);
        if (kind !== 'no database') this.accepted += result.count;
        results.push(result);
        return { count: result.count, seconds: result.seconds };
      },
    };
  }

  async #access() {
    this.#issuer.standInFor(ISSUER);
    this.#issuerServer ??= await serveIssuer(this.#issuer, { log: () => undefined });
    const tokenOf = (n: number) => this.#issuer.token({ subject: `client-${n}`, scope: 'orders.operate' });
    const tokens = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => tokenOf(n)));
    return { tokens, issuer: { ...ISSUER, jwksUrl: `${this.#issuerServer.url}/jwks.json` } };
  }

  compared(name: string, design: Design): ComparedVariant {
    const results = this.#latencies.get(name)!;
    const [p50, p99] = [median(results.map((result) => result.p50)), median(results.map((result) => result.p99))];
    return { name, design, note: `p50 ${number(p50)} ms, p99 ${number(p99)} ms; processor time with the load generator's` };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((thread) => thread.terminate()));
    for (const child of this.#processes) child.kill('SIGTERM');
    await this.#issuerServer?.close();
  }
}

export const httpRow: Row = {
  name: 'http',
  title: 'Intake over HTTP, one process',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_http');
    const apis = new WriteApis(database);
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const naively = (connections: number) => apis.start(`naive, ${plural(connections, 'connection')}`, 'naive', connections);
      const baseline = await naively(1);
      const { best } = await context.bestNaive('intake over HTTP', naively, MOST);
      const service = await apis.start('write API', 'service', 8, true);
      const without = await apis.start('write API without database', 'no database', 8, true);
      const slices = await context.slices('intake over HTTP', {
        baseline, variants: [best, service, without], meter: context.meter(server, () => apis.pids),
      });
      await assertInvariants(database.admin, { orders: 'pending', published: false }, {
        orders: { sql: 'SELECT count(*) FROM orders.orders', value: apis.accepted },
      });
      return {
        variants: compare('intake over HTTP', slices, [
          apis.compared(baseline.name, 'naive'), apis.compared(best.name, 'naive'), apis.compared(service.name, 'services'), apis.compared(without.name, 'part'),
        ]),
        raw: {},
        slices,
      };
    } finally {
      await apis.stop();
      await database.drop();
    }
  },
};
