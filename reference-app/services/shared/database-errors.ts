/** No connection: whatever the reason, the work that wanted one is not to blame. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly code: string;

  constructor(cause: Error) {
    super(`No connection to the database: ${cause.message}`, { cause });
    this.code = codeOf(cause);
  }
}

/** The server is a reader where it has to be the writer, with the code of a write that it refuses. */
export class ReaderError extends Error {
  override readonly name = 'ReaderError';
  readonly code = '25006';

  constructor() {
    super('The endpoint of the writer leads to a reader.');
  }
}

/** The user or password of a connection can't be had: Secrets Manager is away, access is refused, or the content is wrong. */
export class LoginError extends Error {
  override readonly name = 'LoginError';
}

/** Another transaction was in the way: the same work succeeds on the next try. */
export function isRetryable(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error));
}

/** It took too long, or a lock was not free: which of a batch is to blame, if any, only shows alone. */
export function isTimeout(error: unknown): boolean {
  return ['57014', '55P03', '25P03', '25P04'].includes(codeOf(error));
}

const LOST_MESSAGE = new RegExp([
  'Connection terminated', 'Client has encountered a connection error', 'timeout exceeded when trying to connect', 'timeout expired',
  'Query read timeout',
].join('|'), 'i');
const LOST_CODES = ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'];

/**
 * The server of the connection is gone, says nothing any more, or has become a reader: other connections that were made before are as bad,
 * and new ones find the server that has the name now.
 */
export function isServerLost(error: unknown): boolean {
  const code = codeOf(error);
  if (/^(08|57P0[123]|58|25006)/.test(code) || LOST_CODES.includes(code)) return true;
  return LOST_MESSAGE.test(error instanceof Error ? error.message : '');
}

/**
 * The database is away, failing over, or not set up yet (no role, no schema, no grant): waiting helps, and the work
 * in hand is not to blame.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof ConnectError || error instanceof LoginError || isServerLost(error)) return true;
  const code = codeOf(error);
  return /^(28|53|57P)/.test(code) || ['3D000', '3F000', '42P01', '42501', '42883', '42703', '42704'].includes(code);
}

/** The server refuses user or password, which a rotation or another token may put right. */
export function isLoginRefused(error: unknown): boolean {
  return codeOf(error).startsWith('28');
}

/**
 * The statement or its data are to blame (data, constraints, conflicts, locks, time), the connection is not. Others stay out: a new
 * connection helps against a prepared statement that has got stale (0A000) or a writer that has become a reader (25006).
 */
export function isOfStatement(error: unknown): boolean {
  return (error as { severity?: unknown } | undefined)?.severity === 'ERROR' && /^(2[123]|40|P0|55P03|57014)/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
