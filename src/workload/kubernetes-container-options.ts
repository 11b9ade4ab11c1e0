import { Size } from 'aws-cdk-lib';
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
   * Environment variables, beside `SERVICE_NAME`, `PORT` and `AWS_REGION`, which are always set.
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
   * TCP ports that the pods may connect to, beside DNS, HTTPS and the pod identity agent; the database's port, for example.
   *
   * @default - none
   */
  readonly egressPorts?: number[];
}
