import { join } from 'node:path';
import { eventBridgeActions } from './api.ts';
import { Archives } from './archives.ts';
import { Buses } from './buses.ts';
import type { BoundTarget, BusState } from './buses.ts';
import { Deliverer } from './deliverer.ts';
import type { NewDelivery } from './deliverer.ts';
import { validation } from './errors.ts';
import { parseJson } from './json.ts';
import { flatten, wantedPaths } from './pattern.ts';
import { entrySize, isoSeconds, readEntry } from './publication.ts';
import type { Publication } from './publication.ts';
import { scheduledEvent } from './scheduled.ts';
import type {
  ArchiveInput, BusEvent, Counters, DeliveryObservation, EventBridgeOptions, EventObservation, LocalEventBridge, Observer,
  PutEventsEntry, PutEventsResult, PutEventsResultEntry, ReplayInput, Rule,
} from './types.ts';
import { serveAwsJson } from '../http/aws-json.ts';
import type { AwsJsonServer } from '../http/aws-json.ts';
import type { Log } from '../log.ts';
import { Timetable } from '../schedules/timetable.ts';

const MAX_ENTRIES = 10;
const MAX_REQUEST_BYTES = 1024 * 1024;

/** EventBridge on one machine: see types.ts for what can be done with it. */
export class EventBridge extends Buses implements LocalEventBridge {
  readonly archives: Archives;
  readonly #log: Log;
  readonly #report: (sentence: string) => void;
  readonly #dataDir: string | undefined;
  readonly #deliverer: Deliverer;
  readonly #timetable: Timetable;
  readonly #observers = new Set<Observer>();
  readonly #missingBuses = new Set<string>();
  readonly #counts = { published: 0, rejected: 0, lostToMissingBus: 0, unmatched: 0, archived: 0, replayed: 0 };
  #server: AwsJsonServer | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: EventBridgeOptions) {
    const { region = 'us-east-1', accountId = '000000000000', clock = Date.now, log = () => {}, dataDir, timers } = options;
    const timetable = new Timetable((name, error) => log('error', `EventBridge: the scheduled event of rule ${name} could not be kept: ${String(error)}`), timers);
    super({ region, accountId, clock }, {
      timetable,
      subscribed: (to) => this.#deliverer.register(to),
      fire: (ruleName, time) => this.#fire(ruleName, time),
    });
    this.#log = log;
    this.#report = options.report ?? ((sentence) => log('warn', sentence));
    this.#dataDir = dataDir;
    this.#timetable = timetable;
    this.#deliverer = new Deliverer({
      ...options,
      log,
      clock,
      deliver: (arn, body, how) => (this.#isBus(arn) ? this.#forward(arn, body) : options.deliver(arn, body, how)),
    }, (observation) => this.#tellDelivery(observation));
    this.archives = new Archives({
      buses: this,
      log,
      dataDir,
      publish: async (bus, publication) => {
        await this.#publish(bus, publication);
        this.#counts.replayed++;
      },
    });
  }

  // --- publishing ---

  async putEvents(entries: readonly PutEventsEntry[]): Promise<PutEventsResult> {
    if (entries.length < 1 || entries.length > MAX_ENTRIES) {
      throw validation(
        `1 validation error detected: Value of ${entries.length} entries at 'entries' failed to satisfy constraint: ` +
          `Member must have length ${entries.length < 1 ? 'greater than or equal to 1' : `less than or equal to ${MAX_ENTRIES}`}`,
      );
    }
    if (entries.reduce((sum, entry) => sum + entrySize(entry), 0) > MAX_REQUEST_BYTES) {
      throw validation('Total size of the entries in the request is over the limit.');
    }
    const Entries = await Promise.all(entries.map(entry => this.#putEntry(entry)));
    return { FailedEntryCount: Entries.filter(({ ErrorCode }) => ErrorCode !== undefined).length, Entries };
  }

  async #putEntry(entry: PutEventsEntry): Promise<PutEventsResultEntry> {
    const publication = readEntry(entry, { accountId: this.accountId, region: this.region, now: this.clock() });
    if (!('event' in publication)) {
      this.#counts.rejected++;
      return publication;
    }
    const EventId = publication.event.id;
    const busName = this.busName(entry.EventBusName ?? 'default');
    const bus = this.find(busName);
    if (bus === undefined) {
      this.#counts.lostToMissingBus++;
      if (!this.#missingBuses.has(busName)) {
        this.#missingBuses.add(busName);
        this.#report(`There is no event bus ${busName} in this run: events that are put there are accepted and lost, as in AWS.`);
      }
      return { EventId };
    }
    try {
      await this.#publish(bus, publication);
      this.#counts.published++;
      return { EventId };
    } catch (error) {
      this.#log('error', `EventBridge: event ${EventId} could not be kept: ${error instanceof Error ? error.stack : String(error)}`);
      this.#counts.rejected++;
      return { ErrorCode: 'InternalFailure', ErrorMessage: 'The event could not be written down; put it again' };
    }
  }

  /** Calls every delivery function before it waits for the first, so that targets see the entries of one request in their order. */
  async #publish(bus: BusState, publication: Publication): Promise<void> {
    const { event, body, replay } = publication;
    const archives = replay === undefined ? this.archives.of(bus) : [];
    bus.wanted ??= wantedPaths([
      ...[...bus.rules.values()].flatMap(({ pattern }) => pattern ?? []),
      ...archives.flatMap(({ pattern }) => pattern ?? []),
    ]);
    const fields = flatten(event, bus.wanted);
    const work: Promise<void>[] = [];
    for (const archive of archives) {
      if (archive.pattern?.matches(fields) === false) continue;
      this.#counts.archived++;
      work.push(archive.append(publication.time, body));
    }
    const matched: string[] = [];
    for (const { rule, pattern, targets } of bus.rules.values()) {
      if (rule.State === 'DISABLED' || pattern?.matches(fields) !== true) continue;
      if (replay !== undefined && replay.ruleArns.size > 0 && !replay.ruleArns.has(rule.Arn)) continue;
      matched.push(rule.Name);
      for (const bound of targets.values()) work.push(this.#deliverTo(bound, rule, publication));
    }
    if (matched.length === 0) this.#counts.unmatched++;
    this.#tellEvent({ event, busName: bus.bus.Name, rules: matched, ...(replay !== undefined && { replayName: replay.name }) });
    // All of them, also when one fails: nobody may hear of the event's end before its deliveries have one.
    const failure = (await Promise.allSettled(work)).find(result => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  #deliverTo({ target, render }: BoundTarget, rule: Rule, { event, body, hopped = false }: Publication): Promise<void> {
    const { Id, Arn, SqsParameters, DeadLetterConfig, RetryPolicy } = target;
    const delivery: Omit<NewDelivery, 'body'> = {
      eventId: event.id,
      detailType: event['detail-type'],
      busName: rule.EventBusName,
      ruleName: rule.Name,
      ruleArn: rule.Arn,
      targetId: Id,
      targetArn: Arn,
      event: body,
      ...(SqsParameters?.MessageGroupId !== undefined && { messageGroupId: SqsParameters.MessageGroupId }),
      ...(DeadLetterConfig?.Arn !== undefined && { deadLetterArn: DeadLetterConfig.Arn }),
      maximumRetryAttempts: RetryPolicy?.MaximumRetryAttempts ?? 185,
      maximumEventAgeInSeconds: RetryPolicy?.MaximumEventAgeInSeconds ?? 86_400,
    };
    try {
      if (hopped && this.#isBus(Arn)) {
        throw Object.assign(new Error('Events received from another event bus cannot be forwarded to this event bus.'), {
          code: 'THIRD_ACCOUNT_HOP_DETECTED',
        });
      }
      const input = render({ event, body, ruleArn: rule.Arn, ruleName: rule.Name, ingestionTime: isoSeconds(this.clock()) });
      return this.#deliverer.deliver({ ...delivery, body: input });
    } catch (error) {
      return this.#deliverer.refuse({ ...delivery, body }, error);
    }
  }

  /** A scheduled event goes to the targets of its own rule, and passes by all others. */
  async #fire(ruleName: string, time: number): Promise<void> {
    const { rule, targets } = this.rule(ruleName);
    const event = scheduledEvent(rule, { account: this.accountId, region: this.region, time: isoSeconds(time) });
    const publication: Publication = { event, body: JSON.stringify(event), time };
    this.#tellEvent({ event, busName: rule.EventBusName, rules: [rule.Name] });
    await Promise.all([...targets.values()].map((bound) => this.#deliverTo(bound, rule, publication)));
  }

  #isBus(arn: string): boolean {
    return /^arn:[^:]+:events:[^:]*:[^:]*:event-bus\//.test(arn);
  }

  async #forward(busArn: string, body: string): Promise<void> {
    const bus = this.find(busArn);
    if (bus === undefined) throw Object.assign(new Error(`Event bus ${busArn} does not exist in the local run`), { code: 'NO_RESOURCE' });
    const event = parseJson(body) as BusEvent;
    await this.#publish(bus, { event, body, time: Date.parse(event.time), hopped: true });
  }

  // --- archives and replays ---

  createArchive(input: ArchiveInput): Promise<{ ArchiveArn: string }> {
    return this.archives.create(input);
  }

  startReplay(input: ReplayInput): { ReplayArn: string } {
    return this.archives.startReplay(input);
  }

  // --- watching ---

  observe(observer: Observer): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  counters(): Counters {
    const sum = { matched: 0, delivered: 0, retried: 0, deadLettered: 0, dropped: 0 };
    for (const each of this.#deliverer.subscriptions()) {
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += each[key];
    }
    return { ...this.#counts, ...sum, pending: this.#deliverer.pending };
  }

  deliveries(): ReturnType<LocalEventBridge['deliveries']> {
    return this.#deliverer.subscriptions();
  }

  #tellEvent(observation: EventObservation): void {
    this.#tell(observer => observer.onEvent?.(observation));
  }

  #tellDelivery(observation: DeliveryObservation): void {
    this.#tell(observer => observer.onDelivery?.(observation));
  }

  #tell(tell: (observer: Observer) => void): void {
    for (const observer of this.#observers) {
      try {
        tell(observer);
      } catch (error) {
        this.#log('error', `EventBridge: an observer failed: ${error instanceof Error ? error.stack : String(error)}`);
      }
    }
  }

  // --- life ---

  async start({ port = 0 }: { port?: number } = {}): Promise<{ url: string; port: number }> {
    await this.#deliverer.start(this.#dataDir === undefined ? undefined : join(this.#dataDir, 'retries.jsonl'));
    try {
      this.#server = await serveAwsJson({
        service: 'EventBridge',
        targetPrefix: 'AWSEvents',
        actions: eventBridgeActions(this),
        log: this.#log,
        port,
      });
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#timetable.start();
    return { url: this.#server.url, port: this.#server.port };
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.#timetable.stop();
    await this.#server?.close();
    await this.archives.stop();
    await this.#deliverer.stop();
    await this.archives.close();
  }
}
