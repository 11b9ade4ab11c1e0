import { Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import type { Construct } from 'constructs';
import {
  ConsumerTarget, ConsumerTargetConfig, IConsumerTarget, QueueScaling, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

export const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
export const latency = { acceptableLatency: Duration.minutes(1), messageProcessingTime: Duration.seconds(2) };

export function vpcOf(scope: Construct): ec2.IVpc {
  return scope.node.tryFindChild('Vpc') as ec2.IVpc | undefined ?? ec2.Vpc.fromVpcAttributes(scope, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'], privateSubnetIds: ['p-1', 'p-2'],
  });
}

export function functionOf(scope: Construct, props: Partial<lambda.FunctionProps> = {}, id = 'Function'): lambda.Function {
  return new lambda.Function(scope, id, {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
    timeout: Duration.seconds(20),
    ...props,
  });
}

export function roleOf(scope: Construct, id = 'Role'): iam.Role {
  return new iam.Role(scope, id, { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
}

export function kubernetesTarget(scope: Stack, scaling = QueueScaling.fixed(1)): IConsumerTarget {
  return ConsumerTarget.kubernetes(testKubernetes(scope), { image, scaling, serviceName: 'stock' });
}

export function externalTarget(grantee: iam.IGrantable): IConsumerTarget {
  return ConsumerTarget.external(grantee, { processingTime: Duration.seconds(10) });
}

/** A target that somebody else wrote. */
export function ownTarget(config: ConsumerTargetConfig | ((scope: Construct) => ConsumerTargetConfig) = {}): IConsumerTarget {
  return { bind: (scope) => typeof config === 'function' ? config(scope) : config };
}
