import type { Pool } from 'pg';
import type { Readiness, ReadyCheck } from './health.ts';
import { ReaderError } from '../database-errors.ts';
import { onClient } from '../database.ts';
import { NO_ANSWER, type RequiredReleases } from '../releases.ts';
import { inspectSession, type ServerSession } from '../server-session.ts';

/** Probes of several checkers within this time share one answer, so that they cost the database next to nothing. */
const KEEP_MS = 500;

/** Ready: the schemas are there and can be written to. */
export function writerReady(releases: RequiredReleases): ReadyCheck {
  return cached(async () => {
    const there = await releases.check();
    if (there !== true) return there;
    // Also over a connection from before a failover, which so is replaced.
    return answers(releases.pool, ({ isReader }) => {
      if (isReader) throw new ReaderError();
    });
  });
}

/** Ready: at least one of the databases that can answer queries is there, with its schemas; the first yes will do. */
export function queryReady(...databases: readonly RequiredReleases[]): ReadyCheck {
  return cached(async () => {
    const reasons = new Set<string>();
    return Promise.any(databases.map(async (releases): Promise<true> => {
      const there = await releases.check();
      const readiness = there === true ? await answers(releases.pool) : there;
      if (readiness === true) return true;
      reasons.add(readiness);
      throw new Error(readiness);
    })).catch(() => [...reasons].join(' '));
  });
}

async function answers(pool: Pool, verify: (session: ServerSession) => void = () => {}): Promise<Readiness> {
  try {
    await onClient(await pool.connect(), async (client) => verify(await inspectSession(client)));
    return true;
  } catch (error) {
    return error instanceof ReaderError ? error.message : NO_ANSWER;
  }
}

function cached(check: () => Promise<Readiness>): ReadyCheck {
  let last: { readonly at: number; readonly answer: Promise<Readiness> } | undefined;
  return () => {
    if (!last || Date.now() - last.at > KEEP_MS) last = { at: Date.now(), answer: check() };
    return last.answer;
  };
}
