/** Types of the local EventBridge. Shapes of rules and targets are those of the AWS API, so that templates map onto them. */

import type { Log } from '../log.ts';
import type { Timers } from '../schedules/timetable.ts';

export interface DeliverOptions {
  /** The rule on whose behalf this is sent: `aws:SourceArn` to the policy of the target. */
  readonly ruleArn: string;
  /** `SqsParameters.MessageGroupId` of the target. */
  readonly messageGroupId?: string;
  /** String message attributes: the reason of a failed delivery, on its way to a dead-letter queue. */
  readonly messageAttributes?: Record<string, string>;
}

/**
 * Puts one body into the target with this ARN and throws when it could not. `code` on the error becomes `ERROR_CODE` of a dead letter;
 * `NO_PERMISSIONS`, `NO_RESOURCE` and the other codes of `NOT_RETRIED` are not tried again.
 * Calls for the entries of one PutEvents come in the order of the entries, without waiting for each other, so an implementation may batch.
 */
export type Deliver = (targetArn: string, body: string, options: DeliverOptions) => Promise<void>;

export interface InputTransformer {
  readonly InputPathsMap?: Record<string, string>;
  readonly InputTemplate: string;
}

export interface Target {
  readonly Id: string;
  readonly Arn: string;
  readonly RoleArn?: string;
  readonly Input?: string;
  readonly InputPath?: string;
  readonly InputTransformer?: InputTransformer;
  readonly SqsParameters?: { readonly MessageGroupId?: string };
  readonly RetryPolicy?: { readonly MaximumRetryAttempts?: number; readonly MaximumEventAgeInSeconds?: number };
  readonly DeadLetterConfig?: { readonly Arn?: string };
}

export interface RuleInput {
  readonly Name: string;
  /** Name or ARN. @default "default" */
  readonly EventBusName?: string;
  /** JSON text or the object itself. */
  readonly EventPattern?: string | object;
  readonly ScheduleExpression?: string;
  /** @default "ENABLED" */
  readonly State?: string;
  readonly Description?: string;
  readonly RoleArn?: string;
}

export interface ArchiveInput {
  readonly ArchiveName: string;
  readonly EventSourceArn: string;
  readonly EventPattern?: string | object;
  readonly Description?: string;
  /** @default 0, which keeps events forever */
  readonly RetentionDays?: number;
}

export interface ReplayInput {
  readonly ReplayName: string;
  readonly Description?: string;
  readonly EventSourceArn: string;
  readonly EventStartTime: Date | number;
  readonly EventEndTime: Date | number;
  readonly Destination: { readonly Arn: string; readonly FilterArns?: readonly string[] };
}

export interface PutEventsEntry {
  readonly Source?: string;
  readonly DetailType?: string;
  readonly Detail?: string;
  /** Name or ARN. @default "default" */
  readonly EventBusName?: string;
  readonly Resources?: readonly string[];
  /** Seconds since the epoch, as the AWS JSON protocol writes it, or a Date. */
  readonly Time?: number | Date;
  readonly TraceHeader?: string;
}

export interface PutEventsResultEntry {
  readonly EventId?: string;
  readonly ErrorCode?: string;
  readonly ErrorMessage?: string;
}

export interface PutEventsResult {
  readonly FailedEntryCount: number;
  readonly Entries: PutEventsResultEntry[];
}

export interface Bus {
  readonly Name: string;
  readonly Arn: string;
}

export interface Rule extends Bus {
  readonly EventBusName: string;
  readonly EventPattern?: string;
  readonly ScheduleExpression?: string;
  readonly State: string;
  readonly Description?: string;
  readonly RoleArn?: string;
}

/** The envelope that targets get. */
export interface BusEvent {
  readonly 'version': string;
  readonly 'id': string;
  readonly 'detail-type': string;
  readonly 'source': string;
  readonly 'account': string;
  readonly 'time': string;
  readonly 'region': string;
  readonly 'resources': readonly string[];
  readonly 'detail': Record<string, unknown>;
  readonly 'replay-name'?: string;
}

export interface EventObservation {
  readonly event: BusEvent;
  readonly busName: string;
  /** Names of the rules that matched. */
  readonly rules: readonly string[];
  /** Name of the replay that put the event again. */
  readonly replayName?: string;
}

export type DeliveryOutcome = 'delivered' | 'retrying' | 'dead-lettered' | 'dropped';

