import type { LocalRun } from 'cdk-local-run';
import type { Screen } from 'cdk-local-run/cli/screen';
import type { Example } from '../profile.ts';
import type { FanOutCheck } from './checks.ts';
import type { FanOut } from './fan-out.ts';
import type { PublisherReport } from './publisher/publish.ts';
import type { ConsumerSummary, FanOutSummary } from './summary.ts';

const MOST_VIOLATIONS = 5;

export function printSummary(out: Screen, { publisher, consumers, restarts, settled, checks }: FanOutSummary): void {
  if (publisher) printPublisher(out, publisher);
  else out.line('No orders were fed: the checks are those of all data in the folder.');
  out.line();
  printConsumers(out, consumers);
  if (restarts > 0) out.line(`  ${restarts} processes restarted`);
  out.line();
  out.line(out.paint('bold', 'Checks'));
  for (const check of checks) printCheck(out, check);
  if (!settled) out.line(`${out.paint('red', '✗')} something is still on its way and nothing has moved for a while; the log files may say why`);
}

function printPublisher(out: Screen, { published, duplicates, retries, failed, interrupted }: PublisherReport): void {
  const types = Object.entries(published).map(([type, count]) => `${count} ${type}`).join(', ');
  out.line(out.paint('bold', 'Published'));
  out.line(`  ${types}; ${duplicates} of them twice${retries > 0 ? `; ${retries} entries tried again` : ''}`);
  if (failed.length > 0) out.line(`  ${out.paint('red', `${failed.length} orders have an event that was not published`)}: ${failed[0]!.error}`);
  if (interrupted > 0) out.line(`  ${interrupted} orders have no end`);
}

function printConsumers(out: Screen, consumers: readonly ConsumerSummary[]): void {
  const columns = ['received', 'handled', 'duplicates', 'early', 'dead letters'] as const;
  const width = Math.max(...consumers.map(({ name }) => name.length));
  const cells = (values: readonly (string | number)[]) => values.map((value) => String(value).padStart(14)).join('');
  out.line(out.paint('bold', 'Consumers'.padEnd(width + 2)) + cells(columns));
  for (const { name, received, handled, duplicates, early, deadLetters } of consumers) {
    out.line(`  ${name.padEnd(width)}${cells([received, handled, duplicates, early, deadLetters])}`);
  }
}

function printCheck(out: Screen, { id, title, ok, checked, violations }: FanOutCheck): void {
  const mark = ok ? out.paint('green', '✓') : out.paint('red', '✗');
  out.line(`  ${mark} ${id.padEnd(13)} ${title.padEnd(58)} ${out.paint('dim', String(checked))}`);
  for (const violation of violations.slice(0, MOST_VIOLATIONS)) out.line(`      ${out.paint('red', violation)}`);
  if (violations.length > MOST_VIOLATIONS) out.line(`      ${out.paint('red', `and ${violations.length - MOST_VIOLATIONS} more`)}`);
}

/** Lines to paste, in another terminal. */
export function examplesOf({ busName, signingSecret }: FanOut, run: LocalRun): Example[] {
  const signing = signingSecret === undefined ? '' : ` --signing-secret ${signingSecret} --secrets-endpoint ${run.endpoints.secretsmanager}`;
  const publisher = `npm run publisher -- --bus ${busName} --endpoint ${run.endpoints.eventbridge}${signing}`;
  return [
    { title: 'one more order', line: publisher },
    { title: 'many, with every event twice', line: `${publisher} --orders 200 --rate 50 --duplicates 1` },
  ];
}
