import type * as rds from 'aws-cdk-lib/aws-rds';

/** The parts of a cluster that depend on its engine. */
export interface EngineConfig {
  readonly clusterEngine: rds.IClusterEngine;
  /** Parameters of the cluster that can't be changed. */
  readonly requiredParameters: { [name: string]: string };
  /** Defaults of other parameters. */
  readonly parameters: { [name: string]: string };
  /** The name of the log that is exported to CloudWatch Logs. */
  readonly log: string;
}
