import { Size } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';

/**
 * What every container of this library can be given.
 */
export interface KubernetesContainerOptions {
  /**
   * The command with its arguments.
   *
   * @default - the image's own
   */
  readonly command?: string[];

  /**
   * Environment variables, beside `SERVICE_NAME` and `AWS_REGION`, which are always set, and `PORT`, which is the workload's `port`.
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
   * vCPUs that a pod requests. There is no limit: idle CPU of a node may be used.
   *
   * @default 0.25
   */
  readonly cpu?: number;

  /**
   * Memory that a pod requests, which is its limit too.
   *
   * @default Size.mebibytes(256)
   */
  readonly memory?: Size;

  /**
   * The role that the pods assume by EKS Pod Identity.
   *
   * A role of your own has to trust `pods.eks.amazonaws.com` with `sts:AssumeRole` and `sts:TagSession`.
   *
   * @default - a role that only this workload's service account can assume
   */
  readonly role?: iam.IRole;

  /**
   * A role whose permissions the pods have instead of those of `role`, most often one of another account. The pods get its
   * credentials without doing anything for it: EKS Pod Identity assumes `role` first, and with that this one.
   *
   * What is granted to the workload is granted to this role. It has to trust `role` with `sts:AssumeRole` and `sts:TagSession`. That
   * `role` may assume it is added to its policies, unless it is one of your own whose policies can't be changed here.
   *
   * @default - the pods have the permissions of `role`
   * @see https://docs.aws.amazon.com/eks/latest/userguide/pod-id-assign-target-role.html
   */
  readonly targetRole?: iam.IRole;

  /**
   * A security group that only these pods have. Databases and caches are opened to it, and so to no other pod of the cluster.
   *
   * It is assigned by a `SecurityGroupPolicy`, beside the security group that all pods have: name resolution, probes and load
   * balancers go on working. In EKS Auto Mode it has effect from Kubernetes 1.36; other clusters need security groups for pods
   * switched on in the VPC CNI add-on, and node types that have them.
   *
   * @default - the security group that all pods of the cluster have
   * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-sgp.html
   * @see https://docs.aws.amazon.com/eks/latest/userguide/security-groups-for-pods.html
   */
  readonly podSecurityGroup?: ec2.ISecurityGroup;

  /**
   * TCP ports that the pods may connect to, beside DNS, HTTPS and the pod identity agent; the database's port, for example.
   *
   * @default - none
   */
  readonly egressPorts?: number[];
}
