import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as sns from 'aws-cdk-lib/aws-sns';
import type { IConstruct } from 'constructs';

/**
 * Lets the events of Amazon RDS be published to a topic, as far as its policy can be changed.
 *
 * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.GrantingPermissions.html
 */
export function grantEvents(scope: IConstruct, topic: sns.ITopic): void {
  const principals = [new iam.ServicePrincipal('events.rds.amazonaws.com')];
  const conditions = { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } };
  topic.addToResourcePolicy(new iam.PolicyStatement({ principals, conditions, actions: ['sns:Publish'], resources: [topic.topicArn] }));
  topic.masterKey?.addToResourcePolicy(new iam.PolicyStatement({
    principals, conditions, actions: ['kms:Decrypt', 'kms:GenerateDataKey*'], resources: ['*'],
  }));
}
