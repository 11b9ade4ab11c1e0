/**
 * The prerequisites of workloads in a cluster.
 */
export enum ClusterPrerequisite {
  /** The `metrics-server` add-on, from which autoscalers get the CPU use of pods. */
  METRICS_SERVER = 'METRICS_SERVER',

  /** The enforcement of network policies: without it they are accepted and have no effect. */
  NETWORK_POLICIES = 'NETWORK_POLICIES',

  /** The namespace of the `KubernetesAccess`, and its labels. */
  NAMESPACE = 'NAMESPACE',

  /** KEDA, which scales consumers by the length of their queues. */
  KEDA = 'KEDA',

  /** The `eks-pod-identity-agent` add-on, which gives pods the credentials of their role. EKS Auto Mode has it built in. */
  POD_IDENTITY_AGENT = 'POD_IDENTITY_AGENT',
}
