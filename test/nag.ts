import { Validations } from 'aws-cdk-lib';
import type { Stack } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import type { IConstruct } from 'constructs';

/**
 * The findings of the AwsSolutions pack that nobody has acknowledged with a reason.
 *
 * Acknowledgements carry the pack's name, so that reports show them with their reason; `validateScope` doesn't apply that form itself.
 */
export function unacknowledgedFindings(stack: Stack): string[] {
  return new AwsSolutionsChecks().validateScope(stack).violations.flatMap((violation) =>
    violation.violatingResources
      .map((found) => stack.node.root.node.findAll().find((construct) => construct.node.path === found.constructPath)!)
      .filter((construct) => !isAcknowledged(construct, `AwsSolutions::${violation.ruleName}`))
      .map((construct) => `${violation.ruleName} at ${construct.node.path}`));
}

function isAcknowledged(construct: IConstruct, id: string): boolean {
  return construct.node.scopes.some((scope) => scope.node.metadata.some((entry) =>
    entry.type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY && JSON.stringify(entry.data).includes(`"${id}"`)));
}
