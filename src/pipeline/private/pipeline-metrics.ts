import { Annotations, Names, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { acknowledge } from '../../private/acknowledge';
import { isAttached, statementsText } from '../../private/permissions';
import { differ, invalid } from '../../private/validation';

/** Names of metrics, like ids, are a promise. */
const NAMESPACE = 'OrderPipeline';

/** The metrics that the outbox relay of a pipeline sends to CloudWatch. */
export class PipelineMetrics {
  /** The variables with which a relay finds its metrics. */
  public readonly environment: { [name: string]: string };

  private readonly name: string;

  constructor(private readonly pipeline: Construct, private readonly hasRelay: boolean) {
    // Two copies of a stack have metrics of their own.
    this.name = Names.uniqueResourceName(pipeline, { maxLength: 255 });
    this.environment = { METRICS_NAMESPACE: NAMESPACE, METRICS_PIPELINE: this.name };
  }

  /** Lets a relay send metrics of this namespace only. */
  public allowReports({ grantPrincipal }: iam.IGrantable): void {
    const statement = new iam.PolicyStatement({
      actions: ['cloudwatch:PutMetricData'], resources: ['*'], conditions: { StringEquals: { 'cloudwatch:namespace': NAMESPACE } },
    });
    const allowed = 'attachInlinePolicy' in grantPrincipal
      ? this.attach(grantPrincipal as unknown as iam.IIdentity, statement)
      : grantPrincipal.addToPrincipalPolicy(statement).statementAdded;
    const { principalAccount } = grantPrincipal;
    const elsewhere = principalAccount !== undefined && differ(principalAccount, Stack.of(this.pipeline).account);
    if (allowed && !elsewhere) { return; }
    Annotations.of(this.pipeline).addWarningV2('cdk-order-pipeline:relayMetricsNotAllowed', [
      ...allowed ? [] : ["the identity of outboxRelay can't be changed here, so the relay can't send its metrics unless it has this statement: "
        + statementsText(this.pipeline, [statement])],
      ...elsewhere ? [`the identity of outboxRelay is of account ${principalAccount}, and PutMetricData writes into that account, where the alarms of `
        + 'this stack do not see it: run the relay with a role of the account of this stack'] : [],
    ].join('. Besides, '));
  }

  /** A value that the relay measures. Each replica sends it, so the greatest counts. */
  public maximum(metricName: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric(metricName, {}, cloudwatch.Stats.MAXIMUM, options);
  }

  /** The events of a type, each counted once by the replica that published it. */
  public eventsPublished(type: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric('EventsPublished', { EventType: type }, cloudwatch.Stats.SUM, options);
  }

  /** A policy of its own: the reason is not for other wildcards of the relay. Returns whether the identity accepts it. */
  private attach(identity: iam.IIdentity, statement: iam.PolicyStatement): boolean {
    // A role in another stack needs this one for its bus, so this one must not need the role.
    const isNear = !Construct.isConstruct(identity) || Stack.of(identity) === Stack.of(this.pipeline);
    const [scope, id] = isNear ? [this.pipeline, 'MetricsPolicy'] : [identity, `MetricsPolicy-${this.name}`];
    const policy = new iam.Policy(scope, id, { statements: [statement] });
    identity.attachInlinePolicy(policy);
    acknowledge(policy, 'AwsSolutions::AwsSolutions-IAM5[Resource::*]', 'IAM knows no resource for cloudwatch:PutMetricData; the namespace limits it.');
    return isAttached(policy);
  }

  private metric(
    metricName: string, dimensions: { [name: string]: string }, statistic: string, options?: cloudwatch.MetricOptions,
  ): cloudwatch.Metric {
    if (!this.hasRelay) {
      throw invalid(this.pipeline, `the metric ${metricName} is reported by outboxRelay, and the pipeline has none: give it`);
    }
    const { dimensionsMap, ...rest } = options ?? {};
    return new cloudwatch.Metric({
      namespace: NAMESPACE,
      metricName,
      dimensionsMap: { Pipeline: this.name, ...dimensions, ...dimensionsMap },
      statistic,
      ...rest,
    }).attachTo(this.pipeline);
  }
}
