import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct, IConstruct } from 'constructs';
import { differ } from './validation';

/** Actions on one queue, and what its key needs for them. Narrower than the grants of the queue itself. */
export function grantQueue(queue: sqs.IQueue, grantee: iam.IGrantable, actions: string[], keyActions: string[]): iam.Grant {
  const grant = iam.Grant.addToPrincipal({ grantee, actions, resourceArns: [queue.queueArn] });
  const key = queue.encryptionMasterKey;
  if (!key) { return grant; }
  return grant.combine(importedAliasOf(key)
    ? iam.Grant.addToPrincipal({ grantee, actions: keyActions, ...keyResource(key) })
    : key.grant(grantee, ...keyActions));
}

/** An alias of which the key is unknown. Its own grant gives nothing unless a feature flag says so. */
function importedAliasOf(key: kms.IKey): string | undefined {
  if (key instanceof kms.Alias) { return undefined; }
  return 'aliasName' in key ? String(key.aliasName) : /:(alias\/[^:]+)$/.exec(key.keyArn)?.[1];
}

/** A key in a policy. The ARN of an alias is none there: https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html */
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

/** Receive, extend and delete messages, and read how many there are. */
export function grantConsume(queue: sqs.IQueue, grantee: iam.IGrantable): iam.Grant {
  return grantQueue(queue, grantee, CONSUME, ['kms:Decrypt']);
}

/** What `grantConsume` gives, for identities that can't be changed here. */
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
 * Lets an identity of another account in by the policies of queue and key, as far as they can be changed. Its own policy has to allow it,
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
 * A policy that lets an identity consume a queue, in a scope of the caller's choice: the stack of a role must not need the one of
 * the queue. Undefined if the identity takes no policy, as one of another account or an imported one without policy updates.
 */
export function attachConsumePolicy(scope: Construct, id: string, identity: iam.IIdentity, queue: sqs.IQueue): iam.Policy | undefined {
  const policy = new iam.Policy(scope, id);
  grantConsume(queue, policy);
  identity.attachInlinePolicy(policy);
  const { roles, users, groups } = policy.node.defaultChild as iam.CfnPolicy;
  return Stack.of(scope).resolve([roles, users, groups]).flat().some(Boolean) ? policy : undefined;
}

/** JSON of statements, for a warning. */
export function statementsText(scope: IConstruct, statements: iam.PolicyStatement[]): string {
  return statements.map((statement) => JSON.stringify(Stack.of(scope).resolve(statement.toStatementJson()))).join(', ');
}

/** Read the value of a secret and nothing else of it. */
export function grantSecretValue(secret: secretsmanager.ISecret, grantee: iam.IGrantable): iam.Grant {
  const grant = iam.Grant.addToPrincipal({
    grantee,
    actions: ['secretsmanager:GetSecretValue'],
    // An ARN without the suffix that Secrets Manager adds has to stand for the whole one.
    resourceArns: [secret.secretFullArn ?? `${secret.secretArn}-??????`],
  });
  if (!secret.encryptionKey) { return grant; }
  // With the identity, not in the key's policy as the secret's own grant does: a key of another stack would need that stack.
  return grant.combine(iam.Grant.addToPrincipal({
    grantee,
    actions: ['kms:Decrypt'],
    resourceArns: [secret.encryptionKey.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${Stack.of(secret).region}.amazonaws.com` } },
  }));
}
