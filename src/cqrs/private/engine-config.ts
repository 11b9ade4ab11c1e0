import type * as rds from 'aws-cdk-lib/aws-rds';

/** What a cluster is made of for an engine. */
export interface EngineConfig {
  readonly clusterEngine: rds.IClusterEngine;
  /** Parameters of the cluster without which the library's promises don't hold. */
  readonly parameters: { [name: string]: string };
  /** The log that goes to CloudWatch Logs. */
  readonly log: string;
}
