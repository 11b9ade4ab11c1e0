import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { LocalQueue, LocalRun } from 'cdk-local-run';
import type { FeedPlan, Profile, RunningSystem } from '../../../profiles/profile.ts';
import { settle } from '../../../profiles/settle.ts';

// A profile as somebody writes it who adds one: a bus, a rule and a queue, without containers and without a database.

export default {
  description: 'letters on a bus, and a queue that has them all',
  help: 'It puts letters on the bus, and checks that each is in the queue.',
  commands: [{ title: 'seven letters', line: 'npm start -- --profile toy --orders 7 --exit' }],
  defaults: { orders: '3 letters', sampleRate: 50, rate: 100 },
  async addStacks(app) {
    const { Stack, aws_events: events, aws_events_targets: targets, aws_sqs: sqs } = await import('aws-cdk-lib');
    const stack = new Stack(app, 'Toy');
    const eventBus = new events.EventBus(stack, 'Letters');
    const deadLetters = new sqs.Queue(stack, 'DeadLetters', { enforceSSL: true });
    const queue = new sqs.Queue(stack, 'LetterBox', { enforceSSL: true, deadLetterQueue: { queue: deadLetters, maxReceiveCount: 3 } });
    new events.Rule(stack, 'ToLetterBox', { eventBus, eventPattern: { source: ['toy'] }, targets: [new targets.SqsQueue(queue)] });
  },
  async open(run) {
    const queue = run.queues.find(({ rule }) => rule?.startsWith('Toy'));
    return queue && new LetterBox(run, queue);
  },
} satisfies Profile;

class LetterBox implements RunningSystem<number> {
  readonly #run: LocalRun;
  readonly #queue: LocalQueue;
  readonly #before: number;

  constructor(run: LocalRun, queue: LocalQueue) {
    this.#run = run;
    this.#queue = queue;
    this.#before = queue.messages().length;
  }

  async feed({ orders = 3, seed }: FeedPlan): Promise<number> {
    const client = new EventBridgeClient({
      endpoint: this.#run.endpoints.eventbridge, region: this.#run.region, credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    });
    const bus = this.#run.buses.find(({ name }) => name.startsWith('Toy'));
    for (let letter = 1; letter <= orders; letter++) {
      const entry = { EventBusName: bus?.name, Source: 'toy', DetailType: 'Letter', Detail: JSON.stringify({ letter, seed }) };
      await client.send(new PutEventsCommand({ Entries: [entry] }));
    }
    client.destroy();
    return orders;
  }

  async settle(signal: AbortSignal): Promise<boolean> {
    return settle(async () => {
      const pending = this.#run.eventBridge.counters().pending;
      return { progress: pending, quiet: pending === 0 ? 'quiet' : undefined, moving: pending };
    }, { signal });
  }

  async check(fed: number | undefined, settled: boolean) {
    const letters = this.#queue.messages().length;
    const expected = this.#before + (fed ?? 0);
    return {
      ok: settled && letters === expected,
      json: { letters, expected },
      print: (out: { line(text: string): void }) => out.line(`${letters} letters in the queue, ${expected} expected`),
    };
  }

  examples() {
    return [{ title: 'the queue', line: `aws sqs receive-message --endpoint-url ${this.#run.endpoints.sqs} --queue-url ${this.#queue.url}` }];
  }

  async close(): Promise<void> {}
}