export interface DeliveryObservation {
  readonly eventId: string;
  readonly detailType: string;
  readonly busName: string;
  readonly ruleName: string;
  readonly targetId: string;
  readonly targetArn: string;
  readonly outcome: DeliveryOutcome;
  /** Attempts so far, the first included. */
  readonly attempts: number;
  readonly errorCode?: string;
  readonly errorMessage?: string;
}

export interface Observer {
  onEvent?(observation: EventObservation): void;
  onDelivery?(observation: DeliveryObservation): void;
}

/**
 * Counted since the process started; what an earlier run left and this one goes on with counts as matched.
 * `matched = delivered + deadLettered + dropped + pending` whenever nothing is in flight.
 */
export interface DeliveryCounters {
  /** Pairs of event and target. */
  matched: number;
  delivered: number;
  /** Attempts that failed and will be made again. */
  retried: number;
  deadLettered: number;
  /** Given up with no dead-letter queue to take it. */
  dropped: number;
}

export interface Counters extends DeliveryCounters {
  published: number;
  rejected: number;
  /** Accepted for a bus that does not exist, and gone, as on AWS. */
  lostToMissingBus: number;
  unmatched: number;
  archived: number;
  replayed: number;
  /** Deliveries waiting for another attempt now. */
  pending: number;
}

export interface EventBridgeOptions {
  readonly deliver: Deliver;
  /** @default - silent */
  readonly log?: Log;
  /** Shows a sentence to the user. @default - it is in the log */
  readonly report?: (sentence: string) => void;
  /** Milliseconds since the epoch. @default Date.now */
  readonly clock?: () => number;
  /** Folder for archives and waiting retries. @default - kept in memory only */
  readonly dataDir?: string;
  /** @default "us-east-1" */
  readonly region?: string;
  /** @default "000000000000" */
  readonly accountId?: string;
  /**
   * Waits between attempts: `baseMs` doubled per attempt up to `maxMs`, half of it random. AWS waits up to minutes and tries for a day;
   * the number of attempts and the age stay those of the target's RetryPolicy here, only the waits are short.
   * @default { baseMs: 50, maxMs: 2000 }
   */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
  /** A delivery that takes longer counts as failed. @default 30000 */
  readonly deliveryTimeoutMs?: number;
  /** The timers of scheduled rules. @default - those of the machine */
  readonly timers?: Timers;
}

/** A rule with a schedule. */
export interface ScheduledRule {
  readonly rule: Rule;
  readonly expression: string;
  /** The next time, in milliseconds since 1970; undefined when there is none, or the rule is disabled. */
  next(): number | undefined;
  /** Sends the scheduled event to its targets now. Rejects only when a failed delivery could not be written down. */
  fire(): Promise<void>;
}

/**
 * The side of `EventBridge` that the local run uses. Order of use: `new EventBridge(options)`, `createBus`, `putRule`,
 * `putTargets`, `createArchive` from the templates, then `await start()` when the targets can take messages, at the end `await stop()`.
 */
export interface LocalEventBridge {
  /** `default` is there from the start. The same name again is no error, so that a restart can say it again. */
  createBus(name: string): Bus;
  /** Creates or replaces; returns the ARN. Throws `InvalidEventPatternException` with the field and what is wrong with it. */
  putRule(rule: RuleInput): Rule;
  putTargets(ruleName: string, busName: string, targets: readonly Target[]): void;
  /** Creates, or takes up again what an earlier run left in `dataDir`. */
  createArchive(archive: ArchiveInput): Promise<{ ArchiveArn: string }>;
  startReplay(replay: ReplayInput): { ReplayArn: string };
  putEvents(entries: readonly PutEventsEntry[]): Promise<PutEventsResult>;
  listBuses(): Bus[];
  listRules(busName?: string): Rule[];
  listTargets(ruleName: string, busName?: string): Target[];
  scheduledRules(): ScheduledRule[];
  observe(observer: Observer): () => void;
  counters(): Counters;
  /** Per rule and target since the process started, for I11 and the summary; `pending` are waiting for another attempt. */
  deliveries(): (DeliveryCounters & { busName: string; ruleName: string; targetId: string; targetArn: string; pending: number })[];
  /** Listens on 127.0.0.1 and takes up the deliveries that an earlier run could not finish. */
  start(options?: { port?: number }): Promise<{ url: string; port: number }>;
  /** Closes the endpoint, lets attempts in hand end and writes everything down. */
  stop(): Promise<void>;
}
