import { join } from 'node:path';
import type { Model, Resource } from '../assembly/model.ts';
import { count } from '../count.ts';
import { DeliveryError } from '../service.ts';
import type { LocalService, RunContext } from '../service.ts';
import { EventBridge } from './event-bridge.ts';
import { busNameOf, makeEvents } from './rules.ts';
import type { MadeRule } from './rules.ts';

/** Amazon EventBridge: buses, rules and archives of the stacks, with deliveries that are tried again after a restart. */
export class LocalEventBridge implements LocalService {
  readonly name = 'eventbridge';
  readonly title = 'event bus';
  readonly types = {
    'AWS::Events::EventBus': {
      ref: busName,
      attributes: { Arn: (bus: Resource) => bus.arn('events', `event-bus/${busName(bus)}`), Name: busName },
    },
    'AWS::Events::Rule': {
      ref: (rule: Resource) => {
        const bus = busNameOf(rule.text('EventBusName'));
        const name = rule.physicalName('Name', 64);
        return bus === 'default' ? name : `${bus}|${name}`;
      },
      attributes: { Arn: ruleArn },
    },
    'AWS::Events::Archive': {
      ref: archiveName,
      attributes: { Arn: (archive: Resource) => archive.arn('events', `archive/${archiveName(archive)}`), ArchiveName: archiveName },
    },
  };
  /** The rules of the stacks. */
  rules: readonly MadeRule[] = [];
  readonly events: EventBridge;
  readonly #context: RunContext;
  #url: string | undefined;

  constructor(context: RunContext) {
    const { region, account, log, dataDir } = context;
    this.#context = context;
    this.events = new EventBridge({
      region,
      accountId: account,
      log,
      report: context.report,
      dataDir: join(dataDir, 'eventbridge'),
      deliver: async (arn, body, { ruleArn: sourceArn, ...options }) => {
        const receiver = context.receiver(arn);
        if (!receiver) throw new DeliveryError('NO_RESOURCE', `There is no resource ${arn} that takes messages.`);
        await receiver.deliver(body, { service: 'events.amazonaws.com', sourceArn, sourceAccount: account }, options);
      },
    });
  }

  get url(): string { return this.#url ?? ''; }

  async start(): Promise<undefined> {
    // It listens when its rules are there: an event that comes earlier would match none of them.
  }

  async make(model: Model): Promise<string> {
    this.rules = await makeEvents(model, this.events, this.#context);
    this.#url = (await this.events.start({ port: await this.#context.port(this.name) })).url;
    return `${count(this.rules.length, 'rule')}, ${count(this.events.listBuses().length, 'bus', 'buses')}`;
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_EVENTBRIDGE: this.url };
  }

  async stop(): Promise<void> {
    await this.events.stop();
  }
}

function busName(bus: Resource): string {
  return bus.physicalName('Name', 256);
}

function archiveName(archive: Resource): string {
  return archive.physicalName('ArchiveName', 48);
}

/** The ARN of a rule on the default bus has no name of a bus. */
function ruleArn(rule: Resource): string {
  const bus = busNameOf(rule.text('EventBusName'));
  const name = rule.physicalName('Name', 64);
  return rule.arn('events', bus === 'default' ? `rule/${name}` : `rule/${bus}/${name}`);
}
