/** A permission that constructs have, and why. */
export interface AcceptedPermission {
  /** The permission as `permissionsOf` writes it, with `$` for the construct. */
  readonly line: string;
  readonly reason: string;
  /** The constructs in `allConstructs()`. */
  readonly of: string[];
}

const CONSUMERS = ['External', 'ExternalMetric', 'Kubernetes', 'Lambda', 'OwnKey', 'Pipeline/Consumers/Stock'];
const PODS = 'sts:AssumeRole, sts:TagSession for {Service: pods.eks.amazonaws.com} if {StringEquals: {aws:RequestTag/eks-cluster-name:';
const CONSUME = 'sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes';
const ONLY_TLS = 'Deny sqs:*';
const OVER_HTTP = 'for {AWS: *} if {Bool: {aws:SecureTransport: false}}';
const BY_SECRETS_MANAGER = 'if {StringEquals: {kms:ViaService: secretsmanager.eu-west-1.amazonaws.com}}';
const READ_VERSIONS = 'secretsmanager:GetSecretValue, secretsmanager:DescribeSecret';
const EVENTS = 'for {Service: events.amazonaws.com} if';
const ROOT = 'for {AWS: arn:<AWS::Partition>:iam::111122223333:root}';
const busArn = (name: string) => `arn:<AWS::Partition>:events:eu-west-1:111122223333:event-bus/${name}`;
const rule = (...names: string[]) => `${EVENTS} {ArnEquals: {aws:SourceArn: ${names.map((name) => `<$/${name}>`).join(', ')}}}`;

/** The permissions that EventBridge has on the key of a bus. */
function onKeyOfBus(key: string, name: string): AcceptedPermission[] {
  const context = `kms:EncryptionContext:aws:events:event-bus:arn: ${busArn(name)}`;
  return [
    {
      line: `$: kms:Decrypt, kms:GenerateDataKey, kms:DescribeKey on * ${EVENTS} `
        + `{StringEquals: {aws:SourceAccount: 111122223333, aws:SourceArn: ${busArn(name)}, ${context}}}`,
      reason: 'EventBridge encrypts the events of this bus.',
      of: [key],
    },
    {
      line: `$: kms:Decrypt, kms:GenerateDataKey, kms:ReEncrypt* on * ${EVENTS} {StringEquals: {${context}}}`,
      reason: 'The archive reads and writes events of this bus; EventBridge documents the condition.',
      of: [key],
    },
    { line: '$: kms:DescribeKey on * for {Service: events.amazonaws.com}', reason: 'EventBridge asks whether the key of an archive is usable.', of: [key] },
  ];
}

