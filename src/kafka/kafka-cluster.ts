import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { IDependable } from 'constructs';

/**
 * Permissions on a Kafka cluster, each for exactly the topics and the group that are named.
 */
export interface IKafkaClusterGrants {
  /**
   * Write records to topics.
   *
   * @param grantee the identity that gets the permission
   * @param topics the names of the topics
   */
  produce(grantee: iam.IGrantable, topics: string[]): iam.Grant;

  /**
   * Read records of topics as a member of a consumer group.
   *
   * @param grantee the identity that gets the permission
   * @param group the name of the consumer group
   * @param topics the names of the topics
   */
  consume(grantee: iam.IGrantable, group: string, topics: string[]): iam.Grant;
}

/**
 * A Kafka cluster that carries events.
 *
 * @subclassable
 */
export interface IKafkaCluster extends ec2.IConnectable, IDependable {
  /** The ARN of the cluster. */
  readonly clusterArn: string;

  /** Environment variables by which a service finds the brokers. */
  readonly environment: { [name: string]: string };

  /** Permissions on the cluster. */
  readonly grants: IKafkaClusterGrants;
}
