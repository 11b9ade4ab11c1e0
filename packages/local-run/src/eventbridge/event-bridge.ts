import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { eventBridgeActions } from './api.ts';
import { Archive } from './archive.ts';
import { Deliverer } from './deliverer.ts';
import type { NewDelivery } from './deliverer.ts';
import { AwsError, notFound, validation } from './errors.ts';
import { compileInput } from './input.ts';
import type { RenderInput } from './input.ts';
import { parseJson } from './json.ts';
import { compilePattern, flatten, wantedPaths } from './pattern.ts';
import type { CompiledPattern, WantedPaths } from './pattern.ts';
import { Replay } from './replay.ts';
import { occurrencesOf, scheduledEvent } from './scheduled.ts';
import type { AwsJsonServer } from '../http/aws-json.ts';
import type { Log } from '../log.ts';
import type {
  ArchiveInput, Bus, BusEvent, Counters, DeliveryObservation, EventBridgeOptions, EventObservation, LocalEventBridge, Observer, PutEventsEntry, PutEventsResult,
  PutEventsResultEntry, ReplayInput, Rule, RuleInput, ScheduledRule, Target,
} from './types.ts';
import { serveAwsJson } from '../http/aws-json.ts';
import { Timetable } from '../schedules/timetable.ts';

interface BoundTarget {
  readonly target: Target;
  readonly render: RenderInput;
}

interface BoundRule {
  readonly rule: Rule;
  readonly pattern: CompiledPattern | undefined;
  readonly targets: Map<string, BoundTarget>;
}

export interface BusState {
  readonly bus: Bus;
  readonly createdAt: number;
  readonly rules: Map<string, BoundRule>;
  /** What the enabled rules and the archives look at, worked out when the first event after a change comes. */
  wanted: WantedPaths | undefined;
}

interface Publication {
  readonly event: BusEvent;
  readonly body: string;
  readonly time: number;
  readonly replay?: { readonly name: string; readonly ruleArns: ReadonlySet<string> };
  /** It came from another bus, and EventBridge lets no event go on to a third. */
  readonly hopped?: boolean;
}

const MAX_ENTRIES = 10;
const MAX_REQUEST_BYTES = 1024 * 1024;
const MAX_TARGETS = 5;
const RULE_STATES = ['ENABLED', 'DISABLED', 'ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS'];

