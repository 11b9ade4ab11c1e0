import { jsonSchema, type JsonSchema } from './json-schema.ts';
import type { Contract, Published } from './published.ts';
import { Envelope } from '../../services/shared/events/index.ts';

/** A consumer and the detail types that its queue gets. */
export interface Subscription {
  readonly name: string;
  readonly detailTypes: readonly string[];
}

type Json = Record<string, unknown>;

/** The AsyncAPI 3 document of the events: the bus, and a queue for each consumer. Samples are those of the published contracts. */
export function asyncApi(
  eventSource: string, contracts: readonly Contract[], bundle: JsonSchema, published: readonly Published[],
  subscriptions: readonly Subscription[],
): Json {
  const messages = contracts.map((contract) => message(contract, published));
  const channelMessages = (wanted: (detailType: string) => boolean) => Object.fromEntries(
    contracts.filter(({ detailType }) => wanted(detailType)).map(({ detailType }) => [detailType, { $ref: `#/components/messages/${detailType}` }]));
  const { properties = {}, ...envelope } = jsonSchema(Envelope);
  const { type: _type, data: _data, ...attributes } = properties;
  return {
    asyncapi: '3.0.0',
    id: 'urn:cdk-order-pipeline:orders',
    info: {
      title: 'Order events',
      version: '1.0.0',
      description: 'What happens to orders and stock. A service stores an event in its outbox with the change that it tells of; the relay publishes it on the bus, '
        + `as the \`detail\` of an EventBridge event with \`source\` \`${eventSource}\` and the name of the message as \`detail-type\`. `
        + 'A rule for each consumer puts it in the queue of that consumer. Delivery is at least once and in any order: `id` tells repetitions, `sequence` the order. '
        + 'Instead of one event, the `detail` can have several of them in an array `events`; a listener handles each like an event of its own. '
        + 'The `signature` of a message says that the relay has sent it; who knows the key refuses a message without a right one. '
        + 'Within a major version an event only gets optional fields; ignore what you do not know. A new major version is a new message beside the old one.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      eventbridge: { host: 'events.{region}.amazonaws.com', protocol: 'https', description: 'Amazon EventBridge', variables: region() },
      sqs: { host: 'sqs.{region}.amazonaws.com', protocol: 'sqs', description: 'Amazon SQS', variables: region() },
    },
    channels: {
      bus: {
        title: 'Event bus',
        description: 'The event bus of the pipeline; all events, and an archive of them.',
        servers: [{ $ref: '#/servers/eventbridge' }],
        messages: channelMessages(() => true),
      },
      ...Object.fromEntries(subscriptions.map(({ name, detailTypes }) => [name, {
        title: `Queue of ${name}`,
        description: 'Has a dead-letter queue.',
        servers: [{ $ref: '#/servers/sqs' }],
        messages: channelMessages((detailType) => detailTypes.includes(detailType)),
      }])),
    },
    operations: {
      publish: {
        action: 'send',
        title: 'Outbox relay',
        summary: 'Publishes what the services have stored; nothing else does.',
        channel: { $ref: '#/channels/bus' },
      },
      ...Object.fromEntries(subscriptions.map(({ name }) => [name, {
        action: 'receive', title: name, summary: `What ${name} handles.`, channel: { $ref: `#/channels/${name}` },
      }])),
    },
    components: {
      messages: Object.fromEntries(messages),
      schemas: {
        Event: {
          ...envelope,
          properties: attributes,
          required: (envelope.required ?? []).filter((name) => name !== 'type' && name !== 'data'),
        },
        ...Object.fromEntries(contracts.map(({ detailType, schema }) => [detailType, { ...describe(schema), ...schema.properties!.data }])),
        ...Object.fromEntries(contracts.map(({ detailType, type }) => [`${detailType}Event`, {
          allOf: [
            { $ref: '#/components/schemas/Event' },
            { type: 'object', required: ['type', 'data'], properties: { type: { const: type }, data: { $ref: `#/components/schemas/${detailType}` } } },
          ],
        }])),
        Bundle: bundle,
        ...Object.fromEntries(contracts.flatMap(({ detailType, type }) => {
          const event = { $ref: `#/components/schemas/${detailType}Event` };
          const bundled = { type: 'object', properties: { type: { const: type }, events: { type: 'array', items: event } } };
          return [[`${detailType}Message`, { oneOf: [event, { allOf: [{ $ref: '#/components/schemas/Bundle' }, bundled] }] }]];
        })),
      },
    },
  };
}

function message({ type, name, major, detailType, schema }: Contract, published: readonly Published[]): [string, Json] {
  const versions = published.filter((one) => one.name === name && one.major === major).sort((a, b) => a.minor - b.minor);
  const latest = versions.at(-1);
  return [detailType, {
    name: detailType,
    title: type,
    ...(schema.description === undefined ? {} : { summary: schema.description }),
    contentType: 'application/json',
    payload: { $ref: `#/components/schemas/${detailType}Message` },
    ...(latest && { examples: (latest.schema.examples ?? []).map((payload, n) => ({ name: `${name} ${major}.${latest.minor}, ${n + 1}`, payload })) }),
  }];
}

function describe({ description }: JsonSchema): JsonSchema {
  return description === undefined ? {} : { description };
}

function region(): Json {
  return { region: { default: 'us-east-1' } };
}
