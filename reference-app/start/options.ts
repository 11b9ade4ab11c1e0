import { join, resolve } from 'node:path';
import type { Replication } from 'cdk-local-run';
import { integer, namedEndpoint, namedPort, namedPorts, readArguments, UsageError } from 'cdk-local-run/cli/arguments';
import { DEFAULT_PROFILE } from '../profiles/index.ts';
import type { Profiles } from '../profiles/index.ts';
import type { Profile } from '../profiles/profile.ts';

const HELP_COMMAND = 'npm start -- --help';
/** The least number of cores for a process of each workload: with fewer, it is mostly code that is compiled once more. */
const CORES_FOR_PROCESSES = 4;
const MOST_ORDERS = 100_000_000;
const HIGHEST_RATE = 100_000;
/** The least number of orders. Of fewer, none may be sent during or after the failover. */
const LEAST_FOR_FAILOVER = 100;

/** One process for all workloads that can share one, or one for each. */
export type Processes = 'shared' | 'separate';

type Flags = Pick<StartOptions, 'exit' | 'fresh' | 'json' | 'open'>;

/** Options of `npm start`. */
export interface StartOptions {
  /** The name of the profile. */
  readonly profile: string;
  /** The number of random orders. @default - the sample orders of the profile */
  readonly orders?: number;
  /** Orders per second. @default - as the profile says */
  readonly rate?: number;
  readonly seed: number;
  /** The replication of the database during a failover that takes place while the orders are fed. @default - no failover takes place */
  readonly failover?: Replication;
  readonly exit: boolean;
  readonly fresh: boolean;
  readonly json: boolean;
  /** The APIs take every request, with or without a token. */
  readonly open: boolean;
  readonly dataDir: string;
  /** The folder for CPU profiles. @default - no CPU profiles */
  readonly cpuProfileDir?: string;
  /** The cloud assembly that runs instead of the reference app. @default - the reference app */
  readonly assemblyDir?: string;
  readonly stacks?: readonly string[];
  readonly without: readonly string[];
  /** Whether workloads without an API share a process. @default - as suits the machine */
  readonly processes?: Processes;
  /** The largest number of processes of each workload. @default - as many as suit the machine */
  readonly replicas?: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly endpoints: Readonly<Record<string, string>>;
}

export type Command = { readonly kind: 'run'; readonly options: StartOptions } | { readonly kind: 'help' | 'version' };

/** Reads the arguments of `npm start`. Relative paths start from `cwd`; the data are below `root`, unless the user names a folder. */
export function parseCommand(args: readonly string[], profiles: Profiles, root: string, cwd: string = process.cwd()): Command {
  const { values } = readArguments({
    args: [...args],
    options: {
      'profile': { type: 'string' },
      'orders': { type: 'string' },
      'rate': { type: 'string' },
      'seed': { type: 'string' },
      'failover': { type: 'string' },
      'exit': { type: 'boolean' },
      'fresh': { type: 'boolean' },
      'json': { type: 'boolean' },
      'open': { type: 'boolean' },
      'data': { type: 'string' },
      'app': { type: 'string' },
      'stack': { type: 'string', multiple: true },
      'without': { type: 'string', multiple: true },
      'endpoint': { type: 'string', multiple: true },
      'replicas': { type: 'string' },
      'processes': { type: 'string' },
      'cpu-profile': { type: 'string' },
      'port': { type: 'string', multiple: true },
      'help': { type: 'boolean', short: 'h' },
      'version': { type: 'boolean', short: 'v' },
      ...portOptionsOf(profiles),
    },
  }, HELP_COMMAND);
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };

  const name = values.profile ?? DEFAULT_PROFILE;
  const profile = profiles.get(name);
  if (!profile) throw new UsageError(`--profile expects ${[...profiles.keys()].join(' or ')}, not '${name}'.`);
  return {
    kind: 'run',
    options: {
      profile: name,
      ...(values.orders !== undefined && { orders: integer('orders', values.orders, 0, MOST_ORDERS) }),
      ...(values.rate !== undefined && { rate: positive('rate', values.rate, HIGHEST_RATE) }),
      seed: integer('seed', values.seed ?? '1', 0, 2 ** 32 - 1),
      ...failoverOf(values, name, profile),
      ...flagsOf(values),
      dataDir: values.data === undefined ? join(root, '.local', ...(name === DEFAULT_PROFILE ? [] : [name])) : resolve(cwd, values.data),
      ...(values.app !== undefined && { assemblyDir: resolve(cwd, values.app) }),
      ...(values.stack !== undefined && { stacks: values.stack }),
      without: values.without ?? [],
      ...(values['cpu-profile'] !== undefined && { cpuProfileDir: resolve(cwd, values['cpu-profile']) }),
      ...(values.replicas !== undefined && { replicas: integer('replicas', values.replicas, 1, 100) }),
      ...processesOf(values),
      ports: portsOf(values, name, profile, profiles),
      endpoints: Object.fromEntries((values.endpoint ?? []).map(namedEndpoint)),
    },
  };
}

