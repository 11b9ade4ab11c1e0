import type { Archive } from './archive.ts';
import { AwsError, validation } from './errors.ts';
import type { EventBridge } from './event-bridge.ts';
import { parseJson } from './json.ts';
import { compilePattern, matchesPattern } from './pattern.ts';
import type { Replay } from './replay.ts';
import type { PutEventsEntry, ReplayInput, RuleInput, Target } from './types.ts';
import type { Actions, Input } from '../http/aws-json.ts';
import { optionalNumber, optionalObject, optionalText, page, requiredList, requiredText, structures } from '../http/aws-json.ts';

/** The actions of the EventBridge API, over the class that does the work. */
export function eventBridgeActions(events: EventBridge): Actions {
  const busOf = (input: Input) => optionalText(input, 'EventBusName') ?? 'default';

  return {
    PutEvents: input => events.putEvents(structures(requiredList(input, 'Entries'), 'Entries').map(entry)),

    TestEventPattern: input => {
      const pattern = compilePattern(requiredText(input, 'EventPattern'));
      const text = requiredText(input, 'Event');
      let event: unknown;
      try {
        event = parseJson(text);
      } catch {
        event = undefined;
      }
      if (typeof event !== 'object' || event === null || Array.isArray(event)) throw validation('Parameter Event is not valid.');
      for (const field of ['id', 'account', 'source', 'time', 'region', 'resources', 'detail-type']) {
        if (!Object.hasOwn(event, field)) throw validation(`Parameter Event is not valid. Reason: the field ${field} is missing.`);
      }
      return { Result: matchesPattern(pattern, event) };
    },

    CreateEventBus: input => {
      const name = requiredText(input, 'Name');
      if (events.listBuses().some(({ Name }) => Name === name)) {
        throw new AwsError('ResourceAlreadyExistsException', `Event bus ${name} already exists.`);
      }
      return { EventBusArn: events.createBus(name).Arn };
    },
    DeleteEventBus: input => events.deleteBus(requiredText(input, 'Name')),
    DescribeEventBus: input => {
      const { bus, createdAt } = events.bus(optionalText(input, 'Name'));
      return { ...bus, CreationTime: createdAt / 1000, LastModifiedTime: createdAt / 1000 };
    },
    ListEventBuses: input => {
      const { items, ...more } = page(named(events.listBuses(), input), input);
      return { EventBuses: items, ...more };
    },

    PutRule: input => ({
      RuleArn: events.putRule({
        Name: requiredText(input, 'Name'),
        EventBusName: busOf(input),
        ...texts(input, ['EventPattern', 'ScheduleExpression', 'State', 'Description', 'RoleArn']),
      } as RuleInput).Arn,
    }),
    DescribeRule: input => events.describeRule(requiredText(input, 'Name'), busOf(input)),
    ListRules: input => {
      const { items, ...more } = page(named(events.listRules(busOf(input)), input), input);
      return { Rules: items, ...more };
    },
    ListRuleNamesByTarget: input => {
      const arn = requiredText(input, 'TargetArn');
      const bus = busOf(input);
      const names = events
        .listRules(bus)
        .filter(({ Name }) => events.listTargets(Name, bus).some(({ Arn }) => Arn === arn))
        .map(({ Name }) => Name);
      const { items, ...more } = page(names, input);
      return { RuleNames: items, ...more };
    },
    EnableRule: input => events.setRuleState(requiredText(input, 'Name'), busOf(input), 'ENABLED'),
    DisableRule: input => events.setRuleState(requiredText(input, 'Name'), busOf(input), 'DISABLED'),
    DeleteRule: input => events.deleteRule(requiredText(input, 'Name'), busOf(input)),

    PutTargets: input => {
      events.putTargets(requiredText(input, 'Rule'), busOf(input), structures(requiredList(input, 'Targets'), 'Targets').map(target));
      return { FailedEntryCount: 0, FailedEntries: [] };
    },
    RemoveTargets: input => {
      const ids = requiredList(input, 'Ids').map(String);
      const FailedEntries = events
        .removeTargets(requiredText(input, 'Rule'), busOf(input), ids)
        .map(TargetId => ({ TargetId, ErrorCode: 'ResourceNotFoundException', ErrorMessage: `Target ${TargetId} does not exist.` }));
      return { FailedEntryCount: FailedEntries.length, FailedEntries };
    },
    ListTargetsByRule: input => {
      const { items, ...more } = page(events.listTargets(requiredText(input, 'Rule'), busOf(input)), input);
      return { Targets: items, ...more };
    },

    CreateArchive: async input => {
      const ArchiveName = requiredText(input, 'ArchiveName');
      const RetentionDays = optionalNumber(input, 'RetentionDays');
      await events.createArchive({
        ArchiveName,
        EventSourceArn: requiredText(input, 'EventSourceArn'),
        ...texts(input, ['EventPattern', 'Description']),
        ...(RetentionDays !== undefined && { RetentionDays }),
      });
      const { ArchiveArn, State, CreationTime } = describeArchive(events.archives.archive(ArchiveName));
      return { ArchiveArn, State, CreationTime };
    },
    DescribeArchive: input => describeArchive(events.archives.archive(requiredText(input, 'ArchiveName'))),
    ListArchives: input => {
      const source = optionalText(input, 'EventSourceArn');
      const all = events.archives.all()
        .map(describeArchive)
        .filter(({ EventSourceArn }) => source === undefined || EventSourceArn === source);
      const { items, ...more } = page(named(all, input, 'ArchiveName'), input);
      return { Archives: items.map(({ ArchiveArn: _, Description: __, EventPattern: ___, ...archive }) => archive), ...more };
    },
    DeleteArchive: input => events.archives.delete(requiredText(input, 'ArchiveName')),

    StartReplay: input => {
      const ReplayName = requiredText(input, 'ReplayName');
      const { ReplayArn } = events.startReplay(replay(input));
      const { State, ReplayStartTime } = describeReplay(events.archives.replay(ReplayName));
      return { ReplayArn, State, ReplayStartTime };
    },
    DescribeReplay: input => describeReplay(events.archives.replay(requiredText(input, 'ReplayName'))),
    ListReplays: input => {
      const [source, state] = [optionalText(input, 'EventSourceArn'), optionalText(input, 'State')];
      const all = events.archives.replays()
        .map(describeReplay)
        .filter(({ EventSourceArn, State }) => (source ?? EventSourceArn) === EventSourceArn && (state ?? State) === State);
      const { items, ...more } = page(named(all, input, 'ReplayName'), input);
      return { Replays: items.map(({ ReplayArn: _, Description: __, Destination: ___, ...each }) => each), ...more };
    },
    CancelReplay: input => {
      const one = events.archives.replay(requiredText(input, 'ReplayName'));
      one.cancel();
      return { ReplayArn: describeReplay(one).ReplayArn, State: one.state };
    },
  };

  function describeArchive(archive: Archive) {
    const { name, eventSourceArn, eventPattern, description, retentionDays } = archive.settings;
    return {
      ArchiveArn: events.arn(`archive/${name}`),
      ArchiveName: name,
      EventSourceArn: eventSourceArn,
      Description: description,
      EventPattern: eventPattern,
      State: 'ENABLED',
      RetentionDays: retentionDays,
      SizeBytes: archive.sizeBytes,
      EventCount: archive.eventCount,
      CreationTime: archive.createdAt / 1000,
    };
  }

  function describeReplay(one: Replay) {
    const { ReplayName, Description, EventSourceArn, Destination, EventStartTime, EventEndTime } = one.input;
    const seconds = (time: number | undefined) => (time === undefined ? undefined : time / 1000);
    return {
      ReplayArn: events.arn(`replay/${ReplayName}`),
      ReplayName,
      Description,
      EventSourceArn,
      Destination,
      State: one.state,
      StateReason: one.stateReason,
      EventStartTime: EventStartTime instanceof Date ? EventStartTime.getTime() / 1000 : EventStartTime,
      EventEndTime: EventEndTime instanceof Date ? EventEndTime.getTime() / 1000 : EventEndTime,
      EventLastReplayedTime: seconds(one.lastEventTime),
      ReplayStartTime: seconds(one.startedAt),
      ReplayEndTime: seconds(one.endedAt),
    };
  }
}

