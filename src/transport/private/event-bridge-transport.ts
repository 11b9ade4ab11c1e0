import { Annotations, Stack, Token } from 'aws-cdk-lib';
import type * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { OrderEventBus } from '../../bus';
import { eventBusOf } from '../../bus/private/event-bus-of';
import { BufferedEventConsumer, IEventSubscription } from '../../consumer';
import { statementsText } from '../../private/permissions';
import { differ, invalid, refuseBoth, refuseWith } from '../../private/validation';
import type { IHostedService } from '../../workload';
import type {
  EventBridgeTransportOptions, EventSubscriptionOptions, EventTransportBindOptions, IEventChannel, IEventTransport,
} from '../event-transport';
import { PublishersOnly } from './publishers-only';

/** A transport with an event bus; each subscription is a rule with a queue. */
export class EventBridgeTransport implements IEventTransport {
  constructor(private readonly options: EventBridgeTransportOptions) {
  }

  public bindTransport(scope: Construct, options: EventTransportBindOptions): IEventChannel {
    if (options.eventSource.startsWith('aws.')) {
      throw invalid(scope, `eventSource must not start with 'aws.', which EventBridge keeps for AWS services, got '${options.eventSource}'`);
    }
    const { eventBus, archive } = this.options;
    if (eventBus) {
      refuseWith(scope, 'eventBus', { archive });
      return new EventBridgeChannel(scope, eventBusOf(scope, 'Bus', eventBus), options);
    }
    const bus = new OrderEventBus(scope, 'Bus', { archive, encryptionKey: options.encryptionKey });
    return new EventBridgeChannel(scope, bus.eventBus, options, bus.archive, new PublishersOnly(scope, bus.eventBus));
  }
}

class EventBridgeChannel implements IEventChannel {
  public readonly environment: { [name: string]: string };

  constructor(
    private readonly scope: Construct,
    public readonly eventBus: events.IEventBus,
    private readonly options: EventTransportBindOptions,
    public readonly archive?: events.Archive,
    private readonly publishers?: PublishersOnly,
  ) {
    this.environment = { EVENT_BUS_NAME: nameOf(scope, eventBus), EVENT_SOURCE: options.eventSource };
  }

  public allowPublish(publisher: IHostedService): void {
    this.eventBus.grantPutEventsTo(publisher);
    this.publishers?.admit(publisher);
    const { env, eventBusArn } = this.eventBus;
    if (!differ(env.account, Stack.of(this.scope).account)) { return; }
    const statement = new iam.PolicyStatement({
      principals: [publisher.grantPrincipal], actions: ['events:PutEvents'], resources: [eventBusArn],
    });
    Annotations.of(this.scope).addWarningV2('cdk-order-pipeline:eventBusDoesNotLetPublish',
      `eventBus is of account ${env.account}, whose policy is not changed here, so events stay in the outbox unless it has this statement: `
      + `${statementsText(this.scope, [statement])}. Let it deny events:PutEvents to all others, too: who may put events on the bus can forge them`);
  }

  public addSubscription(scope: Construct, id: string, options: EventSubscriptionOptions): IEventSubscription {
    const { events: types, eventPattern, eventPatterns, ...rest } = options;
    refuseBoth(scope, { [`${id}.events`]: types, [`${id}.eventPattern`]: eventPattern, [`${id}.eventPatterns`]: eventPatterns });
    const own = (pattern: events.EventPattern) => ({ ...pattern, source: pattern.source ?? [this.options.eventSource] });
    const single = types ? { detailType: detailTypes(scope, `${id}.events`, types) } : eventPattern;
    return new BufferedEventConsumer(scope, id, {
      ...rest,
      eventBus: single || eventPatterns ? this.eventBus : undefined,
      encryptionKey: options.encryptionKey ?? (options.queue ? undefined : this.options.encryptionKey),
      eventPattern: single && own(single),
      eventPatterns: eventPatterns?.map(own),
    });
  }
}

/** A name is enough only for a bus of the publisher's account. `PutEvents` reports no error for a bus that does not exist. */
function nameOf(scope: Construct, { env, eventBusArn, eventBusName }: events.IEventBus): string {
  return Token.isUnresolved(env.account) || env.account === Stack.of(scope).account ? eventBusName : eventBusArn;
}

/** The decisions of the inventory are about stock, and its events have the names of the original systems. */
const DETAIL_TYPES: { [type: string]: string } = {
  'inventory.validated': 'StockValidated',
  'inventory.reserved': 'StockReserved',
  'inventory.rejected': 'StockRejected',
};

function detailTypes(scope: Construct, name: string, types: string[]): string[] {
  if (types.length === 0) { throw invalid(scope, `${name} is empty: name at least one type, such as 'order.created'`); }
  return types.map((type, index) => {
    if (!/^[a-z][a-z0-9]*([.-][a-z0-9]+)*\.[a-z0-9]+([.-][a-z0-9]+)*$/.test(type)) {
      throw invalid(scope, `${name}[${index}] must be a type of events, such as 'order.created', got '${type}': `
        + 'for detail types of EventBridge, give eventPattern instead');
    }
    if (types.indexOf(type) !== index) { throw invalid(scope, `${name}[${index}] is named twice: '${type}'`); }
    return DETAIL_TYPES[type] ?? type.replace(/(^|[.-])(.)/g, (_match, _separator, letter: string) => letter.toUpperCase());
  });
}
