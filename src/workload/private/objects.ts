import { Token } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Manifest } from './manifest';
import type { KubernetesAccess } from '../kubernetes-access';

/** The objects of a workload or a job. */
export interface Objects {
  /** Objects that the pods need, and that only some workloads have. */
  readonly before?: Manifest[];
  /** Objects with the name of the workload that every workload has. */
  readonly always: Manifest[];
  /** Objects that only some workloads have. */
  readonly optional?: Manifest[];
}

/** The constructs of applied objects. */
export interface AppliedObjects {
  readonly main: Construct;
  readonly before: Construct[];
  readonly after: Construct[];
}

/**
 * Applies objects so that every change leaves nothing behind.
 *
 * `kubectl apply --prune`, with which clusters of aws-cdk-lib update a list of objects, deletes only the kinds of a fixed list. So an
 * object of another kind that can go away has a resource of its own. Its id has the names of the objects: CloudFormation makes the new
 * ones, then deletes the old ones, and no object is ever in two resources.
 */
export function applyObjects(scope: Construct, kubernetes: KubernetesAccess, objects: Objects): AppliedObjects {
  const { before = [], always, optional = [] } = objects;
  const needed = groups(before).map(([id, group]) => kubernetes._applyFinal(scope, id, group));
  const main = kubernetes._applyFinal(scope, idOf('Manifest', always[0]!), [...always, ...optional.filter(isPruned)]);
  main.node.addDependency(...needed);
  const after = groups(optional.filter(object => !isPruned(object))).map(([id, group]) => {
    // They belong to the Deployment of the same name, which was just made: an object that is still there is a remnant of an earlier one.
    const applied = kubernetes._applyFinal(scope, id, group, true);
    applied.node.addDependency(main);
    return applied;
  });
  return { main, before: needed, after };
}

/**
 * The kinds that `kubectl apply --prune` deletes.
 *
 * @see https://github.com/kubernetes/kubectl/blob/master/pkg/util/prune/prune.go
 */
const PRUNED = new Set([
  'v1/ConfigMap', 'v1/Endpoints', 'v1/PersistentVolumeClaim', 'v1/Pod', 'v1/ReplicationController', 'v1/Secret', 'v1/Service',
  'batch/v1/Job', 'batch/v1/CronJob', 'networking.k8s.io/v1/Ingress',
  'apps/v1/DaemonSet', 'apps/v1/Deployment', 'apps/v1/ReplicaSet', 'apps/v1/StatefulSet',
]);

function isPruned({ apiVersion, kind }: Manifest): boolean {
  return PRUNED.has(`${apiVersion}/${kind}`);
}

/** Objects of one API group and name come and go together. */
function groups(objects: Manifest[]): [string, Manifest[]][] {
  const byId = new Map<string, Manifest[]>();
  for (const object of objects) {
    const [group] = String(object.apiVersion).split('/');
    const id = idOf(group!.charAt(0).toUpperCase() + group!.slice(1), object);
    byId.set(id, [...byId.get(id) ?? [], object]);
  }
  return [...byId];
}

/** Returns an id with the name that an object has in the cluster, as far as it is known at synthesis. */
function idOf(prefix: string, { metadata }: Manifest): string {
  const { namespace, name } = metadata as { namespace?: string; name: string };
  return [prefix, namespace, name].filter(part => part !== undefined && !Token.isUnresolved(part)).join('-');
}

/** Adds the label of the service to objects that don't have it. */
export function labelled(manifest: Manifest, labels: { [key: string]: string }): Manifest {
  const metadata = manifest.metadata as { labels?: { [key: string]: string } };
  return { ...manifest, metadata: { ...metadata, labels: { ...labels, ...metadata.labels } } };
}
