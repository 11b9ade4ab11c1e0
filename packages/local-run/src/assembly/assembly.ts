import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { AssetManifestArtifact, CloudAssembly, CloudFormationStackArtifact, NestedCloudAssemblyArtifact } from '@aws-cdk/cloud-assembly-api';
import type { CloudArtifact } from '@aws-cdk/cloud-assembly-api';
import type { AssetManifest } from '@aws-cdk/cloud-assembly-schema';
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
  /** The values of `ARG` that the app gives. */
  readonly buildArgs?: Readonly<Record<string, string>>;
}

export interface FileAsset {
  readonly path: string;
  readonly packaging: 'file' | 'zip';
}

export interface StackArtifact {
  /** Its path in the app, as `cdk list` shows it. */
  readonly id: string;
  readonly name: string;
  readonly template: Template;
  /** Undefined when the stack is made for any account or region. */
  readonly account: string | undefined;
  readonly region: string | undefined;
  /** The folder that the template stands in; paths of assets in its metadata are relative to it. */
  readonly directory: string;
  /**
   * The construct paths of its resources by their logical ids. A template has them only if the command line of the CDK has asked for them.
   * @default - none
   */
  readonly constructPaths?: ReadonlyMap<string, string>;
}

export interface Assembly {
  readonly directory: string;
  /** In the order in which they have to be made. */
  readonly stacks: readonly StackArtifact[];
  /** The images by their tags. */
  readonly images: ReadonlyMap<string, ImageAsset>;
  /** The files by their object keys. */
  readonly files: ReadonlyMap<string, FileAsset>;
}

/** Reads the output of `cdk synth`: templates in the order of their dependencies, and the places of their assets. */
export function readAssembly(directory: string, wanted: readonly string[] = []): Assembly {
  const root = resolve(directory);
  if (!existsSync(join(root, 'manifest.json'))) {
    throw new LocalRunError(`There is no cloud assembly in ${root} (no manifest.json): write one with \`cdk synth --output ${directory}\`.`);
  }
  const artifacts = allArtifacts(load(root));
  const known = artifacts.filter((artifact) => artifact instanceof CloudFormationStackArtifact);
  if (known.length === 0) throw new LocalRunError(`The cloud assembly in ${root} has no stacks.`);
  const named = (name: string) => known.filter((stack) => stack.stackName === name || stack.hierarchicalId === name || stack.id === name);
  for (const name of wanted) {
    if (named(name).length === 0) throw new LocalRunError(`There is no stack ${name} in ${root}; it has ${known.map(({ stackName }) => stackName).join(', ')}.`);
  }
  const chosen = wanted.length === 0 ? known : known.filter((stack) => wanted.some((name) => named(name).includes(stack)));
  const manifests = artifacts.filter((artifact) => artifact instanceof AssetManifestArtifact);
  return { directory: root, stacks: withDependencies(chosen).map(readStack), ...readAssets(manifests) };
}

/** Newer versions of the CDK write assemblies with more in them: the part that is read here has been the same for years. */
function load(root: string): CloudAssembly {
  try {
    return new CloudAssembly(root, { skipVersionCheck: true, skipEnumCheck: true });
  } catch (error) {
    const [reason = ''] = messageOf(error).split('\n');
    throw new LocalRunError(`The manifest of the cloud assembly cannot be read (${join(root, 'manifest.json')}: ${reason}); run \`cdk synth\` again.`);
  }
}

/** The artifacts of an assembly and of the stages in it, each after those that it depends on. */
function allArtifacts(assembly: CloudAssembly): CloudArtifact[] {
  return assembly.artifacts.flatMap((artifact) =>
    (artifact instanceof NestedCloudAssemblyArtifact ? allArtifacts(load(artifact.fullPath)) : [artifact]));
}

function withDependencies(stacks: readonly CloudFormationStackArtifact[]): CloudFormationStackArtifact[] {
  const ordered = new Set<CloudFormationStackArtifact>();
  const seen = new Set<CloudArtifact>();
  const visit = (artifact: CloudArtifact): void => {
    if (seen.has(artifact)) return;
    seen.add(artifact);
    for (const dependency of artifact.dependencies) visit(dependency);
    if (artifact instanceof CloudFormationStackArtifact) ordered.add(artifact);
  };
  for (const stack of stacks) visit(stack);
  return [...ordered];
}

function readStack(stack: CloudFormationStackArtifact): StackArtifact {
  const { stackName: name, hierarchicalId: id, templateFullPath: file, environment: { account, region } } = stack;
  const template = readJson<Template>(file, `The template of stack ${name}`);
  // A stack may have no resources yet, but it is an object.
  if (typeof template !== 'object' || template === null || Array.isArray(template) || typeof (template.Resources ?? {}) !== 'object') {
    throw new LocalRunError(`The template of stack ${name} (${file}) is not one of CloudFormation: run \`cdk synth\` again.`);
  }
  return {
    id,
    name,
    template,
    directory: dirname(file),
    constructPaths: constructPaths(stack),
    account: account === 'unknown-account' ? undefined : account,
    region: region === 'unknown-region' ? undefined : region,
  };
}

/** A logical id of a stack that also is one of a stack nested in it has no path here. */
function constructPaths({ metadata }: CloudFormationStackArtifact): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  const ambiguous = new Set<string>();
  for (const [path, entries] of Object.entries(metadata)) {
    for (const { type, data } of entries) {
      if (type !== 'aws:cdk:logicalId') continue;
      if (paths.has(String(data))) ambiguous.add(String(data));
      paths.set(String(data), path.slice(1));
    }
  }
  for (const id of ambiguous) paths.delete(id);
  return paths;
}

function readAssets(manifests: readonly AssetManifestArtifact[]): Pick<Assembly, 'images' | 'files'> {
  const images = new Map<string, ImageAsset>();
  const files = new Map<string, FileAsset>();
  for (const { file } of manifests) {
    const manifest = readJson<AssetManifest>(file, 'An asset manifest');
    for (const { source: { path, packaging = 'file' }, destinations } of Object.values(manifest.files ?? {})) {
      if (path === undefined) continue;
      for (const { objectKey } of Object.values(destinations)) files.set(objectKey, { path: resolve(dirname(file), path), packaging });
    }
    for (const { source, destinations } of Object.values(manifest.dockerImages ?? {})) {
      const { directory, dockerFile = 'Dockerfile', dockerBuildTarget: target, dockerBuildArgs: buildArgs } = source;
      // The image of a program that builds it has no folder.
      if (directory === undefined) continue;
      const folder = resolve(dirname(file), directory);
      const asset = { directory: folder, dockerFile, ...(target !== undefined && { target }), ...(buildArgs && { buildArgs }) };
      for (const { imageTag } of Object.values(destinations)) images.set(imageTag, asset);
    }
  }
  return { images, files };
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
