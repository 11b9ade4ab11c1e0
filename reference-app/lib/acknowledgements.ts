import * as cdk from 'aws-cdk-lib';
import type * as eks from 'aws-cdk-lib/aws-eks-v2';
import type { IConstruct } from 'constructs';

/** Accepts every finding of the AwsSolutions pack that stays on the constructs of `platform.ts`, with its place and the reason. */
export function acknowledgeFindings(stack: cdk.Stack & { readonly cluster: eks.Cluster }): void {
  const { cluster } = stack;
  const kubectl = cluster.node.findChild('KubectlProvider');
  const handler = kubectl.node.findChild('Handler');
  const logicalId = (construct: IConstruct) => stack.getLogicalId(construct.node.defaultChild as cdk.CfnElement);

  acknowledge(cluster.role, 'EKS Auto Mode requires these policies of the cluster role; AWS extends them with what Auto Mode needs.',
    managedPolicy('AmazonEKSClusterPolicy'),
    managedPolicy('AmazonEKSComputePolicy'),
    managedPolicy('AmazonEKSBlockStoragePolicy'),
    managedPolicy('AmazonEKSLoadBalancingPolicy'),
    managedPolicy('AmazonEKSNetworkingPolicy'));

  acknowledge(cluster.node.findChild('ClusternodePoolRole'), 'EKS Auto Mode requires these policies of the nodes: to join the cluster, and to pull images.',
    managedPolicy('AmazonEKSWorkerNodePolicy'),
    managedPolicy('AmazonEC2ContainerRegistryReadOnly'));

  acknowledge(kubectl, 'The functions that apply manifests are made by aws-cdk-lib: they write logs, run in the VPC and may pull Helm charts.',
    managedPolicy('service-role/AWSLambdaBasicExecutionRole'),
    managedPolicy('service-role/AWSLambdaVPCAccessExecutionRole'),
    managedPolicy('AmazonEC2ContainerRegistryReadOnly'),
    `AwsSolutions-IAM4[Policy::${JSON.stringify({
      'Fn::If': [
        stack.getLogicalId(handler.node.findChild('HasEcrPublic') as cdk.CfnCondition),
        { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::aws:policy/AmazonElasticContainerRegistryPublicReadOnly']] },
        { Ref: 'AWS::NoValue' },
      ],
    })}]`);
  acknowledge(kubectl, 'aws-cdk-lib chooses the runtime that its kubectl code is tested with.', 'AwsSolutions-L1');
  acknowledge(kubectl, 'The framework function calls every version of the one handler behind it, and nothing else.',
    `AwsSolutions-IAM5[Resource::<${logicalId(handler)}.Arn>:*]`);

  const retention = stack.node.children.find(({ node }) => node.id.startsWith('LogRetention'));
  if (retention) {
    acknowledge(retention, 'The function that sets retention periods is made by aws-cdk-lib: it writes logs, and the groups are made by AWS services.',
      managedPolicy('service-role/AWSLambdaBasicExecutionRole'), 'AwsSolutions-IAM5[Resource::*]');
  }
  const agent = stack.node.tryFindChild('Observability')?.node.findChild('AgentRole');
  if (agent) acknowledge(agent, 'IAM knows no resources for ec2:DescribeTags and ec2:DescribeVolumes.', 'AwsSolutions-IAM5[Resource::*]');

  cdk.Validations.of(cluster).acknowledge({
    id: 'CloudFormation-Validate::W9009',
    reason: 'aws-cdk-lib writes this property of the secrets encryption; EKS still takes it.',
  });
}

/** Acknowledges findings with the prefix of the pack, so that they stay in the validation report with the reason. */
function acknowledge(scope: IConstruct, reason: string, ...findings: string[]): void {
  cdk.Validations.of(scope).acknowledge(...findings.map(finding => ({ id: `AwsSolutions::${finding}`, reason })));
}

function managedPolicy(name: string): string {
  return `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/${name}]`;
}
