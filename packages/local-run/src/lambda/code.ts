import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { unpackOnce } from './unzip.ts';
import type { Assembly } from '../assembly/assembly.ts';
import type { Model, Resource } from '../assembly/model.ts';

/** Finds the code and the layers of functions in the assembly. Archives and merged layers are folders below `dataDir`. */
export class FunctionCode {
  readonly #assembly: Assembly;
  readonly #model: Model;
  readonly #dataDir: string;
  readonly #warn: (sentence: string) => void;
  /** The folders of archives and merged layers that this run uses. */
  readonly #used = new Set<string>();

  constructor(model: Model, assembly: Assembly, dataDir: string, warn: (sentence: string) => void) {
    this.#model = model;
    this.#assembly = assembly;
    this.#dataDir = dataDir;
    this.#warn = warn;
  }

  /** The folder of the code of a function; undefined when the assembly does not have it. */
  folder(fn: Resource): string | undefined {
    const code = fn.get('Code') as { S3Key?: unknown; ZipFile?: string } | undefined;
    if (code?.ZipFile !== undefined) return this.#inline(fn, code.ZipFile);
    return this.#asset(fn, code?.S3Key);
  }

  /** The folder that is `/opt` in AWS; undefined for a function without layers. A later layer replaces files of an earlier one. */
  layers(fn: Resource): string | undefined {
    const arns = fn.stack.evaluator.resolveLeniently(fn.source.Properties?.Layers ?? [], `${fn.path}.Layers`, ({ message }) => `(unknown: ${message})`) as unknown[];
    const folders: string[] = [];
    for (const arn of arns.map(String)) {
      const layer = this.#model.byAttribute(['AWS::Lambda::LayerVersion'], 'Ref', arn);
      const folder = layer && this.#asset(layer, (layer.get('Content') as { S3Key?: unknown } | undefined)?.S3Key);
      if (folder !== undefined) {folders.push(folder);} else {
        this.#warn(`Function ${fn.constructPath} uses the layer ${arn}, which is not in this assembly: it runs without the files of the layer, and fails if it needs `
          + 'them. A LayerVersion of the app with the same files would be used.');
      }
    }
    return folders.length > 1 ? this.#merge(folders) : folders[0];
  }

  /** Removes the archives and merged layers of earlier runs that this one has not asked for. */
  removeUnused(): void {
    for (const kind of ['unpacked', 'layers'] as const) {
      const parent = join(this.#dataDir, kind);
      for (const name of existsSync(parent) ? readdirSync(parent) : []) {
        const folder = join(parent, name);
        if (!this.#used.has(folder)) rmSync(folder, { recursive: true, force: true });
      }
    }
  }

  #use(kind: 'unpacked' | 'layers', content: readonly string[]): string {
    const folder = join(this.#dataDir, kind, hashOf(content));
    this.#used.add(folder);
    return folder;
  }

  /** Inline code is a file of its own, which Lambda calls index. */
  #inline(fn: Resource, text: string): string {
    const folder = join(this.#dataDir, 'inline', String(fn.ref()));
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const isPython = fn.text('Runtime')?.startsWith('python') === true;
    const isModule = /^\s*(import|export)\s/m.test(text);
    writeFileSync(join(folder, `index.${isPython ? 'py' : isModule ? 'mjs' : 'js'}`), text);
    return folder;
  }

  #asset(resource: Resource, key: unknown): string | undefined {
    const asset = this.#assembly.files.get(String(key));
    const stated = resource.source.Metadata?.['aws:asset:path'];
    const path = asset?.path ?? (typeof stated === 'string' ? resolve(resource.stack.artifact.directory, stated) : undefined);
    if (path === undefined || !existsSync(path)) return undefined;
    // The key of an asset is the hash of its content.
    if (/\.(zip|jar)$/.test(path)) return unpackOnce(path, this.#use('unpacked', [String(key ?? path)]));
    return asset?.packaging === 'file' ? undefined : path;
  }

  #merge(folders: readonly string[]): string {
    const folder = this.#use('layers', folders);
    if (existsSync(folder)) return folder;
    const draft = `${folder}.new`;
    rmSync(draft, { recursive: true, force: true });
    for (const layer of folders) cpSync(layer, draft, { recursive: true, verbatimSymlinks: true });
    renameSync(draft, folder);
    return folder;
  }
}

function hashOf(texts: readonly string[]): string {
  return createHash('sha256').update(texts.join('\n')).digest('hex').slice(0, 32);
}
