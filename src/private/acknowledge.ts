import type { IConstruct } from 'constructs';

/**
 * Accepts a finding of cdk-nag with its reason, as `Validations.of(construct).acknowledge()` of newer versions of aws-cdk-lib does.
 *
 * It is metadata only: it does nothing for those who don't use cdk-nag.
 */
export function acknowledge(construct: IConstruct, id: string, reason: string): void {
  construct.node.addMetadata('aws:cdk:acknowledged-rules', { [id]: reason });
}
