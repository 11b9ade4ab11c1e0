import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { invalid } from '../../private/validation';

/**
 * A target that does not say who it is. What is granted to it is a warning with the statement.
 *
 * The core's own has no account, so resources would name it in their policies, which is an error that says nothing of a consumer.
 */
export class UnknownTarget extends iam.UnknownPrincipal {
  public readonly principalAccount: string;

  constructor(private readonly scope: Construct) {
    super({ resource: scope });
    this.principalAccount = Stack.of(scope).account;
  }

  public override get policyFragment(): iam.PrincipalPolicyFragment {
    throw invalid(this.scope, 'a policy has to name the target, which does not say who it is: give the permission to its role, or let your own target '
      + 'return `grantee`');
  }
}
