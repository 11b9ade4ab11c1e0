import { STATUSES, TRANSITIONS, type Status, type Trigger } from './transitions.ts';

/** From and to, each pair once. */
function pairs(): [Status, Status][] {
  return [...new Map(TRANSITIONS.map(({ from, to }): [string, [Status, Status]] => [`${from}>${to}`, [from, to]])).values()];
}

/** Changes of former versions. The history has them, and during a deployment or after a rollback a former version still makes them. */
export const FORMER: readonly [Status, Status][] = [['UPDATE_PENDING', 'EXPIRED']];

/**
 * The guard in the database. In PL/pgSQL, whose functions stay calls: a function in SQL would become part of the checks, and PostgreSQL
 * would read its text again for each statement, which costs more than the calls for some hundred rows.
 */
export function renderSql(): string {
  const list = [...pairs(), ...FORMER].map(([from, to]) => `    '${from}>${to}'`).join(',\n');
  return [
    'CREATE OR REPLACE FUNCTION orders.is_transition(p_from text, p_to text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$',
    'BEGIN',
    `  RETURN (p_from || '>' || p_to) IN (\n${list});`,
    'END $$;',
  ].join('\n');
}

const WORDS: Readonly<Record<Trigger, string>> = {
  update: 'PATCH',
  cancel: 'cancel',
  reserved: 'stock reserved',
  rejected: 'stock short',
  released: 'stock given back',
  deadline: 'deadline',
  fulfil: 'fulfil',
  ship: 'ship',
  deliver: 'deliver',
  complete: 'complete',
  fail: 'technical failure',
};

export function renderDiagram(): string {
  return [
    '```mermaid',
    'stateDiagram-v2',
    '  [*] --> PENDING: POST',
    ...TRANSITIONS.map(({ from, on, to }) => `  ${from} --> ${to}: ${WORDS[on]}`),
    ...Object.entries(STATUSES).filter(([, kind]) => kind === 'final').map(([status]) => `  ${status} --> [*]`),
    '```',
  ].join('\n');
}

/** A row per transition, with the event that says it. */
export function renderTable(): string {
  return [
    '| from | on | to | event |',
    '|---|---|---|---|',
    ...TRANSITIONS.map(({ from, on, to, event }) => `| ${from} | ${WORDS[on]} | ${to} | ${event ? `\`${event}\`` : 'commerce profile'} |`),
  ].join('\n');
}
