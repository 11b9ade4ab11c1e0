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
 * The pipeline that a transport is bound to.
 */
export interface EventTransportBindOptions {
  /** The source of the pipeline's events. */
  readonly eventSource: string;

  /**
   * The customer managed key for what the transport makes.
   *
   * @default - keys that AWS owns
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * A subscription to events of a pipeline.
 */
export interface EventSubscriptionOptions extends BufferedEventConsumerOptions {
  /**
   * The types of the events, such as `order.created`. Each transport maps them to its own terms: on EventBridge `order.created` of the
   * pipeline's source is the detail type `OrderCreated`.
   *
   * The events of the stock are named after it: `inventory.validated`, `inventory.reserved` and `inventory.rejected` are `StockValidated`,
   * `StockReserved` and `StockRejected`. Anything finer is an `eventPattern`.
   *
   * @default - `eventPattern` or `eventPatterns`
   */
  readonly events?: string[];
}

/**
 * The way of a pipeline's events, once it is made: services publish to it, subscriptions get what they ask for.
 *
 * @subclassable
 */
export interface IEventChannel {
  /** Environment variables of the services, by which they find it. What a consumer needs, its subscription gives it. */
  readonly environment: { [name: string]: string };

  /**
   * TCP ports that a publisher has to reach, beside HTTPS.
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
   * @default - undefined: the transport has none, or the event bus was brought
   */
  readonly archive?: events.Archive;

  /**
   * Let a service publish events.
   *
   * @param publisher the outbox relay
   */
  allowPublish(publisher: IHostedService): void;

  /**
   * Subscribe a target to events.
   *
   * @param scope where the subscription is made
   * @param id its id there
   */
  addSubscription(scope: Construct, id: string, options: EventSubscriptionOptions): IEventSubscription;
}

/**
 * How events get from the outbox to subscriptions. Implement it for a transport that `EventTransport` doesn't have.
 *
 * @subclassable
 */
export interface IEventTransport {
  /**
   * Makes what the transport needs. Called once, by the pipeline.
   *
   * @param scope the transport's own scope in the pipeline
   */
  bindTransport(scope: Construct, options: EventTransportBindOptions): IEventChannel;
}

/**
 * Options of the transport by Amazon EventBridge.
 */
export interface EventBridgeTransportOptions {
  /**
   * The event bus.
   *
   * @default - a new event bus with an archive
   */
  readonly eventBus?: events.IEventBusRef;

  /**
   * How long the new event bus keeps events for replay. It can't be given together with `eventBus`.
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
   * An EventBridge event bus, and a rule with a queue and a dead-letter queue for each subscription, which is a `BufferedEventConsumer`.
   */
  public static eventBridge(options: EventBridgeTransportOptions = {}): IEventTransport {
    return new EventBridgeTransport(options);
  }

  /**
   * A queue with a dead-letter queue for each subscription and no event bus: the relay sends to them. It is not available yet and an error.
   */
  public static queues(): IEventTransport {
    throw coming('EventTransport.queues()', 'the serverless system (API Gateway, Lambda, SQS and MySQL)', 'use EventTransport.eventBridge()');
  }

  /**
   * Topics of a Kafka cluster. It is not available yet and an error.
   *
   * @param cluster the cluster, such as an `MskEventCluster`
   * @param retry how an event that failed is tried again
   */
  public static kafka(cluster: IKafkaCluster, retry?: KafkaRetry): IEventTransport {
    void [cluster, retry];
    throw coming('EventTransport.kafka()', 'the Kafka transport', 'use EventTransport.eventBridge()');
  }
}
