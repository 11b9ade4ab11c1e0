import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import { Dependable } from 'constructs';
import type { IHostedService } from '../../workload';

/** An identity that publishes, as the service that a channel expects. Its connections and its deployment are unknown. */
export function outsidePublisher({ grantPrincipal }: iam.IGrantable): IHostedService {
  const service = { grantPrincipal, connections: new ec2.Connections() };
  Dependable.implement(service, { dependencyRoots: [] });
  return service;
}
