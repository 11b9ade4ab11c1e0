import { Counter, Gauge, Histogram } from 'prom-client';
import { LATENCY_BUCKETS, registry } from '../telemetry.ts';

export const eventsConsumed = new Counter({
  name: 'events_consumed_total',
  help: 'Events by what became of them: ok, duplicate, forgotten, ignored, parked, retry, dead',
  labelNames: ['type', 'consumer', 'result'],
  registers: [registry],
});

export const eventsRefused = new Counter({
  name: 'events_refused_total',
  help: 'Messages, or events of them, that were not believed: unsigned, malformed-signature, unknown-key, wrong-signature, unfounded',
  labelNames: ['consumer', 'cause'],
  registers: [registry],
});

export const messagesConsumed = new Counter({
  name: 'consumer_messages_total',
  help: 'Messages, each with one event or several, by what became of them: deleted, returned, dead',
  labelNames: ['consumer', 'result'],
  registers: [registry],
});

export const endToEndLatency = new Histogram({
  name: 'event_end_to_end_latency_seconds',
  help: 'From the time of the event to the commit of its effect',
  labelNames: ['consumer', 'type'],
  buckets: LATENCY_BUCKETS,
  registers: [registry],
});

export const batchSize = new Histogram({
  name: 'consumer_batch_events',
  help: 'Events handled in one transaction',
  labelNames: ['consumer'],
  buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
  registers: [registry],
});

export const inHand = new Gauge({
  name: 'consumer_messages_in_hand',
  help: 'Messages received and neither deleted nor given back',
  labelNames: ['consumer'],
  registers: [registry],
});

export const overLimit = new Counter({
  name: 'consumer_over_limit_total',
  help: 'Receive calls that the queue refused because too many of its messages are in flight',
  labelNames: ['consumer'],
  registers: [registry],
});
