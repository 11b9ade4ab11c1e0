import type { Profile } from '../profile.ts';
import { ORDER_PIPELINE_IMAGE } from './image.ts';

const HELP = `\
The sample orders are those of reference-app/data/orders.json, each with its journey. The summary has the orders accepted, confirmed,
rejected and dead-lettered, the time from the transaction that accepts an order to the one that decides it (database clock), orders
per second, and these invariants:
  I1   every accepted order exists exactly once, and every subscriber has its event or it is in a dead-letter queue
  I3   reserved <= on hand for every product at every moment
  I4   counters equal the ledger
  I5   at most one deduction per order line
  I6   every order reached a terminal state, or has an open dead letter
  I7   each consumer applied the versions of an order one after the other
  I8   only transitions of the table happened
  I9   an order that came to nothing holds no stock
  I10  every committed change has its event, and every event its change
  I11  delivered + in flight + dead = published, per subscription`;

export default {
  description: 'a write and a read API, an outbox relay, and consumers for stock, inventory, status, notifications and analytics',
  help: HELP,
  commands: [
    { title: '24 sample orders, then it stays up', line: 'npm start' },
    { title: 'unattended', line: 'npm start -- --orders 1000 --rate 200 --exit' },
    { title: 'the writer of the database is killed', line: 'npm start -- --orders 4000 --rate 200 --failover synchronous --exit' },
    { title: 'no orders, at these ports', line: 'npm start -- --write-port 3000 --read-port 3001 --orders 0' },
  ],
  canFailOver: true,
  defaults: { orders: '24 sample orders', sampleRate: 4, rate: 100 },
  portOptions: {
    'write-port': { workload: 'api-write-service', help: 'port of the write API (POST /orders)' },
    'read-port': { workload: 'api-read-service', help: 'port of the read API (GET /orders)' },
  },
  // The relay deletes old rows. The summary compares the whole history of a run, and a data folder may be kept for weeks.
  environment: {
    OUTBOX_RETENTION_HOURS: '0', INBOX_RETENTION_HOURS: '0', IDEMPOTENCY_KEY_RETENTION_HOURS: '0', NOTIFICATION_RETENTION_HOURS: '0',
  },
  image: ORDER_PIPELINE_IMAGE,
  sharedProcess: 'several.js',
  async addStacks(app, bundle) {
    const { OrderPipelineStack } = await import('./stack.ts');
    new OrderPipelineStack(app, 'OrderPipeline', {
      description: 'Order and inventory services on EKS, Aurora, EventBridge and SQS',
      images: await bundle(),
    });
  },
  async open(run, options) {
    const { openSystem } = await import('./system.ts');
    return openSystem(run, options);
  },
} satisfies Profile;
