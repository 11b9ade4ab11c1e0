import { Transform } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Counter, Gauge, type Registry } from 'prom-client';
import { unavailable } from './problem.ts';

/** A request with its connection and its answer, as measured with thousands of waiting ones. */
const BYTES_OF_REQUEST = 32 * 1024;
/** A body is there as bytes, as text, as objects and as what is stored. */
const COPIES = 8;
/** A body up to this size counts whole from its head on, a larger one as it arrives. */
const SMALL = 16 * 1024;
/** The most that large bodies may take together, so that single orders still get through. */
const SHARE_OF_LARGE = 0.5;
/** An answer is there as text, and as the bytes that its client has not read. */
const COPIES_OF_ANSWER = 2;
/** A body that is not there after this time, or an answer that is not read, makes room for others, if there is no other room. */
const PATIENCE_MS = 1_000;

interface Charge {
  bytes: number;
  large: boolean;
  /** When its body began to arrive, or its answer to leave. */
  since: number;
  /** Its answer is under way. */
  leaves: boolean;
  released: boolean;
  /** Ends the request, while its body arrives or its answer leaves. */
  cut?: () => void;
}

/**
 * Bounds the memory of the requests that are in work, from their head to the end of their answer. What would exceed it is refused with 503
 * and `Retry-After`: first requests whose body or answer has been on its way for more than a second, since clients that send or read slowly
 * could keep everybody else out, then the new one, or the large answer of a read. The rest of a small body is read and not kept, as a
 * client that still sends when its connection is closed may not see its answer. To read on a large one would take the memory that is
 * missing, so its connection is closed.
 */
export function limitBytesInFlight(app: FastifyInstance, registry: Registry, maxBytes: number): void {
  const charges = new WeakMap<FastifyRequest, Charge>();
  const inFlight = { small: 0, large: 0 };
  /** Those whose body still arrives or whose answer still leaves, from the oldest on. */
  const moving = new Set<Charge>();
  new Gauge({
    name: 'http_request_bytes_in_flight',
    help: 'Memory that the requests in work may take, estimated from the size of their bodies',
    registers: [registry],
    collect() {
      this.set(inFlight.small + inFlight.large);
    },
  });
  const cut = new Counter({
    name: 'http_requests_cut_total',
    help: 'Requests whose body arrived, or whose answer was read, so slowly that others got their memory.',
    registers: [registry],
  });

  function add(charge: Charge, bytes: number): void {
    const isTooLarge = () => charge.large && inFlight.large + bytes > maxBytes * SHARE_OF_LARGE;
    const isTooMuch = () => inFlight.small + inFlight.large + bytes > maxBytes;
    while (isTooLarge() || isTooMuch()) {
      const slow = oldest(isTooLarge());
      if (!slow || slow === charge) throw unavailable('More requests arrive than this service has memory for; send this one again in a moment.');
      release(slow);
      cut.inc();
      slow.cut?.();
    }
    count(charge, bytes);
  }

  function count(charge: Charge, bytes: number): void {
    charge.bytes += bytes;
    inFlight[charge.large ? 'large' : 'small'] += bytes;
  }

  function oldest(isLarge: boolean): Charge | undefined {
    const latest = performance.now() - PATIENCE_MS;
    for (const charge of moving) {
      if (charge.since > latest) return undefined;
      if (charge.large || !isLarge) return charge;
    }
    return undefined;
  }

  function move(charge: Charge, end: () => void): void {
    moving.delete(charge);
    charge.since = performance.now();
    charge.cut = end;
    moving.add(charge);
  }

  /** Moves a charge to the large ones, which have a part of the room only: small answers still get through. */
  function becomeLarge(charge: Charge): void {
    if (charge.large) return;
    inFlight.small -= charge.bytes;
    inFlight.large += charge.bytes;
    charge.large = true;
  }

  function release(charge: Charge): void {
    moving.delete(charge);
    if (charge.released) return;
    charge.released = true;
    inFlight[charge.large ? 'large' : 'small'] -= charge.bytes;
  }

  app.addHook('onRequest', (request, reply, done) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    const declared = encoding === undefined ? Number(length ?? 0) : Infinity;
    const charge: Charge = { bytes: 0, large: declared > SMALL, since: 0, leaves: false, released: false };
    try {
      add(charge, BYTES_OF_REQUEST + (charge.large ? 0 : declared * COPIES));
    } catch (error) {
      if (charge.large) reply.header('connection', 'close');
      return done(error as Error);
    }
    charges.set(request, charge);
    // Also when the client has left and there is nothing to answer.
    reply.raw.once('close', () => release(charge));
    done();
  });

  app.addHook('preParsing', (request, _reply, payload, done) => {
    const charge = charges.get(request);
    // Most requests come in one piece.
    if (!charge || (!charge.large && request.raw.complete)) return done(null, payload);
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        try {
          // Late chunks of a request that is answered already are dropped.
          if (charge.large && !charge.released) add(charge, chunk.length * COPIES);
          next(null, chunk);
        } catch (error) {
          next(error as Error);
        }
      },
    });
    move(charge, () => counted.destroy(unavailable('More requests arrive than this service has memory for, and this one arrives slowly; send it again.')));
    counted.once('close', () => {
      if (!charge.leaves) moving.delete(charge);
    });
    payload.on('error', (error) => counted.destroy(error));
    // A client that leaves in the middle of a body.
    payload.on('close', () => counted.end());
    done(null, payload.pipe(counted));
  });

  app.addHook('onSend', (request, reply, payload, done) => {
    const charge = charges.get(request);
    if (!charge || charge.released) return done(null, payload);
    const length = typeof payload === 'string' ? Buffer.byteLength(payload) : 0;
    // The body is gone by now.
    const more = length * COPIES_OF_ANSWER - charge.bytes;
    try {
      if (more > 0) {
        if (length > SMALL) becomeLarge(charge);
        // What has been written already has to be answered.
        if (request.method === 'GET') add(charge, more);
        else count(charge, more);
      }
    } catch (error) {
      return done(error as Error);
    }
    charge.leaves = true;
    move(charge, () => request.raw.socket.destroy());
    done(null, payload);
  });

  app.addHook('onResponse', (request, _reply, done) => {
    const charge = charges.get(request);
    if (charge) release(charge);
    done();
  });
}
