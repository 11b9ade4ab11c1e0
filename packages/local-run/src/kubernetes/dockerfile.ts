import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { ImageAsset } from '../assembly/assembly.ts';

/** One line of a Dockerfile, with those that continue it. */
export interface Instruction {
  readonly line: number;
  readonly name: string;
  readonly rest: string;
}

/** A `COPY` or `ADD`. */
export interface Copy {
  readonly instruction: Instruction;
  /** The stage that it copies from. @default - the build context */
  readonly from?: Stage | 'other image';
  readonly sources: readonly string[];
  /** An absolute path in the image. */
  readonly destination: string;
}

/** A stage of a Dockerfile: how its image is made, and what it says about running it. */
export interface Stage {
  /** The image that it builds on, if that is no stage before it. */
  readonly base?: string;
  readonly parent?: Stage;
  readonly copies: readonly Copy[];
  readonly runs: readonly Instruction[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** The TCP ports of `EXPOSE`. */
  readonly ports: readonly number[];
}

/** Reads the last stage of an image, or its target. */
export function readImage(asset: ImageAsset): Stage {
  const file = join(asset.directory, asset.dockerFile);
  return parseDockerfile(existsSync(file) ? readFileSync(file, 'utf8') : '', asset);
}

export function parseDockerfile(text: string, { target, buildArgs = {} }: Pick<ImageAsset, 'target' | 'buildArgs'> = {}): Stage {
  const reader = new StageReader(buildArgs);
  for (const instruction of instructions(text)) {
    if (instruction.name === 'FROM' && target !== undefined && reader.isNamed(target)) break;
    reader.read(instruction);
  }
  return reader.stage;
}

type Draft = { -readonly [key in keyof Stage]: Stage[key] };

function stageOn(base: string | undefined, parent: Stage | undefined): Draft {
  const { entrypoint = entrypointOf(base), command = [], environment = {}, workingDirectory = '/', ports = [] } = parent ?? {};
  const below = parent ? { parent } : base !== undefined && { base };
  return { ...below, copies: [], runs: [], entrypoint, command, environment, workingDirectory, ports };
}

/** Base images without a shell have the interpreter as their entry point. */
function entrypointOf(base = ''): readonly string[] {
  if (/distroless\/nodejs/.test(base)) return ['node'];
  if (/distroless\/python/.test(base)) return ['python3'];
  return /distroless\/java(?!-base)/.test(base) ? ['java', '-jar'] : [];
}

class StageReader {
  stage: Draft = stageOn(undefined, undefined);
  readonly #buildArgs: Readonly<Record<string, string>>;
  readonly #stages: { readonly name: string | undefined; readonly stage: Stage }[] = [];
  /** The values of `ARG` before the first stage, and those of this stage. */
  readonly #globals: Record<string, string> = {};
  #args: Record<string, string> = {};
  #shell: readonly string[] = ['/bin/sh', '-c'];

  constructor(buildArgs: Readonly<Record<string, string>>) {
    this.#buildArgs = buildArgs;
  }

  isNamed(target: string): boolean {
    return this.#find(target) === this.stage;
  }

