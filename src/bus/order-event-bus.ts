import { Annotations, Duration, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { EventArchive } from './event-archive';
import { invalid, refuseWith } from '../private/validation';

const DAY = Duration.days(1).toMilliseconds();

/**
 * Properties of an `OrderEventBus`.
 */
export interface OrderEventBusProps {
  /**
   * The event bus to use instead of a new one.
   *
   * @default - a new custom event bus
   */
  readonly eventBus?: events.IEventBus;

  /**
   * How long events are kept for replay.
   *
   * @default - `EventArchive.retain(Duration.days(30))`
   */
  readonly archive?: EventArchive;

  /**
   * The customer managed key that encrypts the events on the bus and in the archive.
   *
   * The key's policy gets the statements that EventBridge needs. It can't be given together with `eventBus`.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-event-bus-cmkey.html
   * @default - a key that AWS owns
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * The event bus of an order pipeline, with an archive from which any part of its history can be replayed.
 *
 * @example
 * const bus = new OrderEventBus(this, 'Bus', {
 *   archive: EventArchive.retain(Duration.days(90)),
 * });
 */
export class OrderEventBus extends Construct {
  /** The event bus: the one that was given, or a new one. */
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
    if (props.eventBus) {
      refuseWith(this, 'eventBus', { encryptionKey: props.encryptionKey });
    }

    this.eventBus = props.eventBus ?? new events.EventBus(this, 'EventBus', { kmsKey: props.encryptionKey });
    if (archive.enabled) {
      this.archive = this.eventBus.node.scope === this ? this.addArchive(retention, props.encryptionKey) : this.addArchive(retention);
    }
  }

  private addArchive(retention?: Duration, key?: kms.IKey): events.Archive {
    const archive = new events.Archive(this, 'Archive', {
      sourceEventBus: this.eventBus,
      // Every event has a source, so this pattern keeps all of them. EventBridge itself leaves replayed ones out.
      eventPattern: { source: events.Match.prefix('') },
      retention,
    });
    if (key) {
      // Not by the archive's own prop: that puts the bus's ARN into the policy of the key which the bus depends on, a cycle.
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
