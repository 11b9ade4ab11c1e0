import { invalidValue, missing, SqsError } from '../errors.ts';
import { requiredText, texts } from '../input.ts';
import type { Queue } from '../queue.ts';
import { policyOf, statementsOf } from '../store.ts';
import { NOTHING, queueOf } from './action.ts';
import type { Action } from './action.ts';

const MOST_ACTIONS = 7;

/** The actions that a queue's owner can share. */
const SHARED: ReadonlySet<string> = new Set([
  '*', 'SendMessage', 'ReceiveMessage', 'DeleteMessage', 'ChangeMessageVisibility', 'GetQueueAttributes', 'GetQueueUrl', 'PurgeQueue',
  'ListDeadLetterSourceQueues',
]);

export const permissionActions: Readonly<Record<string, Action>> = {
  AddPermission: (input, context) => {
    const queue = queueOf(input, context);
    const label = requiredText(input, 'Label');
    if (!/^[A-Za-z0-9_-]{1,80}$/.test(label)) throw invalidValue(label, 'Label', 'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.');
    const accounts = texts(input, 'AWSAccountIds');
    const actions = texts(input, 'Actions');
    checkGrant(accounts, actions);
    if (withLabel(queue, label) !== undefined) throw invalidValue(label, 'Label', 'Already exists.');
    const statement = {
      Sid: label,
      Effect: 'Allow',
      Principal: { AWS: single(accounts.map((account) => `arn:aws:iam::${account}:root`)) },
      Action: single(actions.map((action) => `SQS:${action}`)),
      Resource: queue.arn,
    };
    setStatements(queue, [...statementsOf(queue), statement]);
    context.store.changed(queue);
    return NOTHING;
  },

  RemovePermission: (input, context) => {
    const queue = queueOf(input, context);
    const label = requiredText(input, 'Label');
    const statement = withLabel(queue, label);
    if (statement === undefined) throw invalidValue(label, 'Label', "can't find label on existing policy");
    setStatements(queue, statementsOf(queue).filter((each) => each !== statement && sidOf(each) !== label));
    context.store.changed(queue);
    return NOTHING;
  },
};

function checkGrant(accounts: readonly string[], actions: readonly string[]): void {
  if (accounts.length === 0) throw missing('AWSAccountIds');
  if (actions.length === 0) throw missing('Actions');
  const account = accounts.find((each) => !/^\d{12}$/.test(each));
  if (account !== undefined) throw invalidValue(account, 'PrincipalId', 'Unable to verify.');
  if (actions.length > MOST_ACTIONS) throw new SqsError('OverLimit', `${actions.length} Actions were found, maximum allowed is ${MOST_ACTIONS}.`);
  const action = actions.find((each) => !SHARED.has(each));
  if (action !== undefined) throw invalidValue(`SQS:${action}`, 'ActionName', 'Only the queue owner is allowed to invoke this action.');
}

function setStatements(queue: Queue, statements: readonly unknown[]): void {
  const policy = { Version: '2012-10-17', Id: `${queue.arn}/SQSDefaultPolicy`, ...policyOf(queue), Statement: statements };
  queue.setAttributes({ Policy: statements.length === 0 ? '' : JSON.stringify(policy) });
}

function withLabel(queue: Queue, label: string): unknown {
  return statementsOf(queue).find((statement) => sidOf(statement) === label);
}

function sidOf(statement: unknown): unknown {
  return (statement as { readonly Sid?: unknown } | null)?.Sid;
}

function single(values: readonly string[]): string | readonly string[] {
  return values.length === 1 ? values[0]! : values;
}
