import { checkName, checkRange } from './checks.ts';
import { AwsError, notFound, validation } from './errors.ts';
import { compileInput } from './input.ts';
import type { RenderInput } from './input.ts';
import { compilePattern } from './pattern.ts';
import type { CompiledPattern, WantedPaths } from './pattern.ts';
import { occurrencesOf } from './scheduled.ts';
import type { Bus, Rule, RuleInput, ScheduledRule, Target } from './types.ts';
import type { Timetable } from '../schedules/timetable.ts';

export interface BoundTarget {
  readonly target: Target;
  readonly render: RenderInput;
}

export interface BoundRule {
  readonly rule: Rule;
  readonly pattern: CompiledPattern | undefined;
  readonly targets: Map<string, BoundTarget>;
}

export interface BusState {
  readonly bus: Bus;
  readonly createdAt: number;
  readonly rules: Map<string, BoundRule>;
  /** The paths that the enabled rules and the archives look at, worked out when the first event after a change comes. */
  wanted: WantedPaths | undefined;
}

export interface BusesOptions {
  readonly region: string;
  readonly accountId: string;
  readonly clock: () => number;
}

/** The parts of an EventBridge that a change of its rules concerns. */
interface Hooks {
  readonly timetable: Timetable;
  /** A rule has got a target. */
  subscribed(to: { readonly busName: string; readonly ruleName: string; readonly targetId: string; readonly targetArn: string }): void;
  /** The time of a scheduled rule has come. */
  fire(ruleName: string, time: number): Promise<void>;
}

const MAX_TARGETS = 5;
const RULE_STATES = ['ENABLED', 'DISABLED', 'ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS'];

/** Event buses with their rules and targets. */
export class Buses {
  readonly region: string;
  readonly accountId: string;
  readonly clock: () => number;
  readonly #buses = new Map<string, BusState>();
  readonly #hooks: Hooks;

  constructor({ region, accountId, clock }: BusesOptions, hooks: Hooks) {
    this.region = region;
    this.accountId = accountId;
    this.clock = clock;
    this.#hooks = hooks;
    this.createBus('default');
  }

  /** The bus with this name or ARN, if there is one. */
  find(nameOrArn: string): BusState | undefined {
    return this.#buses.get(this.busName(nameOrArn));
  }

  createBus(name: string): Bus {
    checkName('name', name, /^[/.\-_A-Za-z0-9]{1,256}$/);
    const known = this.#buses.get(name);
    if (known !== undefined) return known.bus;
    const bus = { Name: name, Arn: this.arn(`event-bus/${name}`) };
    this.#buses.set(name, { bus, createdAt: this.clock(), rules: new Map(), wanted: undefined });
    return bus;
  }

