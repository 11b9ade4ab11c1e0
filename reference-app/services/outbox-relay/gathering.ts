import Type from 'typebox';
import { ConfigError } from '../shared/config.ts';
import { DETAIL_TYPES } from '../shared/events/index.ts';

/** Events of a detail type, or those with that outcome only, that gather for longer than others. */
export interface Gathering {
  readonly detailType: string;
  readonly outcome?: string;
  /** The time from one sending of them to the next. */
  readonly ms: number;
}

export const gatheringConfig = {
  RELAY_GATHER_MS: Type.String({
    default: '',
    pattern: '^(|[A-Za-z]+(:[A-Z_]+)?=[0-9]{1,4}(,[A-Za-z]+(:[A-Z_]+)?=[0-9]{1,4})*)$',
    description: 'detail types, or with :OUTCOME those events of them, whose bundles gather for longer, and for how many milliseconds: '
      + 'OrderCreated=80,InventoryUpdated:DEDUCTED=250',
  }),
};

/** @throws ConfigError for a detail type that there is not: its events would not gather, and nobody would notice */
export function parseGathering(text: string): Gathering[] {
  const known: readonly string[] = Object.values(DETAIL_TYPES);
  return text.split(',').filter((part) => part !== '').map((part) => {
    const [kind = '', ms] = part.split('=');
    const [detailType = '', outcome] = kind.split(':');
    if (!known.includes(detailType)) throw new ConfigError([`RELAY_GATHER_MS names ${detailType}, which is no detail type; there is ${known.join(', ')}`]);
    return { detailType, ...(outcome !== undefined && { outcome }), ms: Number(ms) };
  });
}
