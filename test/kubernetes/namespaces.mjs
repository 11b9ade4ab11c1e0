// Stacks in namespaces of their own, with the strictest rules for pods.
import { Stack } from './deployment.mjs';

let count = 0;

/** A new stack in a new namespace. The name is short, as labels with it are limited. */
export async function newStack(cluster, options = {}) {
  const namespace = `check-${++count}`;
  await cluster.api.create('/api/v1/namespaces', {
    apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
  });
  return new Stack(cluster, { namespace, ...options });
}
