import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LocalRunError, messageOf } from '../errors.ts';

/** A CloudFormation template, as far as the local run reads it. */
export interface Template {
  readonly Parameters?: Record<string, { readonly Type: string; readonly Default?: unknown }>;
  readonly Mappings?: Record<string, Record<string, Record<string, unknown>>>;
  readonly Conditions?: Record<string, unknown>;
  readonly Resources?: Record<string, TemplateResource>;
  readonly Outputs?: Record<string, { readonly Value: unknown; readonly Export?: { readonly Name: unknown }; readonly Condition?: string }>;
}

export interface TemplateResource {
  readonly Type: string;
  readonly Properties?: Record<string, unknown>;
  readonly Condition?: string;
  readonly DependsOn?: string | readonly string[];
  readonly Metadata?: Record<string, unknown>;
}

export interface ImageAsset {
  readonly directory: string;
  /** Relative to the folder. */
  readonly dockerFile: string;
  readonly target?: string;
}

export interface FileAsset {
  readonly path: string;
  readonly packaging: 'file' | 'zip';
}

export interface StackArtifact {
  /** Id in the assembly. */
  readonly id: string;
  readonly name: string;
  readonly template: Template;
  /** Undefined when the stack is made for any account or region. */
  readonly account: string | undefined;
  readonly region: string | undefined;
  /** The folder that the template stands in; paths of assets in its metadata are relative to it. */
  readonly directory: string;
}

export interface Assembly {
  readonly directory: string;
  /** In the order in which they have to be made. */
  readonly stacks: readonly StackArtifact[];
  /** By image tag. */
  readonly images: ReadonlyMap<string, ImageAsset>;
  /** By object key. */
  readonly files: ReadonlyMap<string, FileAsset>;
}

interface Manifest {
  readonly artifacts?: Record<string, {
    readonly type: string;
    readonly environment?: string;
    readonly dependencies?: readonly string[];
    readonly displayName?: string;
    readonly properties?: { readonly templateFile?: string; readonly stackName?: string; readonly file?: string; readonly directoryName?: string };
  }>;
}

interface AssetManifest {
  readonly files?: Record<string, {
    readonly source: { readonly path?: string; readonly packaging?: 'file' | 'zip' };
    readonly destinations: Record<string, { readonly objectKey: string }>;
  }>;
  readonly dockerImages?: Record<string, {
    readonly source: { readonly directory?: string; readonly dockerFile?: string; readonly dockerBuildTarget?: string };
    readonly destinations: Record<string, { readonly imageTag: string }>;
  }>;
}

/** Reads what `cdk synth` has written: templates in the order of their dependencies, and where their assets are. */
export function readAssembly(directory: string, wanted?: readonly string[]): Assembly {
  const root = resolve(directory);
  if (!existsSync(join(root, 'manifest.json'))) {
    throw new LocalRunError(`There is no cloud assembly in ${root} (no manifest.json): write one with \`cdk synth --output ${directory}\`.`);
  }
  const images = new Map<string, ImageAsset>();
  const files = new Map<string, FileAsset>();
  const stacks = new Map<string, StackArtifact & { readonly dependencies: readonly string[] }>();
  collect(root, '');

  function collect(folder: string, prefix: string): void {
    const manifest = readJson<Manifest>(join(folder, 'manifest.json'), 'The manifest of the cloud assembly');
    for (const [id, artifact] of Object.entries(manifest.artifacts ?? {})) {
      const properties = artifact.properties ?? {};
      switch (artifact.type) {
        case 'aws:cloudformation:stack': {
          const name = properties.stackName ?? id;
          const template = readJson<Template>(join(folder, properties.templateFile ?? ''), `The template of stack ${name}`);
          if (typeof template !== 'object' || template === null || typeof template.Resources !== 'object') {
            throw new LocalRunError(`The template of stack ${name} (${join(folder, properties.templateFile ?? '')}) has no Resources: run \`cdk synth\` again.`);
          }
          const [, account, region] = /^aws:\/\/([^/]+)\/(.+)$/.exec(artifact.environment ?? '') ?? [];
          stacks.set(prefix + id, {
            id: prefix + id, name, template, directory: folder,
            account: account === 'unknown-account' ? undefined : account,
            region: region === 'unknown-region' ? undefined : region,
            dependencies: (artifact.dependencies ?? []).map((dependency) => prefix + dependency),
          });
          break;
        }
        case 'cdk:asset-manifest':
          readAssets(folder, join(folder, properties.file ?? ''));
          break;
        case 'cdk:cloud-assembly':
          // A stage: an assembly of its own within this one.
          collect(join(folder, properties.directoryName ?? ''), `${prefix}${id}/`);
          break;
        default:
          // The construct tree and feature flags are for other readers.
      }
    }
  }

  function readAssets(folder: string, file: string): void {
    const manifest = readJson<AssetManifest>(file, 'An asset manifest');
    for (const { source, destinations } of Object.values(manifest.files ?? {})) {
      if (source.path === undefined) continue;
      const asset = { path: resolve(folder, source.path), packaging: source.packaging ?? 'file' } as const;
      for (const { objectKey } of Object.values(destinations)) files.set(objectKey, asset);
    }
    for (const { source, destinations } of Object.values(manifest.dockerImages ?? {})) {
      if (source.directory === undefined) continue;
      const asset = {
        directory: resolve(folder, source.directory),
        dockerFile: source.dockerFile ?? 'Dockerfile',
        ...(source.dockerBuildTarget !== undefined && { target: source.dockerBuildTarget }),
      };
      for (const { imageTag } of Object.values(destinations)) images.set(imageTag, asset);
    }
  }

  const ordered: StackArtifact[] = [];
  const visit = (id: string): void => {
    const stack = stacks.get(id);
    if (!stack || ordered.includes(stack)) return;
    stacks.delete(id);
    for (const dependency of stack.dependencies) visit(dependency);
    ordered.push(stack);
  };
  if (stacks.size === 0) throw new LocalRunError(`The cloud assembly in ${root} has no stacks.`);
  const known = [...stacks.values()];
  for (const name of wanted ?? []) {
    if (!known.some((stack) => stack.name === name || stack.id === name)) {
      throw new LocalRunError(`There is no stack ${name} in ${root}; it has ${known.map((stack) => stack.name).join(', ')}.`);
    }
  }
  for (const stack of known) if (!wanted?.length || wanted.includes(stack.name) || wanted.includes(stack.id)) visit(stack.id);
  return { directory: root, stacks: ordered, images, files };
}

export function readJson<T>(file: string, what: string): T {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new LocalRunError(`${what} is missing: ${file} cannot be read; run \`cdk synth\` again.`);
  }
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new LocalRunError(`${what} is not valid JSON (${file}: ${messageOf(error)}); run \`cdk synth\` again.`);
  }
}