  deleteBus(nameOrArn: string): void {
    const name = this.busName(nameOrArn);
    if (name === 'default') throw validation('Cannot delete event bus default.');
    if ((this.#buses.get(name)?.rules.size ?? 0) > 0) throw validation(`Event bus ${name} can't be deleted since it has rules.`);
    this.#buses.delete(name);
  }

  listBuses(): Bus[] {
    return [...this.#buses.values()].map(({ bus }) => bus);
  }

  bus(nameOrArn = 'default'): BusState {
    const state = this.#buses.get(this.busName(nameOrArn));
    if (state === undefined) throw notFound(`Event bus ${nameOrArn} does not exist.`);
    return state;
  }

  /** The name of a bus given by name or ARN; the ARN itself if it is of another account or region. */
  busName(nameOrArn: string): string {
    const own = this.arn('event-bus/');
    return nameOrArn.startsWith(own) ? nameOrArn.slice(own.length) : nameOrArn;
  }

  arn(resource: string): string {
    return `arn:aws:events:${this.region}:${this.accountId}:${resource}`;
  }

  putRule(input: RuleInput): Rule {
    checkName('name', input.Name, /^[.\-_A-Za-z0-9]{1,64}$/);
    const bus = this.bus(input.EventBusName);
    const { EventPattern, ScheduleExpression, State = 'ENABLED' } = input;
    if (EventPattern === undefined && ScheduleExpression === undefined) {
      throw validation('Parameter(s) EventPattern or ScheduleExpression must be specified.');
    }
    if (!RULE_STATES.includes(State)) {
      throw validation(
        `1 validation error detected: Value '${State}' at 'state' failed to satisfy constraint: ` +
          `Member must satisfy enum value set: [${RULE_STATES.join(', ')}]`,
      );
    }
    const { timetable } = this.#hooks;
    const occurrences = ScheduleExpression === undefined ? undefined : occurrencesOf(ScheduleExpression, bus.bus.Name, timetable.now());
    const pattern = EventPattern === undefined ? undefined : compilePattern(EventPattern);
    const path = bus.bus.Name === 'default' ? input.Name : `${bus.bus.Name}/${input.Name}`;
    const rule: Rule = {
      Name: input.Name,
      Arn: this.arn(`rule/${path}`),
      EventBusName: bus.bus.Name,
      State,
      ...(EventPattern !== undefined && { EventPattern: typeof EventPattern === 'string' ? EventPattern : JSON.stringify(EventPattern) }),
      ...(ScheduleExpression !== undefined && { ScheduleExpression }),
      ...(input.Description !== undefined && { Description: input.Description }),
      ...(input.RoleArn !== undefined && { RoleArn: input.RoleArn }),
    };
    bus.rules.set(input.Name, { rule, pattern, targets: bus.rules.get(input.Name)?.targets ?? new Map() });
    bus.wanted = undefined;
    if (bus.bus.Name === 'default' && (occurrences === undefined || State === 'DISABLED')) this.#hooks.timetable.delete(rule.Name);
    else if (occurrences) this.#hooks.timetable.set(rule.Name, occurrences, (time) => this.#hooks.fire(rule.Name, time));
    return rule;
  }

  setRuleState(name: string, busName: string | undefined, state: 'ENABLED' | 'DISABLED'): void {
    const { rule } = this.rule(name, busName);
    this.putRule({ ...rule, State: state });
  }

  deleteRule(name: string, busName?: string): void {
    const bus = this.bus(busName);
    if ((bus.rules.get(name)?.targets.size ?? 0) > 0) throw validation("Rule can't be deleted since it has targets.");
    if (bus.bus.Name === 'default') this.#hooks.timetable.delete(name);
    bus.rules.delete(name);
    bus.wanted = undefined;
  }

  describeRule(name: string, busName?: string): Rule {
    return this.rule(name, busName).rule;
  }

  listRules(busName?: string): Rule[] {
    return [...this.bus(busName).rules.values()].map(({ rule }) => rule);
  }

  scheduledRules(): ScheduledRule[] {
    return this.listRules().flatMap((rule) => (rule.ScheduleExpression === undefined ? [] : [{
      rule,
      expression: rule.ScheduleExpression,
      next: () => this.#hooks.timetable.next(rule.Name),
      fire: () => this.#hooks.fire(rule.Name, this.#hooks.timetable.now()),
    }]));
  }

  putTargets(ruleName: string, busName: string | undefined, targets: readonly Target[]): void {
    const { rule, targets: bound } = this.rule(ruleName, busName);
    const added = targets.map(target => ({ target, render: checkTarget(target) }));
    if (new Set([...bound.keys(), ...targets.map(({ Id }) => Id)]).size > MAX_TARGETS) {
      throw new AwsError('LimitExceededException', `Rule ${ruleName} would have more than ${MAX_TARGETS} targets.`);
    }
    for (const each of added) {
      bound.set(each.target.Id, each);
      this.#hooks.subscribed({ busName: rule.EventBusName, ruleName, targetId: each.target.Id, targetArn: each.target.Arn });
    }
  }

  removeTargets(ruleName: string, busName: string | undefined, ids: readonly string[]): string[] {
    const { targets } = this.rule(ruleName, busName);
    return ids.filter(id => !targets.delete(id));
  }

  listTargets(ruleName: string, busName?: string): Target[] {
    return [...this.rule(ruleName, busName).targets.values()].map(({ target }) => target);
  }

  /** @throws AwsError if there is no such rule */
  rule(name: string, busName?: string): BoundRule {
    const bus = this.bus(busName);
    const rule = bus.rules.get(name);
    if (rule === undefined) throw notFound(`Rule ${name} does not exist on EventBus ${bus.bus.Name}.`);
    return rule;
  }
}

function checkTarget(target: Target): RenderInput {
  const { Id, Arn, RetryPolicy, DeadLetterConfig, SqsParameters } = target;
  checkName('targets.member.id', Id, /^[.\-_A-Za-z0-9]{1,64}$/);
  if (typeof Arn !== 'string' || !/^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$/.test(Arn)) {
    throw validation(`Parameter ${String(Arn)} is not valid. Reason: Provided Arn is not in correct format.`);
  }
  checkRange(`RetryPolicy.MaximumRetryAttempts of target ${Id}`, RetryPolicy?.MaximumRetryAttempts, 0, 185);
  checkRange(`RetryPolicy.MaximumEventAgeInSeconds of target ${Id}`, RetryPolicy?.MaximumEventAgeInSeconds, 60, 86_400);
  if (Arn.endsWith('.fifo') && SqsParameters?.MessageGroupId === undefined) {
    throw validation(`Parameter(s) SqsParameters must be specified for target: ${Id}.`);
  }
  const deadLetterArn = DeadLetterConfig?.Arn;
  if (deadLetterArn !== undefined && (!/^arn:[^:]+:sqs:[^:]+:[^:]+:.+$/.test(deadLetterArn) || deadLetterArn.endsWith('.fifo'))) {
    throw validation(`DeadLetterConfig.Arn of target ${Id} must be the ARN of a standard SQS queue.`);
  }
  return compileInput(target);
}
