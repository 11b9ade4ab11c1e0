import type { Profile } from '../profile.ts';
import { FAN_OUT_IMAGE } from './image.ts';

const HELP = `\
A publisher puts the events of orders on the bus: created, updated, cancelled. The summary has the published events, the events that
each consumer received and handled, copies and dead letters. It checks that every consumer has the events of its rules, and that orders,
counts and notifications match the events.`;

export default {
  description: 'one bus, three consumers with a queue each, and a publisher that creates, updates and cancels orders',
  help: HELP,
  commands: [{ title: 'one bus, three consumers', line: 'npm start -- --profile fan-out --orders 100 --rate 20 --exit' }],
  defaults: { orders: '5 orders', sampleRate: 2, rate: 100 },
  image: FAN_OUT_IMAGE,
  async addStacks(app, bundle) {
    const { FanOutStack } = await import('./stack.ts');
    new FanOutStack(app, 'FanOut', {
      description: 'Order events to three consumers, each behind a queue of its own',
      images: await bundle(),
    });
  },
  async open(run) {
    const { openSystem } = await import('./system.ts');
    return openSystem(run);
  },
} satisfies Profile;
