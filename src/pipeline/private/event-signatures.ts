import { Annotations, Token } from 'aws-cdk-lib';
import type * as events from 'aws-cdk-lib/aws-events';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { grantSecretVersions } from '../../private/permissions';
import { EventSigning, EventSubscriptionOptions } from '../../transport';

export interface EventSignaturesOptions {
  readonly signing?: EventSigning;
  readonly hasRelay: boolean;
  readonly eventSource: string;
  readonly encryptionKey?: kms.IKey;
}

/** The key of a pipeline's signatures, and who gets it: those that publish, and the consumers that can verify. */
export class EventSignatures {
  public readonly secret?: secretsmanager.ISecret;
  private readonly signing: EventSigning;

  constructor(private readonly pipeline: Construct, private readonly options: EventSignaturesOptions) {
    this.signing = options.signing ?? (options.hasRelay ? EventSigning.generated() : EventSigning.none());
    this.secret = this.signing._bind(pipeline, 'EventSigningKey', options.encryptionKey);
  }

  public get environment(): { [name: string]: string } {
    return this.secret ? { EVENT_SIGNING_SECRET_ARN: this.secret.secretArn } : {};
  }

  public allow(grantee: iam.IGrantable): void {
    if (this.secret) { grantSecretVersions(this.secret, grantee); }
  }

  /** A pipeline without a relay signs nothing by default, since nobody may publish; now somebody does. */
  public warnOfPublisher(): void {
    if (this.secret || this.options.signing) { return; }
    Annotations.of(this.pipeline).addWarningV2('cdk-order-pipeline:eventsNotSigned',
      'events are published without outboxRelay, and nothing signs them, so consumers believe everybody who can send to their queues: give '
      + 'eventSigning: EventSigning.generated(), or EventSigning.none() if that is meant');
  }

  /**
   * Whether a consumer gets the key. It has no use for it if it gets a part of an event, or only events of other sources that have no key
   * of this pipeline.
   */
  public verifiedBy(id: string, { ruleInput, eventPattern, eventPatterns }: EventSubscriptionOptions): boolean {
    if (!this.secret || !this.signing._verify || (ruleInput && !this.isDetail(ruleInput))) { return false; }
    if (!this.signing._isOwn) { return true; }
    const patterns = eventPatterns ?? (eventPattern ? [eventPattern] : []);
    const foreign = patterns.flatMap(({ source }) => this.foreignOf(source));
    if (foreign.length === 0) { return true; }
    if (!patterns.some(({ source }) => this.foreignOf(source).length < (source?.length ?? 1))) { return false; }
    Annotations.of(this.pipeline).addWarningV2('cdk-order-pipeline:foreignEventsRefused',
      `the consumer '${id}' verifies signatures, so it refuses the events of ${[...new Set(foreign)].join(', ')} unless they are signed with the key of `
      + 'this pipeline: make a consumer of their own for them, or share a key by EventSigning.secret()');
    return true;
  }

  /** The sources of a pattern that are known, and are not that of the pipeline. */
  private foreignOf(source: string[] = []): string[] {
    if (Token.isUnresolved(source)) { return []; }
    return source.filter((one) => typeof one === 'string' && !Token.isUnresolved(one) && one !== this.options.eventSource);
  }

  /** The detail is what is signed. */
  private isDetail(input: events.RuleTargetInput): boolean {
    // There is no rule yet; an input needs one as a scope only.
    return input.bind(this.pipeline as unknown as events.IRule).inputPath === '$.detail';
  }
}
