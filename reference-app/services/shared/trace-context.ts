import { randomHex } from './random.ts';

/** W3C Trace Context, version 00. An all-zero id is invalid by the specification. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;
/** The position of the id of the span. */
const SPAN = 36;

export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: string;
}

function parseTraceparent(traceparent: string | undefined | null): TraceContext | undefined {
  const match = TRACEPARENT.exec(traceparent ?? '');
  return match ? { traceId: match[1]!, spanId: match[2]!, flags: match[3]! } : undefined;
}

export function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`;
}

/** A new span in the same trace; a new trace when there is none (or a malformed one, as W3C asks). */
export function continueTrace(parent: string | undefined | null): string {
  return parent && TRACEPARENT.test(parent) ? `${parent.slice(0, SPAN)}${randomHex(8)}${parent.slice(SPAN + 16)}` : newTraceparent();
}

export function traceIdOf(traceparent: string | undefined | null): string | undefined {
  return parseTraceparent(traceparent)?.traceId;
}
