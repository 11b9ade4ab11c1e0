import type { Profiles } from '../profiles/index.ts';
import type { Profile } from '../profiles/profile.ts';

const WIDTH = 21;
const TEXT = 58;

/** The text of `npm start -- --help`, with a part about every profile. */
export function helpText(profiles: Profiles): string {
  const named = [...profiles];
  return `Runs a system of the reference app on this machine: synthesizes it and runs its cloud assembly with a real PostgreSQL and a streaming
replica, local SQS and EventBridge endpoints, and one process per replica of each workload.

Usage: npm start -- [options]

Profiles
${named.map(profileLines).join('\n')}

What runs
  --profile NAME       the system that runs                                        [${named[0]?.[0]}]
  --app DIR            run this cloud assembly (the output folder of \`cdk synth\`) instead of the reference app;
                       orders are fed only if it has the stacks of the profile
  --stack NAME         only this stack of the assembly; may be repeated            [all stacks]
  --without NAME       leave this workload or job out; may be repeated. issuer: the APIs take tokens of the issuer in the settings, and no
                       orders are fed (--orders 0)
  --replicas N         the most processes of each workload                         [1 with fewer than 8 cores, else as the template says]
  --processes MODE     shared: workloads without an API have one process together, and an order needs a fifth less processor; separate:
                       one for each. With --failover, with more replicas and on a stack of your own they are separate
                                                                                   [shared with fewer than 4 cores]
  --endpoint NAME=URL  the address of a service that runs elsewhere, such as dynamodb=http://127.0.0.1:8000; may be repeated
  --open               the APIs take every request; without it they take those with a token of the local issuer
  --data DIR           folder of databases, queues, archives and logs              [.local; .local/NAME for other profiles]
  --fresh              delete the data of earlier runs in that folder first; without it their data is kept

Orders
  --orders N           feed N random orders; 0 feeds none                          [those of the profile, see above]
  --rate R             orders per second, sent on time whatever the answers take   [that of the profile, see above]
  --seed S             seed of the random orders: the same seed feeds the same     [1]
  --failover MODE      kill the writer of the database while the orders are fed, and promote its replica; the replication is synchronous,
                       with which no order is lost, or asynchronous                [no failover]
  --exit               stop after the orders, with a summary; the exit code says whether every check holds.
                       With --orders 0 the data of earlier runs are checked

Addresses (all on 127.0.0.1)
${named.flatMap(portLines).join('\n')}
  --port NAME=PORT     port of a workload by name, or of sqs, eventbridge, secretsmanager, issuer, writer, reader; may be repeated

Output
  --json               the summary as one JSON object on standard output; progress goes to standard error
  --cpu-profile DIR    CPU profiles of the Node.js processes and of the endpoints, for a browser's developer tools
  --help, --version
  Colours are used on a terminal only, and not if NO_COLOR is set.

Without --exit the system stays up until Ctrl-C, which stops it in order; a second Ctrl-C forces it.

${named.map(([name, { help }]) => `The profile ${name}\n${indented(help)}`).join('\n\n')}

Exit codes: 0 all well; 1 a check failed, an order got no answer, a workload cannot run, or the run broke; 2 wrong usage; 130 interrupted.

Examples
${examples(named.map(([, profile]) => profile)).join('\n')}
`;
}

function profileLines([name, { description, defaults: { orders, sampleRate, rate } }]: readonly [string, Profile]): string {
  const feeds = `feeds ${orders}, ${sampleRate} per second, or with --orders ${rate} per second`;
  return `  ${name.padEnd(WIDTH)}${description};\n${' '.repeat(WIDTH + 2)}${feeds}`;
}

function portLines([name, { portOptions = {} }]: readonly [string, Profile]): string[] {
  return Object.entries(portOptions).map(([option, { help }]) =>
    `  ${`--${option} PORT`.padEnd(WIDTH)}${`${help}, of ${name}`.padEnd(TEXT)}[chosen by the system]`);
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

function examples(profiles: readonly Profile[]): string[] {
  const all = [
    ...profiles.flatMap(({ commands = [] }) => commands),
    { title: 'a cloud assembly of your own', line: 'npm start -- --app ../shop/cdk.out --stack Shop' },
  ];
  return all.map(({ title, line }) => `  ${line.padEnd(66)} # ${title}`);
}
