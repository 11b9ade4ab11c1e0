import { Annotations, Lazy, Stack } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { refersTo } from '../../private/references';

/** The id of the policy in its scope, and of its statement. */
const ID = 'OnlyPublishers';

/** All of AWS, all of an account, or a session, whose caller has the ARN of its role. */
const MANY = /^"(\*|\d{12})"$|:root"|:assumed-role\//;

/** Denies all but the publishers to put events on a bus, from the first publisher on. */
export class PublishersOnly {
  private readonly arns: string[] = [];
  private isOpen = false;

  constructor(private readonly scope: Construct, private readonly eventBus: events.IEventBus) {
  }

  public admit({ grantPrincipal }: iam.IGrantable): void {
    const arn = this.arnOf(grantPrincipal);
    if (arn === undefined) { this.open(); }
    if (this.isOpen || arn === undefined) { return; }
    if (this.arns.length === 0) { this.close(); }
    if (!this.arns.includes(arn)) { this.arns.push(arn); }
  }

  private close(): void {
    const statement = new iam.PolicyStatement({
      sid: ID,
      effect: iam.Effect.DENY,
      principals: [new iam.StarPrincipal()],
      actions: ['events:PutEvents'],
      resources: [this.eventBus.eventBusArn],
      conditions: {
        ArnNotEquals: { 'aws:PrincipalArn': Lazy.list({ produce: () => this.arns }) },
        // A replay comes from EventBridge itself.
        Bool: { 'aws:PrincipalIsAWSService': 'false' },
      },
    });
    new events.EventBusPolicy(this.scope, ID, { eventBus: this.eventBus, statementId: ID, statement: statement.toJSON() });
  }

  /** A publisher that the policy can't name would be denied. */
  private open(): void {
    if (this.isOpen) { return; }
    this.isOpen = true;
    this.scope.node.tryRemoveChild(ID);
    Annotations.of(this.scope).addWarningV2('cdk-order-pipeline:eventBusOpenToAccount',
      'the policy of the bus can\'t name a publisher: its identity is unknown, it is a role in another stack, or it is many at once, such as a group '
      + 'or an account. So the bus denies nobody of this account to publish: publish with a role in this stack, or bring the bus with a policy of its '
      + 'own (EventTransport.eventBridge({ eventBus }))');
  }

  private arnOf(principal: iam.IPrincipal): string | undefined {
    // The identity of a caller is never that of its group.
    if (principal instanceof iam.UnknownPrincipal || 'groupArn' in principal) { return undefined; }
    const names = [principal.policyFragment.principalJson.AWS ?? []].flat();
    if (names.length !== 1 || MANY.test(JSON.stringify(Stack.of(this.scope).resolve(names[0])))) { return undefined; }
    const arn: string = names[0];
    // The stack of such a role needs this one for the bus, so this one can't need it.
    const elsewhere = Construct.isConstruct(principal) && Stack.of(principal) !== Stack.of(this.scope) && refersTo(arn, principal);
    return elsewhere ? undefined : arn;
  }
}
