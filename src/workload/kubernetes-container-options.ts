import { Size } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { EgressRule } from './egress-rule';

/**
 * Options of every container of this library.
 */
export interface KubernetesContainerOptions {
  /**
   * The command with its arguments.
   *
   * @default - the image's own
   */
  readonly command?: string[];

  /**
   * Environment variables, in addition to `SERVICE_NAME`, `AWS_REGION`, `PORT` (the `port` of the workload) and `MANAGEMENT_PORT` (its
   * `managementPort`, if it has one).
   *
   * @default - none
   */
  readonly environment?: { [key: string]: string };

  /**
   * The name of the Kubernetes objects and of the service in logs and traces (`SERVICE_NAME`).
   *
   * @default - derived from the construct's path
   */
  readonly serviceName?: string;

  /**
   * The CPU request of a pod, in vCPUs. There is no limit: idle CPU of a node may be used.
   *
   * @default 0.25
   */
  readonly cpu?: number;

  /**
   * The memory request of a pod, which is its limit, too.
   *
   * @default Size.mebibytes(256)
   */
  readonly memory?: Size;

  /**
   * The disk of a pod, as request and limit: `/tmp` and the logs that the node keeps. `/tmp` has 128 MiB less. It is lost with the pod.
   *
   * @default Size.mebibytes(512)
   * @see https://kubernetes.io/docs/concepts/storage/ephemeral-storage/
   */
  readonly ephemeralStorage?: Size;

  /**
   * The number of the user and the group that the container runs as. The image doesn't need an entry for it; its files must be readable
   * for everyone. Low numbers may be users of a node.
   *
   * @default 10001
   */
  readonly userId?: number;

  /**
   * The node pool of EKS Auto Mode or Karpenter that runs the pods, such as `general-purpose`.
   *
   * @default - any nodes
   * @see https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
   */
  readonly nodePool?: string;

  /**
   * Labels of the nodes that may run the pods, in addition to the architecture of the image and to `nodePool`.
   *
   * @default - any nodes
   */
  readonly nodeSelector?: { [label: string]: string };

  /**
   * The role that the pods assume by EKS Pod Identity.
   *
   * Your own role has to trust `pods.eks.amazonaws.com` with `sts:AssumeRole` and `sts:TagSession`.
   *
   * @default - a role that only this workload's service account can assume
   */
  readonly role?: iam.IRole;

  /**
   * A role whose permissions the pods have instead of those of `role`, usually a role of another account. The pods get its
   * credentials automatically: EKS Pod Identity assumes `role` first, and with that this role.
   *
   * Grants to the workload go to this role. It has to trust `role` with `sts:AssumeRole` and `sts:TagSession`. The permission of
   * `role` to assume it is added to the policies of `role`, unless that is your own role whose policies can't be changed here.
   *
   * @default - the pods have the permissions of `role`
   * @see https://docs.aws.amazon.com/eks/latest/userguide/pod-id-assign-target-role.html
   */
  readonly targetRole?: iam.IRole;

  /**
   * A security group that only these pods have. Databases and caches are opened to it, and to no other pod of the cluster.
   *
   * A `SecurityGroupPolicy` assigns it, in addition to the security group that all pods have: name resolution, probes and load
   * balancers continue to work. In EKS Auto Mode it has effect from Kubernetes 1.36; other clusters need security groups for pods
   * switched on in the VPC CNI add-on, and node types that have them.
   *
   * @default - the security group that all pods of the cluster have
   * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-sgp.html
   * @see https://docs.aws.amazon.com/eks/latest/userguide/security-groups-for-pods.html
   */
  readonly podSecurityGroup?: ec2.ISecurityGroup;

  /**
   * TCP ports that the pods may connect to at any address, in addition to DNS, HTTPS and the pod identity agent.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * TCP ports that the pods may connect to at certain addresses. An example is the port of a database, in the subnets of the database.
   *
   * @default - none
   */
  readonly egressRules?: EgressRule[];

  /**
   * Blocks of addresses that the pods may connect to by HTTPS (TCP 443). AWS services are inside the block of the VPC only where it has an
   * interface endpoint for each of them.
   *
   * @default - any address: AWS services and issuers of tokens have addresses that change
   */
  readonly httpsCidrs?: string[];
}
