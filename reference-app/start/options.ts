import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** Which of the reference app's systems. */
export const PROFILES = ['order-pipeline', 'fan-out'] as const;
export type Profile = (typeof PROFILES)[number];

export interface CliOptions {
  readonly profile: Profile;
  /** Undefined: the sample orders of the data file. */
  readonly orders?: number;
  readonly rate?: number;
  readonly seed: number;
  readonly exit: boolean;
  readonly fresh: boolean;
  readonly json: boolean;
  readonly dataDir: string;
  readonly profileDir?: string;
  /** Cloud assembly to run instead of the reference app. */
  readonly assemblyDir?: string;
  readonly stacks?: readonly string[];
  /** Undefined: what suits the machine. */
  readonly replicas?: number;
  readonly ports: Readonly<Record<string, number>>;
}

export type Command = { readonly kind: 'run'; readonly options: CliOptions } | { readonly kind: 'help' } | { readonly kind: 'version' };

/** What was typed makes no sense: shown as one sentence, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The public names of `--port` that have an option of their own. */
export const WRITE_API = 'api-write-service';
export const READ_API = 'api-read-service';

export const HELP = `Runs the order pipeline on this machine: synthesizes the reference app and runs that very cloud assembly with a real
PostgreSQL and a streaming replica, local SQS and EventBridge endpoints, and one process per replica of each workload.

Usage: npm start -- [options]

What runs
  --profile NAME       order-pipeline, or fan-out: one bus, three consumers with a queue each, and the publisher that creates,
                       updates and cancels orders on the bus                       [order-pipeline]
  --app DIR            run this cloud assembly (the output folder of \`cdk synth\`) instead of the reference app;
                       orders are fed only if it holds the reference app's write and read APIs
  --stack NAME         only this stack of the assembly; may be repeated            [all stacks]
  --data DIR           folder of databases, queues, archives and logs              [.local, .local/fan-out]
  --replicas N         at most so many processes of each workload                  [1 with fewer than 8 cores, else as the template says]
  --fresh              delete what earlier runs left in that folder first; without it their data is kept

Orders
  --orders N           feed N random orders; 0 feeds none                          [the sample orders of reference-app/data/orders.json; fan-out: 5]
  --rate R             orders per second, sent on time whatever the answers take   [100 with --orders, else 4; fan-out: 2]
  --seed S             seed of the random orders: the same seed feeds the same     [1]
  --exit               stop after the orders, with a summary; the exit code says whether every invariant holds

Addresses (all on 127.0.0.1)
  --write-port PORT    port of the write API (POST /orders)                        [picked by the system]
  --read-port PORT     port of the read API (GET /orders)                          [picked by the system]
  --port NAME=PORT     port of a workload by name, or of sqs, eventbridge, writer, reader; may be repeated

Output
  --json               the summary as one JSON object on standard output; progress goes to standard error
  --cpu-profile DIR    CPU profiles of the Node.js processes and of the endpoints, for a browser's developer tools
  --help, --version
  Colours are used on a terminal only, and not if NO_COLOR is set.

Without --exit the system stays up until Ctrl-C, which stops it in order; a second Ctrl-C forces it.

Summary: orders accepted, confirmed, rejected and dead-lettered, end-to-end time from the accepting transaction to the one
that made the order terminal (database clock), orders per second, and these invariants:
  I1   every accepted order exists exactly once, and every subscriber got its event or it is in a dead-letter queue
  I3   reserved <= on hand for every SKU at every moment
  I4   counters equal the ledger
  I5   at most one deduction per order line
  I6   every order reached a terminal state, or has an open dead letter
  I7   each consumer applied the versions of an order one after the other
  I8   only transitions of the table happened
  I9   an order that came to nothing holds no stock
  I10  every committed change has its event and every event its change
  I11  delivered + in flight + dead = published, per subscription

With --profile fan-out: what the publisher published, what each consumer received and handled, copies, dead letters, and whether every consumer has
what its rules say and made of it what the events say.

Exit codes: 0 all well; 1 an invariant or check failed, an order got no answer or the run broke; 2 wrong usage; 130 interrupted.

Examples
  npm start                                              # start, show 24 sample orders, stay up
  npm start -- --orders 1000 --rate 200 --exit           # unattended
  npm start -- --write-port 3000 --read-port 3001 --orders 0
  npm start -- --app ../shop/cdk.out --stack Shop
  npm start -- --profile fan-out --orders 100 --rate 20 --exit
`;