function texts(input: Input, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap(name => {
      const value = optionalText(input, name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function named<T extends object>(all: readonly T[], input: Input, key = 'Name'): T[] {
  const prefix = optionalText(input, 'NamePrefix') ?? '';
  return all.filter(each => String((each as Record<string, unknown>)[key]).startsWith(prefix));
}

function entry(input: Input): PutEventsEntry {
  const Time = optionalNumber(input, 'Time');
  const resources = input.Resources ?? undefined;
  if (resources !== undefined && (!Array.isArray(resources) || !resources.every(each => typeof each === 'string'))) {
    throw new AwsError('SerializationException', 'Resources must be a list of strings');
  }
  return {
    ...texts(input, ['Source', 'DetailType', 'Detail', 'EventBusName', 'TraceHeader']),
    ...(Time !== undefined && { Time }),
    ...(resources !== undefined && { Resources: resources as string[] }),
  };
}

function target(input: Input): Target {
  const RetryPolicy = optionalObject(input, 'RetryPolicy');
  const InputTransformer = optionalObject(input, 'InputTransformer');
  if (InputTransformer !== undefined) {
    requiredText(InputTransformer, 'InputTemplate');
    const paths = optionalObject(InputTransformer, 'InputPathsMap') ?? {};
    for (const name of Object.keys(paths)) requiredText(paths, name);
  }
  if (RetryPolicy !== undefined) ['MaximumRetryAttempts', 'MaximumEventAgeInSeconds'].forEach(name => optionalNumber(RetryPolicy, name));
  for (const [name, field] of [
    ['SqsParameters', 'MessageGroupId'],
    ['DeadLetterConfig', 'Arn'],
  ] as const) {
    const structure = optionalObject(input, name);
    if (structure !== undefined) optionalText(structure, field);
  }
  texts(input, ['Input', 'InputPath', 'RoleArn']);
  requiredText(input, 'Id');
  requiredText(input, 'Arn');
  // Kept whole, also with what is of no effect here, so that ListTargetsByRule gives back what was put.
  return input as unknown as Target;
}

function replay(input: Input): ReplayInput {
  const [EventStartTime, EventEndTime] = [optionalNumber(input, 'EventStartTime'), optionalNumber(input, 'EventEndTime')];
  const Destination = optionalObject(input, 'Destination');
  if (EventStartTime === undefined || EventEndTime === undefined) throw validation('EventStartTime and EventEndTime must not be null');
  if (Destination === undefined) throw validation('Destination must not be null');
  const filters =
    Destination.FilterArns === undefined || Destination.FilterArns === null
      ? undefined
      : requiredList(Destination, 'FilterArns').map(String);
  return {
    ReplayName: requiredText(input, 'ReplayName'),
    EventSourceArn: requiredText(input, 'EventSourceArn'),
    EventStartTime,
    EventEndTime,
    Destination: { Arn: requiredText(Destination, 'Arn'), ...(filters !== undefined && { FilterArns: filters }) },
    ...texts(input, ['Description']),
  };
}
