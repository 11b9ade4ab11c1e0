import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { environment } from './checkout.ts';
import type { Checkout } from './checkout.ts';
import { processTimes } from './process-times.ts';
import { WARM_UP_ORDERS } from '../../profiles/profile.ts';

export interface Load {
  readonly orders: number;
  /** Orders per second. */
  readonly rate: number;
}

interface Percentiles {
  readonly p50?: number;
  readonly p99?: number;
}

interface Programs {
  readonly programs: readonly { readonly name: string; readonly seconds: number }[];
}

/** The parts of `npm start -- --json` that are compared. An older one has no figures of warm processes. */
export interface StartJson {
  readonly ok: boolean;
  readonly ordersPerSecond: number;
  readonly endToEndMs: Percentiles;
  readonly warm?: { readonly endToEndMs: Percentiles };
  readonly processorTime?: (Programs & { readonly all?: undefined }) | { readonly all: Programs; readonly warm?: Programs };
}

/** The figures of one run. */
export interface Figures {
  readonly load: Load;
  readonly ok: boolean;
  readonly ordersPerSecond: number;
  readonly endToEndMs: Percentiles;
  /** Without the first orders. @default - this state of the repository does not measure them */
  readonly warmEndToEndMs?: Percentiles;
  /** Microseconds of processor per order and program, without the first orders. */
  readonly micros: Readonly<Record<string, number>>;
}

/** Runs `npm start` once, in a state of the repository, on an empty data folder. */
export async function run({ folder }: Checkout, { orders, rate }: Load, dataDir: string): Promise<Figures> {
  const args = ['--fresh', '--exit', '--json', '--data', dataDir, '--orders', String(orders), '--rate', String(rate)];
  const child = spawn(process.execPath, [join(folder, 'reference-app/start/start.ts'), ...args], { cwd: folder, env: environment(folder), stdio: ['ignore', 'pipe', 'pipe'] });
  const cold = coldTimes(child.pid!, rate);
  let output = '';
  let words = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words += text;
    if (words.includes('random orders')) cold.begin();
  });
  const interrupt = () => child.kill('SIGINT');
  process.once('SIGINT', interrupt);
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  process.off('SIGINT', interrupt);
  cold.end();
  if (output.trim() === '') throw new Error(`npm start in ${folder} ended with ${code} and without figures:\n${words.trimEnd().split('\n').slice(-8).join('\n')}`);
  return figuresOf(JSON.parse(output) as StartJson, { orders, rate }, cold.seconds());
}

/**
 * The processor time of the first orders, seen from outside: for a state of the repository that does not count it itself. The orders are
 * sent on time, so the time tells how many there were.
 */
function coldTimes(pid: number, rate: number) {
  let timer: NodeJS.Timeout | undefined;
  let seconds: ReadonlyMap<string, number> = new Map();
  return {
    begin() {
      if (timer) return;
      const before = processTimes(pid);
      timer = setTimeout(() => {
        seconds = new Map([...processTimes(pid)].map(([name, sum]) => [name, sum - (before.get(name) ?? 0)]));
      }, WARM_UP_ORDERS / rate * 1000);
    },
    end: () => clearTimeout(timer),
    seconds: () => seconds,
  };
}

export function figuresOf(json: StartJson, load: Load, cold: ReadonlyMap<string, number>): Figures {
  const { ok, ordersPerSecond, endToEndMs, warm, processorTime = { programs: [] } } = json;
  const own = processorTime.all ? processorTime.warm?.programs : undefined;
  const { programs } = processorTime.all ?? processorTime;
  const seconds = own ?? programs.map(({ name, seconds: all }) => ({ name, seconds: Math.max(0, all - (cold.get(name) ?? 0)) }));
  const counted = load.orders - WARM_UP_ORDERS;
  return {
    load,
    ok,
    ordersPerSecond,
    endToEndMs,
    ...(warm && { warmEndToEndMs: warm.endToEndMs }),
    micros: Object.fromEntries(seconds.map((program) => [program.name, Math.round(program.seconds * 1e6 / counted)])),
  };
}
