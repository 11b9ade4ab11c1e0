/**
 * The connections of pods in a namespace that no other network policy selects.
 *
 * The workloads of this library have their own policy, so this one concerns other pods: those that somebody starts by hand, and those of
 * other owners.
 */
export class NamespaceNetworkPolicy {
  /** Denies all connections, in both directions, including name resolution. */
  public static denyAll(): NamespaceNetworkPolicy {
    return new NamespaceNetworkPolicy(['Ingress', 'Egress']);
  }

  /** Denies incoming connections. */
  public static denyIngress(): NamespaceNetworkPolicy {
    return new NamespaceNetworkPolicy(['Ingress']);
  }

  /** Makes no policy: such pods accept and open any connection. */
  public static none(): NamespaceNetworkPolicy {
    return new NamespaceNetworkPolicy([]);
  }

  private constructor(
    /** @internal */
    public readonly _policyTypes: string[],
  ) {
  }
}
