// Looks at the objects in the cluster: that they are those of the manifests, fit together, and do their work.
import { eventually } from './api.mjs';

const NAME_LABEL = 'app.kubernetes.io/name';

/** The kinds that the cluster makes itself in each namespace. */
const GIVEN = new Set(['Event', 'ServiceAccount default', 'ConfigMap kube-root-ca.crt']);

/** The objects of a namespace that are in no manifest and belong to no other object. */
export async function leftBehind(api, stack) {
  const expected = new Set(stack.objects().map(({ kind, metadata }) => `${kind} ${metadata.name}`));
  const found = new Set();
  await Promise.all((await api.namespacedLists(stack.namespace)).map(async ({ kind, path }) => {
    for (const { metadata: { name, ownerReferences } } of await api.list(path)) {
      const id = `${kind} ${name}`;
      const derived = ownerReferences !== undefined || GIVEN.has(kind) || GIVEN.has(id) || (kind === 'Endpoints' && expected.has(`Service ${name}`));
      if (!derived && !expected.has(id)) { found.add(id); }
    }
  }));
  return [...found].sort();
}

/** Waits until nothing is left behind, and returns the rest. */
export async function waitForCleanup(api, stack, seconds = 40) {
  let left = [];
  await eventually(async () => {
    left = await leftBehind(api, stack);
    return left.length === 0;
  }, { seconds, pause: 300 });
  return left.map((id) => `${id} is left behind`);
}

/** The fields of a manifest that the server's object does not have. */
export function differences(wanted, found, path = '') {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found) || found.length !== wanted.length) { return [`${path}: ${JSON.stringify(wanted)} is ${JSON.stringify(found)}`]; }
    return wanted.flatMap((value, index) => differences(value, found[index], `${path}[${index}]`));
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof found !== 'object' || found === null) { return [`${path}: ${JSON.stringify(wanted)} is ${JSON.stringify(found)}`]; }
    return Object.entries(wanted).flatMap(([key, value]) => differences(value, found[key], path === '' ? key : `${path}.${key}`));
  }
  return wanted === found ? [] : [`${path}: ${JSON.stringify(wanted)} is ${JSON.stringify(found)}`];
}

/** Strictly checks the objects of a template without keeping them. The namespace of the check exists already. */
export async function refusals(api, objects) {
  const each = await Promise.all(objects.map(async (object) => (await api.refusals(object)).filter((reason) => object.kind !== 'Namespace' || !/already exists/.test(reason)).map((reason) => `${idOf(object)}: ${reason}`)));
  return each.flat();
}

const idOf = ({ kind, metadata }) => `${kind} ${metadata.name}`;

/** Waits until the Deployments of the stack run and its Jobs are complete. Returns those that are not. */
export async function settle(api, stack, { least, most, seconds = 60 } = {}) {
  const programs = stack.objects().filter(({ kind }) => kind === 'Deployment' || kind === 'Job');
  const each = await Promise.all(programs.map(async (object) => {
    const path = await api.pathOf(object);
    let problem;
    await eventually(async () => {
      problem = unsettled(await api.find(path), { least, most });
      return problem === undefined;
    }, { seconds, pause: 150 });
    return problem === undefined ? [] : [`${idOf(object)}: ${problem}`];
  }));
  const problems = each.flat();
  return problems.length === 0 ? [] : [...problems, ...await waitingPods(api, stack)];
}

/** The reasons for which pods are not ready, which explain a rollout that does not end. */
async function waitingPods(api, { namespace }) {
  const pods = await api.list(`/api/v1/namespaces/${namespace}/pods`);
  return [...new Set(pods.flatMap(({ status }) => (status.conditions ?? []).filter(({ status: value, message }) => value === 'False' && message).map(({ message }) => `a pod waits: ${message}`)))];
}

