import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';

/** The policy of a scope, if an identity has it. A policy without an identity isn't in the template. */
export function attachedPolicy(scope: Construct, id: string): iam.Policy | undefined {
  const policy = scope.node.tryFindChild(id);
  return policy instanceof iam.Policy && isAttached(policy.node.defaultChild as iam.CfnPolicy) ? policy : undefined;
}

export function isAttached(policy: iam.CfnPolicy): boolean {
  return [policy.roles, policy.users, policy.groups].some((names) => Stack.of(policy).resolve(names)?.length > 0);
}
