import { randomUUID } from 'node:crypto';
import type { LocalEventBridge, PutEventsEntry } from '../eventbridge/types.ts';
import { DeliveryError } from '../service.ts';
import type { DeliveryOptions, RunContext } from '../service.ts';
import { SDK_PUT_EVENTS, SDK_SEND_MESSAGE } from './schedule.ts';
import type { MadeSchedule } from './schedule.ts';

export interface Surroundings extends Pick<RunContext, 'account' | 'region' | 'receiver' | 'log'> {
  readonly buses: LocalEventBridge;
}

/**
 * Invokes the target of a schedule once. Within one machine another attempt would end the same way, so what fails goes to the dead-letter
 * queue at once, whatever the retry policy says.
 */
export async function fire(schedule: MadeSchedule, time: number, around: Surroundings): Promise<void> {
  const input = inputOf(schedule, time, around);
  try {
    await invoke(schedule, input, around);
  } catch (error) {
    await deadLetter(schedule, input, error, around);
  }
}

/** The input of the template with its context attributes, or else an event as Scheduler makes it. */
function inputOf({ arn, target }: MadeSchedule, time: number, { account, region }: Surroundings): string {
  const scheduledTime = `${new Date(time).toISOString().slice(0, -5)}Z`;
  const id = randomUUID();
  if (target.Input === undefined) {
    return JSON.stringify({
      'version': '0', id, 'detail-type': 'Scheduled Event', 'source': 'aws.scheduler', account, 'time': scheduledTime, region, 'resources': [arn], 'detail': '{}',
    });
  }
  const attributes: Readonly<Record<string, string>> = {
    'schedule-arn': arn, 'scheduled-time': scheduledTime, 'execution-id': id, 'attempt-number': '1',
  };
  return target.Input.replace(/<aws\.scheduler\.([a-z-]+)>/g, (whole, name: string) => attributes[name] ?? whole);
}

async function invoke(schedule: MadeSchedule, input: string, around: Surroundings): Promise<void> {
  const { target } = schedule;
  if (target.Arn === SDK_SEND_MESSAGE) return sendMessage(schedule, fields(input), around);
  if (target.Arn === SDK_PUT_EVENTS) return putEvents(fields(input).Entries as PutEventsEntry[], around);
  if (around.buses.listBuses().some(({ Arn }) => Arn === target.Arn)) {
    const { DetailType = '', Source = '' } = target.EventBridgeParameters ?? {};
    return putEvents([{ EventBusName: target.Arn, DetailType, Source, Detail: input }], around);
  }
  const messageGroupId = target.SqsParameters?.MessageGroupId;
  await send(target.Arn, input, schedule, messageGroupId === undefined ? {} : { messageGroupId }, around);
}

async function send(
  arn: string, body: string, schedule: MadeSchedule, options: DeliveryOptions, { receiver, account }: Surroundings,
): Promise<void> {
  const found = receiver(arn);
  if (!found) throw new DeliveryError('NO_RESOURCE', `There is no resource ${arn} that takes messages.`);
  await found.deliver(body, { service: 'scheduler.amazonaws.com', sourceArn: schedule.arn, sourceAccount: account, byRole: true }, options);
}

async function sendMessage(schedule: MadeSchedule, input: Readonly<Record<string, unknown>>, around: Surroundings): Promise<void> {
  const [, account, name] = /\/(\d{12})\/([^/]+)$/.exec(String(input.QueueUrl)) ?? [];
  if (account === undefined) throw new DeliveryError('INVALID_PARAMETER', `QueueUrl ${String(input.QueueUrl)} is no URL of a queue.`);
  const options = {
    ...(input.MessageGroupId !== undefined && { messageGroupId: String(input.MessageGroupId) }),
    ...(input.MessageDeduplicationId !== undefined && { messageDeduplicationId: String(input.MessageDeduplicationId) }),
    ...(input.MessageAttributes !== undefined && { messageAttributes: input.MessageAttributes as NonNullable<DeliveryOptions['messageAttributes']> }),
  };
  await send(`arn:aws:sqs:${around.region}:${account}:${name}`, String(input.MessageBody ?? ''), schedule, options, around);
}

async function putEvents(entries: readonly PutEventsEntry[], { buses }: Surroundings): Promise<void> {
  const { Entries } = await buses.putEvents(entries);
  const failed = Entries.find(({ ErrorCode }) => ErrorCode !== undefined);
  if (failed) throw new DeliveryError('INVALID_PARAMETER', `${failed.ErrorCode}: ${failed.ErrorMessage}`);
}

function fields(input: string): Record<string, unknown> {
  try {
    return JSON.parse(input) as Record<string, unknown>;
  } catch {
    throw new DeliveryError('INVALID_JSON', 'The input of a call of the SDK has to be JSON.');
  }
}

async function deadLetter(schedule: MadeSchedule, input: string, error: unknown, around: Surroundings): Promise<void> {
  const { code = 'INTERNAL_ERROR', message } = error as Error & { code?: string };
  const failed = `Scheduler: schedule ${schedule.arn} could not invoke ${schedule.target.Arn} (${code}: ${message})`;
  const arn = schedule.target.DeadLetterConfig?.Arn;
  if (arn === undefined) {
    around.log('error', `${failed}; it has no dead-letter queue, so the invocation is dropped.`);
    return;
  }
  try {
    const messageAttributes = { ERROR_CODE: code, ERROR_MESSAGE: message, RETRY_ATTEMPTS: '0', SCHEDULE_ARN: schedule.arn, TARGET_ARN: schedule.target.Arn };
    await send(arn, input, schedule, { messageAttributes }, around);
    around.log('warn', `${failed}; its input is in ${arn}.`);
  } catch (second) {
    around.log('error', `${failed}; ${arn} did not take it either (${(second as Error).message}), so the invocation is dropped.`);
  }
}
