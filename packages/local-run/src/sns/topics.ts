import { hash, randomUUID } from 'node:crypto';
import type { Log } from '../log.ts';
import { DeliveryError } from '../service.ts';
import type { Receiver } from '../service.ts';
import { invalid, notFound } from './errors.ts';
import { checkMessage, MOST_RAW_ATTRIBUTES, notificationFor } from './message.ts';
import type { NewMessage, Notification, Publication } from './message.ts';
import { Subscription } from './subscription.ts';
import type { SubscriptionAttributes } from './subscription.ts';

export interface TopicsOptions {
  readonly account: string;
  readonly region: string;
  readonly log: Log;
  /** Milliseconds since 1970. @default Date.now */
  readonly clock?: () => number;
  /** The address of the endpoint. */
  url(): string;
  receiver(arn: string): Receiver | undefined;
}

export interface Published {
  readonly messageId: string;
  readonly sequenceNumber?: string | undefined;
}

interface Topic {
  readonly arn: string;
  readonly attributes: Record<string, string>;
  /** The messages that a FIFO topic has published within the time of deduplication, by deduplication id. */
  readonly recent: Map<string, Published & { readonly until: number }>;
  published: number;
}

const DEDUPLICATION_MS = 5 * 60_000;
const TOPIC_NAME = /^[A-Za-z0-9_-]{1,256}$/;
const TOKEN = /^[\x21-\x7e]{1,128}$/;

/** The topics of a run and their subscriptions. Nothing of them is kept over a restart: the messages are, in the queues. */
export class Topics {
  readonly #options: TopicsOptions;
  readonly #topics = new Map<string, Topic>();
  readonly #subscriptions = new Map<string, Subscription>();

  constructor(options: TopicsOptions) {
    this.#options = options;
  }

