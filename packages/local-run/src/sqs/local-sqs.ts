import type { Model, Resource } from '../assembly/model.ts';
import { NAMED } from '../assembly/types.ts';
import { count } from '../count.ts';
import type { LocalService, Receiver, RunContext } from '../service.ts';
import { SqsEndpoint } from './endpoint.ts';
import { makeQueues } from './queues.ts';
import type { MadeQueue } from './queues.ts';

/** Amazon SQS: the queues of the stacks, with their policies and messages that stay over restarts. */
export class LocalSqs implements LocalService {
  readonly name = 'sqs';
  readonly title = 'queues';
  readonly types = {
    'AWS::SQS::Queue': {
      ref: (queue: Resource) => this.#urlOf(queue),
      attributes: { Arn: (queue: Resource) => queue.arn('sqs', queueName(queue)), QueueName: queueName, QueueUrl: (queue: Resource) => this.#urlOf(queue) },
    },
    'AWS::SQS::QueuePolicy': NAMED,
    'AWS::SQS::QueueInlinePolicy': NAMED,
  };
  /** The queues of the stacks. */
  queues: readonly MadeQueue[] = [];
  /** The receivers by the ARNs of their queues. */
  #receivers: ReadonlyMap<string, Receiver> = new Map();
  readonly #context: RunContext;
  #endpoint: SqsEndpoint | undefined;

  constructor(context: RunContext) {
    this.#context = context;
  }

  /** Known from `start` on. */
  get endpoint(): SqsEndpoint {
    if (!this.#endpoint) throw new Error('The queues are not started.');
    return this.#endpoint;
  }

  get url(): string { return this.#endpoint?.url ?? ''; }

  async start(): Promise<undefined> {
    const { dataDir, region, account, log } = this.#context;
    this.#endpoint = await SqsEndpoint.start({ dataDir, region, account, log, port: await this.#context.port(this.name) });
  }

  async make(model: Model): Promise<string> {
    this.queues = makeQueues(model, this.endpoint, this.#context.warn);
    this.#receivers = new Map(this.queues.map(({ arn }) => [arn, this.#receiverOf(arn)]));
    for (const { queue, messages } of this.endpoint.orphans()) {
      this.#context.warn(`The queue ${queue}, which no stack has any more, keeps ${count(messages, 'message')} of earlier runs; --fresh forgets them.`);
    }
    return count(this.queues.length, 'queue');
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_SQS: this.url };
  }

  receiver(arn: string): Receiver | undefined {
    return this.#receivers.get(arn);
  }

  async stop(): Promise<void> {
    await this.#endpoint?.stop();
  }

  #receiverOf(arn: string): Receiver {
    return {
      deliver: async (body, sender, options) => {
        this.endpoint.deliver(arn, body, sender, options);
        await this.endpoint.written();
      },
    };
  }

  #urlOf(queue: Resource): string {
    return this.endpoint.queueUrl(queueName(queue), queue.world.account);
  }
}

function queueName(queue: Resource): string {
  return queue.physicalName('QueueName', 80, String(queue.get('FifoQueue')) === 'true' ? '.fifo' : '');
}
