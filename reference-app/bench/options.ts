import { parseArgs } from 'node:util';

export const HELP = `Measures the pipeline against a naive one: same schema, same durability, on a real PostgreSQL that is started for it.

Usage: npm run bench -- [options]

  --quick              for CI: counts and processor time per order against fixed gates, a minute
  --only NAME          only this row; may be repeated (see below)
  --cloud              the cloud-like profile too: slower fsync and network (needs Linux and a C compiler)
  --curves             throughput over batch size, products, lines, consumers, readers and stored orders
  --minutes N          soak: N minutes at half of saturation, watching table sizes, memory and latency
  --rate R             orders per second of the soak               [half of what saturates it]
  --rounds N           rounds of paired slices                     [10]
  --slice MS           length of a slice                           [400]
  --seed S             seed of orders and of the order of slices   [1]
  --record             write docs/performance.md, the pictures and the raw results
  --json FILE          write the raw results there
  --help

Rows: ROWS

A benchmark ends with the check of the invariants and prints no number when it fails. The exit code is 0 when everything was measured
(and, with --quick, every gate passed), 1 when not, 2 for wrong usage.
`;

export interface Options {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly cloud: boolean;
  readonly curves: boolean;
  readonly minutes?: number;
  readonly rate?: number;
  readonly rounds: number;
  readonly sliceMs: number;
  readonly seed: number;
  readonly record: boolean;
  readonly json?: string;
}

export class UsageError extends Error {}

export function readOptions(args: readonly string[], rows: readonly string[]): Options | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean' }, only: { type: 'string', multiple: true }, cloud: { type: 'boolean' }, curves: { type: 'boolean' },
        minutes: { type: 'string' }, rate: { type: 'string' }, rounds: { type: 'string' }, slice: { type: 'string' }, seed: { type: 'string' },
        record: { type: 'boolean' }, json: { type: 'string' }, help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  const number = (name: 'minutes' | 'rate' | 'rounds' | 'slice' | 'seed', min: number, whole = true) => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < min || (whole && !Number.isInteger(value))) {
      throw new UsageError(`--${name} expects a ${whole ? 'whole ' : ''}number from ${min}, not '${text}'.`);
    }
    return value;
  };
  for (const name of values.only ?? []) {
    if (!rows.includes(name)) throw new UsageError(`--only expects one of ${rows.join(', ')}, not '${name}'.`);
  }
  const minutes = number('minutes', 0.1, false);
  const rate = number('rate', 1);
  if (rate !== undefined && minutes === undefined) throw new UsageError('--rate belongs to --minutes.');
  const modes = [values.quick && '--quick', minutes !== undefined && '--minutes', values.curves && '--curves'].filter(Boolean);
  if (modes.length > 1) throw new UsageError(`${modes.join(' and ')} exclude each other.`);
  return {
    quick: values.quick ?? false,
    only: values.only ?? [],
    cloud: values.cloud ?? false,
    curves: values.curves ?? false,
    ...(minutes !== undefined && { minutes }),
    ...(rate !== undefined && { rate }),
    rounds: number('rounds', 1) ?? 10,
    sliceMs: number('slice', 50) ?? 400,
    seed: number('seed', 0) ?? 1,
    record: values.record ?? false,
    ...(values.json !== undefined && { json: values.json }),
  };
}
