import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalRunError } from '../errors.ts';
import type { Account } from './account.ts';
import type { DatabaseAddress } from './address.ts';
import { query } from './client.ts';
import type { Failover } from './failover.ts';
import { buildReplica, commitOnReplica, forgetReplica, promote, receivedAll, replicaSettings, startBuiltReplica, startReplica } from './replica.ts';
import { startServer } from './server.ts';
import type { Server, ServerOptions } from './server.ts';
import { Balancer } from '../processes/balancer.ts';
import { LOOPBACK } from '../processes/ports.ts';

/** A running PostgreSQL. Its addresses stay the same as long as it runs. */
export interface Postgres {
  /** The primary, as its superuser. */
  readonly writer: DatabaseAddress;
  /** The replica; undefined when none was asked for. */
  readonly reader?: DatabaseAddress;
  /** The file for `PGPASSFILE`, with which psql needs no password on its command line. */
  readonly passwordFile: string;
  /** The certificate of the servers, which signs itself. */
  readonly certificateFile: string;
  /** The replica keeps receiving, but no longer shows what it receives. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  /**
   * Kills the primary and lets the replica take its place, as when an instance of Aurora crashes: all connections break, the address of the
   * writer leads to the promoted replica, and that of the reader does so, too, until a new replica is built.
   *
   * @throws LocalRunError when there is no replica
   */
  failover(): Promise<Failover>;
  pids(): number[];
  stop(): Promise<void>;
}

interface Endpoint {
  /** The name of its port in errors. */
  readonly name: string;
  /** The port itself; with 0 the system chooses. */
  readonly port: number;
}

interface ClusterOptions extends Pick<ServerOptions, 'binary' | 'account' | 'login'> {
  /** The folder of the servers' data. */
  readonly home: string;
  readonly account: Account | undefined;
  readonly logDir: string;
  readonly passwordFile: string;
  readonly certificateFile: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly writer: Endpoint;
  /** @default - there is no replica */
  readonly reader?: Endpoint;
  readonly synchronous: boolean;
  /** Called when it has stopped. */
  stopped(): void;
}

/** A primary and its replica. Each has a folder with the name of its role, which changes with the role. */
export class Cluster implements Postgres {
  static async start(options: ClusterOptions): Promise<Cluster> {
    takeBack(options.home);
    const primary = await startServer(serverOptions(options, 'primary', options.writer));
    const cluster = new Cluster(options, primary);
    try {
      await cluster.#startReplica();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  readonly writer: DatabaseAddress;
  reader?: DatabaseAddress;
  readonly passwordFile: string;
  readonly certificateFile: string;
  readonly #options: ClusterOptions;
  #primary: Server;
  #replica: Server | undefined;
  /** The replica can take the place of the primary. */
  #isReady = false;
  /** Leads from the address of the reader to the writer while there is no replica. */
  #detour: Balancer | undefined;
  #building: Promise<void> = Promise.resolve();
  readonly #stopping = new AbortController();

  private constructor(options: ClusterOptions, primary: Server) {
    this.#options = options;
    this.#primary = primary;
    this.passwordFile = options.passwordFile;
    this.certificateFile = options.certificateFile;
    this.writer = { host: LOOPBACK, port: primary.port, ...options.login, database: 'postgres' };
  }

  async #startReplica(): Promise<void> {
    const { home, reader, synchronous } = this.#options;
    await commitOnReplica(this.writer, false);
    if (!reader) return forgetReplica(this.writer, join(home, 'replica'));
    this.#replica = await startReplica(this.writer, this.#replicaOptions(reader.port), join(home, 'primary'));
    this.reader = { ...this.writer, port: this.#replica.port };
    if (synchronous) await commitOnReplica(this.writer, true);
    this.#isReady = true;
  }

  #replicaOptions(port: number): ServerOptions {
    const { reader, passwordFile } = this.#options;
    return serverOptions(this.#options, 'replica', { name: reader?.name ?? '', port }, replicaSettings(this.writer, passwordFile));
  }

  pauseReplay(): Promise<void> {
    return this.#replay('select pg_wal_replay_pause()', 'paused');
  }

  resumeReplay(): Promise<void> {
    return this.#replay('select pg_wal_replay_resume()', 'not paused');
  }

  async #replay(statement: string, state: string): Promise<void> {
    const reader = this.#reader();
    await query(reader, statement);
    while ((await query<{ state: string }>(reader, 'select pg_get_wal_replay_pause_state() as state'))[0]?.state !== state) await delay(10);
  }

  /** The address of the replica, when there is one. */
  #reader(): DatabaseAddress {
    if (this.#options.reader === undefined) throw new LocalRunError('The database has no replica here, since its template has no reader.');
    if (!this.reader || !this.#isReady) throw new LocalRunError('The database has no replica at the moment: the new one is being built.');
    return this.reader;
  }

  async failover(): Promise<Failover> {
    const { home, writer } = this.#options;
    const reader = this.#reader();
    this.#isReady = false;
    const killedAt = new Date();
    await this.#primary.crash();
    await receivedAll(reader);
    // It takes the address of the writer, which it can do at a start only. That breaks its connections, as it does in Aurora.
    await this.#replica?.stop();
    this.#detour = await Balancer.start(reader.port, () => [this.writer.port]);
    renameSync(join(home, 'primary'), join(home, 'former'));
    renameSync(join(home, 'replica'), join(home, 'primary'));
    this.#primary = await startServer(serverOptions(this.#options, 'primary', { ...writer, port: this.writer.port }));
    const position = await promote(this.writer);
    const promotedAt = new Date();
    this.#building = this.#rebuild(reader);
    // A caller that does not wait for it finds out at the next failover that there is no replica.
    this.#building.catch(() => undefined);
    return { killedAt, promotedAt, position, replica: this.#building };
  }

  /** Builds the replica of a promoted primary. Connections that have come through the detour stay with the writer until they close. */
  async #rebuild({ port }: DatabaseAddress): Promise<void> {
    const { home, synchronous } = this.#options;
    rmSync(join(home, 'former'), { recursive: true, force: true });
    const options = this.#replicaOptions(port);
    await buildReplica(this.writer, options, join(home, 'primary'));
    if (this.#stopping.signal.aborted) return;
    this.#detour?.drain();
    this.#replica = await startBuiltReplica(this.writer, options);
    if (synchronous) await commitOnReplica(this.writer, true);
    this.#isReady = true;
  }

  pids(): number[] {
    return [this.#primary, this.#replica].map((server) => server?.pid()).filter((pid) => pid !== undefined);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#building.catch(() => undefined);
    this.#detour?.stop();
    // The primary first, so that the replica receives all of it.
    await this.#primary.stop();
    await this.#replica?.stop();
    this.#options.stopped();
  }
}

function serverOptions(
  { binary, account, login, home, logDir, settings }: ClusterOptions, role: 'primary' | 'replica', { name, port }: Endpoint,
  more: Readonly<Record<string, string>> = {},
): ServerOptions {
  return { name, binary, account, login, port, data: join(home, role), logFile: join(logDir, `postgres-${role}.log`), settings: () => ({ ...settings, ...more }) };
}

/** Takes back a failover that was interrupted before the replica was promoted, and forgets the former primary after one that was not. */
function takeBack(home: string): void {
  const [primary, replica, former] = [join(home, 'primary'), join(home, 'replica'), join(home, 'former')];
  if (!existsSync(former)) return;
  if (existsSync(join(primary, 'standby.signal'))) renameSync(primary, replica);
  if (existsSync(primary)) rmSync(former, { recursive: true, force: true });
  else renameSync(former, primary);
}
