import { createReadStream } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * A file of lines that only grows. `append` resolves when the line is with the operating system, so it outlives a kill of this process;
 * lines of the same moment share a write.
 */
export class AppendLog {
  static async open(file: string): Promise<AppendLog> {
    await repair(file);
    const handle = await open(file, 'a');
    return new AppendLog(file, handle, (await handle.stat()).size);
  }

  readonly file: string;
  readonly #handle: FileHandle;
  #size: number;
  #waiting: { line: string; done: PromiseWithResolvers<void> }[] = [];
  #writing: Promise<void> | undefined;

  private constructor(file: string, handle: FileHandle, size: number) {
    this.file = file;
    this.#handle = handle;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  append(line: string): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ line, done });
    this.#writing ??= this.#write();
    return done.promise;
  }

  async #write(): Promise<void> {
    // Not at once: what is appended in the same turn of the event loop goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const text = Buffer.from(batch.map(({ line }) => `${line}\n`).join(''));
      try {
        await this.#handle.appendFile(text);
        this.#size += text.length;
        batch.forEach(({ done }) => done.resolve());
      } catch (error) {
        batch.forEach(({ done }) => done.reject(error));
      }
    }
    this.#writing = undefined;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close();
  }
}

export async function* readLines(file: string): AsyncGenerator<string> {
  yield* createInterface({ input: createReadStream(file, { encoding: 'utf8' }), crlfDelay: Infinity });
}

/** Writes beside the file and puts that in its place, so that a kill leaves the old or the new one. */
export async function replaceFile(
  file: string,
  lines: Iterable<string> | AsyncIterable<string>,
  keep: (line: string) => boolean = () => true,
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const beside = `${file}.new`;
  const handle = await open(beside, 'w');
  try {
    for await (const line of lines) {
      if (keep(line)) await handle.appendFile(`${line}\n`);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, file);
}

/** Makes the file if it is not there, and cuts off the half line that a kill in the middle of a write leaves. */
export async function repair(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, 'a+');
  try {
    const { size } = await handle.stat();
    const whole = await lengthOfWholeLines(handle, size);
    if (whole < size) await handle.truncate(whole);
  } finally {
    await handle.close();
  }
}

async function lengthOfWholeLines(handle: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(64 * 1024);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await handle.read(block, 0, end - start, start);
    const newline = block.subarray(0, bytesRead).lastIndexOf(0x0a);
    if (newline >= 0) return start + newline + 1;
    end = start;
  }
  return 0;
}