function unsettled(object, { least, most }) {
  if (object === undefined) { return 'does not exist'; }
  const { kind, metadata, spec, status = {} } = object;
  if (kind === 'Job') { return status.succeeded === 1 ? undefined : `is not complete: ${JSON.stringify(status)}`; }
  if (least !== undefined && (spec.replicas < least || spec.replicas > most)) { return `has ${spec.replicas} replicas, not ${least} to ${most}`; }
  const { observedGeneration, updatedReplicas = 0, readyReplicas = 0, replicas = 0 } = status;
  const complete = observedGeneration === metadata.generation && [updatedReplicas, readyReplicas, replicas].every((count) => count === spec.replicas);
  return complete ? undefined : `is not rolled out: ${readyReplicas} ready and ${updatedReplicas} of the new version of ${spec.replicas}; `
    + (status.conditions ?? []).map(({ type, status: value, message }) => `${type} ${value}: ${message}`).join('; ');
}

/** Reads the objects of a stack back, and returns all that is wrong with them. */
export async function inspect(api, stack) {
  const objects = stack.objects();
  const problems = [];
  const found = await Promise.all(objects.map(async (object) => [object, await api.find(await api.pathOf(object))]));
  for (const [object, server] of found) {
    if (server === undefined) { problems.push(`${idOf(object)} does not exist`); continue; }
    problems.push(...differences(object, server).map((difference) => `${idOf(object)} differs: ${difference}`));
    const ofGroup = GROUP_KINDS.has(object.kind) || isForAllPods(object);
    if (!ofGroup && server.metadata.labels?.[NAME_LABEL] === undefined) { problems.push(`${idOf(object)} has no label ${NAME_LABEL}`); }
  }
  const own = (kind) => found.filter(([object, server]) => object.kind === kind && server).map(([, server]) => server);
  const pods = (await api.list(`/api/v1/namespaces/${stack.namespace}/pods`)).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const programs = [...own('Deployment'), ...own('Job')];
  const context = { api, namespace: stack.namespace, own, pods, programs };
  for (const [kind, look] of Object.entries(LOOKS)) {
    // A workload that is stopped has no pods for the others.
    for (const object of programs.length === 0 ? [] : own(kind)) { problems.push(...(await look(object, context)).map((problem) => `${idOf(object)}: ${problem}`)); }
  }
  const ownPolicies = own('NetworkPolicy').filter((policy) => !isForAllPods(policy));
  for (const pod of pods.filter((one) => !ownPolicies.some(({ spec }) => selects(spec.podSelector.matchLabels, one)))) {
    problems.push(`no NetworkPolicy selects the pod ${pod.metadata.name}`);
  }
  return problems;
}

/** Objects that belong to no program. */
const GROUP_KINDS = new Set(['Namespace', 'ConfigMap']);

/** The policy of a namespace, which denies what no other allows. */
const isForAllPods = ({ kind, spec }) => kind === 'NetworkPolicy' && spec.podSelector.matchLabels === undefined;

const selects = (labels, { metadata }) => Object.entries(labels ?? {}).every(([key, value]) => metadata.labels?.[key] === value);

