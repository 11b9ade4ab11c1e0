import type { App } from 'aws-cdk-lib';
import type { LocalRun, Replication } from 'cdk-local-run';
import type { Screen } from 'cdk-local-run/cli/screen';
import type { ServiceImages } from '../lib/platform.ts';
import type { ImageContent } from '../services/bundle.ts';

/**
 * One system of the reference app: its stacks, and everything that `npm start -- --profile <name>` needs to feed and check it. It is the
 * default export of `profiles/<name>/profile.ts`; nothing else names it. Its functions import their heavy modules themselves, since
 * `--help` loads every profile.
 */
export interface Profile {
  /** The system in a few words, for the list of profiles in `--help`. */
  readonly description: string;
  /** The paragraph of `--help` about this profile: its orders and its checks. The lines are indented by two spaces. */
  readonly help: string;
  /** Command lines for the examples in `--help`, each with a few words. @default - none */
  readonly commands?: readonly Example[];
  readonly defaults: ProfileDefaults;
  /** Options of the command that give a port to a workload, by their names without the dashes. @default - none */
  readonly portOptions?: Readonly<Record<string, PortOption>>;
  /** The variables of all its processes whose template does not give them. @default - none */
  readonly environment?: Readonly<Record<string, string>>;
  /** The writer of its database can fail over while orders are fed. @default false */
  readonly canFailOver?: boolean;
  /** The programs of its containers and their database schemas. @default - the profile has no containers */
  readonly image?: ImageContent;
  /** The file of its image that runs several of its programs in one process. @default - each program has a process */
  readonly sharedProcess?: string;
  /** Adds its stacks to the app. `bundle` makes the images of its programs. */
  addStacks(app: App, bundle: () => Promise<ServiceImages>): Promise<void>;
  /** Connects to a run of its stacks. Returns undefined when the run is one of other stacks. */
  open(run: LocalRun, options: OpenOptions): Promise<RunningSystem | undefined>;
}

export interface ProfileDefaults {
  /** The orders that are fed without `--orders`, in words. */
  readonly orders: string;
  /** Orders per second without `--orders`. */
  readonly sampleRate: number;
  /** Orders per second with `--orders`. */
  readonly rate: number;
}

export interface PortOption {
  /** The name of the workload, as in `--port NAME=PORT`. */
  readonly workload: string;
  /** The text in `--help`. */
  readonly help: string;
}

export interface OpenOptions {
  /** The data of earlier runs were deleted. */
  readonly fresh: boolean;
}

/** A profile that runs on this machine. `Fed` is its own record of the orders that it has fed. */
export interface RunningSystem<Fed = unknown> {
  /** Feeds orders and shows them, until all are sent or `signal` is aborted. */
  feed(plan: FeedPlan, out: Screen, signal: AbortSignal): Promise<Fed>;
  /**
   * Waits until nothing is on its way any more. Returns false when nothing has moved for a while or `signal` is aborted.
   * `onProgress` gets a line for the screen.
   */
  settle(signal: AbortSignal, onProgress: (line: string) => void): Promise<boolean>;
  /** Checks the system at rest: the orders that were fed or, without them, all data that are there. */
  check(fed: Fed | undefined, settled: boolean): Promise<Report>;
  /** Command lines to try in another terminal. */
  examples(fed?: Fed): readonly Example[];
  close(): Promise<void>;
}

/**
 * The orders in which processes are still cold: their code is being compiled, connections are made. Figures of a run are given without
 * them, too.
 */
export const WARM_UP_ORDERS = 500;

/** Whether a run of that number of orders says anything about warm processes. */
export function hasWarmPart(orders: number): boolean {
  return orders >= 2 * WARM_UP_ORDERS;
}

export interface FeedPlan {
  /** The number of random orders. @default - the sample orders of the profile */
  readonly orders?: number;
  /** Orders per second. */
  readonly rate: number;
  readonly seed: number;
  /** The replication of the database during a failover that takes place while the orders are fed. @default - no failover takes place */
  readonly failover?: Replication;
  /** Called for each order that the system has accepted, if the profile can say so. */
  readonly onOrder?: () => void;
}

/** The result of a check. */
export interface Report {
  readonly ok: boolean;
  /** The object of `--json`. */
  readonly json: object;
  print(out: Screen): void;
}

/** A command line that can be pasted. */
export interface Example {
  readonly title: string;
  readonly line: string;
}
