import { Arn, ArnFormat, Names, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';

/**
 * Forwards events of another account's bus to a bus of this account.
 *
 * A rule on a bus of another account sends to a bus of the account that made the rule; to a queue, only with a role of the bus's account.
 * AWS recommends this for teams that own their subscriptions:
 * https://github.com/aws-samples/amazon-eventbridge-resource-policy-samples/tree/main/patterns/single-bus-multi-account-pattern
 */
export class EventBusRelay extends Construct {
  /** The bus of this account that gets the events of the other bus that one of the rules matches. */
  public readonly eventBus: events.EventBus;

  /** The statement that the policy of the other bus needs. */
  public readonly policyStatement: iam.PolicyStatement;

  /** The role with which the rules on the other bus send to this one. */
  public readonly role: iam.Role;

  constructor(scope: Construct, id: string, private readonly from: events.IEventBusRef) {
    super(scope, id);
    const { account } = Stack.of(this);
    // The default name is the same in two stacks of an app that differ in `stackName` only.
    this.eventBus = new events.EventBus(this, 'EventBus', { eventBusName: Names.uniqueResourceName(this, { maxLength: 256 }) });
    this.role = new iam.Role(this, 'Role', { assumedBy: new iam.ServicePrincipal('events.amazonaws.com') });
    this.role.addToPolicy(new iam.PolicyStatement({ actions: ['events:PutEvents'], resources: [this.eventBus.eventBusArn] }));

    const { partition, region, account: owner, resourceName } = Arn.split(from.eventBusRef.eventBusArn, ArnFormat.SLASH_RESOURCE_NAME);
    this.policyStatement = new iam.PolicyStatement({
      principals: [new iam.AccountPrincipal(account)],
      actions: [
        'events:PutRule', 'events:DeleteRule', 'events:DescribeRule', 'events:EnableRule', 'events:DisableRule',
        'events:PutTargets', 'events:RemoveTargets', 'events:ListTargetsByRule',
        'events:TagResource', 'events:UntagResource', 'events:ListTagsForResource',
      ],
      // The ARN of a rule on the default bus doesn't contain the name of the bus.
      resources: [`arn:${partition}:events:${region}:${owner}:rule/${resourceName === 'default' ? '' : `${resourceName}/`}*`],
      conditions: { StringEqualsIfExists: { 'events:creatorAccount': account } },
    });
  }

  /** Adds a rule to the other bus, for the events that a rule on this one matches. */
  public addRule(id: string, rule: events.Rule, deadLetterQueueArn: string): events.CfnRule {
    const { eventPattern } = rule.node.defaultChild as events.CfnRule;
    const relayed = new events.CfnRule(this, id, {
      eventBusName: this.from.eventBusRef.eventBusArn,
      eventPattern,
      targets: [{
        id: 'Target0',
        arn: this.eventBus.eventBusArn,
        roleArn: this.role.roleArn,
        deadLetterConfig: { arn: deadLetterQueueArn },
      }],
    });
    relayed.node.addDependency(this.role, rule);
    return relayed;
  }
}
