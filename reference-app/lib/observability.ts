import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { CfnAddon } from 'aws-cdk-lib/aws-eks';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

/** The namespace that the add-on makes. */
const NAMESPACE = 'amazon-cloudwatch';
/** The service account of the agent, and of the collector of logs. */
const AGENT = 'cloudwatch-agent';
/**
 * The version is fixed, since newer ones switch on more. Logs and the metrics of Container Insights are on; the rest is off: it would
 * instrument pods, send the same metrics a second time, or look for hardware that is not there.
 */
const ADD_ON = {
  version: 'v6.6.0-eksbuild.1',
  configuration: {
    containerLogs: { enabled: true },
    containerInsights: { enabled: true },
    applicationSignals: { enabled: false },
    otelContainerInsights: { enabled: false, logs: { enabled: false } },
    ...Object.fromEntries(['kubeStateMetrics', 'nodeExporter', 'dcgmExporter', 'neuronMonitor'].map((name) => [name, { enabled: false }])),
  },
};

export interface ObservabilityProps {
  readonly cluster: eks.Cluster;
  /** The namespace of the services. */
  readonly namespace: string;
  readonly logRetention: logs.RetentionDays;
}

/**
 * Logs and metrics of a cluster in CloudWatch: the add-on `amazon-cloudwatch-observability` sends the logs of all containers and the
 * metrics of Container Insights. The outbox relay sends its metrics itself.
 *
 * The log groups are made here, since the add-on would make them without a retention period.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html
 */
export class Observability extends Construct {
  readonly addOn: CfnAddon;
  readonly agentRole: iam.Role;
  readonly logGroups: logs.LogGroup[];
  readonly #props: ObservabilityProps;

  constructor(scope: Construct, id: string, props: ObservabilityProps) {
    super(scope, id);
    this.#props = props;
    const { cluster, logRetention } = props;
    const group = (name: string) => new logs.LogGroup(this, `${name[0]!.toUpperCase()}${name.slice(1)}Logs`, {
      logGroupName: `/aws/containerinsights/${cluster.clusterName}/${name}`,
      retention: logRetention,
      removalPolicy: cdk.RemovalPolicy.DESTROY,
    });
    this.logGroups = ['application', 'dataplane', 'host', 'performance'].map(group);

    this.agentRole = this.#role('AgentRole', AGENT);
    // It tries to make the groups first, and goes on when they exist.
    this.agentRole.addToPolicy(new iam.PolicyStatement({
      actions: ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
      resources: this.logGroups.map(({ logGroupArn }) => logGroupArn),
    }));
    // Volumes and tags can't be named in a policy.
    this.agentRole.addToPolicy(new iam.PolicyStatement({ actions: ['ec2:DescribeTags', 'ec2:DescribeVolumes'], resources: ['*'] }));
    this.addOn = new CfnAddon(this, 'AddOn', {
      clusterName: cluster.clusterName,
      addonName: 'amazon-cloudwatch-observability',
      podIdentityAssociations: [{ serviceAccount: AGENT, roleArn: this.agentRole.roleArn }],
      addonVersion: ADD_ON.version,
      configurationValues: JSON.stringify(ADD_ON.configuration),
    });
    // A log group that the agent makes before would have no retention period, and this stack could not make it any more.
    this.addOn.node.addDependency(this.agentRole, ...this.logGroups);
  }

  /** The number of replicas of a Deployment that should be there and are not. */
  metricUnavailableReplicas(workload: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    const { cluster, namespace } = this.#props;
    return new cloudwatch.Metric({
      namespace: 'ContainerInsights',
      metricName: 'status_replicas_unavailable',
      dimensionsMap: { ClusterName: cluster.clusterName, Namespace: namespace, PodName: workload },
      statistic: 'Maximum',
      ...options,
    });
  }

  /** Makes a role that only pods of one service account in this cluster can assume. */
  #role(id: string, serviceAccount: string): iam.Role {
    return new iam.Role(this, id, {
      assumedBy: new iam.ServicePrincipal('pods.eks.amazonaws.com', {
        conditions: {
          StringEquals: {
            'aws:RequestTag/eks-cluster-name': this.#props.cluster.clusterName,
            'aws:RequestTag/kubernetes-namespace': NAMESPACE,
            'aws:RequestTag/kubernetes-service-account': serviceAccount,
          },
        },
      }).withSessionTags(),
    });
  }
}