function integer(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < min || value > max) {
    throw new UsageError(`--${option} expects a whole number from ${min} to ${max}, not '${text}'.`);
  }
  return value;
}

function positive(option: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^[0-9]+(\.[0-9]+)?$/.test(text) || value <= 0 || value > max) {
    throw new UsageError(`--${option} expects a number above 0 and up to ${max}, not '${text}'.`);
  }
  return value;
}

function named(text: string): [string, number] {
  const [name, port] = /^([^=]+)=(.*)$/.exec(text)?.slice(1) ?? [];
  if (name === undefined || port === undefined) throw new UsageError(`--port expects NAME=PORT, such as writer=5432, not '${text}'.`);
  return [name, integer(`port ${name}`, port, 0, 65535)];
}

export function parseCommand(args: readonly string[], root: string, cwd: string = process.cwd()): Command {
  const values = parse(args);
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  for (const [name, value] of Object.entries(values)) {
    if (value === '' || (Array.isArray(value) && value.includes(''))) throw new UsageError(`--${name} expects a value, not an empty one.`);
  }

  const profile = PROFILES.find((name) => name === (values.profile ?? 'order-pipeline'));
  if (!profile) throw new UsageError(`--profile expects ${PROFILES.join(' or ')}, not '${values.profile}'.`);

  const ports: Record<string, number> = {};
  const asked: [option: string, name: string, port: number][] = (values.port ?? []).map((text) => ['port', ...named(text)]);
  if (values['write-port'] !== undefined) asked.push(['write-port', WRITE_API, integer('write-port', values['write-port'], 0, 65535)]);
  if (values['read-port'] !== undefined) asked.push(['read-port', READ_API, integer('read-port', values['read-port'], 0, 65535)]);
  for (const [option, name, port] of asked) {
    if (name in ports) throw new UsageError(`--${option} gives ${name} a port a second time: leave one of the two away.`);
    const other = Object.entries(ports).find(([, taken]) => port !== 0 && taken === port);
    if (other) throw new UsageError(`--${option} gives ${name} the port ${port}, which ${other[0]} has already: choose another.`);
    ports[name] = port;
  }

  return {
    kind: 'run',
    options: {
      profile,
      ...(values.orders !== undefined && { orders: integer('orders', values.orders, 0, 100_000_000) }),
      ...(values.rate !== undefined && { rate: positive('rate', values.rate, 100_000) }),
      seed: integer('seed', values.seed ?? '1', 0, 2 ** 32 - 1),
      exit: values.exit ?? false,
      fresh: values.fresh ?? false,
      json: values.json ?? false,
      dataDir: values.data === undefined ? join(root, '.local', ...(profile === 'fan-out' ? ['fan-out'] : [])) : resolve(cwd, values.data),
      ...(values.app !== undefined && { assemblyDir: resolve(cwd, values.app) }),
      ...(values.stack !== undefined && { stacks: values.stack }),
      ...(values['cpu-profile'] !== undefined && { profileDir: resolve(cwd, values['cpu-profile']) }),
      ...(values.replicas !== undefined && { replicas: integer('replicas', values.replicas, 1, 100) }),
      ports,
    },
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        'profile': { type: 'string' },
        'orders': { type: 'string' },
        'rate': { type: 'string' },
        'seed': { type: 'string' },
        'exit': { type: 'boolean' },
        'fresh': { type: 'boolean' },
        'json': { type: 'boolean' },
        'data': { type: 'string' },
        'app': { type: 'string' },
        'stack': { type: 'string', multiple: true },
        'replicas': { type: 'string' },
        'cpu-profile': { type: 'string' },
        'port': { type: 'string', multiple: true },
        'write-port': { type: 'string' },
        'read-port': { type: 'string' },
        'help': { type: 'boolean', short: 'h' },
        'version': { type: 'boolean', short: 'v' },
      },
    }).values;
  } catch (error) {
    throw new UsageError(usageMessage(error));
  }
}

/** Node's own sentences explain the parser; these name the option and what to do. */
function usageMessage(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  const quoted = /'([^']+)'/.exec(message)?.[1] ?? '';
  const option = /--[a-z-]+/.exec(quoted)?.[0] ?? quoted;
  switch (code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION':
      return `Unknown option '${quoted}': see npm start -- --help.`;
    case 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL':
      return `Unexpected argument '${quoted}': every argument is an option, see npm start -- --help.`;
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE':
      return `${option} ${message.includes('does not take an argument') ? 'takes no value.' : 'expects a value, see npm start -- --help.'}`;
    default:
      return message;
  }
}
