/** The stages that the page compares with the naive design, and the limit of each. */
import { fastest, number, type Results, type VariantResult } from './results.ts';

/** One stage: the services, the naive design on the same schema, and the limit. */
export interface Comparison {
  readonly title: string;
  /** Short title for the picture; missing when the picture leaves the stage out. */
  readonly label?: string;
  /** `orders` or `events`. */
  readonly unit: string;
  /** The name for `--only`. */
  readonly command: string;
  /** The fastest variant of the services. */
  readonly services: VariantResult;
  /** Variants of the naive design; the first one is the baseline of the ratios. */
  readonly naive: readonly VariantResult[];
  /** The highest rate that is possible, per second; missing where the processor time is not known. */
  readonly limit?: number | undefined;
  /** The limit in plain words. */
  readonly limitedBy: string;
}

interface Limit {
  readonly perSecond?: number | undefined;
  readonly text: string;
}

interface StageText {
  readonly row: string;
  readonly title: string;
  readonly label?: string;
  readonly unit: string;
  readonly command: string;
  limit(variants: readonly VariantResult[], results: Results, cores: number): Limit;
}

/** The limit of the processors, when nothing else runs on them. */
function processorLimit(services: VariantResult, cores: number, unit = 'order'): Limit {
  const { processorMicros, nodeMicros, rate } = services;
  if (processorMicros === undefined || nodeMicros === undefined) return { text: 'The processor time is not known.' };
  const perSecond = (cores * 1e6) / processorMicros;
  return {
    perSecond,
    text: `The limit is the processor: ${unit === 'order' ? 'an' : 'a'} ${unit} costs ${number(processorMicros)} µs `
      + `(PostgreSQL ${number(processorMicros - nodeMicros)}, Node.js ${number(nodeMicros)}), `
      + `so ${cores} cores can do ${number(perSecond)} ${unit}s/s at most. ${share(rate.median, perSecond)} of that is reached.`,
  };
}

function share(part: number, whole: number): string {
  return `${number((100 * part) / whole)} %`;
}

const PROCESSOR = (before: string): StageText['limit'] => (variants, _, cores) => {
  const { perSecond, text } = processorLimit(fastest(variants, 'services')!, cores);
  return { perSecond, text: `${before} ${text}` };
};

const STAGES: readonly StageText[] = [
  {
    row: 'intake in process',
    title: 'intake in process, 256 clients',
    unit: 'orders',
    command: 'intake',
    limit: PROCESSOR('Orders that wait at the same time share a commit, so the disk is no limit.'),
  },
  {
    row: 'intake over HTTP',
    title: 'intake over HTTP, one process',
    label: 'intake over HTTP',
    unit: 'orders',
    command: 'http',
    limit(variants) {
      const without = fastest(variants, 'part')!.rate.median;
      return {
        perSecond: without,
        text: `The limit is HTTP in one Node.js process: without a database it parses, checks and answers ${number(without)} requests/s, `
          + `and ${share(fastest(variants, 'services')!.rate.median, without)} of that is reached. `
          + 'The largest part of its time goes into writing to sockets. The clients and the commits run on the same cores. More processes do more.',
      };
    },
  },
  {
    row: 'relay',
    title: 'relay out of the outbox, without a broker',
    label: 'relay (events)',
    unit: 'events',
    command: 'relay',
    limit(variants) {
      const { processorMicros = NaN, nodeMicros = NaN, rate } = fastest(variants, 'services')!;
      const database = processorMicros - nodeMicros;
      const perSecond = 1e6 / Math.max(database, nodeMicros);
      return {
        perSecond,
        text: 'The limit is one core for PostgreSQL and one for Node.js, since a single relay leads and reads on one connection: '
          + `an event costs ${number(database)} and ${number(nodeMicros)} µs, so ${number(perSecond)} events/s at most. `
          + `${share(rate.median, perSecond)} of that is reached. `
          + 'In AWS the [quota of EventBridge](scaling.md#the-bus-comes-first) comes long before.',
      };
    },
  },
  {
    row: 'reserve, 1,000 SKUs',
    title: 'reserve, 1,000 products',
    label: 'reserve, 1,000 products',
    unit: 'orders',
    command: 'reserve',
    limit: (variants, results, cores) => {
      const { perSecond, text } = processorLimit(fastest(variants, 'services')!, cores);
      return {
        perSecond,
        text: `${text} An order writes about 2 KB of log here: a ledger row per line, inbox, event and their index entries. `
          + 'Naive workers that run at the same time share commits, and one commit takes only '
          + `${number(1_000 / results.machine.fsyncsPerSecond)} ms on this disk. Therefore, many workers help the naive design here more than on a slower disk.`,
      };
    },
  },
  {
    row: 'reserve, one hot SKU',
    title: 'reserve, one hot product',
    label: 'reserve, one hot product',
    unit: 'orders',
    command: 'reserve-hot',
    limit: PROCESSOR('Every order changes the same stock row. Naive transactions wait for its lock one after the other, '
      + 'each until the commit of the one before, so more workers hardly help. A batch takes the lock once.'),
  },
  {
    row: 'reserve, cloud-like, 1,000 SKUs',
    title: 'reserve with the waits of a cloud, 1,000 products',
    label: 'reserve, waits of a cloud',
    unit: 'orders',
    command: 'cloud',
    limit(variants, results, cores) {
      const { roundTripMs, commitMs } = results.rows.cloud!.raw as { roundTripMs: number; commitMs: number };
      const waits = `A round trip takes ${number(roundTripMs)} ms and a commit of one row ${number(commitMs)} ms. `
        + 'A naive order waits for eight of the first and one of the second, a whole batch for little more.';
      return PROCESSOR(waits)(variants, results, cores);
    },
  },
  {
    row: 'reserve, cloud-like, one hot SKU',
    title: 'reserve with the waits of a cloud, one hot product',
    unit: 'orders',
    command: 'cloud',
    limit: PROCESSOR('The naive design holds the lock of the row during its round trips and its commit.'),
  },
  {
    row: 'whole chain',
    title: 'whole chain of stages in process',
    label: 'whole chain',
    unit: 'orders',
    command: 'chain',
    limit: PROCESSOR('An order passes the intake, five events through the relay, and four handlers; the load generator is in the figure.'),
  },
  {
    row: 'redrive',
    title: 'redrive of messages that were handled already',
    unit: 'messages',
    command: 'redrive',
    limit: (variants, _, cores) => processorLimit(fastest(variants, 'services')!, cores, 'message'),
  },
];

/** The compared stages of the results, in the order of the page. Stages that were not measured are left out. */
export function comparisons(results: Results): Comparison[] {
  const all = Object.values(results.rows).flatMap(({ variants = [] }) => variants);
  return STAGES.flatMap(({ row, title, label, unit, command, limit }) => {
    const variants = all.filter((variant) => variant.row === row);
    const services = fastest(variants, 'services');
    if (!services) return [];
    const { perSecond, text } = limit(variants, results, results.rows[command]?.measured?.cores ?? results.machine.cores);
    return {
      title,
      unit,
      command,
      services,
      naive: variants.filter(({ design }) => design === 'naive'),
      limit: perSecond,
      limitedBy: text,
      ...(label !== undefined && { label }),
    };
  });
}
