import { CONSEQUENCES, IGNORED, UNKNOWN } from './consequences.ts';
import type { Consequence } from './consequences.ts';
import type { Model, Resource } from './model.ts';
import { DEPLOYMENT, reasonWithoutMeaning } from './types.ts';
import type { WithoutMeaning } from './types.ts';

/** The number of names of one type that are on the screen. More are counted. */
const MOST_NAMES = 4;

export interface NotMadeOptions {
  /** The types that the services of the run make. */
  readonly made: object;
  readonly withoutMeaning: readonly WithoutMeaning[];
  /** The addresses of services outside the run, by their name in `AWS_ENDPOINT_URL_<SERVICE>`, in lower case. */
  readonly otherEndpoints: Readonly<Record<string, string>>;
  leaveOut(reason: string): void;
  warn(sentence: string): void;
}

/** Nothing of a stack is left out silently: a resource is made, has no meaning on one machine, or is named with its meaning for the run. */
export function nameWhatIsNotMade(model: Model, options: NotMadeOptions): void {
  const groups = new Map<string, { readonly consequence: Consequence; readonly resources: Resource[] }>();
  for (const resource of model.resources) {
    if (resource.type in options.made) {
      nameWhatIsIgnored(resource, options);
      continue;
    }
    const reason = isWaiter(resource) ? DEPLOYMENT : reasonWithoutMeaning(options.withoutMeaning, resource.type);
    if (reason !== undefined) {
      options.leaveOut(reason);
      continue;
    }
    const consequence = CONSEQUENCES.find(({ types }) => types.test(resource.type)) ?? UNKNOWN;
    const key = consequence === UNKNOWN ? serviceOf(resource) : consequence.types.source;
    const group = groups.get(key) ?? { consequence, resources: [] };
    group.resources.push(resource);
    groups.set(key, group);
  }
  for (const { consequence, resources } of groups.values()) options.warn(sentence(resources, consequence, options.otherEndpoints));
}

/** The state machine with which the provider of a custom resource, such as that of every EKS cluster, waits during a deployment. */
function isWaiter({ type, constructPath }: Resource): boolean {
  return type === 'AWS::StepFunctions::StateMachine' && constructPath.endsWith('/waiter-state-machine');
}

function nameWhatIsIgnored(resource: Resource, { warn }: NotMadeOptions): void {
  for (const [property, means] of Object.entries(IGNORED[resource.type] ?? {})) {
    const value = resource.source.Properties?.[property];
    if (value !== undefined && value !== false) warn(`${property} of ${resource.constructPath} (${resource.type}) has no effect here: ${means}.`);
  }
  if (resource.type === 'AWS::CloudFormation::Stack' && !resource.nested) {
    warn(`The template of the nested stack ${resource.constructPath} is not in this assembly: nothing of it runs.`);
  }
}

/** The service of a type: `AWS::Foo` of `AWS::Foo::Bar`. */
function serviceOf({ type }: Resource): string {
  return type.split('::').slice(0, 2).join('::');
}

function sentence(resources: readonly Resource[], { main, calls, means }: Consequence, otherEndpoints: NotMadeOptions['otherEndpoints']): string {
  const named = resources.filter(({ type }) => main?.test(type) ?? true);
  const parts = named.length === 0 ? [] : resources.filter((resource) => !named.includes(resource));
  const list = groupsOf(named.length === 0 ? resources : named, ({ type }) => type).map(([type, all]) => namesOf(type, all)).join(', ');
  const rest = groupsOf(parts, ({ type }) => type.split('::').at(-1) ?? type).map(([kind, all]) => `${all.length} ${kind}`).join(', ');
  const meaning = [means, calls && meaningOfCalls(calls, otherEndpoints)].filter(Boolean).join(', and ');
  return `The local run cannot make ${list}${rest && `, with ${rest}`}: ${meaning}.`;
}

function meaningOfCalls([title, endpoint]: readonly [string, string], otherEndpoints: NotMadeOptions['otherEndpoints']): string {
  const url = otherEndpoints[endpoint];
  if (url !== undefined) return `calls to ${title} go to ${url}, where it has to exist`;
  return `calls to ${title} are refused; give the address of one with --endpoint ${endpoint}=URL`;
}

function groupsOf(resources: readonly Resource[], key: (resource: Resource) => string): [string, Resource[]][] {
  return Object.entries(Object.groupBy(resources, key)).map(([name, all = []]) => [name, all]);
}

function namesOf(type: string, resources: readonly Resource[]): string {
  const names = resources.map(({ constructPath }) => constructPath);
  if (names.length === 1) return `${names[0]} (${type})`;
  const more = names.length - MOST_NAMES;
  return `${names.length} of ${type} (${names.slice(0, MOST_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''})`;
}
