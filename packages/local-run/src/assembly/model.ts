import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from './assembly.ts';
import type { Assembly, StackArtifact, Template, TemplateResource } from './assembly.ts';
import { Evaluator, UnresolvedError } from './intrinsics.ts';
import { parametersOf } from './parameters.ts';
import type { ParameterValues } from './parameters.ts';
import type { ResourceType } from './types.ts';

/** The surroundings of the templates, which their values depend on. */
export interface World {
  readonly account: string;
  readonly region: string;
  /** The values that the user gives. @default - none */
  readonly parameters?: ParameterValues;
  resourceType(type: string): ResourceType;
  secretValue(id: string): string | undefined;
}

/** All stacks of the run with their resources, and the values that they take from each other. */
export class Model {
  readonly stacks: StackModel[] = [];
  readonly world: World;
  readonly #files: Assembly['files'];

  constructor(assembly: Assembly, world: World) {
    this.world = world;
    this.#files = assembly.files;
    for (const artifact of assembly.stacks) this.#add(new StackModel(this, artifact.name, artifact.template, artifact));
  }

  #add(stack: StackModel): void {
    this.stacks.push(stack);
    for (const resource of stack.resources.values()) {
      const file = resource.type === 'AWS::CloudFormation::Stack' ? this.#nestedTemplate(resource) : undefined;
      if (file === undefined || !existsSync(file)) continue;
      const template = readJson<Template>(file, `The template of nested stack ${resource.path}`);
      resource.nested = new StackModel(this, `${stack.name}-${resource.id}`, template, stack.artifact, resource);
      this.#add(resource.nested);
    }
  }

  /** The asset whose key is in the URL. Only assemblies of the CDK command line state the path, too. */
  #nestedTemplate({ source: { Properties, Metadata }, stack }: Resource): string | undefined {
    const url = JSON.stringify(Properties?.TemplateURL ?? '');
    const asset = [...this.#files].find(([key]) => url.includes(key))?.[1];
    const stated = Metadata?.['aws:asset:path'];
    return asset?.path ?? (typeof stated === 'string' ? join(stack.artifact.directory, stated) : undefined);
  }

  get resources(): Resource[] {
    return this.stacks.flatMap((stack) => [...stack.resources.values()]);
  }

  ofType(...types: string[]): Resource[] {
    return this.resources.filter((resource) => types.includes(resource.type));
  }

  /** Each after those of its stack that it depends on, directly or through others. */
  inDeploymentOrder(type: string): Resource[] {
    const seen = new Set<Resource>();
    const ordered: Resource[] = [];
    const visit = (resource: Resource): void => {
      if (seen.has(resource)) return;
      seen.add(resource);
      for (const id of [resource.source.DependsOn ?? []].flat()) {
        const before = resource.stack.resources.get(id);
        if (before) visit(before);
      }
      ordered.push(resource);
    };
    for (const resource of this.resources) visit(resource);
    return ordered.filter((resource) => resource.type === type);
  }

  exported(name: string, at: string): unknown {
    for (const stack of this.stacks) {
      for (const [id, output] of Object.entries(stack.template.Outputs ?? {})) {
        if (output.Export && stack.evaluator.resolve(output.Export.Name, `${stack.name}.Outputs.${id}.Export`) === name) return stack.output(id, at);
      }
    }
    throw new UnresolvedError(`${at}: no stack of this run exports ${name}.`);
  }

  /** The resource with this physical value of an attribute, e.g. the queue with this ARN. */
  byAttribute(types: readonly string[], attribute: string, value: unknown): Resource | undefined {
    return this.ofType(...types).find((resource) => {
      try {
        return (attribute === 'Ref' ? resource.ref() : resource.attribute(attribute, resource.path)) === value;
      } catch (error) {
        if (error instanceof UnresolvedError) return false;
        throw error;
      }
    });
  }

  ssmParameter(name: string, at: string): string {
    for (const resource of this.ofType('AWS::SSM::Parameter')) {
      if (resource.ref() === name) return String(resource.get('Value'));
    }
    // CDK's version check of the bootstrap stack: every template has this parameter.
    if (/^\/cdk-bootstrap\/[^/]+\/version$/.test(name)) return '9999';
    throw new UnresolvedError(`${at}: no stack of this run has the SSM parameter ${name}.`);
  }
}

class StackModel {
  readonly model: Model;
  readonly name: string;
  readonly template: Template;
  readonly artifact: StackArtifact;
  readonly evaluator: Evaluator;
  readonly resources = new Map<string, Resource>();

