import type { LocalRun } from 'cdk-local-run';
import type { Pipeline } from '../profiles/order-pipeline/pipeline.ts';
import type { Screen } from 'cdk-local-run/cli/screen';

export function printWarnings(out: Screen, run: LocalRun): void {
  for (const warning of run.warnings) out.line(`${out.paint('yellow', 'warning')} ${warning}`);
  // Not a warning: nobody misses it. But nothing of a stack is left out without a word.
  const leftOut = [...run.withoutMeaning].map(([reason, count]) => `${reason.replace(/:.*/, '')} (${count})`);
  if (leftOut.length > 0) out.line(out.paint('dim', `Without a meaning on one machine: ${leftOut.join(', ')}.`));
}

export function printAddresses(out: Screen, run: LocalRun): void {
  const row = (name: string, value: string) => out.line(`  ${name.padEnd(20)} ${value}`);
  out.line();
  out.line(out.paint('bold', 'Addresses'));
  for (const service of run.workloads) for (const url of service.urls) row(service.name, url);
  row('SQS', run.endpoints.sqs);
  row('EventBridge', run.endpoints.eventbridge);
  if (run.database) {
    const { writer, reader, passwordFile } = run.database;
    const psql = ({ host, port, user, database }: typeof writer) => `PGPASSFILE=${quote(passwordFile)} psql -h ${host} -p ${port} -U ${user} ${database}`;
    row('writer', psql(writer));
    if (reader) row('replica', psql(reader));
  }
  row('logs', run.logDir);
  out.line();
}

function quote(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll(`'`, `'\\''`)}'`;
}

/** Lines to paste; each works as it stands. */
export function printExamples(out: Screen, { writeUrl, readUrl }: Pipeline, orderId?: string): void {
  const post = (path: string, body: object) => `curl -i ${writeUrl}${path} -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'`;
  const examples: [title: string, line: string][] = [
    ['place an order', post('/api/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 2 }] })],
    ['in snake case', post('/api/orders', { customer_id: 'cust-101', items: [{ product_id: 'prod-1', quantity: 2 }] })],
    ['the same order twice is one order', `${post('/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-111', quantity: 1 }] })} -H 'Idempotency-Key: tea-time'`],
    ['bad input is reported by field', post('/orders', { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 0 }] })],
    ['orders of a customer', `curl '${readUrl}/orders?customerId=cust-123&limit=5'`],
    ['stock of a product', `curl ${readUrl}/api/inventory/SKU-123`],
  ];
  if (orderId !== undefined) examples.push(['an order', `curl -i ${readUrl}/orders/${orderId}`], ['and how it came there', `curl ${readUrl}/orders/${orderId}/timeline`]);
  out.line();
  out.line(out.paint('bold', 'Try'));
  for (const [title, line] of examples) {
    out.line(out.paint('dim', `  # ${title}`));
    out.line(`  ${line}`);
  }
}
