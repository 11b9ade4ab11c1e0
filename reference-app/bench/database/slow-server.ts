import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startBenchServer, type BenchServer } from './server.ts';
import { summarize } from '../../load/statistics.ts';

/** Added to each fsync and the least time of a round trip, in microseconds: about those of a cloud database in the same zone. */
const SLOW_SYNC_US = 1_000;
const ROUND_TRIP_US = 500;

export interface SlowServer {
  readonly server: BenchServer;
  /** Address of the proxy in front of the server. */
  readonly endpoint: string;
  /** Median of SELECT 1 as a client sees it, in milliseconds. */
  readonly roundTripMs: number;
  /** Median of a transaction of one row as a client sees it, in milliseconds. */
  readonly commitMs: number;
  stop(): Promise<void>;
}

/** Starts PostgreSQL with a disk and a network that are as slow as those of a cloud. Returns the reason when that is not possible here. */
export async function startSlowServer(): Promise<SlowServer | string> {
  if (process.platform !== 'linux') return 'the slow fsync is preloaded with LD_PRELOAD, which only Linux has';
  const folder = mkdtempSync(join(tmpdir(), 'order-pipeline-bench-native-'));
  chmodSync(folder, 0o755);
  const source = (name: string) => join(import.meta.dirname, 'native', name);
  const library = join(folder, 'slow-sync.so');
  const proxy = join(folder, 'delay-proxy');
  try {
    execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', library, source('slow-sync.c'), '-ldl'], { stdio: 'pipe' });
    execFileSync('cc', ['-O2', '-o', proxy, source('delay-proxy.c')], { stdio: 'pipe' });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    const { code, stderr } = error as { code?: string; stderr?: Buffer };
    return code === 'ENOENT' ? 'it needs a C compiler (cc)' : `the C compiler refused: ${stderr?.toString().trim()}`;
  }
  const server = await startBenchServer({ usedLog: true, preload: { library, env: { SLOW_SYNC_US: String(SLOW_SYNC_US) } } });
  const child = spawn(proxy, [String(server.address.port), String(ROUND_TRIP_US / 2)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => reject(new Error(`the delay proxy ended with ${status}`)));
    child.stdout.once('data', (data: Buffer) => resolve(Number(data.toString())));
  });
  const stop = async () => {
    child.stdin.end();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const client = new pg.Client({ ...server.address, port });
    await client.connect();
    await client.query('CREATE TABLE waits (n int)');
    const time = async (text: string) => {
      const times: number[] = [];
      for (let i = 0; i < 40; i++) {
        const start = performance.now();
        await client.query(text);
        times.push(performance.now() - start);
      }
      return summarize(times).median;
    };
    const roundTripMs = await time('SELECT 1');
    const commitMs = await time('INSERT INTO waits VALUES (1)');
    await client.end();
    return { server, endpoint: `127.0.0.1:${port}`, roundTripMs, commitMs, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
