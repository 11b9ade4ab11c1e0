import type { LocalRun, ProgressStep } from '../local-run.ts';
import type { Screen, Steps } from './screen.ts';

/** The labels of the steps of every run. A job has its own name. */
const LABELS: Readonly<Record<string, string>> = {
  'database': 'Start PostgreSQL',
  'endpoints': 'Make the resources of the stacks',
  'workloads': 'Start the workloads',
  'stop workloads': 'Stop the workloads',
  'stop event bus': 'Stop the event bus',
  'stop queues': 'Stop the queues',
  'stop database': 'Stop PostgreSQL',
};

/** Shows a step of a run. `labels` are used instead of the general ones. */
export function showStep({ name, state, detail }: ProgressStep, steps: Steps, labels: Readonly<Record<string, string>> = {}): void {
  const label = labels[name] ?? LABELS[name];
  if (name.startsWith('stop ') && label === undefined) return;
  if (state === 'started') steps.begin(label ?? `Run ${name}`);
  else if (state === 'done') steps.end(detail);
  else steps.fail();
}

/** Everything that is left out or is different from AWS, and a line about the resources without a meaning on one machine. */
export function printWarnings(out: Screen, run: LocalRun): void {
  for (const warning of run.warnings) out.line(`${out.paint('yellow', 'warning')} ${warning}`);
  const leftOut = [...run.withoutMeaning].map(([reason, count]) => `${reason.replace(/:.*/, '')} (${count})`);
  if (leftOut.length > 0) out.line(out.paint('dim', `Without a meaning on one machine: ${leftOut.join(', ')}.`));
}

/** The addresses of the run, with commands that can be pasted. */
export function printAddresses(out: Screen, run: LocalRun): void {
  const row = (name: string, value: string) => out.line(`  ${name.padEnd(20)} ${value}`);
  out.line();
  out.line(out.paint('bold', 'Addresses'));
  for (const { name, urls, processUrls } of run.workloads) {
    for (const url of urls) row(name, url);
    if (urls.length > 0) row('  probes, metrics', processUrls().join(', '));
  }
  for (const [name, url] of Object.entries(run.endpoints)) row(TITLES[name] ?? name, url);
  if (run.database) {
    const { writer, reader, passwordFile } = run.database;
    const psql = ({ host, port, user, database }: typeof writer) => `PGPASSFILE=${quote(passwordFile)} psql -h ${host} -p ${port} -U ${user} ${database}`;
    row('writer', psql(writer));
    if (reader) row('replica', psql(reader));
  }
  row('logs', run.logDir);
  out.line();
}

/** Prints the command that gets a token which the programs of the run accept. */
export function printTokenHelp(out: Screen, { issuer: { url } }: LocalRun): void {
  if (url !== undefined) out.line(`A token: ${tokenCommand(url, 'cust-42', 'orders.read orders.write')}`);
}

/** A command that prints a token. */
export function tokenCommand(issuerUrl: string, subject: string, scope: string): string {
  return `curl -s ${issuerUrl}/token -H 'Accept: text/plain' -d sub=${quote(subject)} -d ${quote(`scope=${scope}`)}`;
}

const TITLES: Readonly<Record<string, string>> = {
  sqs: 'SQS', eventbridge: 'EventBridge', secretsmanager: 'Secrets Manager', sns: 'SNS', cloudwatch: 'CloudWatch', issuer: 'tokens',
};

/** A word of a shell command. */
export function quote(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}
