import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type * as sqs from 'aws-cdk-lib/aws-sqs';

/** Actions on one queue, and what its key needs for them. Narrower than the grants of the queue itself. */
export function grantQueue(queue: sqs.IQueue, grantee: iam.IGrantable, actions: string[], keyActions: string[]): iam.Grant {
  const grant = iam.Grant.addToPrincipal({ grantee, actions, resourceArns: [queue.queueArn] });
  return queue.encryptionMasterKey ? grant.combine(queue.encryptionMasterKey.grant(grantee, ...keyActions)) : grant;
}

/** Receive, extend and delete messages, and read how many there are. */
export function grantConsume(queue: sqs.IQueue, grantee: iam.IGrantable): iam.Grant {
  return grantQueue(queue, grantee, [
    'sqs:ReceiveMessage',
    'sqs:DeleteMessage',
    'sqs:ChangeMessageVisibility',
    'sqs:GetQueueAttributes',
  ], ['kms:Decrypt']);
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
