import { Token } from 'aws-cdk-lib';
import type { Construct } from 'constructs';

/**
 * The options with which access to metrics is bound.
 */
export interface MetricsAccessBindOptions {
  /** The port that answers `/metrics`. */
  readonly port: number;
  /** The namespace of the workload. */
  readonly namespace: string;
}

/**
 * A client that may read `/metrics` of a workload. It reaches the management port, and that port only; or the only port of a workload
 * without one.
 *
 * Where network policies are enforced, Prometheus reaches only the pods that allow it.
 *
 * @subclassable
 */
export abstract class MetricsAccess {
  /** Allows the pods of a namespace, such as `monitoring`. */
  public static namespace(name: string): MetricsAccess {
    return new NamespaceAccess(name);
  }

  /** Allows a block of addresses, such as `10.0.0.0/16`. */
  public static cidr(cidr: string): MetricsAccess {
    return new CidrAccess(cidr);
  }

  /**
   * Returns the client as a peer of a NetworkPolicy. The workload calls it.
   *
   * @param scope the workload
   * @returns a peer of a NetworkPolicy
   */
  public abstract bind(scope: Construct, options: MetricsAccessBindOptions): { [key: string]: unknown };
}

class NamespaceAccess extends MetricsAccess {
  constructor(private readonly name: string) {
    super();
    if (!Token.isUnresolved(name) && !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
      throw new Error(`MetricsAccess.namespace() expects the name of a namespace, got '${name}'`);
    }
  }

  public bind(_scope: Construct, _options: MetricsAccessBindOptions): { [key: string]: unknown } {
    // The label that Kubernetes gives to each namespace.
    return { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': this.name } } };
  }
}

class CidrAccess extends MetricsAccess {
  constructor(private readonly cidr: string) {
    super();
    if (!Token.isUnresolved(cidr) && !/^[0-9a-f.:]+\/\d{1,3}$/i.test(cidr)) {
      throw new Error(`MetricsAccess.cidr() expects a block of addresses such as '10.0.0.0/16', got '${cidr}'`);
    }
  }

  public bind(_scope: Construct, _options: MetricsAccessBindOptions): { [key: string]: unknown } {
    return { ipBlock: { cidr: this.cidr } };
  }
}
