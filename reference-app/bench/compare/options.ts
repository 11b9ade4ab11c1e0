import { parseArgs } from 'node:util';
import { WARM_UP_ORDERS } from '../../profiles/profile.ts';
import { UsageError } from '../options.ts';

export const COMPARE_HELP = `Measures what an order costs in the local run before and after a change: both states run in turns on this machine, the same orders at the
same rate, and one table has the medians. The other state is made ready in a temporary folder, which is deleted in the end.

Usage: npm run bench:compare -- [options]

Options
  --before REF     the commit to compare with              [the last release]
  --after REF      the other one                           [the working tree as it is]
  --orders N       orders of a run                         [3000]
  --rate R         orders per second; with --saturation the first rate   [200; 100]
  --rounds N       runs of each side                       [3]
  --saturation     raises the rate by a quarter until orders are not decided as fast as they come, and prints the most per second
  --record         stores the runs and the table in bench/results/compare.json
  -h, --help       shows this text

The processor time is that after the first ${WARM_UP_ORDERS} orders. For a state of the repository that does not count it itself, it is counted from outside,
and its latencies are those of all orders.
`;

export interface CompareOptions {
  /** @default - the last release */
  readonly before?: string;
  /** @default - the working tree */
  readonly after?: string;
  readonly orders: number;
  readonly rate: number;
  readonly rounds: number;
  readonly saturation: boolean;
  readonly record: boolean;
}

/**
 * Reads the options of the command line. Returns undefined for --help.
 *
 * @throws UsageError with a sentence for the user
 */
export function readCompareOptions(args: readonly string[]): CompareOptions | undefined {
  const { help, before, after, orders, rate, rounds, saturation, record } = parse(args);
  if (help) return undefined;
  const number = (name: string, text: string, min: number) => {
    if (!/^\d+$/.test(text) || Number(text) < min) throw new UsageError(`--${name} expects a whole number from ${min}, not '${text}'.`);
    return Number(text);
  };
  if (saturation && record) throw new UsageError('--record is for the table of costs, and not for --saturation.');
  return {
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
    orders: number('orders', orders, 2 * WARM_UP_ORDERS),
    rate: number('rate', rate ?? (saturation ? '100' : '200'), 1),
    rounds: number('rounds', rounds, 1),
    saturation,
    record,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        before: { type: 'string' },
        after: { type: 'string' },
        orders: { type: 'string', default: '3000' },
        rate: { type: 'string' },
        rounds: { type: 'string', default: '3' },
        saturation: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
