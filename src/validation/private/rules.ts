import type { Template, TemplateResource, Value } from './templates';
import { itemsAt, refersTo, valueAt } from './templates';
import { EXTENDED_SUPPORT_MORE_PER_MONTH, supportOf } from './version-support';

/** A resource that breaks a rule, and the property that does. */
export interface Finding {
  readonly resource: TemplateResource;
  readonly location: string;
  /** The description of this finding, if it says more than that of the rule. */
  readonly detail?: string;
}

export interface Rule {
  readonly name: string;
  readonly severity: 'error' | 'warning';
  readonly description: string;
  readonly fix: string;
  /** The page of AWS with the reason. */
  readonly documentation: string;
  readonly find: (templates: Template[]) => Finding[];
}

const EKS_GUIDE = 'https://docs.aws.amazon.com/eks/latest/userguide';
const LOG_TYPES = ['api', 'audit', 'authenticator', 'controllerManager', 'scheduler'];
const OPEN_CIDRS: Value[] = ['0.0.0.0/0', '::/0'];

/** Add-ons and charts that send the output of containers away, by parts of their names. */
const LOG_COLLECTORS = new RegExp([
  'cloudwatch', 'observability', 'fluent', 'opentelemetry', 'otel', 'adot', 'logging', 'alloy', 'promtail', 'k8s-monitoring', 'kubernetes-monitoring',
  'vector', 'filebeat', 'elastic-agent', 'datadog', 'newrelic', 'new-relic', 'nri-bundle', 'dynatrace', 'splunk', 'sumologic', 'logzio', 'coralogix', 'groundcover',
].join('|'), 'i');

/** A cluster of aws-eks-v2 or of CloudFormation, or the custom resource of aws-eks, whose settings are one level below. */
interface Cluster {
  readonly resource: TemplateResource;
  readonly settings: Value;
  readonly at: string;
}

function resourcesOf(templates: Template[], ...types: string[]): TemplateResource[] {
  return templates.flatMap(({ resources }) => resources).filter(({ type }) => types.includes(type));
}

function clustersOf(templates: Template[]): Cluster[] {
  return resourcesOf(templates, 'AWS::EKS::Cluster', 'Custom::AWSCDK-EKS-Cluster').map((resource) => {
    const custom = resource.type.startsWith('Custom::');
    return {
      resource,
      settings: custom ? valueAt(resource.properties, 'Config') : resource.properties,
      at: custom ? 'Properties.Config' : 'Properties',
    };
  });
}

function ofClusters(find: (cluster: Cluster, templates: Template[]) => Omit<Finding, 'resource'> | undefined): Rule['find'] {
  return (templates) => clustersOf(templates).flatMap((cluster) => {
    const found = find(cluster, templates);
    return found ? [{ resource: cluster.resource, ...found, location: `${cluster.at}${found.location && `.${found.location}`}` }] : [];
  });
}

function isIntrinsic(value: Value): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The types of logs that are on, or undefined where only the deployment decides. */
function loggedTypes(settings: Value): Value[] | undefined {
  const logging = valueAt(settings, 'Logging', 'ClusterLogging');
  // CloudFormation has a list of objects with a type each, the API one of objects with lists of types.
  const types = [
    ...itemsAt(logging, 'EnabledTypes').map((item) => valueAt(item, 'Type')),
    ...(Array.isArray(logging) ? logging : []).filter((item) => valueAt(item, 'Enabled') !== false).flatMap((item) => itemsAt(item, 'Types')),
  ];
  return types.some(isIntrinsic) ? undefined : types;
}

/** Whether the value names the cluster, or may do so: only the deployment has the values of exports and parameters. */
function namesCluster({ resource: cluster }: Cluster, user: TemplateResource, clusters: Cluster[]): boolean {
  const name = valueAt(user.properties, 'ClusterName');
  const own = clusters.filter(({ resource }) => resource.template === user.template).find(({ resource }) => refersTo(name, resource));
  if (own) { return own.resource === cluster; }
  const clusterName = valueAt(cluster.properties, 'Name') ?? valueAt(cluster.properties, 'Config', 'Name');
  if (typeof name === 'string' && typeof clusterName === 'string') { return name === clusterName; }
  return user.template !== cluster.template;
}

