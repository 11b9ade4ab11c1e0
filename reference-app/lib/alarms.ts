import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct, type IDependable } from 'constructs';
import type { Observability } from './observability.ts';
import type { Settings } from './settings.ts';

/** The topic that hears of alarms and database events: that of the settings, or an encrypted one that is made here. */
export function alarmTopic(stack: cdk.Stack, { alarmTopicArn }: Settings): sns.ITopic {
  if (alarmTopicArn) return sns.Topic.fromTopicArn(stack, 'AlarmTopic', alarmTopicArn);
  const topic = new sns.Topic(stack, 'AlarmTopic', {
    // The key that AWS manages for SNS can't be used by CloudWatch.
    masterKey: new kms.Key(stack, 'AlarmTopicKey', { enableKeyRotation: true, description: 'Alarms of the order pipeline', removalPolicy: cdk.RemovalPolicy.DESTROY }),
    enforceSSL: true,
  });
  const principals = [new iam.ServicePrincipal('cloudwatch.amazonaws.com')];
  const conditions = { StringEquals: { 'aws:SourceAccount': stack.account } };
  topic.addToResourcePolicy(new iam.PolicyStatement({ principals, conditions, actions: ['sns:Publish'], resources: [topic.topicArn] }));
  topic.masterKey!.addToResourcePolicy(new iam.PolicyStatement({
    principals, conditions, actions: ['kms:Decrypt', 'kms:GenerateDataKey*'], resources: ['*'],
  }));
  new cdk.CfnOutput(stack, 'AlarmTopicArn', {
    value: topic.topicArn,
    description: 'Subscribe to it: aws sns subscribe --topic-arn <this> --protocol email --notification-endpoint you@example.com',
  });
  return topic;
}

/** The program that publishes the outbox. */
export interface OutboxRelay {
  readonly serviceName: string;
  /** Its Deployment. */
  readonly service: IDependable;
}

export interface ServiceAlarmsProps {
  readonly observability: Observability;
  readonly actions: cloudwatch.IAlarmAction[];
  /** The names of the Deployments. */
  readonly workloads: readonly string[];
  /** @default - the stack has none */
  readonly outboxRelay?: OutboxRelay;
}

/** The minutes for which replicas may be missing: a right rollout takes less, and Kubernetes gives up one that hangs after ten. */
const ROLLOUT_MINUTES = 15;
/** The greatest age of an event in the outbox. */
const OUTBOX_SECONDS = 60;

/** Alarms about services in the cluster, which only its metrics can show. */
export class ServiceAlarms extends Construct {
  readonly replicas: cloudwatch.Alarm[];
  readonly outboxAge?: cloudwatch.Alarm;

  constructor(scope: Construct, id: string, { observability, actions, workloads, outboxRelay }: ServiceAlarmsProps) {
    super(scope, id);
    const period = cdk.Duration.minutes(1);
    this.replicas = workloads.map((workload) => new cloudwatch.Alarm(this, `Replicas-${workload}`, {
      metric: observability.metricUnavailableReplicas(workload, { period }),
      threshold: 0,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: ROLLOUT_MINUTES,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      alarmDescription: `${workload} has had too few ready replicas for ${ROLLOUT_MINUTES} minutes: a rollout hangs, pods crash or are not ready, or there `
        + `is no node for them. Look at kubectl describe deployment ${workload}, the events of its pods, and its log.`,
    }));
    if (outboxRelay) {
      const { serviceName, service } = outboxRelay;
      this.outboxAge = new cloudwatch.Alarm(this, 'OutboxAge', {
        metric: observability.metricOfService(serviceName, 'outbox_oldest_pending_age_seconds', { period }),
        threshold: OUTBOX_SECONDS,
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: 5,
        // No relay that reports is as bad as one that is late.
        treatMissingData: cloudwatch.TreatMissingData.BREACHING,
        alarmDescription: `Events have waited in the outbox for more than ${OUTBOX_SECONDS} seconds, or no relay reports: orders are accepted and nothing `
          + `happens with them. Look at the log of ${serviceName}: EventBridge refuses, the database is slow, or a transaction stays open (the log names it).`,
      });
      // It would go off before there is a relay.
      this.outboxAge.node.addDependency(service);
    }
    for (const alarm of [...this.replicas, ...this.outboxAge ? [this.outboxAge] : []]) {
      alarm.addAlarmAction(...actions);
      alarm.addOkAction(...actions);
    }
  }
}