/** EventBridge on one machine: see types.ts for what can be done with it. */
export class EventBridge implements LocalEventBridge {
  readonly region: string;
  readonly accountId: string;
  readonly clock: () => number;
  readonly archives = new Map<string, Archive>();
  readonly replays = new Map<string, Replay>();
  readonly #buses = new Map<string, BusState>();
  readonly #log: Log;
  readonly #dataDir: string | undefined;
  readonly #deliverer: Deliverer;
  readonly #timetable: Timetable;
  readonly #observers = new Set<Observer>();
  readonly #missingBuses = new Set<string>();
  readonly #counts = { published: 0, rejected: 0, lostToMissingBus: 0, unmatched: 0, archived: 0, replayed: 0 };
  #server: AwsJsonServer | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: EventBridgeOptions) {
    this.region = options.region ?? 'us-east-1';
    this.accountId = options.accountId ?? '000000000000';
    this.clock = options.clock ?? Date.now;
    this.#log = options.log ?? (() => {});
    this.#dataDir = options.dataDir;
    const deliver = (arn: string, body: string, how: Parameters<EventBridgeOptions['deliver']>[2]) =>
      this.#isBus(arn) ? this.#forward(arn, body) : options.deliver(arn, body, how);
    this.#deliverer = new Deliverer({ ...options, deliver, log: this.#log, clock: this.clock }, observation =>
      this.#tellDelivery(observation),
    );
    const failed = (name: string, error: unknown) => this.#log('error', `EventBridge: the scheduled event of rule ${name} could not be kept: ${String(error)}`);
    this.#timetable = new Timetable(failed, options.timers);
    this.createBus('default');
  }

  // --- buses ---

  createBus(name: string): Bus {
    checkName('name', name, /^[/.\-_A-Za-z0-9]{1,256}$/);
    const known = this.#buses.get(name);
    if (known !== undefined) return known.bus;
    const bus = { Name: name, Arn: this.arn(`event-bus/${name}`) };
    this.#buses.set(name, { bus, createdAt: this.clock(), rules: new Map(), wanted: undefined });
    return bus;
  }

  deleteBus(nameOrArn: string): void {
    const name = this.busName(nameOrArn);
    if (name === 'default') throw validation('Cannot delete event bus default.');
    if ((this.#buses.get(name)?.rules.size ?? 0) > 0) throw validation(`Event bus ${name} can't be deleted since it has rules.`);
    this.#buses.delete(name);
  }

  listBuses(): Bus[] {
    return [...this.#buses.values()].map(({ bus }) => bus);
  }

  bus(nameOrArn = 'default'): BusState {
    const state = this.#buses.get(this.busName(nameOrArn));
    if (state === undefined) throw notFound(`Event bus ${nameOrArn} does not exist.`);
    return state;
  }

  /** The name of a bus given by name or ARN; the ARN itself if it is of another account or region. */
  busName(nameOrArn: string): string {
    const own = this.arn('event-bus/');
    return nameOrArn.startsWith(own) ? nameOrArn.slice(own.length) : nameOrArn;
  }

  arn(resource: string): string {
    return `arn:aws:events:${this.region}:${this.accountId}:${resource}`;
  }

  // --- rules and targets ---

  putRule(input: RuleInput): Rule {
    checkName('name', input.Name, /^[.\-_A-Za-z0-9]{1,64}$/);
    const bus = this.bus(input.EventBusName);
    const { EventPattern, ScheduleExpression, State = 'ENABLED' } = input;
    if (EventPattern === undefined && ScheduleExpression === undefined) {
      throw validation('Parameter(s) EventPattern or ScheduleExpression must be specified.');
    }
    if (!RULE_STATES.includes(State)) {
      throw validation(
        `1 validation error detected: Value '${State}' at 'state' failed to satisfy constraint: ` +
          `Member must satisfy enum value set: [${RULE_STATES.join(', ')}]`,
      );
    }
    const occurrences = ScheduleExpression === undefined ? undefined : occurrencesOf(ScheduleExpression, bus.bus.Name, this.#timetable.now());
    const pattern = EventPattern === undefined ? undefined : compilePattern(EventPattern);
    const path = bus.bus.Name === 'default' ? input.Name : `${bus.bus.Name}/${input.Name}`;
    const rule: Rule = {
      Name: input.Name,
      Arn: this.arn(`rule/${path}`),
      EventBusName: bus.bus.Name,
      State,
      ...(EventPattern !== undefined && { EventPattern: typeof EventPattern === 'string' ? EventPattern : JSON.stringify(EventPattern) }),
      ...(ScheduleExpression !== undefined && { ScheduleExpression }),
      ...(input.Description !== undefined && { Description: input.Description }),
      ...(input.RoleArn !== undefined && { RoleArn: input.RoleArn }),
    };
    bus.rules.set(input.Name, { rule, pattern, targets: bus.rules.get(input.Name)?.targets ?? new Map() });
    bus.wanted = undefined;
    if (bus.bus.Name === 'default' && (occurrences === undefined || State === 'DISABLED')) this.#timetable.delete(rule.Name);
    else if (occurrences) this.#timetable.set(rule.Name, occurrences, (time) => this.#fire(rule.Name, time));
    return rule;
  }

  setRuleState(name: string, busName: string | undefined, state: 'ENABLED' | 'DISABLED'): void {
    const { rule } = this.#rule(name, busName);
    this.putRule({ ...rule, State: state });
  }

  deleteRule(name: string, busName?: string): void {
    const bus = this.bus(busName);
    if ((bus.rules.get(name)?.targets.size ?? 0) > 0) throw validation("Rule can't be deleted since it has targets.");
    if (bus.bus.Name === 'default') this.#timetable.delete(name);
    bus.rules.delete(name);
    bus.wanted = undefined;
  }

  describeRule(name: string, busName?: string): Rule {
    return this.#rule(name, busName).rule;
  }

  listRules(busName?: string): Rule[] {
    return [...this.bus(busName).rules.values()].map(({ rule }) => rule);
  }

  scheduledRules(): ScheduledRule[] {
    return this.listRules().flatMap((rule) => (rule.ScheduleExpression === undefined ? [] : [{
      rule,
      expression: rule.ScheduleExpression,
      next: () => this.#timetable.next(rule.Name),
      fire: () => this.#fire(rule.Name, this.#timetable.now()),
    }]));
  }

  /** A scheduled event goes to the targets of its own rule, and passes by all others. */
  async #fire(ruleName: string, time: number): Promise<void> {
    const { rule, targets } = this.#rule(ruleName, 'default');
    const event = scheduledEvent(rule, { account: this.accountId, region: this.region, time: isoSeconds(time) });
    const publication: Publication = { event, body: JSON.stringify(event), time };
    this.#tellEvent({ event, busName: rule.EventBusName, rules: [rule.Name] });
    await Promise.all([...targets.values()].map((bound) => this.#deliverTo(bound, rule, publication)));
  }

  putTargets(ruleName: string, busName: string | undefined, targets: readonly Target[]): void {
    const { rule, targets: bound } = this.#rule(ruleName, busName);
    const added = targets.map(target => ({ target, render: this.#checkTarget(target) }));
    if (new Set([...bound.keys(), ...targets.map(({ Id }) => Id)]).size > MAX_TARGETS) {
      throw new AwsError('LimitExceededException', `Rule ${ruleName} would have more than ${MAX_TARGETS} targets.`);
    }
    for (const each of added) {
      bound.set(each.target.Id, each);
      this.#deliverer.register({ busName: rule.EventBusName, ruleName, targetId: each.target.Id, targetArn: each.target.Arn });
    }
  }

  removeTargets(ruleName: string, busName: string | undefined, ids: readonly string[]): string[] {
    const { targets } = this.#rule(ruleName, busName);
    return ids.filter(id => !targets.delete(id));
  }

  listTargets(ruleName: string, busName?: string): Target[] {
    return [...this.#rule(ruleName, busName).targets.values()].map(({ target }) => target);
  }

  #rule(name: string, busName: string | undefined): BoundRule {
    const bus = this.bus(busName);
    const rule = bus.rules.get(name);
    if (rule === undefined) throw notFound(`Rule ${name} does not exist on EventBus ${bus.bus.Name}.`);
    return rule;
  }

  #checkTarget(target: Target): RenderInput {
    const { Id, Arn, RetryPolicy, DeadLetterConfig, SqsParameters } = target;
    checkName('targets.member.id', Id, /^[.\-_A-Za-z0-9]{1,64}$/);
    if (typeof Arn !== 'string' || !/^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$/.test(Arn)) {
      throw validation(`Parameter ${String(Arn)} is not valid. Reason: Provided Arn is not in correct format.`);
    }
    checkRange(`RetryPolicy.MaximumRetryAttempts of target ${Id}`, RetryPolicy?.MaximumRetryAttempts, 0, 185);
    checkRange(`RetryPolicy.MaximumEventAgeInSeconds of target ${Id}`, RetryPolicy?.MaximumEventAgeInSeconds, 60, 86_400);
    if (Arn.endsWith('.fifo') && SqsParameters?.MessageGroupId === undefined) {
      throw validation(`Parameter(s) SqsParameters must be specified for target: ${Id}.`);
    }
    const deadLetterArn = DeadLetterConfig?.Arn;
    if (deadLetterArn !== undefined && (!/^arn:[^:]+:sqs:[^:]+:[^:]+:.+$/.test(deadLetterArn) || deadLetterArn.endsWith('.fifo'))) {
      throw validation(`DeadLetterConfig.Arn of target ${Id} must be the ARN of a standard SQS queue.`);
    }
    return compileInput(target);
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
    const publication = this.#publication(entry);
    if (!('event' in publication)) {
      this.#counts.rejected++;
      return publication;
    }
    const EventId = publication.event.id;
    const busName = this.busName(entry.EventBusName ?? 'default');
    const bus = this.#buses.get(busName);
    if (bus === undefined) {
      this.#counts.lostToMissingBus++;
      if (!this.#missingBuses.has(busName)) {
        this.#missingBuses.add(busName);
        this.#log('warn', `EventBridge: there is no event bus ${busName}; what is put there is accepted and lost, as on AWS`);
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

  #publication(entry: PutEventsEntry): Publication | PutEventsResultEntry {
    for (const name of ['Source', 'DetailType', 'Detail'] as const) {
      if (!entry[name]) return invalid(`Parameter ${name} is not valid. Reason: ${name} is a required argument.`);
    }
    const { Source: source, DetailType: detailType, Detail: detail } = entry as Required<PutEventsEntry>;
    if (source.startsWith('aws.')) return { ErrorCode: 'NotAuthorizedForSourceException', ErrorMessage: 'Not authorized for the source.' };
    if (source.length > 256) return invalid('Parameter Source is not valid. Reason: Source must not have more than 256 characters.');
    if (detailType.length > 128) {return invalid('Parameter DetailType is not valid. Reason: DetailType must not have more than 128 characters.');}
    let parsed: unknown;
    try {
      parsed = parseJson(detail);
    } catch {
      parsed = undefined;
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {return { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' };}
    const time = entry.Time === undefined ? this.clock() : entry.Time instanceof Date ? entry.Time.getTime() : entry.Time * 1000;
    if (!(Math.abs(time) <= 8.64e15)) return invalid('Parameter Time is not valid. Reason: Time must be a time stamp.');

    const head = {
      'version': '0',
      'id': randomUUID(),
      'detail-type': detailType,
      source,
      'account': this.accountId,
      'time': isoSeconds(time),
      'region': this.region,
      'resources': entry.Resources ?? [],
    };
    return {
      event: { ...head, detail: parsed as Record<string, unknown> },
      // The detail goes on as it was written: no number loses digits, and it is not written a second time.
      body: `${JSON.stringify(head).slice(0, -1)},"detail":${detail.trim()}}`,
      time: Math.floor(time),
    };
  }

  /** Calls every delivery function before it waits for the first, so that targets see the entries of one request in their order. */
  async #publish(bus: BusState, publication: Publication): Promise<void> {
    const { event, body, replay } = publication;
    const archives = replay === undefined ? this.#archivesOf(bus) : [];
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

  #isBus(arn: string): boolean {
    return /^arn:[^:]+:events:[^:]*:[^:]*:event-bus\//.test(arn);
  }

  async #forward(busArn: string, body: string): Promise<void> {
    const bus = this.#buses.get(this.busName(busArn));
    if (bus === undefined) throw Object.assign(new Error(`Event bus ${busArn} does not exist in the local run`), { code: 'NO_RESOURCE' });
    const event = parseJson(body) as BusEvent;
    await this.#publish(bus, { event, body, time: Date.parse(event.time), hopped: true });
  }

  // --- archives and replays ---

  async createArchive(input: ArchiveInput): Promise<{ ArchiveArn: string }> {
    const { ArchiveName, EventSourceArn, EventPattern, Description, RetentionDays = 0 } = input;
    checkName('archiveName', ArchiveName, /^[.\-_A-Za-z0-9]{1,48}$/);
    checkRange(`RetentionDays of archive ${ArchiveName}`, RetentionDays, 0, Number.MAX_SAFE_INTEGER);
    const bus = this.#buses.get(this.busName(EventSourceArn));
    if (bus === undefined || bus.bus.Arn !== EventSourceArn) throw notFound(`Event bus ${EventSourceArn} does not exist.`);
    const settings = {
      name: ArchiveName,
      eventSourceArn: EventSourceArn,
      retentionDays: RetentionDays,
      ...(EventPattern !== undefined && { eventPattern: typeof EventPattern === 'string' ? EventPattern : JSON.stringify(EventPattern) }),
      ...(Description !== undefined && { description: Description }),
    };
    const folder = this.#dataDir === undefined ? undefined : join(this.#dataDir, 'archives');
    const open = this.archives.get(ArchiveName);
    if (open !== undefined) throw new AwsError('ResourceAlreadyExistsException', `Archive ${ArchiveName} already exists.`);
    this.archives.set(ArchiveName, await Archive.open(settings, this.clock, folder));
    bus.wanted = undefined;
    return { ArchiveArn: this.arn(`archive/${ArchiveName}`) };
  }

  archive(name: string): Archive {
    const archive = this.archives.get(name);
    if (archive === undefined) throw notFound(`Archive ${name} does not exist.`);
    return archive;
  }

  async deleteArchive(name: string): Promise<void> {
    const archive = this.archive(name);
    this.archives.delete(name);
    await archive.delete();
  }

  #archivesOf({ bus }: BusState): Archive[] {
    return [...this.archives.values()].filter(({ settings }) => settings.eventSourceArn === bus.Arn);
  }

  startReplay(input: ReplayInput): { ReplayArn: string } {
    const { ReplayName, EventSourceArn, Destination } = input;
    checkName('replayName', ReplayName, /^[.\-_A-Za-z0-9]{1,64}$/);
    if (this.replays.has(ReplayName)) throw new AwsError('ResourceAlreadyExistsException', `Replay ${ReplayName} already exists.`);
    const archiveName = EventSourceArn.startsWith(this.arn('archive/')) ? EventSourceArn.slice(this.arn('archive/').length) : undefined;
    if (archiveName === undefined) throw validation('Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN.');
    const archive = this.archives.get(archiveName);
    if (archive === undefined) throw validation(`Parameter EventSourceArn is not valid. Reason: Archive ${archiveName} does not exist.`);
    const bus = this.#buses.get(this.busName(Destination.Arn));
    if (bus === undefined || bus.bus.Arn !== Destination.Arn) throw notFound(`Event bus ${Destination.Arn} does not exist.`);
    if (archive.settings.eventSourceArn !== Destination.Arn) {
      throw validation('Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.');
    }
    const unknown = Destination.FilterArns?.find(arn => ![...bus.rules.values()].some(({ rule }) => rule.Arn === arn));
    if (unknown !== undefined) throw notFound(`Rule ${unknown} does not exist.`);
    const [start, end] = [millis(input.EventStartTime), millis(input.EventEndTime)];
    if (!(start < end)) throw validation('Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.');

    const replay = new Replay({ input, start, end, clock: this.clock }, archive, async body => {
      const again = `${body.slice(0, -1)},"replay-name":${JSON.stringify(ReplayName)}}`;
      const event = parseJson(again) as BusEvent;
      await this.#publish(bus, {
        event,
        body: again,
        time: Date.parse(event.time),
        replay: { name: ReplayName, ruleArns: new Set(Destination.FilterArns) },
      });
      this.#counts.replayed++;
    });
    this.replays.set(ReplayName, replay);
    replay.run().catch((error: unknown) => this.#log('error', `EventBridge: replay ${ReplayName} failed: ${String(error)}`));
    return { ReplayArn: this.arn(`replay/${ReplayName}`) };
  }

  replay(name: string): Replay {
    const replay = this.replays.get(name);
    if (replay === undefined) throw notFound(`Replay ${name} does not exist.`);
    return replay;
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
    for (const replay of this.replays.values()) await replay.stop();
    await this.#deliverer.stop();
    for (const archive of this.archives.values()) await archive.close();
  }
}

function entrySize({ Time, Source, DetailType, Detail, Resources }: PutEventsEntry): number {
  const size = (text: string | undefined) => (text === undefined ? 0 : Buffer.byteLength(text));
  return (
    (Time === undefined ? 0 : 14) +
    size(Source) +
    size(DetailType) +
    size(Detail) +
    (Resources ?? []).reduce((sum, each) => sum + size(each), 0)
  );
}

const invalid = (ErrorMessage: string): PutEventsResultEntry => ({ ErrorCode: 'InvalidArgument', ErrorMessage });

const millis = (time: Date | number) => (time instanceof Date ? time.getTime() : time * 1000);

const isoSeconds = (time: number) => `${new Date(time).toISOString().slice(0, -5)}Z`;

function checkName(field: string, value: unknown, pattern: RegExp): void {
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw validation(
      `1 validation error detected: Value '${String(value)}' at '${field}' failed to satisfy constraint: ` +
        `Member must satisfy regular expression pattern: ${pattern.source}`,
    );
  }
}

function checkRange(field: string, value: number | undefined, least: number, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most)) {
    throw validation(`${field} must be a whole number from ${least} to ${most}, not ${value}.`);
  }
}
