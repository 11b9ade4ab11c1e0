// Changes of a stack that runs: nothing of the former one stays, and the replicas never fall below those that both sides have.
import { waitForCleanup, inspect, settle } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { CHANGES, EXPOSURES, OTHER_CLASS, SCALINGS } from '../programs.mjs';

/** The tours over many pairs are cut into this number of parts, which run side by side. */
const CHAINS = 4;

/** Every ordered pair of scalings, of exposures and of the other changes. Returns the groups of checks. */
export function transitions(cluster) {
  return {
    scaling: chained(cluster, SCALINGS),
    exposure: [
      ...chained(cluster, EXPOSURES),
      ['another class of the load balancer is refused, and the stack can roll back', () => refusedClass(cluster)],
    ],
    change: Object.entries(CHANGES).flatMap(([name, [one, other]]) => chained(cluster, { [`${name}, before`]: one, [`${name}, after`]: other })),
  };
}

/** The checks of all ordered pairs, in chains: a chain is one task with several results. */
function chained(cluster, variants) {
  const trail = tour(Object.keys(variants));
  const length = Math.ceil(trail.length / (trail.length > 20 ? CHAINS : 1));
  const chains = Array.from({ length: Math.ceil(trail.length / length) }, (_, index) => trail.slice(index * length, (index + 1) * length));
  return chains.map((pairs) => async (record) => {
    const state = {};
    for (const [from, to] of pairs) {
      const problems = await change(cluster, variants, state, from, to).catch((error) => [error.message]);
      // What a failed step leaves behind is not the fault of the next one.
      if (problems.length > 0) { state.at = undefined; }
      record(`${from} → ${to}`, problems);
    }
  });
}

async function change(cluster, variants, state, from, to) {
  if (state.at !== from) {
    state.stack = await newStack(cluster);
    await state.stack.deploy(variants[from].template());
    const unsettled = await settle(cluster.api, state.stack, boundsOf(variants[from]));
    if (unsettled.length > 0) { return unsettled.map((problem) => `before the change: ${problem}`); }
  }
  const problems = await transition(cluster, state.stack, variants[from], variants[to]);
  state.at = to;
  return problems;
}

/** Changes a stack, and returns all that is wrong during the change and after it. */
export async function transition(cluster, stack, from, to, { seconds } = {}) {
  const { api } = cluster;
  const lowest = new Map();
  const names = new Set([...stack.objects(), ...stack.objectsOf(to.template())].filter(({ kind }) => kind === 'Deployment').map(({ metadata }) => metadata.name));
  const stop = await api.watch(`/apis/apps/v1/namespaces/${stack.namespace}/deployments`, (type, { metadata, spec }) => {
    // A new Deployment begins with one replica until its autoscaler sees it.
    const started = lowest.has(metadata.name) || spec.replicas >= (to.least ?? 0) || metadata.generation > 1;
    if (type !== 'DELETED' && started) { lowest.set(metadata.name, Math.min(lowest.get(metadata.name) ?? Infinity, spec.replicas)); }
  });
  try {
    await stack.deploy(to.template());
    const problems = await settle(api, stack, { ...boundsOf(to), seconds });
    if (problems.length > 0) { return problems; }
  } finally {
    stop();
  }
  const floor = Math.min(from.least ?? 0, to.least ?? 0);
  return [
    ...[...names].filter((name) => lowest.get(name) < floor).map((name) => `${name} had ${lowest.get(name)} replicas on the way, and both sides have at least ${floor}`),
    ...await waitForCleanup(api, stack),
    ...await inspect(api, stack),
  ];
}

/** Without KEDA's operator nobody scales for KEDA. */
function boundsOf({ least, most, keda }) {
  return keda ? {} : { least, most };
}

async function refusedClass(cluster) {
  const stack = await newStack(cluster);
  const before = EXPOSURES['load balancer'];
  await stack.deploy(before.template());
  const message = await stack.deploy(OTHER_CLASS.template()).then(() => undefined, (error) => error.message);
  if (!/may not change once set/.test(message ?? '')) { return [`the change is ${message === undefined ? 'accepted' : `refused with: ${message}`}`]; }
  await stack.deploy(before.template());
  return [...await settle(cluster.api, stack, boundsOf(before)), ...await waitForCleanup(cluster.api, stack), ...await inspect(cluster.api, stack)];
}

/** A tour over all ordered pairs of names in which each pair begins where the one before ended. */
function tour(names) {
  const left = new Map(names.map((name) => [name, names.filter((other) => other !== name)]));
  const path = [names[0]];
  const circuit = [];
  while (path.length > 0) {
    const next = left.get(path.at(-1)).pop();
    if (next === undefined) { circuit.unshift(path.pop()); } else { path.push(next); }
  }
  return circuit.slice(1).map((name, index) => [circuit[index], name]);
}