/** All statements of policies, and what they are for: a test compares. */
export const acceptedStatements: AcceptedPermission[] = [
  // Queues.
  {
    line: `$/Policy: ${ONLY_TLS} on <$> ${OVER_HTTP}`,
    reason: 'A queue takes requests over TLS only.',
    of: [
      ...[...CONSUMERS, 'Fair', 'Fifo', 'Relayed'].flatMap((name) => [`${name}/Queue`, `${name}/DeadLetterQueue`]),
      'BroughtQueue/DeadLetterQueue', 'Fifo/RuleDeadLetterQueue',
    ],
  },
  {
    line: `$/Queue/Policy: sqs:SendMessage on <$/Queue> ${rule('Rule')}`,
    reason: 'The rule sends the events.',
    of: [...CONSUMERS, 'Fifo', 'Relayed'],
  },
  {
    line: `$/Queue/Policy: sqs:SendMessage on <$/Queue> ${rule('Rule', 'Rule2')}`,
    reason: 'The rules send the events, one for each pattern.',
    of: ['Fair'],
  },
  {
    line: `$/DeadLetterQueue/Policy: sqs:SendMessage on <$/DeadLetterQueue> ${rule('Rule')}`,
    reason: 'The rule sends the events that it cannot deliver.',
    of: CONSUMERS,
  },
  {
    line: `$/DeadLetterQueue/Policy: sqs:SendMessage on <$/DeadLetterQueue> ${rule('Rule', 'Rule2')}`,
    reason: 'As for one rule.',
    of: ['Fair'],
  },
  {
    line: `$/DeadLetterQueue/Policy: sqs:SendMessage on <$/DeadLetterQueue> ${rule('Rule', 'Relay/Rule')}`,
    reason: 'As for one rule, and for that of the other account\'s bus.',
    of: ['Relayed'],
  },
  {
    line: `$/RuleDeadLetterQueue/Policy: sqs:SendMessage on <$/RuleDeadLetterQueue> ${rule('Rule')}`,
    reason: 'Rules cannot send to the FIFO queue that dead letters of a FIFO queue need, so they have a queue of their own.',
    of: ['Fifo'],
  },
  // Consumers.
  {
    line: `$/Workload/Role/DefaultPolicy: ${CONSUME} on <$/Queue>`,
    reason: 'The pods consume the queue.',
    of: ['ExternalMetric', 'Kubernetes', 'Pipeline/Consumers/Stock'],
  },
  { line: `$/Policy: ${CONSUME} on <$/Queue>`, reason: 'The mapping consumes the queue as the function.', of: ['Lambda'] },
  ...Object.entries({
    Elsewhere: 'External', Other: 'OwnKey', FifoRole: 'Fifo', FairRole: 'Fair', BroughtQueueRole: 'Brought', RelayedRole: 'Relayed',
  }).map(([role, owner]) => ({
    line: `$/DefaultPolicy: ${CONSUME} on <${owner}/Queue>`, reason: 'The identity of the external target consumes the queue.', of: [`Brought/${role}`],
  })),
  {
    line: '$/DefaultPolicy: kms:Decrypt on <Brought/Key>',
    reason: 'Messages of a queue with a key are decrypted by their consumer.',
    of: ['Brought/Other'],
  },
  {
    line: '$/Workload/Role/DefaultPolicy: kms:Decrypt on <Brought/PipelineKey>',
    reason: 'Messages of a queue with a key are decrypted by their consumer.',
    of: ['Pipeline/Consumers/Stock'],
  },
  {
    line: '$/ScalerPolicy: sqs:GetQueueAttributes on <$/Queue>',
    reason: 'The scaler reads the length of the queue.',
    of: ['ExternalMetric', 'Pipeline/Consumers/Stock'],
  },
  {
    line: '$/Relay/Role/DefaultPolicy: events:PutEvents on <$/Relay/EventBus>',
    reason: 'The rule of the other bus sends events to the bus of this account.',
    of: ['Relayed'],
  },
  {
    line: '$/Relay/Role: sts:AssumeRole for {Service: events.amazonaws.com}',
    reason: 'The rule of the other bus sends with this role.',
    of: ['Relayed'],
  },
  // Pods.
  {
    line: `$/Role: ${PODS} test-cluster, aws:RequestTag/kubernetes-namespace: orders, aws:RequestTag/kubernetes-service-account: <own>}}`,
    reason: 'Only pods of this service account, in this namespace of this cluster, have the role.',
    of: [
      'Workload', 'Job', 'DirectCommand', 'DirectQuery', 'ProxiedCommand', 'ProxiedQuery', 'TokenCommand', 'TokenQuery',
      'ExternalMetric/Workload', 'Kubernetes/Workload', 'Pipeline/Consumers/Stock/Workload',
      'Pipeline/CommandApi', 'Pipeline/QueryApi', 'Pipeline/Migration', 'Pipeline/OutboxRelay', 'Pipeline/Services/Report',
    ],
  },
  {
    line: `$/Role: ${PODS} platform, aws:RequestTag/kubernetes-namespace: reports, aws:RequestTag/kubernetes-service-account: <own>}}`,
    reason: 'The same for the cluster and the namespace of the files.',
    of: ['Written'],
  },
  {
    line: `$/KedaOperatorRole: ${PODS} test-cluster, aws:RequestTag/kubernetes-namespace: keda, aws:RequestTag/kubernetes-service-account: keda-operator}}`,
    reason: 'Only the operator of KEDA has the role.',
    of: ['Prerequisites'],
  },
  // Databases: each side has its own secret or its own token.
  {
    line: '$/Role/DefaultPolicy: secretsmanager:GetSecretValue on <Operated/CommandSecret>',
    reason: 'The command side logs in; the proxy logs both in.',
    of: ['DirectCommand', 'ProxiedCommand', 'Operated/Proxy'],
  },
  {
    line: '$/Role/DefaultPolicy: secretsmanager:GetSecretValue on <Operated/QuerySecret>',
    reason: 'The query side logs in; the proxy logs both in.',
    of: ['DirectQuery', 'ProxiedQuery', 'Operated/Proxy'],
  },
  {
    line: `$/Role/DefaultPolicy: kms:Decrypt on <Brought/Key> ${BY_SECRETS_MANAGER}`,
    reason: 'The secret has the key; it is decrypted by Secrets Manager only.',
    of: ['DirectCommand', 'DirectQuery', 'ProxiedCommand', 'ProxiedQuery', 'Operated/Proxy'],
  },
  ...['command', 'query'].map((side) => ({
    line: `$/Role/DefaultPolicy: rds-db:connect on arn:<AWS::Partition>:rds-db:eu-west-1:111122223333:dbuser:<Tokens/Cluster.DBClusterResourceId>/orders_${side}`,
    reason: 'Tokens are for one role of the database.',
    of: [side === 'command' ? 'TokenCommand' : 'TokenQuery'],
  })),
  {
    line: '$/Role: sts:AssumeRole for {Service: rds.amazonaws.com}',
    reason: 'The proxy reads the secrets with this role.',
    of: ['Operated/Proxy'],
  },
  {
    line: `$/Policy: Deny secretsmanager:DeleteSecret on * ${ROOT}`,
    reason: 'CDK writes it for a secret that is rotated, so that it stays as long as its rotation.',
    of: ['Operated/CommandSecret', 'Operated/QuerySecret'],
  },
  {
    line: '$: managed policy arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole',
    reason: 'RDS documents it for Enhanced Monitoring.',
    of: ['Operated/Cluster/MonitoringRole'],
  },
  {
    line: '$: sts:AssumeRole for {Service: monitoring.rds.amazonaws.com}',
    reason: 'Enhanced Monitoring writes its log with this role.',
    of: ['Operated/Cluster/MonitoringRole'],
  },
  // The pipeline.
  ...Object.entries({
    'command-api': 'Pipeline/CommandApi',
    'query-api': 'Pipeline/QueryApi',
    'outbox-relay': 'Pipeline/OutboxRelay',
    'report': 'Pipeline/Services/Report',
    'stock': 'Pipeline/Consumers/Stock/Workload',
  }).map(([workload, path]) => ({
    line: `$/Role/DefaultPolicy: secretsmanager:GetSecretValue on <Pipeline/Logins/${workload}>`,
    reason: 'It logs in to the database as itself; the migration gives the login its password.',
    of: [path, 'Pipeline/Migration'],
  })),
  ...['Command', 'Query'].map((side) => ({
    line: `$/Role/DefaultPolicy: secretsmanager:GetSecretValue on <Pipeline/Database/${side}Secret>`,
    reason: 'The migration makes the logins of the sides, too.',
    of: ['Pipeline/Migration'],
  })),
  {
    line: '$/Role/DefaultPolicy: secretsmanager:GetSecretValue on <Pipeline/Database/Cluster.MasterUserSecret.SecretArn>',
    reason: 'The migration makes the roles as the administrator.',
    of: ['Pipeline/Migration'],
  },
  {
    line: `$/Role/DefaultPolicy: kms:Decrypt on <Brought/PipelineKey> ${BY_SECRETS_MANAGER}`,
    reason: 'The secrets have the key; they are decrypted by Secrets Manager only.',
    of: ['Pipeline/CommandApi', 'Pipeline/QueryApi', 'Pipeline/OutboxRelay', 'Pipeline/Services/Report', 'Pipeline/Migration', 'Pipeline/Consumers/Stock/Workload'],
  },
  {
    line: '$/Role/DefaultPolicy: events:PutEvents on <Pipeline/Transport/Bus/EventBus>',
    reason: 'They publish events.',
    of: ['Pipeline/OutboxRelay', 'Pipeline/Services/Report'],
  },
  {
    line: `$/Role/DefaultPolicy: ${READ_VERSIONS} on <Pipeline/EventSigningKey>`,
    reason: 'They sign the events that they publish, or verify those that they consume.',
    of: ['Pipeline/OutboxRelay', 'Pipeline/Services/Report', 'Pipeline/Consumers/Stock/Workload'],
  },
  {
    line: '$: Deny events:PutEvents on <Pipeline/Transport/Bus/EventBus> for * if {ArnNotEquals: {aws:PrincipalArn: '
      + '<Pipeline/OutboxRelay/Role>, <Brought/Publisher>, <Pipeline/Services/Report/Role>}, Bool: {aws:PrincipalIsAWSService: false}}',
    reason: 'Who may put events could forge them; a replay comes from EventBridge itself.',
    of: ['Pipeline/Transport/OnlyPublishers'],
  },
  {
    line: '$/DefaultPolicy: events:PutEvents on <Pipeline/Transport/Bus/EventBus>',
    reason: 'It was allowed to publish.',
    of: ['Brought/Publisher'],
  },
  {
    line: `$/DefaultPolicy: ${READ_VERSIONS} on <Pipeline/EventSigningKey>`,
    reason: 'It signs what it publishes.',
    of: ['Brought/Publisher'],
  },
  {
    line: `$/DefaultPolicy: kms:Decrypt on <Brought/PipelineKey> ${BY_SECRETS_MANAGER}`,
    reason: 'The secret has the key; it is decrypted by Secrets Manager only.',
    of: ['Brought/Publisher'],
  },
  {
    line: '$/MetricsPolicy: cloudwatch:PutMetricData on * if {StringEquals: {cloudwatch:namespace: OrderPipeline}}',
    reason: 'The relay reports its metrics. IAM knows no resource for them, so the namespace limits it.',
    of: ['Pipeline'],
  },
  // Keys that are brought.
  {
    line: `$: kms:* on * ${ROOT}`,
    reason: 'CDK writes it into each key: the policies of the account decide, too.',
    of: ['Brought/Key', 'Brought/PipelineKey'],
  },
  {
    line: `$: kms:Decrypt, kms:Encrypt, kms:ReEncrypt*, kms:GenerateDataKey* on * ${ROOT} ${BY_SECRETS_MANAGER}`,
    reason: 'CDK writes it for a secret: those who may read or write the secret may do so with its key.',
    of: ['Brought/Key', 'Brought/PipelineKey'],
  },
  {
    line: `$: kms:CreateGrant, kms:DescribeKey on * ${ROOT} ${BY_SECRETS_MANAGER}`,
    reason: 'CDK writes it for a secret, too.',
    of: ['Brought/Key', 'Brought/PipelineKey'],
  },
  {
    line: `$: kms:Decrypt, kms:GenerateDataKey* on * ${EVENTS} {StringEquals: {aws:SourceAccount: 111122223333}}`,
    reason: 'Rules send to queues with the key. The rules depend on the queue and it on its key, so that their names cannot be here.',
    of: ['Brought/Key', 'Brought/PipelineKey'],
  },
  ...onKeyOfBus('Brought/Key', 'AllBusOwnKeyE718F5D9'),
  ...onKeyOfBus('Brought/PipelineKey', 'AllPipelineTransportBusBEEC3190'),
];

