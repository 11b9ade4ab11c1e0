import type { Stray } from './reconcile.ts';

const SHOWN = 100;
const HEADER = ['order', 'SKU', 'location', 'held', 'taken', 'since'];

/** A table of this stock for people, and its sum. */
export function describe(strays: readonly Stray[]): string {
  if (strays.length === 0) return 'No stock belongs to an order that does not exist.';
  const rows = strays.slice(0, SHOWN).map(({ orderId, sku, location, held, taken, since }) => [
    orderId, sku, location, String(held), String(taken), since.toISOString(),
  ]);
  const widths = HEADER.map((_, i) => Math.max(...[HEADER, ...rows].map((row) => row[i]!.length)));
  const lines = [HEADER, ...rows].map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ').trimEnd());
  if (strays.length > SHOWN) lines.push(`… and ${strays.length - SHOWN} more`);
  const sum = (of: (stray: Stray) => number) => strays.reduce((total, stray) => total + of(stray), 0);
  const orders = new Set(strays.map(({ orderId }) => orderId)).size;
  return [
    'Stock of orders that do not exist:', '', ...lines, '',
    `Orders: ${orders}. Pieces held: ${sum(({ held }) => held)}, taken: ${sum(({ taken }) => taken)}.`,
  ].join('\n');
}
