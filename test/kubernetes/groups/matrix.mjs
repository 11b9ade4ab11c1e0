// Each variant of a workload, consumer or job: accepted strictly, made, read back, applied again without a change, and deleted completely.
import { inspect, refusals, settle, waitForCleanup } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { matrix as variants, REFUSED } from '../programs.mjs';

export function matrix(cluster) {
  return Object.entries(variants()).map(([name, variant]) => [name, () => variantOf(cluster, variant)]);
}

/** Checks a variant in a stack of its own. */
export async function variantOf(cluster, { template, least, most, keda }, options) {
  const { api } = cluster;
  const stack = await newStack(cluster, options);
  const refused = await refusals(api, stack.objectsOf(template()).flatMap(stack.change));
  if (refused.length > 0) { return refused; }
  await stack.deploy(template());
  const bounds = keda ? {} : { least, most };
  const unsettled = await settle(api, stack, bounds);
  if (unsettled.length > 0) { return unsettled; }
  const problems = [...await inspect(api, stack), ...await waitForCleanup(api, stack), ...await again(api, stack)];
  if (problems.length > 0) { return problems; }
  const deleted = await stack.destroy();
  return [...deleted.filter((line) => line.startsWith('delete error')), ...await waitForCleanup(api, stack)];
}

/** Applies everything a second time, which must write nothing. */
export async function again(api, stack) {
  const objects = stack.objects();
  const versions = () => Promise.all(objects.map(async (object) => {
    const { metadata: { generation, annotations, labels, resourceVersion } } = await api.get(await api.pathOf(object));
    // Objects without a generation have no status either, and change only when they are written.
    return JSON.stringify([generation ?? (STATELESS.has(object.kind) ? resourceVersion : 0), applied(annotations), labels]);
  }));
  const before = await versions();
  const lines = await stack.repeat();
  const after = await versions();
  return [
    // kubectl always sends the selector of a disruption budget, because it replaces it as a whole. The server finds nothing to change.
    ...lines.filter((line) => / (configured|created|pruned)/.test(line) && !line.startsWith('poddisruptionbudget.policy/')).map((line) => `a second apply says: ${line}`),
    ...objects.flatMap(({ kind, metadata }, index) => (before[index] === after[index] ? [] : [`a second apply changes ${kind} ${metadata.name}: ${before[index]} to ${after[index]}`])),
  ];
}

const STATELESS = new Set(['ServiceAccount', 'Service', 'SecurityGroupPolicy', 'ConfigMap', 'TriggerAuthentication']);

const applied = (annotations = {}) => annotations['kubectl.kubernetes.io/last-applied-configuration'];

/** Inputs that the cluster refuses, or with which pods never get ready, must be refused at synthesis. */
export function refused() {
  return Object.entries(REFUSED).map(([name, make]) => [name, async () => {
    try {
      make();
      return ['it synthesizes'];
    } catch (error) {
      // An error that names its construct, or the value of a factory.
      return /\bat \[|Check\/|The image|must|can't/.test(error.message) ? [] : [`the error is not clear: ${error.message}`];
    }
  }]);
}