export const RULES: readonly Rule[] = [
  {
    name: 'PublicEndpoint',
    severity: 'error',
    description: 'The API server of the cluster is open to the whole internet.',
    fix: 'Set endpointAccess to EndpointAccess.PRIVATE, or to EndpointAccess.PUBLIC_AND_PRIVATE.onlyFrom() with the CIDRs of your networks.',
    documentation: `${EKS_GUIDE}/cluster-endpoint.html`,
    find: ofClusters(({ settings }) => {
      const publicAccess = valueAt(settings, 'ResourcesVpcConfig', 'EndpointPublicAccess') ?? true;
      if (publicAccess !== true && publicAccess !== 'true') { return undefined; }
      const cidrs = valueAt(settings, 'ResourcesVpcConfig', 'PublicAccessCidrs') ?? OPEN_CIDRS;
      if (!Array.isArray(cidrs) || (cidrs.length > 0 && !cidrs.some((cidr) => OPEN_CIDRS.includes(cidr)))) { return undefined; }
      return { location: 'ResourcesVpcConfig' };
    }),
  },
  {
    name: 'ControlPlaneLogs',
    severity: 'error',
    description: 'The control plane of the cluster does not write all of its logs.',
    fix: 'Set clusterLogging to Object.values(ClusterLoggingTypes), or to those that you need, and acknowledge this finding.',
    documentation: `${EKS_GUIDE}/control-plane-logs.html`,
    find: ofClusters(({ settings }) => {
      const logged = loggedTypes(settings);
      const missing = logged && LOG_TYPES.filter((type) => !logged.includes(type));
      return missing?.length ? { location: 'Logging', detail: `Missing are: ${missing.join(', ')}.` } : undefined;
    }),
  },
  {
    name: 'SecretsEncryption',
    severity: 'warning',
    description: 'Kubernetes secrets are not encrypted with a key of yours: EKS uses one of its own, that you can neither audit nor disable.',
    fix: 'Set secretsEncryptionKey. It cannot be taken away later.',
    documentation: `${EKS_GUIDE}/envelope-encryption.html`,
    find: ofClusters(({ settings }) => (
      itemsAt(settings, 'EncryptionConfig').some((item) => valueAt(item, 'Provider', 'KeyArn') !== undefined) ? undefined : { location: 'EncryptionConfig' })),
  },
  {
    name: 'UnsupportedVersion',
    severity: 'error',
    description: 'EKS does not support the version of Kubernetes any more: no cluster can be made with it, and EKS updates an existing one at any time.',
    fix: 'Update one minor version after the other: set version to the next one and deploy, until it is in standard support.',
    documentation: `${EKS_GUIDE}/kubernetes-versions.html`,
    find: ofVersions((version, { extended }, today) => (
      today > extended ? `Version ${version} ended${extended ? ` on ${extended}` : ' before the calendar of these checks'}.` : undefined)),
  },
  {
    name: 'ExtendedSupport',
    severity: 'warning',
    description: 'The version of Kubernetes is in extended support.',
    fix: 'Set version to the next minor version and deploy, until it is in standard support.',
    documentation: `${EKS_GUIDE}/kubernetes-versions.html`,
    find: ofVersions((version, { standard, extended }, today, cluster) => {
      if (today < standard || today > extended) { return undefined; }
      const standardOnly = valueAt(cluster.settings, 'UpgradePolicy', 'SupportType') === 'STANDARD';
      return `Standard support of version ${version} ended on ${standard}. ${standardOnly
        ? 'With the upgrade policy STANDARD, EKS updates the cluster at any time.'
        : `Until ${extended}, the cluster costs 0.60 instead of 0.10 US dollars per hour: ${EXTENDED_SUPPORT_MORE_PER_MONTH} more per month.`}`;
    }),
  },
  {
    name: 'ContainerLogs',
    severity: 'warning',
    description: 'No add-on and no chart of this app sends the logs of containers away from the cluster: they are lost with the pod or the node.',
    fix: 'Add the add-on amazon-cloudwatch-observability or a chart of a log collector. If something else collects them, acknowledge this finding.',
    documentation: 'https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-setup-EKS-addon.html',
    find: ofClusters((cluster, templates) => {
      const clusters = clustersOf(templates);
      const collectors = resourcesOf(templates, 'AWS::EKS::Addon', 'Custom::AWSCDK-EKS-HelmChart')
        .filter(({ properties }) => LOG_COLLECTORS.test(JSON.stringify([
          valueAt(properties, 'AddonName'), valueAt(properties, 'Chart'), valueAt(properties, 'Release'),
        ])));
      return collectors.some((collector) => namesCluster(cluster, collector, clusters)) ? undefined : { location: '' };
    }),
  },
  {
    name: 'AlarmActions',
    severity: 'warning',
    description: 'The alarm has no action, so that it notifies no one.',
    fix: 'Give the alarm an action, such as an SNS topic. If it is only for a dashboard, acknowledge this finding.',
    documentation: 'https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html',
    find: (templates) => resourcesOf(templates, 'AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm').flatMap((resource) => {
      const actions = valueAt(resource.properties, 'AlarmActions');
      const silent = valueAt(resource.properties, 'ActionsEnabled') === false;
      if (!silent && (isIntrinsic(actions) || itemsAt(resource.properties, 'AlarmActions').length > 0)) { return []; }
      // A composite alarm, a deployment group or a canary may act on it instead.
      const used = resource.template.resources.some((other) => (
        other !== resource && other.type !== 'AWS::CloudWatch::Dashboard' && refersTo(other.properties, resource)));
      return used ? [] : [{ resource, location: silent ? 'Properties.ActionsEnabled' : 'Properties.AlarmActions' }];
    }),
  },
];

/** Looks at the versions that the calendar has; a cluster without one gets the default of EKS, which is supported. */
function ofVersions(
  find: (version: string, support: { standard: string; extended: string }, today: string, cluster: Cluster) => string | undefined,
): Rule['find'] {
  return ofClusters((cluster) => {
    const version = valueAt(cluster.settings, 'Version');
    const support = typeof version === 'string' ? supportOf(version) : undefined;
    const detail = support && find(version as string, support, new Date().toISOString().slice(0, 10), cluster);
    return detail === undefined ? undefined : { location: 'Version', detail };
  });
}
