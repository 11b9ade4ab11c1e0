import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppendLog, readLines, repair, replaceFile } from './append-log.ts';
import { compilePattern } from './pattern.ts';
import type { CompiledPattern } from './pattern.ts';

export interface ArchiveSettings {
  readonly name: string;
  readonly eventSourceArn: string;
  readonly eventPattern?: string;
  readonly description?: string;
  /** 0 keeps events forever. */
  readonly retentionDays: number;
}

export interface ArchivedEvent {
  /** The time in the event, which a replay goes by. */
  readonly time: number;
  /** When it came here, which retention goes by. */
  readonly stored: number;
  /** The event as JSON. */
  readonly body: string;
}

const DAY_MS = 86_400_000;

/** Events of one bus, kept as lines of a file (or in memory when there is no folder for it). */
export class Archive {
  /** Takes up what is in the folder, without what is past its retention. */
  static async open(settings: ArchiveSettings, clock: () => number, folder: string | undefined): Promise<Archive> {
    // Settings that cannot be are refused before a file is touched.
    if (settings.eventPattern !== undefined) compilePattern(settings.eventPattern);
    if (folder === undefined) return new Archive(settings, clock(), clock, undefined);
    const file = join(folder, `${settings.name}.jsonl`);
    await repair(file);
    const oldest = oldestKept(settings, clock);
    const isKept = (line: string) => (readLine(line)?.stored ?? -1) >= oldest;
    let count = 0;
    let expired = false;
    for await (const line of readLines(file)) {
      if (isKept(line)) count++;
      else expired = true;
    }
    if (expired) await replaceFile(file, readLines(file), isKept);
    const archive = new Archive(settings, clock(), clock, await AppendLog.open(file));
    archive.eventCount = count;
    return archive;
  }

  readonly settings: ArchiveSettings;
  readonly pattern: CompiledPattern | undefined;
  readonly createdAt: number;
  eventCount = 0;
  #bytes = 0;
  readonly #log: AppendLog | undefined;
  readonly #memory: string[] = [];
  readonly #clock: () => number;

  private constructor(settings: ArchiveSettings, createdAt: number, clock: () => number, log: AppendLog | undefined) {
    this.settings = settings;
    this.pattern = settings.eventPattern === undefined ? undefined : compilePattern(settings.eventPattern);
    this.createdAt = createdAt;
    this.#clock = clock;
    this.#log = log;
  }

  get sizeBytes(): number {
    return this.#log?.size ?? this.#bytes;
  }

  async append(time: number, body: string): Promise<void> {
    const line = writeLine({ time, stored: this.#clock(), body });
    if (this.#log === undefined) {
      this.#memory.push(line);
      this.#bytes += Buffer.byteLength(line) + 1;
    } else {
      await this.#log.append(line);
    }
    this.eventCount++;
  }

  /** Events with a time from `start` up to but without `end`, in the order they came. */
  async *events(start: number, end: number): AsyncGenerator<ArchivedEvent> {
    const oldest = oldestKept(this.settings, this.#clock);
    for await (const line of this.#log === undefined ? this.#memory : readLines(this.#log.file)) {
      const event = readLine(line);
      if (event !== undefined && event.stored >= oldest && event.time >= start && event.time < end) yield event;
    }
  }

  async close(): Promise<void> {
    await this.#log?.close();
  }

  async delete(): Promise<void> {
    await this.close();
    if (this.#log !== undefined) await rm(this.#log.file, { force: true });
  }
}

function oldestKept({ retentionDays }: ArchiveSettings, clock: () => number): number {
  return retentionDays === 0 ? 0 : clock() - retentionDays * DAY_MS;
}

// The event stands in the line as it is, so that writing needs no second pass over it and a replay gives it back to the letter.
const writeLine = ({ time, stored, body }: ArchivedEvent) => `{"time":${time},"stored":${stored},"event":${body}}`;

function readLine(line: string): ArchivedEvent | undefined {
  const match = /^\{"time":(-?\d+),"stored":(\d+),"event":/.exec(line);
  return match === null ? undefined : { time: Number(match[1]), stored: Number(match[2]), body: line.slice(match[0].length, -1) };
}