/** What each kind has to be for the others. */
const LOOKS = {
  async Deployment({ metadata, spec }, { own }) {
    const { containers: [{ ports = [], ...container }], serviceAccountName } = spec.template.spec;
    const scalers = [
      ...own('HorizontalPodAutoscaler').filter((scaler) => scaler.spec.scaleTargetRef.name === metadata.name),
      ...own('ScaledObject').filter((scaler) => scaler.spec.scaleTargetRef.name === metadata.name),
    ];
    const probed = ['startupProbe', 'livenessProbe', 'readinessProbe'].flatMap((name) => container[name]?.httpGet?.port ?? []);
    const spread = (spec.template.spec.topologySpreadConstraints ?? []).filter(({ labelSelector }) => !selects(labelSelector.matchLabels, spec.template));
    return [
      ...scalers.length > 1 ? [`${scalers.length} autoscalers scale it: ${scalers.map(idOf).join(', ')}`] : [],
      ...own('ServiceAccount').some((account) => account.metadata.name === serviceAccountName) ? [] : [`its service account ${serviceAccountName} is in no manifest`],
      ...probed.filter((port) => !ports.some(({ name, containerPort }) => name === port || containerPort === port)).map((port) => `its probe asks the port ${port}, which it does not have`),
      ...spread.map(({ topologyKey }) => `it is spread over ${topologyKey} by labels that its pods do not have`),
    ];
  },
  async Service({ metadata, spec }, { api, namespace, pods }) {
    const serving = pods.filter((pod) => selects(spec.selector, pod)).length;
    const slices = () => api.list(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=kubernetes.io/service-name=${metadata.name}`);
    const complete = await eventually(async () => (await slices()).flatMap(({ endpoints, ports }) => (ports?.length ? endpoints : []))
      .filter(({ conditions }) => conditions.ready).length === serving, { seconds: 20 });
    return [
      ...serving === 0 && pods.length > 0 ? ['it selects no pod'] : [],
      ...complete ? [] : [`it does not lead to its ${serving} pods`],
    ];
  },
  async NetworkPolicy({ spec }, { pods, programs }) {
    const selected = programs.some((program) => selects(spec.podSelector.matchLabels, program.spec.template));
    return selected || pods.some((pod) => selects(spec.podSelector.matchLabels, pod)) ? [] : ['it selects no program'];
  },
  async SecurityGroupPolicy({ spec }, { programs }) {
    return programs.some((program) => selects(spec.podSelector.matchLabels, program.spec.template)) ? [] : ['it selects no program'];
  },
  async PodDisruptionBudget(budget, { api, own }) {
    const deployment = own('Deployment').find(({ spec }) => selects(budget.spec.selector.matchLabels, spec.template));
    if (!deployment) { return ['it selects no Deployment']; }
    const path = await api.pathOf(budget);
    let status;
    const right = await eventually(async () => {
      ({ status } = await api.get(path));
      return status?.expectedPods === (await api.get(await api.pathOf(deployment))).spec.replicas;
    }, { seconds: 20 });
    return right ? [] : [`it expects ${status?.expectedPods} pods of ${deployment.spec.replicas}`];
  },
  async HorizontalPodAutoscaler(scaler, { api, own }) {
    const { name } = scaler.spec.scaleTargetRef;
    const deployment = own('Deployment').find(({ metadata }) => metadata.name === name);
    if (!deployment) { return [`it scales ${name}, which is in no manifest`]; }
    const path = await api.pathOf(scaler);
    const external = scaler.spec.metrics.some(({ type }) => type === 'External');
    let reason;
    const works = await eventually(async () => {
      const { status } = await api.get(path);
      const condition = (type) => status?.conditions?.find((one) => one.type === type);
      const wrong = [condition('AbleToScale'), ...external ? [] : [condition('ScalingActive')]].find((one) => one?.status !== 'True');
      // Without replicas there is nothing to measure. The metric of another system is not there.
      reason = wrong && `${wrong.reason}: ${wrong.message}`;
      return deployment.spec.replicas === 0 || (status?.conditions !== undefined && reason === undefined);
    }, { seconds: 40, pause: 300 });
    return works ? [] : [`it does not work: ${reason ?? 'it has no status'}`];
  },
  async ScaledObject({ spec }, { own }) {
    const has = (kind, name) => own(kind).some(({ metadata }) => metadata.name === name);
    return [
      ...has('Deployment', spec.scaleTargetRef.name) ? [] : [`it scales ${spec.scaleTargetRef.name}, which is in no manifest`],
      ...spec.triggers.flatMap(({ authenticationRef }) => authenticationRef?.name ?? []).filter((name) => !has('TriggerAuthentication', name))
        .map((name) => `its authentication ${name} is in no manifest`),
    ];
  },
};
