import type { Model } from '../assembly/model.ts';
import { NAMED } from '../assembly/types.ts';
import { count } from '../count.ts';
import { AwsError } from '../http/aws-error.ts';
import type { LocalServer } from '../http/server.ts';
import { DeliveryError } from '../service.ts';
import type { LocalService, Receiver, RunContext } from '../service.ts';
import { serveSns } from './endpoint.ts';
import { makeTopics, subscriptionArn, topicArn, topicName } from './resources.ts';
import { Topics } from './topics.ts';

/** Amazon SNS: the topics of the stacks, with subscriptions of queues and functions. */
export class LocalSns implements LocalService {
  readonly name = 'sns';
  readonly title = 'topics';
  readonly types = {
    'AWS::SNS::Topic': { ref: topicArn, attributes: { TopicArn: topicArn, TopicName: topicName } },
    'AWS::SNS::Subscription': { ref: subscriptionArn, attributes: { Arn: subscriptionArn } },
    // Every program of the run may publish, as it may use every queue.
    'AWS::SNS::TopicPolicy': NAMED,
    'AWS::SNS::TopicInlinePolicy': NAMED,
  };
  readonly topics: Topics;
  readonly #context: RunContext;
  #server: LocalServer | undefined;

  constructor(context: RunContext) {
    const { account, region, log, receiver } = context;
    this.#context = context;
    this.topics = new Topics({ account, region, log, receiver, url: () => this.url });
  }

  get url(): string { return this.#server?.url ?? ''; }

  async start(): Promise<undefined> {
    this.#server = await serveSns(this.topics, this.#context.log, await this.#context.port(this.name));
  }

  /** Queues and functions are there already, or are made when somebody asks for their receivers. */
  async make(model: Model): Promise<string | undefined> {
    makeTopics(model, this.topics, this.#context.warn);
    const topics = this.topics.arns().length;
    return topics > 0 ? count(topics, 'topic') : undefined;
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_SNS: this.url };
  }

  /** A rule or a schedule publishes to a topic. */
  receiver(arn: string): Receiver | undefined {
    if (!this.topics.has(arn)) return undefined;
    return {
      deliver: async (message, _sender, { messageAttributes = {}, ...fifo } = {}) => {
        const attributes = Object.fromEntries(Object.entries(messageAttributes).map(([name, value]) =>
          [name, typeof value === 'string' ? { DataType: 'String', StringValue: value } : value]));
        await this.topics.publish(arn, { message, attributes, ...fifo }).catch(refuse);
      },
    };
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }
}

/** Another attempt would end the same way. */
function refuse(error: unknown): never {
  throw error instanceof AwsError ? new DeliveryError('INVALID_PARAMETER', error.message) : error;
}
