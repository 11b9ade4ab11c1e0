import { parseArgs } from 'node:util';

export const HELP = `Measures the pipeline and a naive design side by side: same schema, same durability, on a PostgreSQL that is started for it.

Usage: npm run bench -- [options]

Without a mode it measures all rows except 'cloud'; that takes about ten minutes on two cores.

Modes
  --quick              checks the cost of an order against fixed limits, as CI does; about two minutes
  --curves             throughput by batch size, products, lines, consumers, readers and stored orders
  --minutes N          soak: N minutes at half of saturation; watches table sizes, memory and latency
  --pages              writes docs/performance.md, docs/scaling.md and the pictures again, from the stored results

Options
  --only NAME          measures only this row; may be repeated
  --cloud              measures the row 'cloud' too: slower fsync and network (needs Linux and a C compiler)
  --rate R             orders per second of the soak               [half of saturation]
  --rounds N           rounds of paired slices                     [8]
  --slice MS           length of a slice, in milliseconds          [400]
  --seed S             seed of the orders and of the order of slices   [1]
  --record             stores the results and writes pages and pictures
  --json FILE          writes the results to this file
  -h, --help           shows this text

Rows: ROWS

Every row ends with the check of the invariants; if one fails, the row has no figures. Exit codes: 0 when everything was measured and, with
--quick, every limit held; 1 when not; 2 when an option is wrong.
`;

export interface Options {
  readonly quick: boolean;
  readonly pages: boolean;
  readonly curves: boolean;
  /** Length of the soak. @default - no soak */
  readonly minutes?: number | undefined;
  /** Names of rows; empty for all. */
  readonly only: readonly string[];
  readonly cloud: boolean;
  /** Orders per second of the soak. @default - half of saturation */
  readonly rate?: number | undefined;
  readonly rounds: number;
  readonly sliceMs: number;
  readonly seed: number;
  readonly record: boolean;
  /** A file for the results. @default - none */
  readonly json?: string | undefined;
}

export class UsageError extends Error {}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        curves: { type: 'boolean', default: false },
        pages: { type: 'boolean', default: false },
        minutes: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        cloud: { type: 'boolean', default: false },
        rate: { type: 'string' },
        rounds: { type: 'string', default: '8' },
        slice: { type: 'string', default: '400' },
        seed: { type: 'string', default: '1' },
        record: { type: 'boolean', default: false },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function numberOf(name: string, text: string, min: number, whole = true): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min || (whole && !Number.isInteger(value))) {
    throw new UsageError(`--${name} expects a ${whole ? 'whole ' : ''}number from ${min}, not '${text}'.`);
  }
  return value;
}

/**
 * Reads the options of the command line. Returns undefined for --help.
 *
 * @param rows names that --only accepts
 * @throws UsageError with a sentence for the user
 */
export function readOptions(args: readonly string[], rows: readonly string[]): Options | undefined {
  const { help, minutes, rate, rounds, slice, seed, json, ...flags } = parse(args);
  if (help) return undefined;
  const unknown = flags.only.find((name) => !rows.includes(name));
  if (unknown !== undefined) throw new UsageError(`--only expects one of ${rows.join(', ')}, not '${unknown}'.`);
  if (rate !== undefined && minutes === undefined) throw new UsageError('--rate is an option of the soak and needs --minutes.');
  const modes = [flags.quick && '--quick', flags.curves && '--curves', minutes !== undefined && '--minutes', flags.pages && '--pages'].filter(Boolean);
  if (modes.length > 1) throw new UsageError(`${modes.join(' and ')} exclude each other.`);
  return {
    ...flags,
    minutes: minutes === undefined ? undefined : numberOf('minutes', minutes, 0.1, false),
    rate: rate === undefined ? undefined : numberOf('rate', rate, 1),
    rounds: numberOf('rounds', rounds, 1),
    sliceMs: numberOf('slice', slice, 50),
    seed: numberOf('seed', seed, 0),
    json,
  };
}
