/**
 * Connections that are allowed: ports, at addresses.
 */
export interface EgressRule {
  /** The TCP ports. */
  readonly ports: number[];

  /** The blocks of addresses, such as `10.0.0.0/16`: at least one. */
  readonly cidrs: string[];
}
