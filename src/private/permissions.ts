import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct, IConstruct } from 'constructs';
import { differ } from './validation';

/** Actions on one queue and on its key. They are narrower than the grants of the queue itself. */
export function grantQueue(queue: sqs.IQueue, grantee: iam.IGrantable, actions: string[], keyActions: string[]): iam.Grant {
  const grant = iam.Grant.addToPrincipal({ grantee, actions, resourceArns: [queue.queueArn] });
  const key = queue.encryptionMasterKey;
  if (!key) { return grant; }
  return grant.combine(importedAliasOf(key)
    ? iam.Grant.addToPrincipal({ grantee, actions: keyActions, ...keyResource(key) })
    : key.grant(grantee, ...keyActions));
}

/** An alias whose key is unknown. Its own grant has an effect only with a feature flag. */
function importedAliasOf(key: kms.IKey): string | undefined {
  if (key instanceof kms.Alias) { return undefined; }
  return 'aliasName' in key ? String(key.aliasName) : /:(alias\/[^:]+)$/.exec(key.keyArn)?.[1];
}

/** A key in a policy. The ARN of an alias is not valid there (https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html). */
function keyResource(key: kms.IKey): { resourceArns: string[]; conditions?: { [operator: string]: { [name: string]: unknown } } } {
  const alias = importedAliasOf(key);
  if (!alias) { return { resourceArns: [key.keyArn] }; }
  const { account, region } = key.env;
  return {
    resourceArns: [Stack.of(key).formatArn({ service: 'kms', account, region, resource: 'key', resourceName: '*' })],
    conditions: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': alias } },
  };
}

const CONSUME = [
  'sqs:ReceiveMessage',
  'sqs:DeleteMessage',
  'sqs:ChangeMessageVisibility',
  'sqs:GetQueueAttributes',
];

/** Permission to receive, extend and delete messages, and to read their number. */
export function grantConsume(queue: sqs.IQueue, grantee: iam.IGrantable): iam.Grant {
  return grantQueue(queue, grantee, CONSUME, ['kms:Decrypt']);
}

/** The statements of `grantConsume`, for identities that can't be changed here. */
export function consumeStatements(queue: sqs.IQueue): iam.PolicyStatement[] {
  const key = queue.encryptionMasterKey;
  const statements = [new iam.PolicyStatement({ actions: CONSUME, resources: [queue.queueArn] })];
  if (key) {
    const { resourceArns: resources, conditions } = keyResource(key);
    statements.push(new iam.PolicyStatement({ actions: ['kms:Decrypt'], resources, conditions }));
  }
  return statements;
}

/**
 * Allows an identity of another account in the policies of queue and key, as far as they can be changed. Its own policy must allow it,
 * too.
 */
export function admitConsumer(queue: sqs.IQueue, grantee: iam.IGrantable): void {
  const { principalAccount } = grantee.grantPrincipal;
  if (principalAccount === undefined || !differ(principalAccount, queue.env.account)) { return; }
  const principals = [grantee.grantPrincipal];
  queue.addToResourcePolicy(new iam.PolicyStatement({ principals, actions: CONSUME, resources: [queue.queueArn] }));
  queue.encryptionMasterKey?.addToResourcePolicy(new iam.PolicyStatement({ principals, actions: ['kms:Decrypt'], resources: ['*'] }), true);
}

/**
 * Makes a policy that lets an identity consume a queue, in the given scope: the stack of a role must not need the stack of
 * the queue. Returns undefined if the identity accepts no policy, such as one of another account or an imported one without policy updates.
 */
export function attachConsumePolicy(scope: Construct, id: string, identity: iam.IIdentity, queue: sqs.IQueue): iam.Policy | undefined {
  const policy = new iam.Policy(scope, id);
  grantConsume(queue, policy);
  identity.attachInlinePolicy(policy);
  return isAttached(policy) ? policy : undefined;
}

/** Whether an identity has accepted the policy. */
export function isAttached(policy: iam.Policy): boolean {
  const { roles, users, groups } = policy.node.defaultChild as iam.CfnPolicy;
  return Stack.of(policy).resolve([roles, users, groups]).flat().some(Boolean);
}

/** Returns statements as JSON, for a warning. */
export function statementsText(scope: IConstruct, statements: iam.PolicyStatement[]): string {
  return statements.map((statement) => JSON.stringify(Stack.of(scope).resolve(statement.toStatementJson()))).join(', ');
}

/** Permission to read all versions of a secret, and to know which there are. */
export function grantSecretVersions(secret: secretsmanager.ISecret, grantee: iam.IGrantable): iam.Grant {
  return grantSecretValue(secret, grantee, ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret']);
}

/** Permission to read the value of a secret and nothing else. */
export function grantSecretValue(secret: secretsmanager.ISecret, grantee: iam.IGrantable, actions = ['secretsmanager:GetSecretValue']): iam.Grant {
  const grant = iam.Grant.addToPrincipal({
    grantee,
    actions,
    // An ARN without the suffix that Secrets Manager adds must match the complete ARN.
    resourceArns: [secret.secretFullArn ?? `${secret.secretArn}-??????`],
  });
  if (!secret.encryptionKey) { return grant; }
  // The policy of the identity is used, not that of the key as in the grant of the secret: a key of another stack would need this stack.
  return grant.combine(iam.Grant.addToPrincipal({
    grantee,
    actions: ['kms:Decrypt'],
    resourceArns: [secret.encryptionKey.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${Stack.of(secret).region}.amazonaws.com` } },
  }));
}
