/**
 * The findings of the judges that stay, each with its reason. `at` is looked for in the place of the finding: its file, and the resource
 * in it. Mend a new finding; add it here only if its rule is wrong about the place.
 */
const OF_CDK = /Function\.((Cluster)?Kubectl|Handler|ProviderframeworkonEvent|ClusterKubectlProvider|Custom(VpcRestrictDefaultSG|CDKBucketDeployment)|LogRetention)/;
const OF_EXAMPLE = /examples-existing-platform-ts\/Orders\.template\.json AWS::Lambda::Function\.Notification/;
const PODS = /\.yaml (Deployment|Job)[./]/;

export const acceptedFindings = [
  {
    judge: 'cfn-lint',
    rules: ['W3005'],
    at: /\.template\.json Resources\./,
    reason: 'DependsOn of a resource that a property refers to, too, says nothing new and does no harm. CDK writes both: dependencies are '
      + 'declared between constructs, whose properties are not known then.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_115', 'CKV_AWS_116'],
    at: OF_CDK,
    reason: 'The function is made by aws-cdk-lib for a custom resource. CloudFormation calls it, one resource after the other, and reports its failure.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_173'],
    at: OF_CDK,
    reason: 'Lambda encrypts the variables with a key of its own. These of the functions of aws-cdk-lib are paths and ARNs, no secrets.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_117'],
    at: OF_CDK,
    reason: 'The function of aws-cdk-lib calls APIs of AWS only. One that has to reach a private cluster is in its VPC, and is not found.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_115', 'CKV_AWS_116', 'CKV_AWS_117'],
    at: OF_EXAMPLE,
    reason: 'The function gets its messages from a queue: the mapping limits its concurrency, dead letters have a queue, and it needs no VPC.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_173'],
    at: OF_EXAMPLE,
    reason: 'The variable is the ARN of the secret with the key of signatures, not the key. Lambda encrypts it with a key of its own.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_158'],
    at: /AWS::Logs::LogGroup\./,
    reason: 'CloudWatch Logs encrypts every group with a key of its own. A key of the customer is an audit and a cost that its owner decides about.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_27'],
    at: /AWS::SQS::Queue\./,
    reason: 'The queue is encrypted with SSE-SQS, or with a key by encryptionKey. The rule knows keys only.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_58'],
    at: /(examples-new-pipeline|starter-app)-ts\/Shop\.template\.json AWS::EKS::Cluster\./,
    reason: 'EKS encrypts secrets with a key of its own. A cluster to try the library with needs no other; that of the reference app has one.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_118'],
    at: /AWS::RDS::DBInstance\./,
    reason: 'Enhanced Monitoring costs a log stream for each instance, and is an option: monitoringInterval. Database metrics are always there.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_149'],
    at: /AWS::SecretsManager::Secret\./,
    reason: 'Secrets Manager encrypts with the key that AWS manages, and with a key of the customer by encryptionKey.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_AWS_111'],
    at: /AWS::IAM::Policy\.LogRetention/,
    reason: 'The function of aws-cdk-lib sets the retention of log groups that RDS makes, whose names its role does not know.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_K8S_11'],
    at: PODS,
    reason: 'A limit of CPU slows a pod down while the node is idle. The request gives each pod its share; memory has a limit.',
  },
  {
    judge: 'checkov',
    rules: ['CKV_K8S_15', 'CKV_K8S_43'],
    at: PODS,
    reason: 'The tag of an image asset is the hash of its content, so that it never means another image, and a pod starts without its registry.',
  },
  {
    judge: 'kube-score',
    rules: ['container-resources'],
    at: PODS,
    reason: 'A limit of CPU slows a pod down while the node is idle. The request gives each pod its share; memory has a limit.',
  },
  {
    judge: 'kube-score',
    rules: ['container-image-pull-policy'],
    at: PODS,
    reason: 'The tag of an image asset is the hash of its content, so that it never means another image, and a pod starts without its registry.',
  },
  {
    judge: 'kube-score',
    rules: ['deployment-has-host-podantiaffinity'],
    at: /\.yaml Deployment\//,
    reason: 'Topology spread constraints distribute the pods over zones and nodes. The rule knows affinity only.',
  },
  {
    judge: 'zizmor',
    rules: ['artipacked'],
    at: /build\.yml jobs\.self-mutation\./,
    reason: 'This job pushes, so that it needs the token. It uploads nothing, and runs no code of the pull request.',
  },
  {
    judge: 'zizmor',
    rules: ['dangerous-triggers'],
    at: /pull-request-lint\.yml /,
    reason: 'The workflow reads the title of a pull request, and checks out nothing of it. Only this trigger can do that for forks.',
  },
];
