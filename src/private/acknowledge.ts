import type { IConstruct } from 'constructs';

/**
 * Accepts a finding of cdk-nag with its reason, as `Validations.of(construct).acknowledge()` of newer versions of aws-cdk-lib does.
 *
 * It is only metadata: it has no effect without cdk-nag.
 */
export function acknowledge(construct: IConstruct, id: string, reason: string): void {
  construct.node.addMetadata('aws:cdk:acknowledged-rules', { [id]: reason });
}
