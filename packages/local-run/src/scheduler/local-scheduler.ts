import { fire } from './invocation.ts';
import { readSchedule } from './schedule.ts';
import type { MadeSchedule } from './schedule.ts';
import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { count } from '../count.ts';
import type { LocalEventBridge } from '../eventbridge/local-eventbridge.ts';
import type { LocalEventBridge as Buses } from '../eventbridge/types.ts';
import { Timetable } from '../schedules/timetable.ts';
import type { LocalService, RunContext } from '../service.ts';

/** Amazon EventBridge Scheduler: the schedules of the stacks. What would have fired while the run was down does not fire later. */
export class LocalScheduler implements LocalService {
  readonly name = 'scheduler';
  readonly title = 'schedules';
  readonly types = {
    'AWS::Scheduler::Schedule': { ref: scheduleName, attributes: { Arn: scheduleArn } },
    'AWS::Scheduler::ScheduleGroup': {
      ref: groupName,
      attributes: { Arn: (group: Resource) => group.arn('scheduler', `schedule-group/${groupName(group)}`) },
    },
  };
  /** The schedules that fire in this run. */
  schedules: readonly MadeSchedule[] = [];
  readonly #context: RunContext;
  readonly #buses: Buses;
  readonly #timetable: Timetable;

  constructor(context: RunContext, eventBridge: LocalEventBridge) {
    this.#context = context;
    this.#buses = eventBridge.events;
    this.#timetable = new Timetable((name, error) => context.log('error', `Scheduler: schedule ${name} failed: ${String(error)}`));
  }

  async start(): Promise<undefined> {
    // It has no address: programs that make schedules are refused and named.
  }

  async make(model: Model): Promise<string | undefined> {
    const { warn } = this.#context;
    const now = this.#timetable.now();
    const read = makeEach(model.ofType('AWS::Scheduler::Schedule'), warn, (resource) =>
      readSchedule(resource, { name: scheduleName(resource), arn: scheduleArn(resource) }, { ...this.#context, buses: this.#buses, now }));
    this.schedules = read.filter((schedule) => schedule !== undefined);
    for (const schedule of this.schedules) {
      if (schedule.enabled) this.#timetable.set(schedule.arn, schedule.occurrences, (time) => this.fire(schedule, time), now);
    }
    this.#timetable.start();
    return this.schedules.length > 0 ? count(this.schedules.length, 'schedule') : undefined;
  }

  /** Invokes the target of a schedule. */
  fire(schedule: MadeSchedule, time = this.#timetable.now()): Promise<void> {
    return fire(schedule, time, { ...this.#context, buses: this.#buses });
  }

  /** The time at which it fires next, in milliseconds since 1970. */
  next({ arn }: MadeSchedule): number | undefined {
    return this.#timetable.next(arn);
  }

  async stop(): Promise<void> {
    await this.#timetable.stop();
  }
}

function scheduleName(schedule: Resource): string {
  return schedule.physicalName('Name', 64);
}

function scheduleArn(schedule: Resource): string {
  return schedule.arn('scheduler', `schedule/${schedule.text('GroupName') ?? 'default'}/${scheduleName(schedule)}`);
}

function groupName(group: Resource): string {
  return group.physicalName('Name', 64);
}
