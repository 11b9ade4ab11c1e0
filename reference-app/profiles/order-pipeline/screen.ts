import { tokenCommand } from 'cdk-local-run/cli/report';
import type { Screen } from 'cdk-local-run/cli/screen';
import type { InvariantResult } from '../../invariants/invariants.ts';
import type { FeedResult } from '../../load/feed.ts';
import { WARM_UP_ORDERS } from '../profile.ts';
import type { Example } from '../profile.ts';
import type { FailoverReport } from './failover.ts';
import type { Pipeline } from './pipeline.ts';
import type { Summary } from './summary.ts';
import type { Percentiles } from './times.ts';

const TITLES: Record<InvariantResult['id'], string> = {
  I1: 'every accepted order once, every subscriber has its event',
  I3: 'reserved ≤ on hand, at every moment',
  I4: 'counters equal the ledger',
  I5: 'at most one deduction per order line',
  I6: 'every order terminal, or with an open dead letter',
  I7: 'versions of an order applied one after the other',
  I8: 'only transitions of the table',
  I9: 'an order that came to nothing holds no stock',
  I10: 'every change has its event, every event its change',
  I11: 'handled + in flight + dead = published',
};

/** The summary of a run. Without fed orders it is that of the data that are there. */
export function printSummary(out: Screen, summary: Summary, fed: FeedResult | undefined): void {
  out.line(out.paint('bold', 'Summary'));
  if (fed) {
    printOrders(out, summary, fed);
  } else {
    out.line('  No orders were fed: the invariants are those of all data in the folder.');
    row(out, 'dead-lettered', String(summary.deadLetters), DEAD_LETTERS);
  }
  if (summary.failover) printFailover(out, summary.failover);
  out.line();
  printInvariants(out, summary.invariants);
  if (summary.settled) return;
  out.line(`${out.paint('red', '✗')} something is still on its way and nothing has moved for a while; the log files may say why`);
}

const DEAD_LETTERS = 'messages in dead-letter queues and events that the bus refused';

function printOrders(out: Screen, summary: Summary, fed: FeedResult): void {
  const { orders } = summary;
  const repeated = orders.retries > 0 ? `${orders.retries} requests repeated with the same key, ` : '';
  row(out, 'accepted', String(orders.accepted), `${repeated}${summary.restarts} processes restarted`);
  row(out, 'confirmed', String(orders.confirmed));
  row(out, 'rejected', String(orders.rejected), 'not enough stock');
  if (orders.open > 0) row(out, 'not decided', String(orders.open));
  if (orders.refused > 0) row(out, 'refused', String(orders.refused), fed.refused[0]?.reason);
  if (orders.unanswered > 0) row(out, 'without an answer', String(orders.unanswered), fed.unanswered[0]?.reason);
  if (orders.wronglyConfirmed > 0) row(out, 'wrongly confirmed', String(orders.wronglyConfirmed), 'more than there ever was in stock');
  row(out, 'dead-lettered', String(summary.deadLetters), DEAD_LETTERS);
  row(out, 'orders per second', String(summary.ordersPerSecond), `over ${summary.seconds} s, first accepted to last decided`);
  printTimes(out, 'end to end', summary.endToEndMs, 'accepting to deciding transaction, database clock');
  printTimes(out, '202 after', summary.acceptMs, 'from the intended send time, client clock');
  if (!summary.warm) return;
  printTimes(out, 'warm end to end', summary.warm.endToEndMs, `the same without the first ${WARM_UP_ORDERS} orders`);
  printTimes(out, 'warm 202 after', summary.warm.acceptMs);
}

