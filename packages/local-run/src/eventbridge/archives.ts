import { join } from 'node:path';
import { Archive } from './archive.ts';
import type { BusState, Buses } from './buses.ts';
import { checkName, checkRange } from './checks.ts';
import { AwsError, notFound, validation } from './errors.ts';
import { parseJson } from './json.ts';
import type { Publication } from './publication.ts';
import { Replay } from './replay.ts';
import type { Log } from '../log.ts';
import type { ArchiveInput, BusEvent, ReplayInput } from './types.ts';

export interface ArchivesOptions {
  readonly buses: Buses;
  readonly log: Log;
  /** @default - kept in memory only */
  readonly dataDir: string | undefined;
  /** Puts an event of an archive on its bus again. */
  publish(bus: BusState, publication: Publication): Promise<void>;
}

/** The archives of all buses, and their replays. */
export class Archives {
  readonly #options: ArchivesOptions;
  readonly #archives = new Map<string, Archive>();
  readonly #replays = new Map<string, Replay>();

  constructor(options: ArchivesOptions) {
    this.#options = options;
  }

  all(): Archive[] {
    return [...this.#archives.values()];
  }

  replays(): Replay[] {
    return [...this.#replays.values()];
  }

  async create(input: ArchiveInput): Promise<{ ArchiveArn: string }> {
    const { ArchiveName, EventSourceArn, EventPattern, Description, RetentionDays = 0 } = input;
    checkName('archiveName', ArchiveName, /^[.\-_A-Za-z0-9]{1,48}$/);
    checkRange(`RetentionDays of archive ${ArchiveName}`, RetentionDays, 0, Number.MAX_SAFE_INTEGER);
    const bus = this.#options.buses.find(EventSourceArn);
    if (bus === undefined || bus.bus.Arn !== EventSourceArn) throw notFound(`Event bus ${EventSourceArn} does not exist.`);
    const settings = {
      name: ArchiveName,
      eventSourceArn: EventSourceArn,
      retentionDays: RetentionDays,
      ...(EventPattern !== undefined && { eventPattern: typeof EventPattern === 'string' ? EventPattern : JSON.stringify(EventPattern) }),
      ...(Description !== undefined && { description: Description }),
    };
    const folder = this.#options.dataDir === undefined ? undefined : join(this.#options.dataDir, 'archives');
    const open = this.#archives.get(ArchiveName);
    if (open !== undefined) throw new AwsError('ResourceAlreadyExistsException', `Archive ${ArchiveName} already exists.`);
    this.#archives.set(ArchiveName, await Archive.open(settings, this.#options.buses.clock, folder));
    bus.wanted = undefined;
    return { ArchiveArn: this.#options.buses.arn(`archive/${ArchiveName}`) };
  }

  archive(name: string): Archive {
    const archive = this.#archives.get(name);
    if (archive === undefined) throw notFound(`Archive ${name} does not exist.`);
    return archive;
  }

  async delete(name: string): Promise<void> {
    const archive = this.archive(name);
    this.#archives.delete(name);
    await archive.delete();
  }

  /** The archives of a bus. */
  of({ bus }: BusState): Archive[] {
    return [...this.#archives.values()].filter(({ settings }) => settings.eventSourceArn === bus.Arn);
  }

  startReplay(input: ReplayInput): { ReplayArn: string } {
    const { ReplayName, EventSourceArn, Destination } = input;
    checkName('replayName', ReplayName, /^[.\-_A-Za-z0-9]{1,64}$/);
    if (this.#replays.has(ReplayName)) throw new AwsError('ResourceAlreadyExistsException', `Replay ${ReplayName} already exists.`);
    const archiveName = EventSourceArn.startsWith(this.#options.buses.arn('archive/')) ? EventSourceArn.slice(this.#options.buses.arn('archive/').length) : undefined;
    if (archiveName === undefined) throw validation('Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN.');
    const archive = this.#archives.get(archiveName);
    if (archive === undefined) throw validation(`Parameter EventSourceArn is not valid. Reason: Archive ${archiveName} does not exist.`);
    const bus = this.#options.buses.find(Destination.Arn);
    if (bus === undefined || bus.bus.Arn !== Destination.Arn) throw notFound(`Event bus ${Destination.Arn} does not exist.`);
    if (archive.settings.eventSourceArn !== Destination.Arn) {
      throw validation('Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.');
    }
    const unknown = Destination.FilterArns?.find(arn => ![...bus.rules.values()].some(({ rule }) => rule.Arn === arn));
    if (unknown !== undefined) throw notFound(`Rule ${unknown} does not exist.`);
    const [start, end] = [millis(input.EventStartTime), millis(input.EventEndTime)];
    if (!(start < end)) throw validation('Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.');

    const replay = new Replay({ input, start, end, clock: this.#options.buses.clock }, archive, async body => {
      const again = `${body.slice(0, -1)},"replay-name":${JSON.stringify(ReplayName)}}`;
      const event = parseJson(again) as BusEvent;
      await this.#options.publish(bus, {
        event,
        body: again,
        time: Date.parse(event.time),
        replay: { name: ReplayName, ruleArns: new Set(Destination.FilterArns) },
      });
    });
    this.#replays.set(ReplayName, replay);
    replay.run().catch((error: unknown) => this.#options.log('error', `EventBridge: replay ${ReplayName} failed: ${String(error)}`));
    return { ReplayArn: this.#options.buses.arn(`replay/${ReplayName}`) };
  }

  replay(name: string): Replay {
    const replay = this.#replays.get(name);
    if (replay === undefined) throw notFound(`Replay ${name} does not exist.`);
    return replay;
  }

  async stop(): Promise<void> {
    for (const replay of this.#replays.values()) await replay.stop();
  }

  async close(): Promise<void> {
    for (const archive of this.#archives.values()) await archive.close();
  }
}

const millis = (time: Date | number) => (time instanceof Date ? time.getTime() : time * 1000);
