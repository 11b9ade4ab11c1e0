import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type { IDependable } from 'constructs';

/**
 * Grants permissions on a Kafka cluster, each for exactly the given topics and group.
 */
export interface IKafkaClusterGrants {
  /**
   * Grants permission to write records to topics.
   *
   * @param grantee the identity that gets the permission
   * @param topics the names of the topics
   */
  produce(grantee: iam.IGrantable, topics: string[]): iam.Grant;

  /**
   * Grants permission to read records of topics as a member of a consumer group.
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

  /** Environment variables with which a service finds the brokers. */
  readonly environment: { [name: string]: string };

  /** Grants permissions on the cluster. */
  readonly grants: IKafkaClusterGrants;
}