/** Whether workloads share a process. Not in a failover by default: there, each has to find the database again by itself. */
export function sharesProcess({ processes, replicas = 1, failover }: Pick<StartOptions, 'processes' | 'replicas' | 'failover'>, cores: number): boolean {
  if (processes !== undefined) return processes === 'shared';
  return cores < CORES_FOR_PROCESSES && replicas === 1 && failover === undefined;
}

function flagsOf({ exit = false, fresh = false, json = false, open = false }: Partial<Flags>): Flags {
  return { exit, fresh, json, open };
}

function processesOf({ processes, replicas }: { readonly processes?: string; readonly replicas?: string }): Pick<StartOptions, 'processes'> {
  if (processes === undefined) return {};
  if (processes !== 'shared' && processes !== 'separate') throw new UsageError(`--processes expects shared or separate, not '${processes}'.`);
  if (processes === 'shared' && Number(replicas) > 1) throw new UsageError('--processes shared and --replicas exclude each other: replicas are processes.');
  return { processes };
}

function failoverOf(
  { failover: text, orders }: { readonly failover?: string; readonly orders?: string }, name: string, { canFailOver = false }: Profile,
): Pick<StartOptions, 'failover'> {
  if (text === undefined) return {};
  if (text !== 'synchronous' && text !== 'asynchronous') throw new UsageError(`--failover expects synchronous or asynchronous, not '${text}'.`);
  if (!canFailOver) throw new UsageError(`--failover is not an option of --profile ${name}: it has no API whose answers could be counted.`);
  if (orders === undefined || Number(orders) < LEAST_FOR_FAILOVER) {
    throw new UsageError(`--failover needs --orders with ${LEAST_FOR_FAILOVER} or more, as it takes place while they are fed.`);
  }
  return { failover: text };
}

function portOptionsOf(profiles: Profiles): Record<string, { type: 'string' }> {
  const names = [...profiles.values()].flatMap(({ portOptions = {} }) => Object.keys(portOptions));
  return Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
}

/** The ports by `--port`, and those by the options of the profile. Options of another profile are an error. */
function portsOf(values: { readonly port?: string[] }, name: string, profile: Profile, profiles: Profiles): Record<string, number> {
  const given = values as Readonly<Record<string, string | undefined>>;
  const asked = (values.port ?? []).map((text): [string, string, number] => ['port', ...namedPort(text)]);
  for (const option of Object.keys(portOptionsOf(profiles))) {
    const text = given[option];
    if (text === undefined) continue;
    const workload = profile.portOptions?.[option]?.workload;
    if (workload === undefined) throw new UsageError(`--${option} is not an option of --profile ${name}: use --port NAME=PORT.`);
    asked.push([option, workload, integer(option, text, 0, 65535)]);
  }
  return namedPorts(asked);
}

function positive(option: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^[0-9]+(\.[0-9]+)?$/.test(text) || value <= 0 || value > max) {
    throw new UsageError(`--${option} expects a number above 0 and up to ${max}, not '${text}'.`);
  }
  return value;
}
