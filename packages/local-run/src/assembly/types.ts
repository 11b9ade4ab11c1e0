import type { Resource } from './model.ts';

/** What a resource is called by others in a template. */
export interface ResourceType {
  ref(resource: Resource): unknown;
  /** What `Fn::GetAtt` gives, by attribute; undefined when it can't be known here. */
  readonly attributes: Readonly<Record<string, (resource: Resource) => unknown>>;
}

const queueName = (queue: Resource) => queue.physicalName('QueueName', 80, queue.get('FifoQueue') === true || queue.get('FifoQueue') === 'true' ? '.fifo' : '');
const busName = (bus: Resource) => bus.physicalName('Name', 256);
const secretName = (secret: Resource) => secret.physicalName('Name', 512);
const functionName = (fn: Resource) => fn.physicalName('FunctionName', 64);

/** The default bus has no name in its rules' ARNs. */
function ruleArn(rule: Resource): string {
  const bus = busNameOf(rule.text('EventBusName'));
  const name = rule.physicalName('Name', 64);
  return rule.arn('events', bus === 'default' ? `rule/${name}` : `rule/${bus}/${name}`);
}

/** Rules and archives name their bus by its name or its ARN. */
export function busNameOf(nameOrArn: string | undefined): string {
  return nameOrArn?.replace(/^arn:[^/]*\//, '') ?? 'default';
}

function nameOf(resource: Resource): string {
  const kind = resource.type.split('::').at(-1) ?? '';
  const property = [`${kind}Name`, 'Name'].find((candidate) => typeof resource.source.Properties?.[candidate] === 'string') ?? '';
  return resource.physicalName(property, 64);
}

/** The load balancer of a Service is the Service itself here, which the environments of the processes know by its name in the cluster. */
function serviceHost(value: Resource): string | undefined {
  const [type, path = '', name, namespace = 'default'] = ['ObjectType', 'JsonPath', 'ObjectName', 'ObjectNamespace'].map((property) => value.text(property));
  const asksForHost = /^(service|services|svc)$/i.test(type ?? '') && /^\{?\.?status\.loadBalancer\.ingress\[0\]\.(hostname|ip)\}?$/.test(path);
  return asksForHost ? `${name}.${namespace}.svc.cluster.local` : undefined;
}

/**
 * Anything else can still be named, since names and ARNs have a fixed form; whoever calls it finds nothing there. What only
 * AWS could tell (a host name, an id) is not made up.
 */
const NAMED: ResourceType = {
  ref: nameOf,
  attributes: {
    Arn: (resource) => {
      const [, service = '', kind = ''] = resource.type.split('::').map((part) => part.toLowerCase());
      return service === 'iam' ? `arn:aws:iam::${resource.world.account}:${kind}/${nameOf(resource)}` : resource.arn(service, `${kind}/${nameOf(resource)}`);
    },
  },
};

/** Types that the local run makes. */
const MADE: Readonly<Record<string, ResourceType>> = {
  'AWS::SQS::Queue': {
    ref: (queue) => queue.world.queueUrl(queueName(queue)),
    attributes: {
      Arn: (queue) => queue.arn('sqs', queueName(queue)),
      QueueName: queueName,
      QueueUrl: (queue) => queue.world.queueUrl(queueName(queue)),
    },
  },
  'AWS::SQS::QueuePolicy': NAMED,
  'AWS::SQS::QueueInlinePolicy': NAMED,
  'AWS::Events::EventBus': {
    ref: busName,
    attributes: { Arn: (bus) => bus.arn('events', `event-bus/${busName(bus)}`), Name: busName },
  },
  'AWS::Events::Rule': {
    ref: (rule) => {
      const bus = busNameOf(rule.text('EventBusName'));
      const name = rule.physicalName('Name', 64);
      return bus === 'default' ? name : `${bus}|${name}`;
    },
    attributes: { Arn: ruleArn },
  },
  'AWS::Events::Archive': {
    ref: (archive) => archive.physicalName('ArchiveName', 48),
    attributes: {
      Arn: (archive) => archive.arn('events', `archive/${archive.physicalName('ArchiveName', 48)}`),
      ArchiveName: (archive) => archive.physicalName('ArchiveName', 48),
    },
  },
  'AWS::SecretsManager::Secret': {
    ref: (secret) => secret.world.secretArn(secretName(secret)),
    attributes: { Id: (secret) => secret.world.secretArn(secretName(secret)) },
  },
  'AWS::SecretsManager::SecretTargetAttachment': {
    ref: (attachment) => attachment.get('SecretId'),
    attributes: { Id: (attachment) => attachment.get('SecretId') },
  },
  'AWS::RDS::DBCluster': {
    ref: (cluster) => cluster.physicalName('DBClusterIdentifier', 63),
    attributes: {
      'DBClusterArn': (cluster) => cluster.arn('rds', `cluster:${cluster.physicalName('DBClusterIdentifier', 63)}`),
      'DBClusterResourceId': (cluster) => `cluster-${cluster.id.toUpperCase()}`,
      'Endpoint.Address': (cluster) => cluster.world.database(cluster)?.host,
      'Endpoint.Port': (cluster) => cluster.world.database(cluster)?.port.toString(),
      // The replica has a port of its own here, so its address says it.
      'ReadEndpoint.Address': (cluster) => {
        const running = cluster.world.database(cluster);
        return running && `${running.host}:${running.readerPort ?? running.port}`;
      },
      'MasterUserSecret.SecretArn': (cluster) => cluster.world.database(cluster)?.masterSecretArn,
    },
  },
  'AWS::RDS::DBInstance': {
    ref: (instance) => instance.physicalName('DBInstanceIdentifier', 63),
    attributes: {
      'DBInstanceArn': (instance) => instance.arn('rds', `db:${instance.physicalName('DBInstanceIdentifier', 63)}`),
      'DbiResourceId': (instance) => `db-${instance.id.toUpperCase()}`,
      'Endpoint.Address': (instance) => instance.world.database(instance)?.host,
      'Endpoint.Port': (instance) => instance.world.database(instance)?.port.toString(),
      'MasterUserSecret.SecretArn': (instance) => instance.world.database(instance)?.masterSecretArn,
    },
  },
  'AWS::Lambda::Function': {
    ref: functionName,
    attributes: { Arn: (fn) => fn.arn('lambda', `function:${functionName(fn)}`) },
  },
  // A version or an alias is the function itself: locally there is only what was just synthesized.
  'AWS::Lambda::Version': { ref: (version) => version.get('FunctionName'), attributes: { FunctionArn: (version) => version.get('FunctionName') } },
  'AWS::Lambda::Alias': { ref: (alias) => alias.get('FunctionName'), attributes: { AliasArn: (alias) => alias.get('FunctionName') } },
  'AWS::Lambda::EventSourceMapping': NAMED,
  'AWS::SSM::Parameter': {
    ref: (parameter) => parameter.physicalName('Name', 1011),
    attributes: { Value: (parameter) => parameter.get('Value'), Type: (parameter) => parameter.get('Type') },
  },
  'Custom::AWSCDK-EKS-KubernetesResource': NAMED,
  'Custom::AWSCDK-EKS-KubernetesObjectValue': { ref: nameOf, attributes: { Value: serviceHost } },
  'AWS::CloudFormation::Stack': {
    ref: (nested) => nested.arn('cloudformation', `stack/${nested.nested?.name ?? nested.id}/local`),
    // Its attributes are the outputs of its template; see Resource.attribute.
    attributes: {},
  },
};

/** What needs nothing on one machine, and why. Counted in one line instead of a warning each. */
const WITHOUT_COUNTERPART: readonly (readonly [reason: string, types: readonly (string | RegExp)[]])[] = [
  ['permissions: every process here may do what its own user may', [/^AWS::IAM::/, 'AWS::EKS::PodIdentityAssociation', 'AWS::EKS::AccessEntry', 'AWS::Lambda::Permission', 'AWS::Lambda::LayerVersionPermission', 'AWS::Events::EventBusPolicy', 'AWS::SecretsManager::ResourcePolicy']],
  ['network: everything listens on 127.0.0.1', [/^AWS::EC2::(VPC|Subnet|Route|InternetGateway|NatGateway|EIP|SecurityGroup|NetworkAcl|FlowLog|NetworkInterface|LaunchTemplate|DHCPOptions|EgressOnlyInternetGateway|TransitGateway|PrefixList)/, 'AWS::RDS::DBSubnetGroup', 'Custom::VpcRestrictDefaultSG']],
  ['encryption at rest: the data folder is protected by its owner', [/^AWS::KMS::/]],
  ['logs, metrics and alarms: every process logs to a file and serves /metrics', [/^AWS::Logs::/, /^AWS::CloudWatch::/, /^AWS::XRay::/, 'Custom::LogRetention', /^AWS::Synthetics::/]],
  ['Kubernetes control plane: workloads are processes', ['AWS::EKS::Cluster', 'AWS::EKS::Nodegroup', 'AWS::EKS::FargateProfile', 'AWS::EKS::Addon', 'Custom::AWSCDK-EKS-Cluster', 'Custom::AWSCDK-EKS-FargateProfile', /^Custom::AWSCDKOpenIdConnectProvider/]],
  ['scaling: the smallest number of replicas runs all the time', [/^AWS::AutoScaling::/, /^AWS::ApplicationAutoScaling::/]],
  ['database settings: the local server has its own', ['AWS::RDS::DBClusterParameterGroup', 'AWS::RDS::DBParameterGroup', 'AWS::RDS::OptionGroup', 'AWS::SecretsManager::RotationSchedule', 'AWS::RDS::EventSubscription']],
  ['code layers: Node.js functions carry their code', ['AWS::Lambda::LayerVersion']],
  ['event schemas: nothing reads them at run time', [/^AWS::EventSchemas::/]],
  ['deployment of the stack itself', ['AWS::CDK::Metadata', 'AWS::CloudFormation::WaitCondition', 'AWS::CloudFormation::WaitConditionHandle', 'Custom::S3AutoDeleteObjects', 'Custom::CDKBucketDeployment']],
];

export function resourceType(type: string): ResourceType {
  return MADE[type] ?? NAMED;
}

export function isMade(type: string): boolean {
  return type in MADE;
}

/** Charts of what scales, balances and measures in a cluster. */
const CHARTS_WITHOUT_COUNTERPART = ['keda', 'metrics-server', 'aws-load-balancer-controller', 'karpenter', 'cluster-autoscaler'];

/** Why this type needs nothing here; undefined when it is simply not supported. */
export function withoutCounterpart(type: string, properties: Readonly<Record<string, unknown>> = {}): string | undefined {
  if (type === 'Custom::AWSCDK-EKS-HelmChart') {
    const chart = String(properties['Chart']).split('/').at(-1) ?? '';
    return CHARTS_WITHOUT_COUNTERPART.includes(chart) ? `Helm chart ${chart}: nothing is scaled or balanced by the cluster here` : undefined;
  }
  return WITHOUT_COUNTERPART.find(([, types]) => types.some((candidate) => (typeof candidate === 'string' ? candidate === type : candidate.test(type))))?.[0];
}
