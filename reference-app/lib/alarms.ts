import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
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

export interface ServiceAlarmsProps {
  readonly observability: Observability;
  readonly actions: cloudwatch.IAlarmAction[];
  /** The names of the Deployments. */
  readonly workloads: readonly string[];
}

/** The minutes for which replicas may be missing: a right rollout takes less, and Kubernetes gives up one that hangs after ten. */
const ROLLOUT_MINUTES = 15;

/** Alarms about services in the cluster, which only its metrics can show. */
export class ServiceAlarms extends Construct {
  readonly replicas: cloudwatch.Alarm[];

  constructor(scope: Construct, id: string, { observability, actions, workloads }: ServiceAlarmsProps) {
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
    for (const alarm of this.replicas) {
      alarm.addAlarmAction(...actions);
      alarm.addOkAction(...actions);
    }
  }
}
