import type { LocalEventBridge, Target } from './types.ts';
import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { AwsError } from '../http/aws-error.ts';
import type { RunContext } from '../service.ts';

export interface MadeRule {
  readonly resource: Resource;
  readonly name: string;
  readonly busName: string;
  readonly arn: string;
  readonly targetArns: readonly string[];
}

/** Rules and archives name their bus by its name or its ARN. */
export function busNameOf(nameOrArn: string | undefined): string {
  return nameOrArn?.replace(/^arn:[^/]*\//, '') ?? 'default';
}

/** Makes buses, rules and archives. A target that takes no messages in this run is left out with a warning. */
export async function makeEvents(model: Model, eventBridge: LocalEventBridge, { receiver, warn }: RunContext): Promise<MadeRule[]> {
  makeEach(model.ofType('AWS::Events::EventBus'), warn, (bus) => eventBridge.createBus(String(bus.ref())));
  const buses = new Set(eventBridge.listBuses().map(({ Name }) => Name));
  /** The targets that take no messages here, with the rules that send to them. */
  const untaken = new Map<string, Set<string>>();
  const rules = makeEach(model.ofType('AWS::Events::Rule'), warn, (resource): MadeRule[] => {
    const name = resource.physicalName('Name', 64);
    const busName = busNameOf(resource.text('EventBusName'));
    if (!buses.has(busName)) {
      // A bus that another app owns: locally only this app's services put events on it.
      eventBridge.createBus(busName);
      buses.add(busName);
      warn(`Rule ${resource.constructPath} listens on the bus ${busName}, which no stack of this run makes: a local bus of that name stands for it.`);
    }
    if (!putRule(resource, name, busName, eventBridge, warn)) return [];
    const targets = targetsOf(resource);
    const taken = targets.filter((target) => {
      if (receiver(target.Arn) || eventBridge.listBuses().some(({ Arn }) => Arn === target.Arn)) return true;
      untaken.set(target.Arn, (untaken.get(target.Arn) ?? new Set()).add(resource.constructPath));
      return false;
    });
    eventBridge.putTargets(name, busName, taken);
    return [{ resource, name, busName, arn: String(resource.attribute('Arn', resource.path)), targetArns: taken.map(({ Arn }) => Arn) }];
  });
  for (const [arn, paths] of untaken) {
    const senders = paths.size === 1 ? `Rule ${[...paths].join('')} sends` : `Rules ${[...paths].join(', ')} send`;
    warn(`${senders} to ${arn}, which takes no messages in this run: events for it are not delivered.`);
  }
  const archives = makeEach(model.ofType('AWS::Events::Archive'), warn, (archive) => {
    const pattern = archive.get('EventPattern');
    return {
      ArchiveName: String(archive.ref()),
      EventSourceArn: archive.text('SourceArn') ?? '',
      ...(pattern !== undefined && { EventPattern: pattern as object }),
      RetentionDays: Number(archive.get('RetentionDays') ?? 0),
    };
  });
  for (const archive of archives) await eventBridge.createArchive(archive);
  return rules.flat();
}

/** Returns false for a rule that cannot be made. */
function putRule(
  resource: Resource, name: string, busName: string, eventBridge: LocalEventBridge, warn: (sentence: string) => void,
): boolean {
  const pattern = resource.get('EventPattern');
  const rule = { Name: name, EventBusName: busName, State: resource.text('State') ?? 'ENABLED', ...(pattern !== undefined && { EventPattern: pattern as object }) };
  const schedule = resource.text('ScheduleExpression');
  if (schedule === undefined) {
    eventBridge.putRule(rule);
    return true;
  }
  try {
    eventBridge.putRule({ ...rule, ScheduleExpression: schedule });
    return true;
  } catch (error) {
    if (!(error instanceof AwsError) || error.name !== 'ValidationException') throw error;
    warn(`Rule ${resource.constructPath} does not fire at ${schedule}: ${error.message}`);
    if (pattern !== undefined) eventBridge.putRule(rule);
    return pattern !== undefined;
  }
}

/** The template's targets have the shape of the API; only its numbers may be texts. */
function targetsOf(rule: Resource): Target[] {
  const raw = rule.stack.evaluator.resolveLeniently(rule.source.Properties?.Targets ?? [], `${rule.path}.Targets`, ({ message }) => `(unknown: ${message})`) as Target[];
  return raw.map((target) => {
    const { MaximumRetryAttempts: attempts, MaximumEventAgeInSeconds: age } = target.RetryPolicy ?? {};
    return {
      ...target,
      ...(target.RetryPolicy && {
        RetryPolicy: {
          ...(attempts !== undefined && { MaximumRetryAttempts: Number(attempts) }),
          ...(age !== undefined && { MaximumEventAgeInSeconds: Number(age) }),
        },
      }),
    };
  });
}