/** All rules of security groups. The pods of a cluster without groups of their own have that of the cluster. */
export const acceptedRules: AcceptedPermission[] = [
  {
    line: '<$/SecurityGroup> out 255.255.255.255/32: icmp 252-86',
    reason: 'CDK writes it for a group that lets nothing out.',
    of: ['Database', 'Operated', 'Tokens', 'Pipeline/Database'],
  },
  {
    line: '<$/SecurityGroup> in sg-cluster: tcp 5433',
    reason: 'Pods connect to the database.',
    of: ['Operated', 'Tokens', 'Pipeline/Database'],
  },
  {
    line: '<$/Proxy/SecurityGroup> in sg-cluster: tcp 5432',
    reason: 'Pods connect to the proxy, which has the port of its engine.',
    of: ['Operated'],
  },
  { line: '<$/Proxy/SecurityGroup> out <$/SecurityGroup>: tcp 5433', reason: 'The proxy connects to the database.', of: ['Operated'] },
  { line: '<$/SecurityGroup> in <$/Proxy/SecurityGroup>: tcp 5433', reason: 'The proxy connects to the database.', of: ['Operated'] },
  {
    line: '<$/RotationSecurityGroup> out <$/SecurityGroup>: tcp 5433',
    reason: 'The function that rotates changes the password.',
    of: ['Operated'],
  },
  {
    line: '<$/SecurityGroup> in <$/RotationSecurityGroup>: tcp 5433',
    reason: 'The function that rotates changes the password.',
    of: ['Operated'],
  },
  {
    line: '<$/RotationSecurityGroup> out 0.0.0.0/0: tcp 443',
    reason: 'The function that rotates changes the secret, here through NAT.',
    of: ['Operated'],
  },
];
