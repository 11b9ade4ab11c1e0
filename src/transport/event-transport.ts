import type * as events from 'aws-cdk-lib/aws-events';
import type * as kms from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import type { EventArchive } from '../bus';
import type { BufferedEventConsumerOptions, IEventSubscription } from '../consumer';
import type { IKafkaCluster, KafkaRetry } from '../kafka';
import { EventBridgeTransport } from './private/event-bridge-transport';
import { coming } from '../private/coming';
import type { IHostedService } from '../workload';

/**
 * The options with which a pipeline binds a transport.
 */
export interface EventTransportBindOptions {
  /** The `source` of the pipeline's events. */
  readonly eventSource: string;

  /**
   * The customer managed key for the resources of the transport.
   *
   * @default - keys that AWS owns
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * Options of a subscription to events of a pipeline.
 */
export interface EventSubscriptionOptions extends BufferedEventConsumerOptions {
  /**
   * The types of the events, such as `order.created`. Each transport maps them to its own names: on EventBridge `order.created` of the
   * pipeline's source is the detail type `OrderCreated`.
   *
   * The inventory's events about stock are exceptions: `inventory.validated`, `inventory.reserved` and `inventory.rejected` are
   * `StockValidated`, `StockReserved` and `StockRejected`. Use `eventPattern` for other conditions.
   *
   * @default - `eventPattern` or `eventPatterns`
   */
  readonly events?: string[];
}

/**
 * The channel of a pipeline's events: services publish to it, and subscriptions get events from it.
 *
 * @subclassable
 */
export interface IEventChannel {
  /** Environment variables with which services find the channel. A consumer gets its variables from its subscription. */
  readonly environment: { [name: string]: string };

  /**
   * TCP ports that a publisher connects to, in addition to HTTPS.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * The event bus.
   *
   * @default - undefined: the transport has none
   */
  readonly eventBus?: events.IEventBus;

  /**
   * The archive of the event bus.
   *
   * @default - undefined: the transport has none, or the event bus existed already
   */
  readonly archive?: events.Archive;

  /**
   * Allows a service to publish events.
   *
   * @param publisher the outbox relay, or another service that publishes
   */
  allowPublish(publisher: IHostedService): void;

  /**
   * Subscribes a target to events.
   *
   * @param scope the scope of the subscription
   * @param id its id there
   */
  addSubscription(scope: Construct, id: string, options: EventSubscriptionOptions): IEventSubscription;
}

/**
 * The transport of events from the outbox to subscriptions. Implement it for a transport that `EventTransport` doesn't have.
 *
 * @subclassable
 */
export interface IEventTransport {
  /**
   * Makes the resources of the transport. The pipeline calls it once.
   *
   * @param scope the transport's own scope in the pipeline
   */
  bindTransport(scope: Construct, options: EventTransportBindOptions): IEventChannel;
}

/**
 * Options of the transport with Amazon EventBridge.
 */
export interface EventBridgeTransportOptions {
  /**
   * The event bus.
   *
   * @default - a new event bus with an archive
   */
  readonly eventBus?: events.IEventBusRef;

  /**
   * The archive of the new event bus, for replay. It can't be given together with `eventBus`.
   *
   * @default - `EventArchive.retain(Duration.days(30))`
   */
  readonly archive?: EventArchive;
}

/**
 * The transports of a pipeline.
 *
 * @example
 * declare const eventBus: events.IEventBus;
 *
 * EventTransport.eventBridge();
 * EventTransport.eventBridge({ archive: EventArchive.retain(Duration.days(90)) });
 * EventTransport.eventBridge({ eventBus });
 */
export abstract class EventTransport {
  /**
   * Uses an EventBridge event bus. Each subscription is a `BufferedEventConsumer`: a rule with a queue and a dead-letter queue.
   */
  public static eventBridge(options: EventBridgeTransportOptions = {}): IEventTransport {
    return new EventBridgeTransport(options);
  }

  /**
   * Uses no event bus: the relay sends to a queue of each subscription. It is not available yet and throws an error.
   */
  public static queues(): IEventTransport {
    throw coming('EventTransport.queues()', 'the serverless system (API Gateway, Lambda, SQS and MySQL)', 'use EventTransport.eventBridge()');
  }

  /**
   * Uses topics of a Kafka cluster. It is not available yet and throws an error.
   *
   * @param cluster the cluster, such as an `MskEventCluster`
   * @param retry the retries of a failed event
   */
  public static kafka(cluster: IKafkaCluster, retry?: KafkaRetry): IEventTransport {
    void [cluster, retry];
    throw coming('EventTransport.kafka()', 'the Kafka transport', 'use EventTransport.eventBridge()');
  }
}
