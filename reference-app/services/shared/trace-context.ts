import { randomBytes } from 'node:crypto';

/** W3C Trace Context, version 00. An all-zero id is invalid by the specification. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: string;
}

export function parseTraceparent(traceparent: string | undefined | null): TraceContext | undefined {
  const match = TRACEPARENT.exec(traceparent ?? '');
  return match ? { traceId: match[1]!, spanId: match[2]!, flags: match[3]! } : undefined;
}

export function newTraceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

/** A new span in the same trace; a new trace when there is none (or a malformed one, as W3C asks). */
export function continueTrace(parent: string | undefined | null): string {
  const context = parseTraceparent(parent);
  return context ? `00-${context.traceId}-${randomBytes(8).toString('hex')}-${context.flags}` : newTraceparent();
}

export function traceIdOf(traceparent: string | undefined | null): string | undefined {
  return parseTraceparent(traceparent)?.traceId;
}
