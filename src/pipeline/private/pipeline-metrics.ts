import { Names } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { acknowledge } from '../../private/acknowledge';
import { invalid } from '../../private/validation';

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
    if (!('attachInlinePolicy' in grantPrincipal)) {
      grantPrincipal.addToPrincipalPolicy(statement);
      return;
    }
    // A policy of its own: the reason is not for other wildcards of the relay.
    const policy = new iam.Policy(this.pipeline, 'MetricsPolicy', { statements: [statement] });
    (grantPrincipal as unknown as iam.IIdentity).attachInlinePolicy(policy);
    acknowledge(policy, 'AwsSolutions::AwsSolutions-IAM5[Resource::*]', 'IAM knows no resource for cloudwatch:PutMetricData; the namespace limits it.');
  }

  /** A value that the relay measures. Each replica sends it, so the greatest counts. */
  public maximum(metricName: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric(metricName, {}, cloudwatch.Stats.MAXIMUM, options);
  }

  /** The events of a type, each counted once by the replica that published it. */
  public eventsPublished(type: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.metric('EventsPublished', { EventType: type }, cloudwatch.Stats.SUM, options);
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
