import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageAsset } from '../assembly/assembly.ts';

/** What an image says about running it. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
}

interface Stage {
  entrypoint: readonly string[];
  command: readonly string[];
  environment: Record<string, string>;
  workingDirectory: string;
}

/** Reads from a Dockerfile what a container needs that starts without building the image. */
export function readImage(asset: ImageAsset): ImageConfig {
  const file = join(asset.directory, asset.dockerFile);
  return parseDockerfile(existsSync(file) ? readFileSync(file, 'utf8') : '', asset.target);
}

export function parseDockerfile(text: string, target?: string): ImageConfig {
  const stages = new Map<string, Stage>();
  let stage: Stage = { entrypoint: [], command: [], environment: {}, workingDirectory: '/' };
  for (const [instruction, rest] of instructions(text)) {
    switch (instruction) {
      case 'FROM': {
        if (target !== undefined && stage === stages.get(target)) return stage;
        const [, base = '', name] = /^(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(rest) ?? [];
        const inherited = stages.get(base);
        stage = inherited ? { ...inherited, environment: { ...inherited.environment } } : { entrypoint: [], command: [], environment: {}, workingDirectory: '/' };
        if (name !== undefined) stages.set(name, stage);
        break;
      }
      case 'ENTRYPOINT':
        stage.entrypoint = words(rest);
        // As Docker does: a new entry point resets the command that came with the base image.
        stage.command = [];
        break;
      case 'CMD':
        stage.command = words(rest);
        break;
      case 'WORKDIR':
        stage.workingDirectory = rest.startsWith('/') ? rest : join(stage.workingDirectory, rest);
        break;
      case 'ENV':
        Object.assign(stage.environment, assignments(rest, stage.environment));
        break;
      default:
        // What builds the image; the asset's folder is taken as its content.
    }
  }
  return stage;
}

function instructions(text: string): [string, string][] {
  return text
    .split(/\r?\n/)
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replace(/\\[ \t]*\n/g, ' ')
    .split('\n')
    .map((line) => /^\s*([a-z]+)\s+(.*?)\s*$/i.exec(line))
    .filter((match) => match !== null)
    .map(([, name = '', rest = '']) => [name.toUpperCase(), rest]);
}

/** The exec form is a JSON array; anything else goes through a shell. */
function words(rest: string): string[] {
  if (rest.startsWith('[')) {
    try {
      return (JSON.parse(rest) as unknown[]).map(String);
    } catch {
      // Not JSON: Docker takes it for the shell form, too.
    }
  }
  return ['/bin/sh', '-c', rest];
}

function assignments(rest: string, known: Readonly<Record<string, string>>): Record<string, string> {
  const expand = (value: string) => value.replace(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced: string | undefined, plain: string | undefined) => known[braced ?? plain ?? ''] ?? '');
  if (!/^\w+=/.test(rest)) {
    const [, name = '', value = ''] = /^(\S+)\s+(.*)$/.exec(rest) ?? [];
    return { [name]: expand(value) };
  }
  return Object.fromEntries([...rest.matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))/g)].map(([, name = '', double, single, bare]) =>
    [name, single ?? expand((double ?? bare ?? '').replace(/\\(.)/g, '$1'))]));
}