function printFailover(out: Screen, failover: FailoverReport): void {
  const ms = (value: number | undefined) => (value === undefined ? '-' : `${value} ms`);
  const { replication, failedRequests, acceptedReplicated, lost, lostReplicated, reconciled, notReady } = failover;
  out.line();
  out.line(out.paint('bold', 'Failover'));
  out.line(out.paint('dim', `  the writer was killed and its replica promoted; ${replication} replication; times count from the kill`));
  row(out, 'last accepted before', ms(failover.lastAcceptedMs));
  row(out, 'writable', ms(failover.writableMs), 'the replica was promoted and has the address of the writer');
  row(out, 'first accepted after', ms(failover.firstAcceptedMs));
  row(out, 'no order accepted for', ms(failover.outageMs));
  row(out, 'requests failed', String(failedRequests), `over ${failover.errorSeconds} s; ${kindsOf(failover)}`);
  row(out, 'all services ready', ms(failover.readyMs), notReady.length === 0 ? 'none was restarted for it' : `not ready: ${notReady.join(', ')}`);
  row(out, 'new replica', ms(failover.replicaMs), 'it streams at the address of the reader; the writer was there meanwhile');
  row(out, 'orders lost', String(lost), `of ${acceptedReplicated} that the replica certainly had: ${lostReplicated}`);
  row(out, 'reconciled', String(reconciled), 'orders that do not exist and had stock; it was given back, as by reconcile.js --apply');
}

function kindsOf({ failuresByKind }: FailoverReport): string {
  return Object.entries(failuresByKind).map(([kind, count]) => `${count} × ${kind}`).join(', ') || 'none';
}

function printTimes(out: Screen, name: string, { p50, p99 }: Percentiles, note?: string): void {
  const ms = (value: number | undefined) => (value === undefined ? '-' : `${value} ms`);
  row(out, `${name} p50`, ms(p50), note);
  row(out, `${name} p99`, ms(p99));
}

function row(out: Screen, name: string, value: string, note = ''): void {
  out.line(`  ${name.padEnd(22)}${value.padStart(10)}${note && `   ${out.paint('dim', note)}`}`);
}

function printInvariants(out: Screen, invariants: readonly InvariantResult[]): void {
  out.line(out.paint('bold', 'Invariants'));
  for (const { id, ok, checked, population, violations } of invariants) {
    const mark = ok ? out.paint('green', '✓') : out.paint('red', '✗');
    out.line(`  ${mark} ${id.padEnd(4)} ${TITLES[id].padEnd(58)} ${out.paint('dim', `${checked} ${population}`)}`);
    for (const { what, count, sample } of violations) {
      out.line(`         ${out.paint('red', `${count} × ${what}`)}`);
      for (const offender of sample) out.line(`           ${offender}`);
    }
  }
}

/** Lines to paste. The first one sets a token, if the APIs ask for one; the others work as they stand. */
export function examplesOf({ run, writeUrl, readUrl, token }: Pipeline, orderId?: string): Example[] {
  const operator = token === undefined ? '' : ' -H "Authorization: Bearer $TOKEN"';
  const post = (path: string, body: object) =>
    `curl -i ${writeUrl}${path}${operator} -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'`;
  const twice = post('/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-111', quantity: 1 }] });
  const { url: issuerUrl } = run.issuer;
  return [
    ...token === undefined ? [] : [{ title: 'a token of an operator, for 30 days, for the lines below', line: `TOKEN=${token}` }],
    { title: 'place an order', line: post('/api/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 2 }] }) },
    { title: 'in snake case', line: post('/api/orders', { customer_id: 'cust-101', items: [{ product_id: 'prod-1', quantity: 2 }] }) },
    { title: 'the same order twice is one order', line: `${twice} -H 'Idempotency-Key: tea-time'` },
    { title: 'bad input is reported by field', line: post('/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 0 }] }) },
    { title: 'orders of a customer', line: `curl '${readUrl}/orders?customerId=cust-123&limit=5'${operator}` },
    { title: 'stock of a product', line: `curl ${readUrl}/api/inventory/SKU-123${operator}` },
    ...orderId === undefined ? [] : [
      { title: 'an order', line: `curl -i ${readUrl}/orders/${orderId}${operator}` },
      { title: 'and how it came there', line: `curl ${readUrl}/orders/${orderId}/timeline${operator}` },
    ],
    ...issuerUrl === undefined ? [] : [
      { title: 'as a customer, with a token of its own: no order of another one is there', line: asCustomer(`${readUrl}/orders`, issuerUrl) },
    ],
  ];
}

function asCustomer(url: string, issuerUrl: string): string {
  return `curl ${url} -H "Authorization: Bearer $(${tokenCommand(issuerUrl, 'cust-123', 'orders.read orders.write')})"`;
}
