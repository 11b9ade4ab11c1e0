import { Transform } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Gauge, type Registry } from 'prom-client';
import { unavailable } from './problem.ts';

/** A request with its connection and its answer, as measured with thousands of waiting ones. */
const BYTES_OF_REQUEST = 32 * 1024;
/** A body is there as bytes, as text, as objects and as what is stored. */
const COPIES = 8;
/** A body up to this size counts whole from its head on, a larger one as it arrives. */
const SMALL = 16 * 1024;
/** The most that large bodies may take together, so that single orders still get through. */
const SHARE_OF_LARGE = 0.5;

interface Charge {
  bytes: number;
  readonly large: boolean;
  released: boolean;
}

/**
 * Bounds the memory of the requests that are in work, from their head to the end of their answer. What would exceed it is refused with 503
 * and `Retry-After`, before its body is read.
 */
export function limitBytesInFlight(app: FastifyInstance, registry: Registry, maxBytes: number): void {
  const charges = new WeakMap<FastifyRequest, Charge>();
  const inFlight = { small: 0, large: 0 };
  new Gauge({
    name: 'http_request_bytes_in_flight',
    help: 'Memory that the requests in work may take, estimated from the size of their bodies',
    registers: [registry],
    collect() {
      this.set(inFlight.small + inFlight.large);
    },
  });

  function add(charge: Charge, bytes: number): void {
    const kind = charge.large ? 'large' : 'small';
    const isTooMuch = inFlight.small + inFlight.large + bytes > maxBytes;
    const isTooLarge = charge.large && inFlight.large + bytes > maxBytes * SHARE_OF_LARGE;
    if (isTooMuch || isTooLarge) throw unavailable('More requests arrive than this service has memory for; send this one again in a moment.');
    charge.bytes += bytes;
    inFlight[kind] += bytes;
  }

  function release(request: FastifyRequest): void {
    const charge = charges.get(request);
    if (!charge || charge.released) return;
    charge.released = true;
    inFlight[charge.large ? 'large' : 'small'] -= charge.bytes;
  }

  app.addHook('onRequest', (request, reply, done) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    const declared = encoding === undefined ? Number(length ?? 0) : Infinity;
    const charge: Charge = { bytes: 0, large: declared > SMALL, released: false };
    try {
      add(charge, BYTES_OF_REQUEST + (charge.large ? 0 : declared * COPIES));
    } catch (error) {
      reply.header('connection', 'close');
      return done(error as Error);
    }
    charges.set(request, charge);
    // Also when the client has left and there is nothing to answer.
    reply.raw.once('close', () => release(request));
    done();
  });

  app.addHook('preParsing', (request, reply, payload, done) => {
    const charge = charges.get(request);
    if (!charge?.large) return done(null, payload);
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        try {
          // Late chunks of a request that is answered already are dropped.
          if (!charge.released) add(charge, chunk.length * COPIES);
          next(null, chunk);
        } catch (error) {
          reply.header('connection', 'close');
          next(error as Error);
        }
      },
    });
    payload.on('error', (error) => counted.destroy(error));
    // A client that leaves in the middle of a body.
    payload.on('close', () => counted.end());
    done(null, payload.pipe(counted));
  });

  app.addHook('onResponse', (request, _reply, done) => {
    release(request);
    done();
  });
}
