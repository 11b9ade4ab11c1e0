import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { count } from '../count.ts';
import type { LocalService, RunContext } from '../service.ts';
import { readAlarm } from './alarm.ts';
import type { Alarm, AlarmRule } from './alarm.ts';
import { CloudWatch } from './endpoint.ts';

/** Amazon CloudWatch: the metrics that programs send, and the alarms of the stacks on them. */
export class LocalCloudWatch implements LocalService {
  readonly name = 'cloudwatch';
  readonly title = 'alarms';
  readonly types = { 'AWS::CloudWatch::Alarm': { ref: alarmName, attributes: { Arn: (alarm: Resource) => alarm.arn('cloudwatch', `alarm:${alarmName(alarm)}`) } } };
  readonly #context: RunContext;
  readonly #endpoint: CloudWatch;
  /** The names of those that have gone off. */
  readonly #off = new Set<string>();
  #url: string | undefined;

  /** @param secondMs the milliseconds that a second of an alarm takes */
  constructor(context: RunContext, secondMs = 1000) {
    this.#context = context;
    this.#endpoint = new CloudWatch({ log: context.log, secondMs, changed: (alarm) => this.#changed(alarm) });
  }

  get url(): string { return this.#url ?? ''; }

  /** The alarms that are evaluated. */
  get alarms(): readonly Alarm[] { return this.#endpoint.alarms; }

  async start(): Promise<undefined> {
    this.#url = await this.#endpoint.start(await this.#context.port(this.name));
  }

  async make(model: Model): Promise<string | undefined> {
    const { warn, leaveOut } = this.#context;
    const read = makeEach(model.ofType('AWS::CloudWatch::Alarm'), warn, readAlarm);
    for (const reason of read) if (typeof reason === 'string') leaveOut(reason);
    const rules = read.filter((rule): rule is AlarmRule => typeof rule !== 'string');
    this.#endpoint.watch(rules);
    return rules.length > 0 ? count(rules.length, 'alarm') : undefined;
  }

  environment(): Record<string, string> {
    // The endpoint reads plain JSON; clients would compress long requests.
    return { AWS_ENDPOINT_URL_CLOUDWATCH: this.url, AWS_DISABLE_REQUEST_COMPRESSION: 'true' };
  }

  async stop(): Promise<void> {
    await this.#endpoint.stop();
  }

  /** An alarm that goes off, and its end, are for the user; the others are for the log. */
  #changed({ rule: { name, description }, state, values }: Alarm): void {
    const shown = values.map((value) => value ?? 'none').join(', ');
    this.#context.log('info', `alarm ${name} is ${state}`, { values: shown });
    if (state === 'ALARM') {
      this.#off.add(name);
      this.#context.report(`The alarm ${name} has gone off (${shown}). ${description.replace(/(?<=[.:]) .*/s, '')}`.trim());
    } else if (this.#off.delete(name)) {
      this.#context.report(`The alarm ${name} is over.`);
    }
  }
}

function alarmName(alarm: Resource): string {
  return alarm.physicalName('AlarmName', 255);
}
