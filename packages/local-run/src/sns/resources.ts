import type { Topics } from './topics.ts';
import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { AwsError } from '../http/aws-error.ts';

/** The protocols that stay on this machine. */
const DELIVERED = new Set(['sqs', 'lambda']);
const TOPIC_ATTRIBUTES = [
  'DisplayName', 'FifoTopic', 'ContentBasedDeduplication', 'FifoThroughputScope', 'TracingConfig', 'SignatureVersion',
] as const;

/** Makes topics and subscriptions. A subscription that gets no messages in this run is left out with a warning. */
export function makeTopics(model: Model, topics: Topics, warn: (sentence: string) => void): void {
  makeEach(model.ofType('AWS::SNS::Topic'), warn, (topic) => makeTopic(topic, topics, warn));
  const made = new Set(topics.arns());
  makeEach(model.ofType('AWS::SNS::Subscription'), warn, (resource) => {
    const what = `Subscription ${resource.constructPath}`;
    const arn = String(lenient(resource, 'TopicArn', ''));
    const others = !made.has(arn) && standIn(resource, arn, topics);
    if (!topics.has(arn)) {
      warn(`${what} is for the topic ${arn}, which no stack of this run makes: it gets no messages.`);
      return;
    }
    if (others) warn(`${what} is for the topic ${arn}, which no stack of this run makes: a local topic of that name stands for it.`);
    const [protocol, endpoint] = [String(lenient(resource, 'Protocol', '')), String(lenient(resource, 'Endpoint', ''))];
    subscribe({ what, arn, protocol, endpoint, attributes: attributesOf(resource), id: idOf(resource) }, topics, warn);
  });
}

function makeTopic(resource: Resource, topics: Topics, warn: (sentence: string) => void): void {
  const attributes: Record<string, string> = {};
  for (const name of TOPIC_ATTRIBUTES) {
    const value = resource.text(name);
    if (value !== undefined) attributes[name] = value;
  }
  const arn = topics.create(topicName(resource), attributes);
  if (resource.source.Properties?.ArchivePolicy !== undefined) {
    warn(`Topic ${resource.constructPath} keeps no messages here, so none of them can be replayed.`);
  }
  // A topic may have its subscriptions as a property.
  const what = `A subscription of topic ${resource.constructPath}`;
  for (const { Protocol, Endpoint } of lenient(resource, 'Subscription', []) as Record<string, unknown>[]) {
    subscribe({ what, arn, protocol: String(Protocol), endpoint: String(Endpoint), attributes: {} }, topics, warn);
  }
}

/** A topic that another app owns in this account and region: only programs of this run publish to it here. */
function standIn(subscription: Resource, arn: string, topics: Topics): boolean {
  const name = arn.split(':').at(-1) ?? '';
  if (arn !== subscription.arn('sns', name)) return false;
  topics.create(name, name.endsWith('.fifo') ? { FifoTopic: 'true', ContentBasedDeduplication: 'true' } : {});
  return true;
}

interface Wanted {
  /** The subscription in a warning. */
  readonly what: string;
  readonly arn: string;
  readonly protocol: string;
  readonly endpoint: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly id?: string;
}

function subscribe({ what, arn, protocol, endpoint, attributes, id }: Wanted, topics: Topics, warn: (sentence: string) => void): void {
  if (!DELIVERED.has(protocol)) {
    warn(`${what} sends to ${endpoint} by ${protocol}: the local run delivers to queues and functions only, so it gets no messages.`);
    return;
  }
  try {
    topics.subscribe(arn, protocol, endpoint, attributes, id);
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    warn(`${what} gets no messages: ${error.message}.`);
  }
}

export function topicName(topic: Resource): string {
  return topic.physicalName('TopicName', 256, String(topic.get('FifoTopic')) === 'true' ? '.fifo' : '');
}

export function topicArn(topic: Resource): string {
  return topic.arn('sns', topicName(topic));
}

/** AWS makes a new id at each deployment; here it is the same at every start. */
function idOf(subscription: Resource): string {
  return subscription.physicalName('', 64);
}

export function subscriptionArn(subscription: Resource): string {
  return `${subscription.text('TopicArn')}:${idOf(subscription)}`;
}

function attributesOf(subscription: Resource): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const name of ['RawMessageDelivery', 'FilterPolicy', 'FilterPolicyScope', 'RedrivePolicy']) {
    const value = subscription.get(name);
    if (value !== undefined) attributes[name] = typeof value === 'object' ? JSON.stringify(value) : String(value);
  }
  return attributes;
}

/** The address of a subscriber outside may be known to AWS only. */
function lenient(resource: Resource, property: string, otherwise: unknown): unknown {
  return resource.stack.evaluator.resolveLeniently(resource.source.Properties?.[property] ?? otherwise, `${resource.path}.${property}`, () => '(an address that only AWS knows)');
}
