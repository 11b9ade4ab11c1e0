import type { Resource } from './model.ts';

/** The values that other resources of a template get of a resource. */
export interface ResourceType {
  /** The value of `Fn::GetAtt` by attribute; undefined when it cannot be known on this machine. */
  readonly attributes: Readonly<Record<string, (resource: Resource) => unknown>>;
  ref(resource: Resource): unknown;
}

/** Reason → types, or patterns of types, that have no meaning on one machine. */
export type WithoutMeaning = Readonly<Record<string, readonly (string | RegExp)[]>>;

/** The name that the template gives, or else one that is made of the logical id. */
export function nameOf(resource: Resource): string {
  const kind = resource.type.split('::').at(-1) ?? '';
  const property = [`${kind}Name`, 'Name'].find((candidate) => typeof resource.source.Properties?.[candidate] === 'string') ?? '';
  return resource.physicalName(property, 64);
}

/**
 * Any resource that nobody makes: names and ARNs have a fixed form, so it can still be named. A call to it finds nothing. Values that
 * only AWS knows (a host name, an id) are not made up.
 */
export const NAMED: ResourceType = {
  ref: nameOf,
  attributes: {
    Arn: (resource) => {
      const [, service = '', kind = ''] = resource.type.split('::').map((part) => part.toLowerCase());
      return service === 'iam' ? `arn:aws:iam::${resource.world.account}:${kind}/${nameOf(resource)}` : resource.arn(service, `${kind}/${nameOf(resource)}`);
    },
  },
};

/** The types that nobody makes whose names or ARNs have another form. With the address of such a service, programs can use them. */
const OTHERWISE_NAMED: Readonly<Record<string, ResourceType>> = {
  'AWS::S3::Bucket': { ref: bucketName, attributes: { Arn: (bucket) => `arn:aws:s3:::${bucketName(bucket)}` } },
  'AWS::StepFunctions::StateMachine': {
    ref: stateMachineArn, attributes: { Arn: stateMachineArn, Name: (machine) => machine.physicalName('StateMachineName', 80) },
  },
};

function bucketName(bucket: Resource): string {
  return bucket.physicalName('BucketName', 63).toLowerCase();
}

function stateMachineArn(machine: Resource): string {
  return machine.arn('states', `stateMachine:${machine.physicalName('StateMachineName', 80)}`);
}

/** The names of a resource that nobody makes. */
export function namedType(type: string): ResourceType {
  return OTHERWISE_NAMED[type] ?? NAMED;
}

/** The types that belong to the reading of the templates, and to no service. */
export const TEMPLATE_TYPES: Readonly<Record<string, ResourceType>> = {
  'AWS::SSM::Parameter': {
    ref: (parameter) => parameter.physicalName('Name', 1011),
    attributes: { Value: (parameter) => parameter.get('Value'), Type: (parameter) => parameter.get('Type') },
  },
  'AWS::CloudFormation::Stack': {
    ref: (nested) => nested.arn('cloudformation', `stack/${nested.nested?.name ?? nested.id}/local`),
    // Its attributes are the outputs of its template; see Resource.attribute.
    attributes: {},
  },
};

/** The reason of what is there for the deployment only. */
export const DEPLOYMENT = 'deployment of the stack itself';

/** The types of all stacks that have no meaning on one machine. Services add their own. */
export const TEMPLATE_WITHOUT_MEANING: WithoutMeaning = {
  'permissions: every process here may do what its own user may': [
    /^AWS::IAM::/, 'AWS::EKS::PodIdentityAssociation', 'AWS::EKS::AccessEntry', 'AWS::Lambda::Permission', 'AWS::Lambda::LayerVersionPermission',
    'AWS::Events::EventBusPolicy', 'AWS::SecretsManager::ResourcePolicy',
  ],
  'network: everything listens on 127.0.0.1': [
    /^AWS::EC2::(VPC|Subnet|Route|InternetGateway|NatGateway|EIP|SecurityGroup|NetworkAcl|FlowLog|NetworkInterface|DHCPOptions)/,
    /^AWS::EC2::(LaunchTemplate|EgressOnlyInternetGateway|TransitGateway|PrefixList)/, 'Custom::VpcRestrictDefaultSG',
  ],
  'encryption at rest: the data folder is protected by its owner': [/^AWS::KMS::/],
  'logs, metrics and alarms: every process logs to a file': [
    /^AWS::Logs::(?!SubscriptionFilter)/, /^AWS::(CloudWatch|XRay|Synthetics|ApplicationSignals|ApplicationInsights|RUM|APS|Grafana|Oam|InternetMonitor)::/, 'Custom::LogRetention',
  ],
  'scaling: the smallest number of replicas runs all the time': [
    /^AWS::AutoScaling::(ScalingPolicy|ScheduledAction|LifecycleHook|WarmPool)/, /^AWS::ApplicationAutoScaling::/,
  ],
  'event schemas: nothing reads them at run time': [/^AWS::EventSchemas::/],
  'certificates and filters of requests: nothing comes from outside': [/^AWS::(CertificateManager|ACMPCA|WAF|WAFv2|WAFRegional|Shield|NetworkFirewall|FMS)::/],
  'builds and roll-outs: the assembly is what runs': [
    /^AWS::(ECR|ImageBuilder|Signer)::/,
    /^AWS::Code(Build|Commit|Deploy|Pipeline|Artifact|Connections|StarConnections|StarNotifications)::/,
    'AWS::Lambda::CodeSigningConfig',
  ],
  'audit, backup and cost of the account': [
    /^AWS::(AccessAnalyzer|AuditManager|CloudTrail|Config|Detective|GuardDuty|Inspector|InspectorV2|Macie|SecurityHub|SSMIncidents)::/,
    /^AWS::(Backup|Budgets|CE|Chatbot|DevOpsGuru|ResourceGroups)::/,
  ],
  [DEPLOYMENT]: [
    'AWS::CDK::Metadata', 'AWS::CloudFormation::WaitCondition', 'AWS::CloudFormation::WaitConditionHandle', 'Custom::S3AutoDeleteObjects', 'Custom::CDKBucketDeployment',
    'Custom::ECRAutoDeleteImages', 'Custom::CrossRegionExportWriter',
  ],
};

/** The reason why a type has no meaning on one machine; undefined when it has one. */
export function reasonWithoutMeaning(tables: readonly WithoutMeaning[], type: string): string | undefined {
  for (const table of tables) {
    for (const [reason, types] of Object.entries(table)) {
      if (types.some((candidate) => (typeof candidate === 'string' ? candidate === type : candidate.test(type)))) return reason;
    }
  }
  return undefined;
}