  read(instruction: Instruction): void {
    const { name, rest } = instruction;
    const { stage } = this;
    switch (name) {
      case 'FROM': return this.#from(rest);
      case 'ARG': return this.#arg(rest);
      case 'RUN': stage.runs = [...stage.runs, instruction]; break;
      case 'COPY': case 'ADD': stage.copies = [...stage.copies, this.#copy(instruction)]; break;
      case 'SHELL': this.#shell = this.#words(rest); break;
      case 'CMD': stage.command = this.#words(rest); break;
      case 'ENTRYPOINT':
        stage.entrypoint = this.#words(rest);
        // As Docker does: a new entry point resets the command that came with the base image.
        stage.command = [];
        break;
      case 'WORKDIR': stage.workingDirectory = posix.resolve(stage.workingDirectory, this.#expand(rest)); break;
      case 'ENV': stage.environment = { ...stage.environment, ...assignments(rest, (value) => this.#expand(value)) }; break;
      case 'EXPOSE':
        stage.ports = [...stage.ports, ...this.#ports(rest)];
        break;
      default:
        // USER, LABEL and others change nothing here: the program runs as the user of the run.
    }
  }

  #ports(rest: string): number[] {
    return this.#expand(rest).split(/\s+/).filter((port) => /^\d+(\/tcp)?$/i.test(port)).map((port) => Number.parseInt(port, 10));
  }

  #from(rest: string): void {
    const [, base = '', name] = /^(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(this.#expand(rest, this.#globals)) ?? [];
    const parent = this.#find(base);
    this.#args = {};
    this.#shell = ['/bin/sh', '-c'];
    this.stage = stageOn(base, parent);
    this.#stages.push({ name, stage: this.stage });
  }

  /** A stage by its name, or by its number. */
  #find(name: string): Stage | undefined {
    const named = this.#stages.findLast((candidate) => candidate.name?.toLowerCase() === name.toLowerCase());
    return (named ?? (/^\d+$/.test(name) ? this.#stages[Number(name)] : undefined))?.stage;
  }

  #arg(rest: string): void {
    const before = this.#stages.length === 0;
    for (const [, name = '', value] of rest.matchAll(/(\w+)(?:=("[^"]*"|'[^']*'|\S*))?/g)) {
      const text = value?.replace(/^(["'])(.*)\1$/, '$2');
      const own = text === undefined ? this.#globals[name] : this.#expand(text, before ? this.#globals : undefined);
      const given = this.#buildArgs[name] ?? own;
      if (given !== undefined) (before ? this.#globals : this.#args)[name] = given;
    }
  }

  #copy(instruction: Instruction): Copy {
    const [, flags = '', rest = ''] = /^((?:--\S+\s+)*)(.*)$/.exec(this.#expand(instruction.rest)) ?? [];
    const paths = jsonList(rest) ?? rest.split(/\s+/);
    const destination = paths.at(-1) ?? '.';
    const from = /--from=(\S+)/.exec(flags)?.[1];
    return {
      instruction,
      ...(from !== undefined && { from: this.#find(from) ?? 'other image' }),
      // The content of a here-document and of an address is no file of the build context.
      sources: paths.slice(0, -1).filter((source) => !/^(<<|https?:|git@)/.test(source)),
      destination: posix.resolve(this.stage.workingDirectory, destination),
    };
  }

  /** The exec form is a JSON array; anything else goes through a shell, unless it is so simple that a shell changes nothing. */
  #words(rest: string): readonly string[] {
    const list = jsonList(rest);
    if (list) return list;
    if (/^[\w@%+:,./ -]+$/.test(rest)) return rest.replace(/^exec /, '').split(/ +/);
    return [...this.#shell, rest];
  }

  #expand(text: string, variables: Readonly<Record<string, string>> = { ...this.#args, ...this.stage.environment }): string {
    return text.replace(/\\\$|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))/g, (whole, ...[braced, operator, other = '', plain]: (string | undefined)[]) => {
      if (whole === '\\$') return '$';
      const value = variables[braced ?? plain ?? ''] ?? '';
      if (operator === '-') return value || other;
      return operator === '+' ? value && other : value;
    });
  }
}

/** The instructions, with the numbers of their first lines. Comments and here-documents are left out. */
function instructions(text: string): Instruction[] {
  const found: Instruction[] = [];
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1;
    let whole = lines[index] ?? '';
    if (/^\s*(#|$)/.test(whole)) continue;
    while (/\\[ \t]*$/.test(whole) && index + 1 < lines.length) {
      const next = lines[++index] ?? '';
      whole = /^\s*(#|$)/.test(next) ? whole : whole.replace(/\\[ \t]*$/, ' ') + next;
    }
    const [, name = '', rest = ''] = /^\s*([a-z]+)\s+(.*?)\s*$/is.exec(whole.replace(/\\[ \t]*$/, '')) ?? [];
    if (name === '') continue;
    found.push({ line, name: name.toUpperCase(), rest });
    if (!/^(RUN|COPY|ADD)$/i.test(name)) continue;
    for (const [, word] of rest.matchAll(/<<-?["']?(\w+)["']?/g)) {
      while (++index < lines.length && lines[index]?.trim() !== word);
    }
  }
  return found;
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    return (JSON.parse(text) as unknown[]).map(String);
  } catch {
    // Not JSON: Docker takes it for the shell form, too.
    return undefined;
  }
}

function assignments(rest: string, expand: (value: string) => string): Record<string, string> {
  if (!/^\w+=/.test(rest)) {
    const [, name = '', value = ''] = /^(\S+)\s+(.*)$/.exec(rest) ?? [];
    return { [name]: expand(value) };
  }
  return Object.fromEntries([...rest.matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))/g)].map(([, name = '', double, single, bare]) =>
    [name, single ?? expand((double ?? bare ?? '').replace(/\\([^$])/g, '$1'))]));
}