  constructor(model: Model, name: string, template: Template, artifact: StackArtifact, parent?: Resource) {
    this.model = model;
    this.name = name;
    this.template = template;
    this.artifact = artifact;
    const resourceNamed = (id: string, at: string): Resource => {
      const found = this.resources.get(id);
      if (!found) throw new UnresolvedError(`${at}: stack ${name} has no resource ${id}.`);
      return found;
    };
    const parameters = !parent ? parametersOf({ name, template }, model.world.parameters ?? {}) : new Proxy({} as Record<string, unknown>, {
      // The parent's values are asked for only when the nested template needs them.
      get: (_, key) => (parent.source.Properties?.Parameters as Record<string, unknown> | undefined)?.[String(key)] === undefined
        ? undefined : (parent.get('Parameters') as Record<string, unknown>)[String(key)],
    });
    this.evaluator = new Evaluator(template, {
      stackName: name,
      account: model.world.account,
      region: model.world.region,
      parameters,
      nested: parent !== undefined,
      ref: (id, at) => resourceNamed(id, at).ref(),
      getAtt: (id, attribute, at) => resourceNamed(id, at).attribute(attribute, at),
      importValue: (exportName, at) => model.exported(exportName, at),
      stackOutput: (stackName, output, at) => {
        const stack = model.stacks.find((candidate) => candidate.name === stackName);
        if (!stack) throw new UnresolvedError(`${at}: stack ${stackName} is not part of this run.`);
        return stack.output(output, at);
      },
      ssmParameter: (parameter, at) => model.ssmParameter(parameter, at),
      secretValue: (id, at) => {
        const value = model.world.secretValue(id);
        if (value === undefined) throw new UnresolvedError(`${at}: no stack of this run has the secret ${id}.`);
        return value;
      },
    });
    for (const [id, source] of Object.entries(template.Resources ?? {})) {
      if (this.evaluator.condition(source.Condition, `${name}.${id}`)) this.resources.set(id, new Resource(this, id, source));
    }
  }

  output(id: string, at: string): unknown {
    const output = this.template.Outputs?.[id];
    if (!output) throw new UnresolvedError(`${at}: stack ${this.name} has no output ${id}.`);
    return this.evaluator.resolve(output.Value, `${this.name}.Outputs.${id}`);
  }
}

export class Resource {
  readonly stack: StackModel;
  readonly id: string;
  readonly source: TemplateResource;
  nested: StackModel | undefined;

  constructor(stack: StackModel, id: string, source: TemplateResource) {
    this.stack = stack;
    this.id = id;
    this.source = source;
  }

  get type(): string { return this.source.Type; }
  get path(): string { return `${this.stack.name}.${this.id}`; }
  get world(): World { return this.stack.model.world; }

  /** The path of the construct in the app, if the assembly has it. Its author knows it better than the logical id. */
  get constructPath(): string {
    const path = this.source.Metadata?.['aws:cdk:path'] ?? this.stack.artifact.constructPaths?.get(this.id);
    return typeof path === 'string' ? path.replace(/(\/(Resource|Default))+$/, '') : this.path;
  }

  /** One property, evaluated. */
  get(property: string): unknown {
    return this.stack.evaluator.resolve(this.source.Properties?.[property], `${this.path}.${property}`);
  }

  text(property: string): string | undefined {
    const value = this.get(property);
    return value === undefined ? undefined : String(value);
  }

  ref(): unknown {
    return this.world.resourceType(this.type).ref(this);
  }

  attribute(name: string, at: string): unknown {
    const value = this.nested && name.startsWith('Outputs.')
      ? this.nested.output(name.slice('Outputs.'.length), at)
      : this.world.resourceType(this.type).attributes[name]?.(this);
    if (value === undefined) throw new UnresolvedError(`${at}: the local run does not know ${name} of ${this.constructPath} (${this.type}).`);
    return value;
  }

  /** The given name, or one like CloudFormation's, but the same at every start. */
  physicalName(property: string, longest: number, suffix = ''): string {
    const given = this.source.Properties?.[property] === undefined ? undefined : this.text(property);
    if (given !== undefined) return given;
    const hash = createHash('sha256').update(this.path).digest('hex').slice(0, 8);
    const room = longest - suffix.length - hash.length - 1;
    return `${`${this.stack.name}-${this.id}`.slice(0, room)}-${hash}${suffix}`;
  }

  arn(service: string, resource: string): string {
    return `arn:aws:${service}:${this.world.region}:${this.world.account}:${resource}`;
  }
}
