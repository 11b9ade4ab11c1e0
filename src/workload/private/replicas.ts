import { Token } from 'aws-cdk-lib';

/** Returns checked limits of a replica count. A token is only known when the stack is deployed, so it passes. */
export interface Replicas {
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

export interface ReplicasOptions {
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
}

export function replicasOf(options: ReplicasOptions, defaultMin: number, leastMin: number): Replicas {
  const minReplicas = options.minReplicas ?? defaultMin;
  const maxReplicas = options.maxReplicas ?? Math.max(10, minReplicas);
  requireAtLeast('minReplicas', minReplicas, leastMin);
  requireAtLeast('maxReplicas', maxReplicas, 1);
  if (!Token.isUnresolved(minReplicas) && !Token.isUnresolved(maxReplicas) && maxReplicas < minReplicas) {
    throw new Error(`maxReplicas (${maxReplicas}) must not be less than minReplicas (${minReplicas}`
      + `${options.minReplicas === undefined ? ', the default): give minReplicas too' : ')'}`);
  }
  return { minReplicas, maxReplicas };
}

export function requireAtLeast(name: string, value: number, least: number): void {
  if (!Token.isUnresolved(value) && !(Number.isInteger(value) && value >= least)) {
    throw new Error(`${name} must be a whole number of at least ${least}, got ${value}`);
  }
}
