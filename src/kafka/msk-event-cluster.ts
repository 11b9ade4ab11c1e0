import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { IKafkaCluster, IKafkaClusterGrants } from './kafka-cluster';
import { coming } from '../private/coming';

/**
 * Options of a topic.
 */
export interface KafkaTopicOptions {
  /** The number of partitions of the topic. It can only grow, and it limits the number of members of a group that work at the same time. */
  readonly partitions: number;
}

/**
 * Properties of an `MskEventCluster`.
 */
export interface MskEventClusterProps {
  /** The VPC of the brokers. */
  readonly vpc: ec2.IVpc;

  /** The topics; each key is the name of a topic. */
  readonly topics: { [name: string]: KafkaTopicOptions };
}

/**
 * An Amazon MSK cluster with the topics of a pipeline. It is not available yet and throws an error.
 */
@propertyInjectable
export class MskEventCluster extends Construct implements IKafkaCluster {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.MskEventCluster';

  public readonly clusterArn!: string;
  public readonly environment!: { [name: string]: string };
  public readonly grants!: IKafkaClusterGrants;
  public readonly connections!: ec2.Connections;

  constructor(scope: Construct, id: string, _props: MskEventClusterProps) {
    super(scope, id);
    throw coming('MskEventCluster', 'the Kafka transport', 'use EventTransport.eventBridge()');
  }
}
