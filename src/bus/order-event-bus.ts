import { Annotations, Duration, Names, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import { EventArchive } from './event-archive';
import { eventBusOf } from './private/event-bus-of';
import { invalid, refuseWith, refuseWithout } from '../private/validation';

const DAY = Duration.days(1).toMilliseconds();

/**
 * Properties of an `OrderEventBus`.
 */
export interface OrderEventBusProps {
  /**
   * The event bus to use instead of a new one.
   *
   * @default - a new custom event bus, whose name is made from the names of the stack and the construct
   */
  readonly eventBus?: events.IEventBusRef;

  /**
   * The archive of the events, for replay.
   *
   * @default - `EventArchive.retain(Duration.days(30))`
   */
  readonly archive?: EventArchive;

  /**
   * The customer managed key that encrypts the events on the bus and in the archive.
   *
   * The policy of the key gets the statements that EventBridge needs. A key can't be given together with `eventBus`.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-event-bus-cmkey.html
   * @default - a key that AWS owns
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * The removal policy of the archive, and of a new bus, when the stack is deleted: `DESTROY` deletes them with all events, `RETAIN` keeps
   * them in the account. Both stay together, as EventBridge replays events only to the bus that they came from. It is an error without an
   * archive.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html
   * @default RemovalPolicy.DESTROY
   */
  readonly removalPolicy?: RemovalPolicy;
}

/**
 * The event bus of an order pipeline, with an archive from which its events can be replayed.
 *
 * The archive is deleted with the stack, unless `removalPolicy` is `RETAIN`.
 *
 * @example
 * const bus = new OrderEventBus(this, 'Bus', {
 *   archive: EventArchive.retain(Duration.days(90)),
 * });
 */
@propertyInjectable
export class OrderEventBus extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.OrderEventBus';

  /** The event bus: the given one, or a new one. */
  public readonly eventBus: events.IEventBus;

  /**
   * The archive of all events of the bus; undefined with `EventArchive.none()`.
   */
  public readonly archive?: events.Archive;

  constructor(scope: Construct, id: string, props: OrderEventBusProps = {}) {
    super(scope, id);

    const archive = props.archive ?? EventArchive.retain(Duration.days(30));
    const retention = archive.retention;
    if (retention && !retention.isUnresolved() && (retention.toMilliseconds() < DAY || retention.toMilliseconds() % DAY > 0)) {
      throw invalid(this, `archive must retain events for whole days, at least one, got ${retention.toHumanString()}`);
    }
    if (props.removalPolicy === RemovalPolicy.SNAPSHOT) {
      throw invalid(this, 'removalPolicy must be DESTROY or RETAIN: an archive has no snapshot');
    }
    if (!archive.enabled) { refuseWithout(this, 'an archive', { removalPolicy: props.removalPolicy }); }
    if (props.eventBus) {
      refuseWith(this, 'eventBus', { encryptionKey: props.encryptionKey });
    }

    this.eventBus = props.eventBus ? eventBusOf(this, 'EventBus', props.eventBus) : new events.EventBus(this, 'EventBus', {
      // The default name does not contain the name of the stack, so two copies of a stack would have buses of the same name.
      eventBusName: Names.uniqueResourceName(this, { maxLength: 256 }),
      kmsKey: props.encryptionKey,
    });
    if (archive.enabled) {
      this.archive = this.addArchive(retention, props.encryptionKey);
      for (const made of props.removalPolicy ? [this.archive, ...props.eventBus ? [] : [this.eventBus]] : []) {
        made.applyRemovalPolicy(props.removalPolicy!);
      }
    }
  }

  private addArchive(retention?: Duration, key?: kms.IKey): events.Archive {
    const archive = new events.Archive(this, 'Archive', {
      sourceEventBus: this.eventBus,
      // Every event has a source, so this pattern keeps all of them. EventBridge itself excludes replayed events.
      eventPattern: { source: events.Match.prefix('') },
      retention,
    });
    if (key) {
      // The prop of the archive is not used: it puts the ARN of the bus into the policy of the key, on which the bus depends.
      (archive.node.defaultChild as events.CfnArchive).kmsKeyIdentifier = key.keyArn;
      this.allowArchive(key);
    }
    return archive;
  }

  private allowArchive(key: kms.IKey): void {
    const name = (this.eventBus.node.defaultChild as events.CfnEventBus).name;
    const busArn = Stack.of(this).formatArn({ service: 'events', resource: 'event-bus', resourceName: name });
    const principals = [new iam.ServicePrincipal('events.amazonaws.com')];
    const results = [
      new iam.PolicyStatement({
        principals,
        actions: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:ReEncrypt*'],
        resources: ['*'],
        conditions: { StringEquals: { 'kms:EncryptionContext:aws:events:event-bus:arn': busArn } },
      }),
      new iam.PolicyStatement({ principals, actions: ['kms:DescribeKey'], resources: ['*'] }),
    ].map((statement) => key.addToResourcePolicy(statement, true));
    if (results.some((result) => !result.statementAdded)) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:busKeyPolicyNotUpdated',
        'encryptionKey is imported, so its policy stays as it is: let events.amazonaws.com use the key for this bus and archive, ' +
        'see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-event-bus-cmkey.html');
    }
  }
}
