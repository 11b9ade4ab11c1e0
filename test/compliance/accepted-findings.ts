/** A rule's finding that stays, where it is and why. */
export interface AcceptedFinding {
  /** The rules that say it; the packs name the same thing each in their own way. */
  readonly rules: string[];
  readonly reason: string;
  /** The constructs in `allConstructs()`. */
  readonly at: string[];
}

/**
 * All findings of the packs AwsSolutions, Serverless, NIST 800-53 R5 and HIPAA Security in what the library makes: a test compares.
 *
 * Who has to comply with one of them can take the reasons for their own acknowledgements. The library itself acknowledges only what is
 * never to be done otherwise, as the rest is for its users to decide.
 */
export const acceptedFindings: AcceptedFinding[] = [
  {
    rules: ['Serverless-SQSRedrivePolicy'],
    reason: 'It is a dead-letter queue itself, which the rule doesn\'t know.',
    at: [
      'Lambda/DeadLetterQueue', 'Kubernetes/DeadLetterQueue', 'ExternalMetric/DeadLetterQueue',
      'External/DeadLetterQueue', 'OwnKey/DeadLetterQueue', 'Fifo/DeadLetterQueue', 'Fifo/RuleDeadLetterQueue', 'Fair/DeadLetterQueue',
      'BroughtQueue/DeadLetterQueue', 'Relayed/DeadLetterQueue', 'Pipeline/Consumers/Stock/DeadLetterQueue',
    ],
  },
  {
    rules: ['AwsSolutions-SQS3'],
    reason: 'This is a dead-letter queue: of EventBridge, or of a queue that is defined elsewhere.',
    at: ['Fifo/RuleDeadLetterQueue', 'BroughtQueue/DeadLetterQueue'],
  },
  {
    rules: ['Serverless-LambdaEventSourceMappingDestination'],
    reason: 'Only mappings of streams accept a destination. A failed message stays in the queue, and goes to its dead-letter queue.',
    at: ['Lambda/EventSourceMapping'],
  },
  {
    rules: ['NIST.800.53.R5-IAMNoInlinePolicy', 'HIPAA.Security-IAMNoInlinePolicy'],
    reason: 'The policy is about one resource and for one role, and exists as long as the role. A managed one could be attached to others, and '
      + 'a role takes only 10 of them.',
    at: [
      'Lambda/Policy',
      'Kubernetes/Workload/Role/DefaultPolicy',
      'ExternalMetric/ScalerPolicy', 'ExternalMetric/Workload/Role/DefaultPolicy',
      'Relayed/Relay/Role/DefaultPolicy',
      'Operated/Proxy/Role/DefaultPolicy',
      'DirectCommand/Role/DefaultPolicy', 'DirectQuery/Role/DefaultPolicy',
      'ProxiedCommand/Role/DefaultPolicy', 'ProxiedQuery/Role/DefaultPolicy',
      'TokenCommand/Role/DefaultPolicy', 'TokenQuery/Role/DefaultPolicy',
      'Pipeline/Migration/Role/DefaultPolicy', 'Pipeline/CommandApi/Role/DefaultPolicy', 'Pipeline/QueryApi/Role/DefaultPolicy',
      'Pipeline/OutboxRelay/Role/DefaultPolicy', 'Pipeline/MetricsPolicy', 'Pipeline/Services/Report/Role/DefaultPolicy',
      'Pipeline/Consumers/Stock/ScalerPolicy', 'Pipeline/Consumers/Stock/Workload/Role/DefaultPolicy',
    ],
  },
  {
    rules: ['AwsSolutions-IAM5[Resource::*]'],
    reason: 'IAM knows no resource for cloudwatch:PutMetricData; the namespace limits it.',
    at: ['Pipeline/MetricsPolicy'],
  },
  {
    rules: ['AwsSolutions-SMG4', 'NIST.800.53.R5-SecretsManagerRotationEnabled', 'HIPAA.Security-SecretsManagerRotationEnabled'],
    reason: 'Rotating a database password needs a function in the VPC with a route to Secrets Manager, which only the owner of the VPC can '
      + 'choose: CqrsCredentials.rotatedPasswords() rotates, CqrsCredentials.iam() has no passwords.',
    at: [
      'Database/CommandSecret', 'Database/QuerySecret',
      'Pipeline/Database/CommandSecret', 'Pipeline/Database/QuerySecret',
      ...['command-api', 'outbox-relay', 'query-api', 'report', 'stock'].map((workload) => `Pipeline/Logins/${workload}`),
    ],
  },
  {
    rules: ['AwsSolutions-SMG4', 'NIST.800.53.R5-SecretsManagerRotationEnabled', 'HIPAA.Security-SecretsManagerRotationEnabled'],
    reason: 'A key that is rotated more often than the archive and the queues forget events makes their signatures worthless: the owner of the '
      + 'archive decides.',
    at: ['Pipeline/EventSigningKey'],
  },
  {
    rules: ['NIST.800.53.R5-SecretsManagerUsingKMSKey', 'HIPAA.Security-SecretsManagerUsingKMSKey'],
    reason: 'It is encrypted with the key that AWS manages, unless encryptionKey is given. Here, the pipeline has one.',
    at: ['Database/CommandSecret', 'Database/QuerySecret'],
  },
  {
    rules: ['NIST.800.53.R5-RDSInBackupPlan', 'HIPAA.Security-RDSInBackupPlan'],
    reason: 'Aurora backs up the cluster, not its instances, continuously and for backupRetention. A plan of AWS Backup selects by tags.',
    at: [
      'Database/Cluster/Writer', 'Database/Cluster/Reader1',
      'Operated/Cluster/Writer', 'Operated/Cluster/Reader1',
      'Tokens/Cluster/Writer', 'Tokens/Cluster/Reader1',
      'Pipeline/Database/Cluster/Writer', 'Pipeline/Database/Cluster/Reader1',
    ],
  },
  {
    rules: ['NIST.800.53.R5-RDSEnhancedMonitoringEnabled', 'HIPAA.Security-RDSEnhancedMonitoringEnabled'],
    reason: 'It shows the operating system, which Aurora Serverless scales by itself, and costs a log stream for each instance. The '
      + 'metrics of Aurora are always there. With monitoringInterval, nothing is found.',
    at: [
      'Database/Cluster/Writer', 'Database/Cluster/Reader1',
      'Tokens/Cluster/Writer', 'Tokens/Cluster/Reader1',
      'Pipeline/Database/Cluster/Writer', 'Pipeline/Database/Cluster/Reader1',
    ],
  },
  {
    rules: ['AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]'],
    reason: 'It is the policy that Amazon RDS documents for Enhanced Monitoring.',
    at: ['Operated/Cluster/MonitoringRole'],
  },
  {
    rules: ['NIST.800.53.R5-CloudWatchLogGroupEncrypted', 'HIPAA.Security-CloudWatchLogGroupEncrypted'],
    reason: 'CloudWatch Logs encrypts it with a key of its own. The log of a proxy has connections and errors, and no statements.',
    at: ['Operated/Proxy/Log'],
  },
];
