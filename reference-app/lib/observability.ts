import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { CfnAddon, CfnPodIdentityAssociation } from 'aws-cdk-lib/aws-eks';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as logs from 'aws-cdk-lib/aws-logs';
import { MetricsAccess } from 'cdk-order-pipeline';
import { Construct } from 'constructs';

/** The namespace that the add-on makes. */
const NAMESPACE = 'amazon-cloudwatch';
/** The service account of the add-on's agent and of its log collector. */
const AGENT = 'cloudwatch-agent';
/** The service account of the collector of the services' own metrics. */
const COLLECTOR = 'service-metrics';

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

/** The namespace of the services' own metrics in CloudWatch. Their dimensions are the cluster and the service. */
const METRICS_NAMESPACE = 'OrderServices';

/** The metrics of the services that leave the cluster. Each name is a custom metric for each service that has it. */
const METRICS = ['outbox_oldest_pending_age_seconds', 'outbox_held_back_seconds', 'orders_overdue', 'events_parked_oldest_age_seconds', 'db_replica_lag_seconds'];

/** @see https://github.com/open-telemetry/opentelemetry-helm-charts/tree/main/charts/opentelemetry-collector */
const CHART = { repository: 'https://open-telemetry.github.io/opentelemetry-helm-charts', chart: 'opentelemetry-collector', version: '0.158.3' };
/** The user of the collector's image. */
const COLLECTOR_USER = 10001;

export interface ObservabilityProps {
  readonly cluster: eks.Cluster;
  /** The namespace of the services. */
  readonly namespace: string;
  readonly logRetention: logs.RetentionDays;
}

/**
 * Logs and metrics of a cluster in CloudWatch: the add-on `amazon-cloudwatch-observability` sends the logs of all containers and the
 * metrics of Container Insights; a collector sends a few metrics that the services have themselves.
 *
 * The log groups are made here, since the add-on would make them without a retention period.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html
 */
export class Observability extends Construct {
  /** The collectors that may read `/metrics` of the services. */
  readonly metricsAccess = [MetricsAccess.namespace(NAMESPACE)];
  readonly addOn: CfnAddon;
  readonly agentRole: iam.Role;
  readonly collectorRole: iam.Role;
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
    const ofAgent = ['application', 'dataplane', 'host', 'performance'].map(group);
    const ofServices = group('services');
    this.logGroups = [...ofAgent, ofServices];

    this.agentRole = this.#role('AgentRole', AGENT);
    this.agentRole.addToPolicy(writeTo(ofAgent));
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
    this.addOn.node.addDependency(this.agentRole, ...ofAgent);

    this.collectorRole = this.#role('CollectorRole', COLLECTOR);
    this.collectorRole.addToPolicy(writeTo([ofServices]));
    this.#collect(ofServices);
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

  /** One of the metrics that a service has itself. */
  metricOfService(service: string, metricName: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    if (!METRICS.includes(metricName)) throw new Error(`The metric ${metricName} does not leave the cluster: add it to METRICS.`);
    return new cloudwatch.Metric({
      namespace: METRICS_NAMESPACE,
      metricName,
      dimensionsMap: { cluster: this.#props.cluster.clusterName, service },
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

  #collect(logGroup: logs.LogGroup): void {
    const { cluster, namespace } = this.#props;
    const identity = new CfnPodIdentityAssociation(this, 'CollectorIdentity', {
      clusterName: cluster.clusterName,
      namespace: NAMESPACE,
      serviceAccount: COLLECTOR,
      roleArn: this.collectorRole.roleArn,
    });
    const chart = cluster.addHelmChart('ServiceMetrics', {
      ...CHART,
      release: COLLECTOR,
      namespace: NAMESPACE,
      values: {
        ...COLLECTOR_POD,
        extraManifests: readPods(namespace),
        alternateConfig: collection(namespace, cluster.clusterName, cdk.Stack.of(this).region, logGroup.logGroupName),
      },
    });
    // The add-on makes the namespace, and a pod gets its credentials when it is admitted.
    chart.node.addDependency(this.addOn, identity, this.collectorRole);
  }
}

/** Lets a role write to log groups that exist. The collectors try to make them first, and go on when they exist. */
function writeTo(groups: logs.LogGroup[]): iam.PolicyStatement {
  return new iam.PolicyStatement({
    actions: ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
    resources: groups.map(({ logGroupArn }) => logGroupArn),
  });
}

/** One replica, which nobody can connect to. */
const COLLECTOR_POD = {
  fullnameOverride: COLLECTOR,
  mode: 'deployment',
  image: { repository: 'ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-contrib' },
  command: { name: 'otelcol-contrib' },
  serviceAccount: { name: COLLECTOR },
  service: { enabled: false },
  ports: Object.fromEntries(['otlp', 'otlp-http', 'jaeger-compact', 'jaeger-thrift', 'jaeger-grpc', 'zipkin'].map((name) => [name, { enabled: false }])),
  resources: { requests: { cpu: '50m', memory: '256Mi' }, limits: { memory: '256Mi' } },
  podSecurityContext: { runAsNonRoot: true, runAsUser: COLLECTOR_USER, seccompProfile: { type: 'RuntimeDefault' } },
  securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
};

/** The collector finds the pods of one namespace, and may read no other object. */
function readPods(namespace: string): object[] {
  const metadata = { name: COLLECTOR, namespace };
  const apiGroup = 'rbac.authorization.k8s.io';
  return [
    {
      apiVersion: `${apiGroup}/v1`, kind: 'Role', metadata, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }],
    },
    {
      apiVersion: `${apiGroup}/v1`,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup, kind: 'Role', name: COLLECTOR },
      subjects: [{ kind: 'ServiceAccount', name: COLLECTOR, namespace: NAMESPACE }],
    },
  ];
}

/**
 * The configuration of the collector: it reads `/metrics` of every pod once a minute, and sends `METRICS` as logs, which CloudWatch makes
 * into metrics.
 */
function collection(namespace: string, cluster: string, region: string, logGroupName: string): object {
  return {
    extensions: { health_check: { endpoint: '${env:MY_POD_IP}:13133' } },
    receivers: {
      prometheus: {
        config: {
          scrape_configs: [{
            job_name: 'services',
            scrape_interval: '60s',
            kubernetes_sd_configs: [{ role: 'pod', namespaces: { names: [namespace] } }],
            relabel_configs: [
              { source_labels: ['__meta_kubernetes_pod_container_port_name'], regex: 'http', action: 'keep' },
              { source_labels: ['__meta_kubernetes_pod_phase'], regex: 'Running', action: 'keep' },
              { source_labels: ['__meta_kubernetes_pod_label_app_kubernetes_io_name'], target_label: 'service' },
              { target_label: 'cluster', replacement: cluster },
            ],
            metric_relabel_configs: [{ source_labels: ['__name__'], regex: METRICS.join('|'), action: 'keep' }],
          }],
        },
      },
    },
    processors: { memory_limiter: { check_interval: '5s', limit_percentage: 80, spike_limit_percentage: 25 }, batch: {} },
    exporters: {
      awsemf: {
        region,
        namespace: METRICS_NAMESPACE,
        log_group_name: logGroupName,
        log_stream_name: COLLECTOR,
        dimension_rollup_option: 'NoDimensionRollup',
        metric_declarations: [{ dimensions: [['cluster', 'service']], metric_name_selectors: METRICS.map((name) => `^${name}$`) }],
      },
    },
    service: {
      extensions: ['health_check'],
      pipelines: { metrics: { receivers: ['prometheus'], processors: ['memory_limiter', 'batch'], exporters: ['awsemf'] } },
    },
  };
}