  get account(): string { return this.#options.account; }

  /** The same name again is no error, as in CreateTopic. Returns the ARN. */
  create(name: string, attributes: Readonly<Record<string, string>> = {}): string {
    const fifo = attributes.FifoTopic === 'true';
    if (!TOPIC_NAME.test(fifo ? name.replace(/\.fifo$/, '') : name) || fifo !== name.endsWith('.fifo')) throw invalid('Topic Name');
    const arn = `arn:aws:sns:${this.#options.region}:${this.#options.account}:${name}`;
    if (!this.#topics.has(arn)) this.#topics.set(arn, { arn, attributes: { ...attributes }, recent: new Map(), published: 0 });
    return arn;
  }

  delete(arn: string): void {
    this.#topics.delete(arn);
    for (const subscription of this.subscriptionsOf(arn)) this.#subscriptions.delete(subscription.arn);
  }

  arns(): string[] {
    return [...this.#topics.keys()];
  }

  has(arn: string): boolean {
    return this.#topics.has(arn);
  }

  attributes(arn: string): Record<string, string> {
    return this.#topic(arn).attributes;
  }

  subscriptions(): Subscription[] {
    return [...this.#subscriptions.values()];
  }

  subscriptionsOf(topicArn: string): Subscription[] {
    return this.subscriptions().filter((subscription) => subscription.topicArn === topicArn);
  }

  subscription(arn: string): Subscription {
    const found = this.#subscriptions.get(arn);
    if (!found) throw notFound('Subscription');
    return found;
  }

  /**
   * Subscribes a queue or a function.
   *
   * @throws AwsError if the run cannot deliver to it
   */
  subscribe(
    topicArn: string, protocol: string, endpoint: string, attributes: SubscriptionAttributes = {}, id: string = randomUUID(),
  ): Subscription {
    const { arn } = this.#topic(topicArn);
    if (protocol !== 'sqs' && protocol !== 'lambda') throw invalid(`Protocol: the local run delivers to sqs and lambda only, and not to ${protocol}`);
    if (!endpoint.startsWith(`arn:aws:${protocol}:`)) throw invalid(`${protocol.toUpperCase()} endpoint ARN`);
    if (protocol === 'sqs' && endpoint.endsWith('.fifo') && !arn.endsWith('.fifo')) {
      throw invalid('Endpoint Reason: a standard topic cannot send to a FIFO queue; use a FIFO topic');
    }
    if (!this.#options.receiver(endpoint)) throw invalid(`Endpoint Reason: ${endpoint} takes no messages in this run`);
    const known = this.subscriptionsOf(topicArn).find((each) => each.protocol === protocol && each.endpoint === endpoint);
    if (known) return known;
    const subscription = new Subscription({ arn: `${arn}:${id}`, topicArn: arn, protocol, endpoint }, attributes);
    this.#subscriptions.set(subscription.arn, subscription);
    return subscription;
  }

  unsubscribe(arn: string): void {
    this.#subscriptions.delete(arn);
  }

  /**
   * Publishes a message. Resolves when each subscription has it or has failed, so that what is published is in the queues. The receivers
   * are called before the first of them is waited for, so messages keep the order in which they were published.
   *
   * @throws AwsError if the message is not accepted
   */
  async publish(topicArn: string, message: NewMessage): Promise<Published> {
    const topic = this.#topic(topicArn);
    checkMessage(message);
    const deduplicationId = this.#checkFifo(topic, message);
    const known = deduplicationId === undefined ? undefined : this.#recent(topic, deduplicationId, message);
    if (known) return known;
    const publication: Publication = {
      ...message,
      messageId: randomUUID(),
      topicArn: topic.arn,
      time: this.#now(),
      ...(deduplicationId !== undefined && {
        messageDeduplicationId: deduplicationId,
        sequenceNumber: String(10n ** 19n + BigInt(++topic.published)),
      }),
    };
    const { messageId, sequenceNumber } = publication;
    const published = { messageId, sequenceNumber };
    if (deduplicationId !== undefined) {
      topic.recent.set(scoped(topic, deduplicationId, message), { ...published, until: this.#now() + DEDUPLICATION_MS });
    }
    const subscriptions = this.subscriptionsOf(topic.arn).filter(({ accepts }) => accepts(publication));
    await Promise.all(subscriptions.map((subscription) => this.#deliver(publication, subscription)));
    return published;
  }

  #topic(arn: string): Topic {
    const topic = this.#topics.get(arn);
    if (!topic) throw notFound('Topic');
    return topic;
  }

  #now(): number {
    return (this.#options.clock ?? Date.now)();
  }

  /** Returns the deduplication id of a message for a FIFO topic; undefined for a standard topic. */
  #checkFifo({ arn, attributes }: Topic, { message, messageGroupId, messageDeduplicationId }: NewMessage): string | undefined {
    for (const [name, value] of Object.entries({ MessageGroupId: messageGroupId, MessageDeduplicationId: messageDeduplicationId })) {
      if (value !== undefined && !TOKEN.test(value)) throw invalid(`${name}: it has 1 to 128 letters, digits and punctuation marks`);
    }
    if (!arn.endsWith('.fifo')) {
      if (messageDeduplicationId !== undefined) {
        throw invalid(
          'MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type',
        );
      }
      return undefined;
    }
    if (messageGroupId === undefined) throw invalid('The MessageGroupId parameter is required for FIFO topics');
    if (messageDeduplicationId !== undefined) return messageDeduplicationId;
    if (attributes.ContentBasedDeduplication === 'true') return hash('sha256', message);
    throw invalid('The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly');
  }

  #recent(topic: Topic, deduplicationId: string, message: NewMessage): Published | undefined {
    const now = this.#now();
    for (const [key, { until }] of topic.recent) {
      // They are in the order of their times.
      if (until > now) break;
      topic.recent.delete(key);
    }
    const known = topic.recent.get(scoped(topic, deduplicationId, message));
    return known && { messageId: known.messageId, sequenceNumber: known.sequenceNumber };
  }

  /** A delivery that fails goes to the dead-letter queue at once: within one machine, another attempt would end the same way. */
  async #deliver(publication: Publication, subscription: Subscription): Promise<void> {
    const notification = notificationFor(publication, subscription, this.#options.url());
    try {
      if (subscription.raw && Object.keys(publication.attributes).length > MOST_RAW_ATTRIBUTES) {
        throw new DeliveryError('INVALID_PARAMETER', `A raw message has at most ${MOST_RAW_ATTRIBUTES} attributes.`);
      }
      await this.#send(subscription.endpoint, notification, publication.topicArn);
    } catch (error) {
      await this.#deadLetter(publication, subscription, notification, error);
    }
  }

  async #send(arn: string, { body, options }: Notification, topicArn: string): Promise<void> {
    const receiver = this.#options.receiver(arn);
    if (!receiver) throw new DeliveryError('NO_RESOURCE', `There is no resource ${arn} that takes messages.`);
    await receiver.deliver(body, { service: 'sns.amazonaws.com', sourceArn: topicArn, sourceAccount: this.#options.account }, options);
  }

  async #deadLetter(
    { messageId, topicArn }: Publication, { endpoint, deadLetterArn }: Subscription, notification: Notification, error: unknown,
  ): Promise<void> {
    const failed = `SNS: topic ${topicArn} could not deliver message ${messageId} to ${endpoint} (${describe(error)})`;
    if (deadLetterArn === undefined) {
      this.#options.log('error', `${failed}; the subscription has no dead-letter queue, so the message is lost.`);
      return;
    }
    try {
      await this.#send(deadLetterArn, notification, topicArn);
      this.#options.log('warn', `${failed}; the message is in ${deadLetterArn}.`);
    } catch (second) {
      this.#options.log('error', `${failed}; ${deadLetterArn} did not take it either (${describe(second)}), so the message is lost.`);
    }
  }
}

/** The deduplication of a topic with a throughput scope of `MessageGroup` is within a group. */
function scoped({ attributes }: Topic, deduplicationId: string, { messageGroupId }: NewMessage): string {
  return attributes.FifoThroughputScope === 'MessageGroup' ? `${messageGroupId}\n${deduplicationId}` : deduplicationId;
}

function describe(error: unknown): string {
  return error instanceof DeliveryError ? `${error.code}: ${error.message}` : String(error);
}
