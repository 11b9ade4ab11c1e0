import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { invalid } from '../../private/validation';

/**
 * The identity of a target without a known identity. A grant to it is a warning with the statement.
 *
 * The `UnknownPrincipal` of the core has no account, so resources would name it in their policies: an error that doesn't name the consumer.
 */
export class UnknownTarget extends iam.UnknownPrincipal {
  public readonly principalAccount: string;

  constructor(private readonly scope: Construct) {
    super({ resource: scope });
    this.principalAccount = Stack.of(scope).account;
  }

  public override get policyFragment(): iam.PrincipalPolicyFragment {
    throw invalid(this.scope, 'a policy has to name the target, whose identity is unknown: give the permission to its role, or let your own target '
      + 'return `grantee`');
  }
}
