import type { Resource } from '../assembly/model.ts';
import type { LocalEventBridge } from '../eventbridge/types.ts';
import { parseExpression } from '../schedules/expression.ts';
import type { Occurrences } from '../schedules/expression.ts';
import { InvalidSchedule } from '../schedules/invalid-schedule.ts';
import type { RunContext } from '../service.ts';

/** A target in the shape of the API. */
export interface ScheduleTarget {
  readonly Arn: string;
  readonly Input?: string;
  readonly DeadLetterConfig?: { readonly Arn?: string };
  readonly SqsParameters?: { readonly MessageGroupId?: string };
  readonly EventBridgeParameters?: { readonly DetailType?: string; readonly Source?: string };
}

/** A schedule of a stack whose target takes invocations in this run. */
export interface MadeSchedule {
  readonly name: string;
  readonly arn: string;
  readonly expression: string;
  readonly enabled: boolean;
  readonly occurrences: Occurrences;
  readonly target: ScheduleTarget;
}

export interface Surroundings extends Pick<RunContext, 'receiver' | 'warn'> {
  readonly buses: LocalEventBridge;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** The actions of the SDK that a schedule can call here. Every other one is named. */
export const SDK_SEND_MESSAGE = 'arn:aws:scheduler:::aws-sdk:sqs:sendMessage';
export const SDK_PUT_EVENTS = 'arn:aws:scheduler:::aws-sdk:eventbridge:putEvents';

/** Reads a schedule of a template. One that cannot fire in this run is named with a warning. */
export function readSchedule(
  resource: Resource, names: { readonly name: string; readonly arn: string }, around: Surroundings,
): MadeSchedule | undefined {
  const expression = resource.text('ScheduleExpression') ?? '';
  const what = `Schedule ${resource.constructPath} does not fire at ${expression}`;
  const { receiver, warn, buses, now } = around;
  const target = targetOf(resource);
  try {
    const occurrences = occurrencesOf(resource, expression, now);
    const sdk = target.Arn.includes(':::aws-sdk:');
    const bus = buses.listBuses().some(({ Arn }) => Arn === target.Arn);
    if (sdk ? ![SDK_SEND_MESSAGE, SDK_PUT_EVENTS].includes(target.Arn) : !bus && !receiver(target.Arn)) {
      throw new InvalidSchedule(`its target ${target.Arn} takes no messages in this run`);
    }
    if (occurrences.after(now - 1) === undefined) warn(`${what}: its last time has passed.`);
    return { ...names, expression, target, occurrences, enabled: resource.text('State') !== 'DISABLED' };
  } catch (error) {
    if (!(error instanceof InvalidSchedule)) throw error;
    warn(`${what}: ${error.message}.`);
    return undefined;
  }
}

/** A rate begins at its start date, or else at once, as in AWS. */
function occurrencesOf(resource: Resource, expression: string, now: number): Occurrences {
  const [start, end] = [moment(resource, 'StartDate'), moment(resource, 'EndDate')];
  const timeZone = resource.text('ScheduleExpressionTimezone') ?? 'UTC';
  const occurrences = parseExpression(expression, { timeZone, rateFrom: start ?? now });
  return {
    after: (time) => {
      const next = occurrences.after(start === undefined ? time : Math.max(time, start - 1));
      return next === undefined || (end !== undefined && next > end) ? undefined : next;
    },
  };
}

function moment(resource: Resource, property: string): number | undefined {
  const text = resource.text(property);
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new InvalidSchedule(`its ${property} ${text} is no time`);
  return time;
}

/** The template's target has the shape of the API. What only AWS knows in it is an ARN that nothing here has. */
function targetOf(resource: Resource): ScheduleTarget {
  const { evaluator } = resource.stack;
  return evaluator.resolveLeniently(resource.source.Properties?.Target ?? { Arn: '' }, `${resource.path}.Target`, ({ message }) => `(unknown: ${message})`) as ScheduleTarget;
}
