import * as ec2 from 'aws-cdk-lib/aws-ec2';

/**
 * Options of the access to a cluster.
 */
export interface KubernetesAccessOptions {
  /**
   * The namespace of everything that is applied. It must exist; `KubernetesPrerequisites` makes it.
   *
   * @default 'default'
   */
  readonly namespace?: string;

  /**
   * The security group of the pods' network interfaces; databases and caches are opened to it.
   *
   * Set it when the nodes don't use the cluster security group, for example with a custom `NodeClass`. For a single workload, use
   * `podSecurityGroup` of the workload.
   *
   * @default - the cluster security group, which EKS gives to Auto Mode nodes, managed node groups and Fargate pods
   */
  readonly podSecurityGroup?: ec2.ISecurityGroup;

  /**
   * The class of load balancers, which selects the controller: `eks.amazonaws.com/nlb` is EKS Auto Mode, `service.k8s.aws/nlb` the
   * AWS Load Balancer Controller, which the cluster then needs.
   *
   * For clusters that are not made in this app, the library doesn't know whether they are in Auto Mode. Then this class decides: a class of
   * `eks.amazonaws.com` is Auto Mode, any other isn't.
   *
   * @default - `eks.amazonaws.com/nlb` for `aws-eks-v2`, unless the cluster is made in this app without Auto Mode; `service.k8s.aws/nlb`
   * for `aws-eks`; unknown with `manifestsOnly`, so that an exposure by load balancer is an error
   */
  readonly loadBalancerClass?: string;
}

/**
 * Options of a cluster to which this app doesn't apply manifests.
 */
export interface ManifestsOnlyOptions extends KubernetesAccessOptions {
  /**
   * The name of the cluster; pod identities are associated with it.
   */
  readonly clusterName: string;
}
