import type { Pool } from './database.ts';
import type { Readiness } from './http/health.ts';
import { runLoop } from './run-loop.ts';
import type { RunningService } from './service.ts';
import type { Logger } from './telemetry.ts';
import analytics from '../../migrations/analytics/schema.json' with { type: 'json' };
import fanOut from '../../migrations/fan_out/schema.json' with { type: 'json' };
import inventory from '../../migrations/inventory/schema.json' with { type: 'json' };
import messaging from '../../migrations/messaging/schema.json' with { type: 'json' };
import notification from '../../migrations/notification/schema.json' with { type: 'json' };
import orders from '../../migrations/orders/schema.json' with { type: 'json' };

const SCHEMAS = { analytics, fan_out: fanOut, inventory, messaging, notification, orders };
export type SchemaName = keyof typeof SCHEMAS;

/** The reason of a program that is not ready, for anything between it and the database. */
export const NO_ANSWER = 'The database does not answer this program.';

/** The releases of some schemas that this program was built with, in one database. */
export class RequiredReleases {
  readonly pool: Pool;
  readonly #required: ReadonlyMap<string, number>;
  readonly #logger: Logger;
  #there = false;
  #reason = 'The database was not asked yet.';

  /**
   * @param schemas those of which the program uses tables or functions
   * @param releases their releases. @default - those of the files that the program was built with
   */
  constructor(pool: Pool, schemas: readonly SchemaName[], logger: Logger, releases: Partial<Record<SchemaName, number>> = {}) {
    this.pool = pool;
    this.#required = new Map(schemas.map((name) => [name, releases[name] ?? SCHEMAS[name].release]));
    this.#logger = logger;
  }

  /** The last answer of `check`. */
  get known(): Readiness {
    return this.#there || this.#reason;
  }

  /** True once the migrations have brought the database to these releases, whatever comes after. */
  async check(): Promise<Readiness> {
    if (!this.#there) this.#note(...await this.#missing());
    return this.known;
  }

  async #missing(): Promise<[reason: string | undefined, error?: unknown]> {
    try {
      const { rows } = await this.pool.query<{ schema: string; finished: number }>(
        'SELECT schema, finished FROM migration.release WHERE schema = ANY($1)', [[...this.#required.keys()]]);
      const finished = new Map(rows.map((row) => [row.schema, row.finished]));
      const behind = [...this.#required].filter(([name, release]) => (finished.get(name) ?? 0) < release);
      if (behind.length === 0) return [undefined];
      const list = behind.map(([name, release]) => `${name} (has release ${finished.get(name) ?? 0}, needs ${release})`).join(', ');
      return [`The migration has not finished these schemas of the database: ${list}.`];
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === '42P01' || code === '42501') return ['The migration has not prepared this database for this program\'s role.'];
      return [NO_ANSWER, error];
    }
  }

  /** Each reason is in the log once, however often a probe comes. */
  #note(reason: string | undefined, error?: unknown): void {
    if (reason === undefined) {
      this.#there = true;
      this.#logger.info({ releases: Object.fromEntries(this.#required) }, 'the database has the schemas of this program');
    } else if (reason !== this.#reason) {
      this.#reason = reason;
      this.#logger.warn({ err: error }, reason);
    }
  }
}

/** The time between two looks at the database. */
const LOOK_MS = 500;

/** Starts a worker when the database has the schemas, so that it takes no work before, and loses none. */
export function startWhenMigrated(releases: RequiredReleases, start: () => RunningService): RunningService {
  let running: RunningService | undefined;
  const waiting = runLoop({
    async round({ signal }) {
      const there = await releases.check();
      if (there !== true) return LOOK_MS * (1 + Math.random() / 4);
      if (!signal.aborted) running = start();
      return 'end';
    },
  });
  return {
    ready: () => (running ? running.ready?.() ?? true : releases.known),
    async stop() {
      await waiting.stop();
      await running?.stop();
    },
  };
}
